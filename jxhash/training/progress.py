"""Progress of a training: a bar on the terminal, lines in metrics.jsonl."""

import json
import os
import pathlib
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from tqdm import tqdm

from jxhash.atomic_files import parse_json, write_atomically
from jxhash.errors import UserError

FILE = "metrics.jsonl"

_TEXTS = ("stage", "update")
_LARGEST = sys.float_info.max


class MetricsFile:
    """The record of a training, one JSON object a line: its place, then its numbers.

    Attributes:
      lines: how many there are, once `keep` has been called.
    """

    def __init__(self, workdir: pathlib.Path) -> None:
        self._path = workdir / FILE
        self.lines = 0

    def append(self, line: Mapping[str, Any]) -> None:
        """Adds a line to the file, which must be there: a folder may be moved away meanwhile."""
        with open(self._path, "r+", encoding="utf-8") as file:
            file.seek(0, os.SEEK_END)
            file.write(json.dumps(line) + "\n")
        self.lines += 1

    def secure(self) -> None:
        """Returns when all lines are on the disk: before a checkpoint that counts on them."""
        with open(self._path, "rb") as file:
            os.fsync(file.fileno())

    def keep(self, wanted: Callable[[Mapping[str, Any]], bool]) -> None:
        """Drops the lines that a resumed training will write again, and a line cut short."""
        kept = [json.dumps(line) + "\n" for line in read_metrics(self._path) if wanted(line)]
        write_atomically(self._path, "".join(kept).encode())
        self.lines = len(kept)


def read_metrics(path: pathlib.Path) -> Iterator[dict[str, Any]]:
    """Reads a record line by line; a last line that was cut short is passed over."""
    if not path.exists():
        return
    with open(path, encoding="utf-8", errors="replace") as file:
        for number, line in enumerate(file, start=1):
            if not line.endswith("\n"):
                continue
            try:
                found = parse_json(line)
            except ValueError as error:
                raise UserError(f"{path}, line {number}, is damaged; remove the line") from error
            if not _is_of_a_training(found):
                raise UserError(
                    f"{path}, line {number}, is no line of a training's; remove the line"
                )
            yield found


def _is_of_a_training(line: Any) -> bool:
    """Whether a line has a place and names, and numbers besides."""
    if not isinstance(line, dict):
        return False
    place, texts = line.get("place"), [line.get(name) for name in _TEXTS]
    if not isinstance(place, list) or len(place) != 3 or "epoch" not in line:
        return False
    numbers = [line[name] for name in line.keys() - {"place", *_TEXTS}]
    return (
        all(isinstance(text, str) for text in texts)
        and all(type(number) is int for number in place)
        and all(type(number) in (int, float) and not abs(number) > _LARGEST for number in numbers)
    )


class Bar:
    """A progress bar over all steps of a training, with the newest loss and the time left."""

    def __init__(self, steps: int, done: int, shown: bool = True) -> None:
        # Without a terminal, a line now and then is enough.
        pause = 0.2 if sys.stderr.isatty() else 10.0
        self._bar = tqdm(
            total=steps,
            initial=done,
            unit="step",
            mininterval=pause,
            dynamic_ncols=True,
            disable=not shown,
        )

    def advance(self, steps: int, update: str, loss: float | None) -> None:
        """Moves on by `steps` of the named update."""
        self._bar.set_description(update, refresh=False)
        if loss is not None:
            self._bar.set_postfix_str(f"loss {loss:.4f}", refresh=False)
        self._bar.update(steps)

    def clear(self) -> None:
        """Makes way for other lines, until the next step."""
        self._bar.clear()

    def close(self) -> None:
        """Leaves the bar as it stands."""
        self._bar.close()
