"""The error that a user can mend: one line that names the thing and the mend."""


class UserError(ValueError):
    """Something outside the library is wrong; the message names it and says how to mend it.

    The command line prints the message alone and leaves with exit code 2, without a traceback.
    """
