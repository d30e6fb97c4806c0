"""Trains, measures and reports a config in a folder: `jxhash.run`."""

import contextlib
import functools
import hashlib
import json
import os
import pathlib
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import ml_collections
from tqdm import tqdm

import jxhash
from jxhash import auto_settings, configuration, data, methods, processes
from jxhash.atomic_files import LOCK, locked, read_json, write_atomically, writing
from jxhash.auto_settings import Resolved
from jxhash.data.assemble import normalized
from jxhash.data.dataset import Dataset
from jxhash.errors import UserError
from jxhash.evaluation import artifacts, report
from jxhash.inputs import normalization
from jxhash.methods.contract import Method
from jxhash.training import batches, engine, progress, schedule

_VERSION_FILE = "version.txt"
_CONFIG_FILE = "config.json"
_CARD_FILE = "card.json"
_NORMALIZATION_FILE = "normalization.npz"

# The last version whose runs do not name theirs.
_UNNAMED_VERSION = "0.1.0"


def run(
    config: ml_collections.ConfigDict,
    workdir: str | os.PathLike[str],
    data_dir: str | os.PathLike[str] | None = None,
) -> dict[str, Any]:
    """Trains, measures and reports; resumes where an earlier run in this folder stopped.

    With several processes all of them train, and the first alone reads and writes the folder.

    Args:
      config: as a file of configs/ returns it.
      workdir: created if missing; must be empty, or hold a run of the same config.
      data_dir: the folder of data sets that do not come with the package; by default the
        environment variable JXHASH_DATA_DIR.

    Returns:
      The report, as report.json holds it; that of a finished run without training again.

    Raises:
      UserError: the config, the data or the folder cannot be used; the message names the fix.
      Preempted: SIGTERM or Ctrl-C came during training; the state is saved.
    """
    workdir = pathlib.Path(workdir)
    created = _highest_missing(workdir)
    with contextlib.ExitStack() as held:
        prepare = functools.cache(lambda: _prepared(config, workdir, data_dir, held))
        every = processes.from_every(lambda: prepare()[:2])
        _require_same([fingerprint for fingerprint, _ in every], created)
        if finished := every[0][1]:
            return finished
        *_, dataset, settled, method = prepare()
        validate = artifacts.validation(method, dataset)
        settings = configuration.read_run(settled.config)
        state = engine.train(method, dataset.training, settings, workdir, validate)

        def finish() -> dict[str, Any]:
            lines: list[Mapping[str, Any]] = list(progress.read_metrics(workdir / progress.FILE))
            with writing(workdir):
                artifacts.write(method, state, dataset, settled, workdir, lines)
            return report.read(workdir / artifacts.REPORT)

        return processes.value_from_first(finish)


class _Prepared(NamedTuple):
    """What a process has before training.

    Attributes:
      fingerprint: of config and data.
      finished: the report of a finished run, on the first process; None before.
      dataset: as loaded.
      settled: the config, with numbers for "auto".
      method: built for config and data.
    """

    fingerprint: str
    finished: dict[str, Any] | None
    dataset: Dataset
    settled: Resolved
    method: Method


def _prepared(
    config: ml_collections.ConfigDict,
    workdir: pathlib.Path,
    data_dir: str | os.PathLike[str] | None,
    held: contextlib.ExitStack,
) -> _Prepared:
    """Refuses what can be refused; then the first process claims the folder, until `held` ends."""
    settings = auto_settings.read_run(config)
    if processes.is_first():
        _require_own(workdir, config)
    dataset = _loaded(settings, data_dir)
    if processes.is_first():
        _require_same_data(workdir, dataset.card)
    if settings.select == "best" and not (settings.validate_every and dataset.validation):
        raise UserError(
            "config key 'select' is 'best', which needs a validation split and 'validate_every' "
            "above 0"
        )
    settled = auto_settings.resolved(config, batches.num_rows(dataset.training[batches.PAIRS]))
    spec = schedule.make_spec(
        dataset.training, settled.config.batch_size, vocabulary_size=dataset.vocabulary_size
    )
    method = methods.get(settings.method).build(settled.config, spec)
    content = configuration.as_json(config) + dataset.card["sha256"]
    fingerprint = hashlib.sha256(content.encode()).hexdigest()
    finished = None
    if processes.is_first() and artifacts.is_complete(workdir):
        finished = report.read(workdir / artifacts.REPORT)
    elif processes.is_first():
        if settled.chosen:
            listed = ", ".join(f"{key} {number}" for key, number in settled.chosen.items())
            tqdm.write(f"auto: {listed} for {spec.num_train:,} training pairs", file=sys.stderr)
        held.enter_context(_claimed(workdir, config, dataset))
    return _Prepared(fingerprint, finished, dataset, settled, method)


