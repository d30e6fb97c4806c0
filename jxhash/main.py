"""Trains a method, measures it and writes the report: `python -m jxhash.main --config=...`."""

import faulthandler
import os
import pathlib
import re
import sys
import traceback
from collections.abc import Sequence

from absl import app, flags, logging
from ml_collections import config_flags

from jxhash import auto_settings, configuration, signals
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
    "The run folder; by default runs/<method>-<data>-<bits>-s<seed>-<hash>. The same command "
    "resumes where it was stopped; a finished run prints its report.",
)
_DATA_DIR = flags.DEFINE_string(
    "data_dir",
    None,
    "The folder of data sets that do not come with the package; by default $JXHASH_DATA_DIR.",
)
_COORDINATOR = flags.DEFINE_string(
    "coordinator",
    None,
    "To train with several processes: host:port of the first, the same for all; or 'auto' on a "
    "Cloud TPU slice or under Slurm, where JAX detects the cluster.",
)
_PROCESSES = flags.DEFINE_integer(
    "processes", None, "How many processes there are; with --coordinator=host:port.", lower_bound=1
)
_PROCESS = flags.DEFINE_integer(
    "process",
    None,
    "The number of this process, from 0; only process 0 writes files.",
    lower_bound=0,
)


# config_flags reads a number where the config has one.
_AUTO = re.compile(r"--?config\.([\w.]+)=auto")


def _parse(arguments: Sequence[str]) -> list[str]:
    """Parses the flags; turns errors in them into a UserError."""
    open_keys = [found[1] for found in map(_AUTO.fullmatch, arguments) if found]
    try:
        rest = flags.FLAGS(_with_config_found([a for a in arguments if not _AUTO.fullmatch(a)]))
        if open_keys:
            auto_settings.leave_open(_CONFIG.value, open_keys)
        return rest
    except AttributeError as error:
        raise UserError(_unknown_key(error)) from error
    except KeyError as error:
        raise UserError(f"unknown config key {error.args[0]}") from error
    except (flags.Error, ValueError, TypeError) as error:
        raise UserError(str(error).strip().splitlines()[-1]) from error


def _with_config_found(arguments: Sequence[str]) -> list[str]:
    """The arguments with the path of the config found, in the variant for `--config.data`."""
    found, config, data = list(arguments), None, None
    for number, argument in enumerate(found):
        name, equals, _ = argument.partition("=")
        place = (number, len(name) + 1) if equals else (number + 1, 0)
        if argument.startswith("-") and place[0] < len(found):
            config = place if name.lstrip("-") == "config" else config
            data = place if name.lstrip("-") == "config.data" else data
    if config is not None:
        number, begin = config
        path = configuration.find(found[number][begin:])
        if data is not None and configuration.is_packaged(path):
            path = f"{path}:{found[data[0]][data[1] :]}"
        found[number] = found[number][:begin] + path
    return found


def _unknown_key(error: AttributeError) -> str:
    key, *_ = re.findall(r"\w+", str(error))
    near = re.findall(r'Did you mean "(\w+)"', str(error))
    return f"unknown config key {key!r}" + (f"; did you mean {near[0]!r}?" if near else "")


def main(arguments: Sequence[str]) -> None:
    """Runs the command line; `arguments` are the program and what follows its flags."""
    if len(arguments) > 1:
        raise UserError(f"what is {arguments[1]!r}? Options begin with --, see --help")
    if _CONFIG.value is None:
        raise UserError("no config given; begin with --config=configs/thn.py")
    config = _CONFIG.value
    auto_settings.read_numbers(config)
    auto_settings.read_run(config)
    # Otherwise the libraries below log every step.
    logging.set_verbosity(logging.WARNING)
    workdir = pathlib.Path(_WORKDIR.value or pathlib.Path("runs") / configuration.run_name(config))
    from jxhash import processes, running
    from jxhash.evaluation.report import table

    with processes.noticing_losses():
        _join_others()
        report = running.run(config, workdir, _DATA_DIR.value)
    if processes.is_first():
        print(table(report))
        print(f"\nreport: {workdir / 'report.html'}")


def _join_others() -> None:
    """Joins the other processes if the flags name any."""
    from jxhash import processes

    coordinator, number, own = _COORDINATOR.value, _PROCESSES.value, _PROCESS.value
    if coordinator is None:
        if number is not None or own is not None:
            raise UserError("--processes and --process need --coordinator=host:port")
        return
    if coordinator != processes.AUTO and (number is None or own is None):
        raise UserError("--coordinator=host:port needs --processes and --process")
    if number is not None and own is not None and own >= number:
        raise UserError(f"--process={own} is none of 0 to {number - 1}")
    with signals.ending_at_ctrl_c():
        processes.join(coordinator, number, own)
    # JAX aborts a process that has lost the first, with a few lines; absl would add the stacks of
    # all threads.
    faulthandler.disable()
    # JAX has installed a SIGTERM handler of its own.
    signals.leave_at_sigterm()


def _command() -> None:
    signals.leave_at_sigterm()
    try:
        with as_exit_code():
            app.run(main, flags_parser=_parse)
    except SystemExit as leaving:
        code = int(leaving.code or 0)
        if isinstance(leaving.__context__, Preempted):
            _leave_together(code)
        if code == 0 or _is_alone():
            raise
        _leave_at_once(code)
    except Exception:
        if _is_alone():
            raise
        traceback.print_exc()
        _leave_at_once(1)


def _is_alone() -> bool:
    # After a wrong flag, flags have no values.
    return not flags.FLAGS.is_parsed() or _COORDINATOR.value is None


def _leave_together(code: int) -> None:
    # An abandoned update may still run in compiled code, which a regular exit aborts.
    from jxhash import processes

    processes.leave()
    _leave_at_once(code)


def _leave_at_once(code: int) -> None:
    # A regular exit waits for the other processes, which wait for this one.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    _command()
