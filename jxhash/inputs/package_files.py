"""Reading the data files that ship with the package."""

import hashlib
import pathlib

from jxhash.errors import UserError


def read(path: pathlib.Path, sha256: str | None = None) -> bytes:
    """The content of a file of the package, of the given SHA-256 where one is named.

    Raises:
      UserError: the file is missing, cannot be read, or is another one.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path} cannot be read; install the package again") from error
    if sha256 not in (None, hashlib.sha256(content).hexdigest()):
        raise UserError(f"{path} is truncated or changed; install the package again")
    return content