def _loaded(settings: configuration.Run, data_dir: str | os.PathLike[str] | None) -> Dataset:
    dataset = data.load(settings.data, data_dir)
    if settings.split == "all":
        if dataset.on_everything is None:
            raise UserError(
                f"{settings.data!r} has a fixed split; leave out the config key 'split'"
            )
        dataset = dataset.on_everything()
    return normalized(dataset, settings.normalization)


def _highest_missing(path: pathlib.Path) -> pathlib.Path | None:
    """The folder to remove, to undo that this path is made; None where the path exists."""
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    return missing[-1] if missing else None


def _require_same(fingerprints: Sequence[str], created: pathlib.Path | None) -> None:
    """Raises a UserError where the processes differ; removes the folder that was made before."""
    if len(set(fingerprints)) == 1:
        return
    if processes.is_first() and created:
        shutil.rmtree(created)
    raise UserError(
        "the processes have different configs or data; start all of them with the same --config "
        "and --data_dir"
    )


@contextlib.contextmanager
def _claimed(
    workdir: pathlib.Path, config: ml_collections.ConfigDict, dataset: Dataset
) -> Iterator[None]:
    """Locks the run folder and writes version, config, data card and normalisations into it."""
    with locked(workdir):
        with writing(workdir):
            write_atomically(workdir / _VERSION_FILE, f"{jxhash.__version__}\n".encode())
            write_atomically(workdir / _CONFIG_FILE, configuration.as_json(config).encode())
            write_atomically(workdir / _CARD_FILE, artifacts.to_json(dataset.card))
            if dataset.normalizations:
                content = artifacts.to_npz(normalization.arrays_of(dataset.normalizations))
                write_atomically(workdir / _NORMALIZATION_FILE, content)
        yield


def _require_own(workdir: pathlib.Path, config: ml_collections.ConfigDict) -> None:
    """Raises a UserError unless the folder is new, empty, or that of a run of this config."""
    if not workdir.exists():
        return
    if not workdir.is_dir():
        raise UserError(f"{workdir} is no folder; choose another --workdir")
    file = workdir / _CONFIG_FILE
    if not file.exists():
        # A run that was killed before its config was written leaves these, or drafts of them.
        ours = (LOCK, _VERSION_FILE, f".{_VERSION_FILE}.", f".{_CONFIG_FILE}.")
        if not all(path.name.startswith(ours) for path in workdir.iterdir()):
            raise UserError(f"{workdir} is not empty and holds no run; choose another --workdir")
        return
    _require_same_version(workdir)
    here, there = json.loads(configuration.as_json(config)), _read_config(file)
    different = configuration.differences(
        configuration.affects_results(here), configuration.affects_results(there)
    )
    if different:
        raise UserError(
            f"{workdir} holds a run of another config ({'; '.join(different[:3])}); "
            "choose another --workdir"
        )


def _require_same_version(workdir: pathlib.Path) -> None:
    file = workdir / _VERSION_FILE
    found = file.read_text(errors="replace").strip() if file.exists() else _UNNAMED_VERSION
    if found != jxhash.__version__:
        raise UserError(
            f"{workdir} holds a run of jxhash {found!r}, and this is {jxhash.__version__!r}; "
            "choose another --workdir, or install that version"
        )


def _read_config(file: pathlib.Path) -> dict[str, Any]:
    with contextlib.suppress(UserError):
        if isinstance(found := read_json(file), dict):
            return found
    raise UserError(
        f"{file} is damaged; replace it by that of a run of the same command, or choose another "
        "--workdir"
    )


def _require_same_data(workdir: pathlib.Path, card: Mapping[str, Any]) -> None:
    """Raises a UserError where the folder holds a run on other data of the same name."""
    file = workdir / _CARD_FILE
    theirs = read_json(file) if file.exists() else card
    if not isinstance(theirs, dict) or "sha256" not in theirs:
        raise UserError(f"{file} is damaged; remove it, or choose another --workdir")
    if theirs["sha256"] != card["sha256"]:
        raise UserError(
            f"{workdir} holds a run on other data (the hash of {card['name']} differs from that in "
            f"{_CARD_FILE}); choose another --workdir"
        )
