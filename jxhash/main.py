"""Trains a method, measures it and writes the report: `python -m jxhash.main --config=...`."""

import contextlib
import faulthandler
import hashlib
import json
import os
import pathlib
import re
import sys
import traceback
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import ml_collections
from absl import app, flags, logging
from ml_collections import config_flags

from jxhash import configuration, signals
from jxhash.atomic_files import LOCK, locked, read_json, write_atomically, writing
from jxhash.errors import Preempted, UserError, as_exit_code

_CONFIG = config_flags.DEFINE_config_file(
    "config",
    help_string="The config, such as configs/thn.py or configs/dcmh.py:wikipedia; single keys are "
    "changed by further flags, such as --config.bits=64.",
    lock_config=True,
)
_WORKDIR = flags.DEFINE_string(
    "workdir",
    None,
    "Where the run keeps everything; by default runs/<method>-<data>-<bits>-s<seed>-<hash>. The "
    "same command goes on where it was stopped; a finished run prints its report.",
)
_DATA_DIR = flags.DEFINE_string(
    "data_dir",
    None,
    "The folder of data sets that do not come with the package; by default $JXHASH_DATA_DIR.",
)
_COORDINATOR = flags.DEFINE_string(
    "coordinator",
    None,
    "To train with several processes: host:port of the first of them, the same for all; or 'auto' "
    "on a Cloud TPU slice or under Slurm, where JAX finds the others itself.",
)
_PROCESSES = flags.DEFINE_integer(
    "processes", None, "How many processes there are; with --coordinator=host:port.", lower_bound=1
)
_PROCESS = flags.DEFINE_integer(
    "process", None, "Which of them this is, from 0; process 0 alone writes.", lower_bound=0
)

_CONFIG_FILE = "config.json"
_CARD_FILE = "card.json"


def run(
    config: ml_collections.ConfigDict,
    workdir: pathlib.Path,
    data_dir: str | None = None,
) -> dict:
    """Trains, measures and reports; goes on where an earlier run in this folder stopped.

    With several processes all train, and the first alone reads and writes the folder.

    Args:
      config: as a file of configs/ gives it.
      workdir: made if missing; must be empty or hold a run of the same config.
      data_dir: the folder of data sets that do not come with the package.

    Returns:
      The report, as report.json holds it.

    Raises:
      UserError: something outside the library is wrong; the message says what and how to mend it.
    """
    from jxhash import data, methods, parallel
    from jxhash.evaluation import outcome, report
    from jxhash.training import engine, progress

    settings = configuration.read_run(config)
    parallel.value_from_first(lambda: _require_own(workdir, config))
    dataset = data.load(settings.data, data_dir)
    parallel.value_from_first(lambda: _require_same_data(workdir, dataset.card))
    _require_same_everywhere(config, dataset.card)
    if parallel.value_from_first(lambda: outcome.is_complete(workdir)):
        return parallel.value_from_first(lambda: report.read(workdir / outcome.REPORT))
    spec = engine.make_spec(
        dataset.training, settings.batch_size, vocabulary_size=dataset.vocabulary_size
    )
    method = methods.get(settings.method).build(config, spec)
    # Not before data and method fit together, so that a mistake leaves no folder behind.
    with contextlib.ExitStack() as held:
        claimed = _claimed(workdir, config, dataset.card)
        parallel.value_from_first(lambda: held.enter_context(claimed))
        validate = outcome.validation(method, dataset)
        state = engine.train(method, dataset.training, settings, workdir, validate)

        def finish() -> dict:
            lines = list(progress.read_metrics(workdir / progress.FILE))
            with writing(workdir):
                return outcome.write(method, state, dataset, config.to_dict(), workdir, lines)

        return parallel.value_from_first(finish)


@contextlib.contextmanager
def _claimed(
    workdir: pathlib.Path, config: ml_collections.ConfigDict, card: Mapping[str, Any]
) -> Iterator[None]:
    """Holds the folder, in which it writes what the run is of."""
    from jxhash.evaluation import outcome

    with locked(workdir):
        with writing(workdir):
            write_atomically(workdir / _CONFIG_FILE, configuration.as_json(config).encode())
            write_atomically(workdir / _CARD_FILE, outcome.to_json(card))
        yield


def _require_own(workdir: pathlib.Path, config: ml_collections.ConfigDict) -> None:
    """Raises a UserError unless the folder is new, empty, or that of a run of this config."""
    if not workdir.exists():
        return
    if not workdir.is_dir():
        raise UserError(f"{workdir} is no folder; choose another --workdir")
    file = workdir / _CONFIG_FILE
    if not file.exists():
        # A run that was killed before its config was written leaves the lock and a draft.
        ours = (LOCK, f".{_CONFIG_FILE}.")
        if not all(path.name.startswith(ours) for path in workdir.iterdir()):
            raise UserError(f"{workdir} is not empty and holds no run; choose another --workdir")
        return
    ours, theirs = json.loads(configuration.as_json(config)), _read_config(file)
    different = configuration.differences(*map(configuration.deciding, (ours, theirs)))
    if different:
        raise UserError(
            f"{workdir} holds a run of another config ({'; '.join(different[:3])}); "
            "choose another --workdir"
        )


