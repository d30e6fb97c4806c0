"""How a run ends other than with a report."""

import contextlib
import sys
from collections.abc import Iterator

MISTAKE = 2
PREEMPTED = 143  # what a shell reports of a process that SIGTERM ended


class UserError(ValueError):
    """Something outside the library is wrong; the message names it and says how to mend it.

    The command line prints the message alone and leaves with exit code 2, without a traceback.
    """


class Preempted(Exception):  # noqa: N818 - an event, not an error
    """The run was asked to stop (SIGTERM, Ctrl-C) and has saved; the same command goes on."""


@contextlib.contextmanager
def as_exit_code() -> Iterator[None]:
    """Around a command: prints a UserError, or that it was stopped, in a line, and leaves."""
    try:
        yield
    except (UserError, Preempted) as error:
        print(f"jxhash: {error}", file=sys.stderr)
        sys.exit(MISTAKE if isinstance(error, UserError) else PREEMPTED)
