"""Errors with an exit code: how a command ends other than with a result."""

import contextlib
import sys
from collections.abc import Iterator

PREEMPTED = 143  # as a shell reports a process that SIGTERM ended
INTERRUPTED = 130  # the same for Ctrl-C
START_AGAIN = 75  # "temporary failure" of sysexits.h


class UserError(ValueError):
    """Something outside the library is wrong; the message names it and the fix.

    The command line prints the message without a traceback and exits with code 2.
    """


class Preempted(BaseException):
    """The run was preempted (SIGTERM, Ctrl-C) and has saved; the same command resumes it.

    A BaseException like KeyboardInterrupt, so that no handler of errors catches it.
    """


class ProcessLostError(RuntimeError):
    """Another process of the same training has ended; restarted, all resume together."""


_CODES = {UserError: 2, Preempted: PREEMPTED, ProcessLostError: START_AGAIN}


@contextlib.contextmanager
def as_exit_code() -> Iterator[None]:
    """Around a command: prints one of these errors on one line and exits with its code."""
    try:
        yield
    except KeyboardInterrupt:
        print("jxhash: stopped; give the same command again", file=sys.stderr)
        sys.exit(INTERRUPTED)
    except tuple(_CODES) as error:
        print(f"jxhash: {error}", file=sys.stderr, flush=True)
        sys.exit(next(code for kind, code in _CODES.items() if isinstance(error, kind)))
    except OSError as error:
        # An unforeseen OSError that names a file: blame the file.
        if error.filename is None:
            raise
        print(f"jxhash: {error.filename}: {error.strerror}", file=sys.stderr, flush=True)
        sys.exit(_CODES[UserError])
