"""From a data set that a builder prepared to one that methods train on."""

import contextlib
import functools
import io
import itertools
import os
import pathlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from jxhash import arrays
from jxhash.data import builders, protocols
from jxhash.data.dataset import Dataset, Items, both_directions, content_hash
from jxhash.errors import UserError
from jxhash.files import read_json, write_atomically

# What a run needs of all pairs at once, collected at the first use: reading it off the records
# takes 0.2 ms a pair, every time.
_TABLE = "jxhash.npz"
FEATURES = "image_features.npz"
_FEATURE_KEYS = ("pythonClassName", "python_class_name", "type")
_OWN_FEATURES = "tensorflow_datasets.core.features."


class Pictures(Sequence[bytes]):
    """Encoded pictures that are read from the prepared files when they are asked for."""

    def __init__(self, source: Any, places: np.ndarray) -> None:
        self._source, self._places = source, places

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, row: Any) -> Any:
        if isinstance(row, slice):
            return Pictures(self._source, self._places[row])
        return self._source[int(self._places[row])]["image"]

    def take(self, rows: np.ndarray) -> "Pictures":
        """Some of them."""
        return Pictures(self._source, self._places[rows])


class Pairs(NamedTuple):
    """A prepared data set, in the order of its archive.

    Attributes:
      name: of the data set and its config, as protocols call it.
      ids: of each pair the path of its picture, below the archive's folder of pictures.
      texts: its tags or sentences, a line each.
      words: bag of words, uint8 [n, V] in {0, 1}.
      labels: multi-hot, uint8 [n, C]; None where the data set has none.
      parts: the split of the archive that each pair is in, such as "train".
      arrays: features that the archive brings, float64 [n, D] each.
      pictures: the encoded pictures, read when asked for; None where none were built.
      metadata: of the builder: `vocabulary`, `label_names`, `skipped`.
      version: of the builder.
    """

    name: str
    ids: list[str]
    texts: list[str]
    words: np.ndarray
    labels: np.ndarray | None
    parts: np.ndarray
    arrays: Mapping[str, np.ndarray]
    pictures: Pictures | None
    metadata: Mapping[str, Any]
    version: str


def _naming_damage(opens: Callable[..., Pairs]) -> Callable[..., Pairs]:
    """Makes a UserError of whatever the readers of the several files raise."""

    @functools.wraps(opens)
    def opened(folder: str | os.PathLike) -> Pairs:
        try:
            return opens(folder)
        except UserError:
            raise
        except Exception as error:
            reason = (str(error).strip().splitlines() or [""])[0][:120]
            raise UserError(
                f"{folder} is damaged ({type(error).__name__}: {reason}); remove it and build it "
                "again"
            ) from error

    return opened


def _require_known_features(path: pathlib.Path) -> None:
    """Refuses features that are not tensorflow-datasets' own: it imports the modules they name."""
    waiting = [read_json(path)]
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict):
            names = [one[key] for key in _FEATURE_KEYS if key in one]
            if not all(isinstance(name, str) and name.startswith(_OWN_FEATURES) for name in names):
                raise UserError(f"{path} names a feature {names[0]!r:.80}, which is not imported")
        if isinstance(one, dict | list):
            waiting.extend(one.values() if isinstance(one, dict) else one)


@_naming_damage
def open_pairs(folder: str | os.PathLike) -> Pairs:
    """Opens what a builder prepared.

    Args:
      folder: the folder of the prepared data set, `<data_dir>/<name>/<config>/<version>`.

    Raises:
      UserError: there is none, or it is damaged.
    """
    import tensorflow_datasets as tfds

    folder = pathlib.Path(folder)
    if not (folder / "dataset_info.json").is_file():
        raise UserError(f"{folder} is no prepared data set; see docs/data.md for how to build it")
    _require_known_features(folder / "features.json")
    builder = tfds.builder_from_directory(folder)
    splits = list(builder.info.splits)
    decoders = {"image": tfds.decode.SkipDecoding()} if "image" in builder.info.features else None
    source = builder.as_data_source("+".join(splits), decoders=decoders)
    table = _kept_table(folder / _TABLE) or _table(source, builder, folder / _TABLE)
    return Pairs(
        name=f"{builder.name}/{builder.builder_config.name}",
        ids=_unjoined(table["ids"], table["ids_ends"]),
        texts=_unjoined(table["texts"], table["texts_ends"]),
        words=np.unpackbits(table["words"], axis=1, count=int(table["num_words"])),
        labels=table.get("labels"),
        parts=table["parts"],
        arrays={name[6:]: array for name, array in table.items() if name.startswith("array_")},
        pictures=Pictures(source, table["places"]) if decoders else None,
        metadata=builder.info.metadata,
        version=str(builder.version),
    )


