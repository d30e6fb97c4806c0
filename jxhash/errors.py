"""How a run ends other than with a report."""

import contextlib
import sys
from collections.abc import Iterator

PREEMPTED = 143  # what a shell reports of a process that SIGTERM ended
INTERRUPTED = 130  # the same of Ctrl-C
START_AGAIN = 75  # "temporary failure" of sysexits.h


class UserError(ValueError):
    """Something outside the library is wrong; the message names it and says how to mend it.

    The command line prints the message alone and leaves with exit code 2, without a traceback.
    """


class Preempted(BaseException):
    """The run was asked to stop (SIGTERM, Ctrl-C) and has saved; the same command goes on.

    As with Ctrl-C, nothing that makes the best of an error (a file that cannot be read) may take
    it for one.
    """


class ProcessLostError(RuntimeError):
    """Another process of the same training has ended; started again, all go on together."""


_CODES = {UserError: 2, Preempted: PREEMPTED, ProcessLostError: START_AGAIN}


@contextlib.contextmanager
def as_exit_code() -> Iterator[None]:
    """Around a command: prints one of these errors in a line, and leaves with its exit code."""
    try:
        yield
    except KeyboardInterrupt:
        print("jxhash: stopped; give the same command again", file=sys.stderr)
        sys.exit(INTERRUPTED)
    except tuple(_CODES) as error:
        print(f"jxhash: {error}", file=sys.stderr, flush=True)
        sys.exit(next(code for kind, code in _CODES.items() if isinstance(error, kind)))
    except OSError as error:
        # Whatever nobody foresaw, it is the file that is wrong.
        if error.filename is None:
            raise
        print(f"jxhash: {error.filename}: {error.strerror}", file=sys.stderr, flush=True)
        sys.exit(_CODES[UserError])
