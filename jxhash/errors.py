"""How a run ends other than with a report."""


class UserError(ValueError):
    """Something outside the library is wrong; the message names it and says how to mend it.

    The command line prints the message alone and leaves with exit code 2, without a traceback.
    """


class Preempted(Exception):  # noqa: N818 - an event, not an error
    """The run was asked to stop (SIGTERM, Ctrl-C) and has saved; the same command goes on."""


class ProcessLostError(RuntimeError):
    """Another process of the same training has ended; started again, all go on together."""