def _kept_table(path: pathlib.Path) -> dict[str, np.ndarray] | None:
    if not path.exists():
        return None
    try:
        table = {name: arrays.whole(entry) for name, entry in arrays.open_file(path).items()}
        _check(table)
    # What is of another kind fails in as many ways.
    except Exception as error:
        raise UserError(f"{path} is damaged ({error}); remove it, and it is made again") from error
    return table


def _check(table: Mapping[str, np.ndarray]) -> None:
    """Raises a ValueError or KeyError unless a kept table is one that `_table` makes."""
    rows, num_words = len(table["parts"]), table["num_words"]
    if not np.array_equal(np.sort(table["places"]), np.arange(rows)):
        raise ValueError("its rows are not those of the records")
    if num_words.shape != () or table["words"].shape != (rows, -(-int(num_words) // 8)):
        raise ValueError("its words do not fit its rows")
    for name in ("ids", "texts"):
        content, ends = table[name], table[f"{name}_ends"]
        starts = np.append(0, ends[:-1])
        if content.dtype != np.uint8 or ends.dtype != np.int64 or ends.shape != (rows,):
            raise ValueError(f"its {name} do not fit its rows")
        if (starts > ends).any() or ends[-1:].sum() != content.size:
            raise ValueError(f"its {name} do not end where they should")
        _unjoined(content, ends)
    others = [array for name, array in table.items() if name.startswith(("labels", "array_"))]
    if table["words"].dtype != np.uint8 or any(a.ndim != 2 or len(a) != rows for a in others):
        raise ValueError("its arrays do not fit its rows")


def _table(source: Any, builder: Any, path: pathlib.Path) -> dict[str, np.ndarray]:
    """Collects what is needed of all records but their pictures, and keeps it in a file."""
    collected = {name: [] for name in builder.info.features if name != "image"}
    for record in _records(source):
        for name, values in collected.items():
            values.append(record[name])
    order = np.argsort(collected.pop("row"))
    ids, texts = collected.pop("id"), [b"\n".join(some) for some in collected.pop("texts")]
    arrays = {name: np.stack(values)[order] for name, values in collected.items()}
    words = arrays.pop("words")
    splits = builder.info.splits
    parts = np.repeat(list(splits), [split.num_examples for split in splits.values()])
    table = {
        "places": order,
        "parts": parts[order],
        "words": np.packbits(words, axis=1),
        "num_words": np.array(words.shape[1]),
        **_joined("ids", [ids[row] for row in order]),
        **_joined("texts", [texts[row] for row in order]),
        **{name if name == "labels" else f"array_{name}": array for name, array in arrays.items()},
    }
    buffer = io.BytesIO()
    np.savez(buffer, **table)
    with contextlib.suppress(OSError):  # a folder that cannot be written works too, but slowly
        write_atomically(path, buffer.getvalue())
    return table


def _records(source: Any) -> Iterator[dict[str, Any]]:
    for begin in range(0, len(source), 256):
        yield from source.__getitems__(range(begin, min(begin + 256, len(source))))


def _joined(name: str, strings: list[bytes]) -> dict[str, np.ndarray]:
    return {
        name: np.frombuffer(b"".join(strings), np.uint8),
        f"{name}_ends": np.cumsum([len(string) for string in strings], dtype=np.int64),
    }


def _unjoined(content: np.ndarray, ends: np.ndarray) -> list[str]:
    joined, bounds = content.tobytes(), [0, *ends.tolist()]
    return [joined[begin:end].decode() for begin, end in itertools.pairwise(bounds)]


def load(name: str, data_dir: str | os.PathLike) -> Dataset:
    """A prepared data set under a protocol.

    Args:
      name: data set, protocol and seed: "mirflickr25k:dcmh", "nuswide/tc10:djsrh:1" with a config
        and a seed (else 0). The protocol "archive" is the archive's own division.
      data_dir: the folder that data sets were prepared in. Features of the pictures are read from
        `image_features.npz` in the folder of the prepared data set, where the archive does not
        bring any (see `read_features`).

    Raises:
      UserError: a part of the name is unknown, the data set is not prepared, or features are
        missing or belong to other pairs.
    """
    data, protocol, seed = (*name.split(":"), "0")[:3]
    if not re.fullmatch("[0-9]{1,9}", seed):
        raise UserError(f"the seed in {name!r} is no number from 0 to 999999999")
    _, config = builders.resolve(data)
    folder = pathlib.Path(data_dir) / data.partition("/")[0] / config.name
    versions = sorted(folder.glob("*/dataset_info.json"))
    if not versions:
        raise UserError(
            f"{folder} holds no prepared data set; build it with "
            f"`python -m jxhash.data.builders {data} --data_dir={data_dir}`"
        )
    pairs = open_pairs(versions[-1].parent)
    if "image_features" in pairs.arrays:
        images = pairs.arrays["image_features"].astype(np.float32)
    else:
        images = read_features(versions[-1].parent / FEATURES, pairs.ids)
    return dataset(pairs, division(pairs, protocol, int(seed)), images)


def division(pairs: Pairs, protocol: str, seed: int = 0) -> protocols.Split:
    """Divides prepared pairs by a protocol's name."""
    if protocol != "archive":
        tagged = pairs.words.any(axis=1)
        return protocols.draw(protocol, pairs.name, len(pairs.ids), seed, tagged=tagged)
    parts = {part: np.flatnonzero(pairs.parts == part) for part in ("train", "test")}
    if not all(map(len, parts.values())):
        raise UserError(f"the archive of {pairs.name} does not divide its pairs; name a protocol")
    card = {"protocol": "archive", "data": pairs.name}
    return protocols.given(parts["test"], parts["train"], card)


def read_features(path: pathlib.Path, ids: Sequence[str]) -> np.ndarray:
    """Reads features of pictures, in the order of `ids`.

    Args:
      path: an .npz file with `ids` (text [n], in any order) and `features` (float [n, D]).
      ids: of the pairs.

    Returns:
      float32 [n, D].

    Raises:
      UserError: the file is missing or malformed, or lacks a pair.
    """
    try:
        with np.load(path, allow_pickle=False) as arrays:
            names, features = arrays["ids"], arrays["features"]
    except FileNotFoundError as error:
        raise UserError(
            f"{path} is missing: methods need features of the pictures; write there `ids` and "
            "`features`, as docs/data.md says"
        ) from error
    # A cut or foreign file shows as whatever the reader happens to raise.
    except Exception as error:
        raise UserError(f"{path} cannot be read ({error})") from error
    if features.ndim != 2 or features.dtype.kind != "f" or names.shape != features.shape[:1]:
        raise UserError(
            f"{path}: expected ids [n] and features [n, D] of floats, found {names.shape} and "
            f"{features.dtype} {features.shape}"
        )
    row = {str(name): number for number, name in enumerate(names)}
    missing = [name for name in ids if name not in row]
    if missing or len(row) != len(names):
        raise UserError(
            f"{path} does not belong to these pairs: {len(missing):,} of {len(ids):,} are missing"
            f"{f', the first is {missing[0]!r}' if missing else ', and one is there twice'}"
        )
    return features[[row[name] for name in ids]].astype(np.float32)


def dataset(pairs: Pairs, split: protocols.Split, images: np.ndarray) -> Dataset:
    """Prepared pairs and a division of them, as methods train on them.

    Args:
      pairs: a prepared data set.
      split: which rows are what.
      images: what networks read of the pictures, rows in the order of `pairs`.

    Returns:
      The data set; its texts are bags of words, or the archive's own features where it has no
      texts.

    Raises:
      UserError: the pairs have no labels, or the images are not as many.
    """
    if pairs.labels is None:
        raise UserError(f"{pairs.name} has no labels, by which retrieval is measured here")
    if len(images) != len(pairs.ids):
        raise UserError(f"{len(images):,} images were given for {len(pairs.ids):,} pairs")
    texts = pairs.words
    if not texts.shape[1]:
        texts = pairs.arrays["text_features"].astype(np.float32)
    inputs = {"image": np.asarray(images), "text": texts}
    arrays = {**inputs, "labels": pairs.labels, "ids": np.array(pairs.ids)}
    arrays |= {part: getattr(split, part) for part in protocols.PARTS}

    def items(rows: np.ndarray) -> Items:
        return Items(
            {name: array[rows] for name, array in inputs.items()},
            pairs.labels[rows],
            [pairs.texts[row] or pairs.ids[row] for row in rows],
            pairs.pictures.take(rows) if pairs.pictures is not None else None,
        )

    train, database = items(split.train), items(split.database)
    return Dataset(
        card={
            "name": pairs.name,
            "version": pairs.version,
            "split": dict(split.card),
            "sizes": split.card["sizes"],
            "skipped": dict(pairs.metadata["skipped"]),
            "sha256": content_hash(arrays),
        },
        training={"pairs": {**train.inputs, "labels": train.labels}},
        tasks=both_directions(items(split.query), database),
        validation=both_directions(items(split.validation), train) if len(split.validation) else (),
        trained=train,
    )