def _read_config(file: pathlib.Path) -> dict[str, Any]:
    with contextlib.suppress(UserError):
        if isinstance(found := read_json(file), dict):
            return found
    raise UserError(
        f"{file} is damaged; put that of a run by the same command in its place, or choose another "
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


def _require_same_everywhere(config: ml_collections.ConfigDict, card: Mapping[str, Any]) -> None:
    """Raises a UserError where the processes have different configs or data."""
    from jxhash import parallel

    content = configuration.as_json(config) + card["sha256"]
    if not parallel.same_everywhere(hashlib.sha256(content.encode()).digest()):
        raise UserError(
            "the processes have different configs or data; start all of them with the same "
            "--config and --data_dir"
        )


def _parse(arguments: Sequence[str]) -> list[str]:
    """Parses the flags; what is wrong with them becomes a UserError."""
    try:
        return flags.FLAGS(_with_config_found(arguments))
    except AttributeError as error:
        raise UserError(_unknown_key(error)) from error
    except KeyError as error:
        raise UserError(f"unknown config key {error.args[0]}") from error
    except (flags.Error, ValueError, TypeError) as error:
        raise UserError(str(error).strip().splitlines()[-1]) from error


def _with_config_found(arguments: Sequence[str]) -> list[str]:
    found = list(arguments)
    for number, argument in enumerate(found):
        name, equals, value = argument.partition("=")
        if name.lstrip("-") != "config" or not argument.startswith("-"):
            continue
        if equals:
            found[number] = f"{name}={configuration.find(value)}"
        elif number + 1 < len(found):
            found[number + 1] = configuration.find(found[number + 1])
    return found


def _unknown_key(error: AttributeError) -> str:
    key = re.search(r"\w+", str(error))[0]
    near = re.search(r'Did you mean "(\w+)"', str(error))
    return f"unknown config key {key!r}" + (f"; did you mean {near[1]!r}?" if near else "")


def main(arguments: Sequence[str]) -> None:
    """Runs the command line; `arguments` are what is left of it after its flags."""
    if len(arguments) > 1:
        raise UserError(f"what is {arguments[1]!r}? Options begin with --, see --help")
    if _CONFIG.value is None:
        raise UserError("no config given; begin with --config=configs/thn.py")
    config = _CONFIG.value
    configuration.read_run(config)
    # The libraries below tell their every step otherwise.
    logging.set_verbosity(logging.WARNING)
    workdir = pathlib.Path(_WORKDIR.value or pathlib.Path("runs") / configuration.run_name(config))
    from jxhash import parallel
    from jxhash.evaluation.report import table

    with parallel.noticing_losses():
        _join_others()
        report = run(config, workdir, _DATA_DIR.value)
    if parallel.is_first():
        print(table(report))
        print(f"\nreport: {workdir / 'report.html'}")


def _join_others() -> None:
    """Joins the other processes where the flags speak of any."""
    from jxhash import parallel

    numbers = _PROCESSES.value, _PROCESS.value
    if _COORDINATOR.value is None:
        if numbers != (None, None):
            raise UserError("--processes and --process need --coordinator=host:port")
        return
    if _COORDINATOR.value != parallel.AUTO and None in numbers:
        raise UserError("--coordinator=host:port needs --processes and --process")
    if None not in numbers and _PROCESS.value >= _PROCESSES.value:
        raise UserError(f"--process={_PROCESS.value} is none of 0 to {_PROCESSES.value - 1}")
    with signals.dying_of_interrupts():
        parallel.join(_COORDINATOR.value, *numbers)
    # JAX aborts a process that has lost the first, in a few lines; the stacks of all threads that
    # absl would add tell nobody anything.
    faulthandler.disable()
    # JAX has put a handler of its own there.
    signals.leave_at_sigterm()


def _command() -> None:
    signals.leave_at_sigterm()
    try:
        with as_exit_code():
            app.run(main, flags_parser=_parse)
    except SystemExit as leaving:
        if isinstance(leaving.__context__, Preempted):
            _leave_together(leaving.code)
        if leaving.code in (None, 0) or _is_alone():
            raise
        _leave_at_once(leaving.code)
    except Exception:
        if _is_alone():
            raise
        traceback.print_exc()
        _leave_at_once(1)


def _is_alone() -> bool:
    # Where a flag is wrong, none is there to be asked for.
    return not flags.FLAGS.is_parsed() or _COORDINATOR.value is None


def _leave_together(code: int) -> None:
    # An update that was given up may still work in compiled code, which the regular way out aborts.
    from jxhash import parallel

    parallel.part()
    _leave_at_once(code)


def _leave_at_once(code: int) -> None:
    # The regular way out waits for the other processes, which wait for this one.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    _command()
