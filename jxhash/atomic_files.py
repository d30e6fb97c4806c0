"""Atomic writes, locks and JSON: the files of a run folder."""

import contextlib
import errno
import fcntl
import json
import os
import pathlib
from collections.abc import Iterator
from typing import Any, BinaryIO

from jxhash.errors import UserError

LOCK = ".lock"

_DEEPEST_JSON = 64

_WRITABLE = "make it writable"
_IN_THE_WAY = "move away what stands where its files and folders belong"
FIXES = {
    errno.ENOSPC: "make room there",
    errno.EDQUOT: "make room within the quota",
    errno.EFBIG: "allow larger files (ulimit -f)",
    errno.EROFS: _WRITABLE,
    errno.EACCES: _WRITABLE,
    errno.EPERM: _WRITABLE,
    errno.EIO: "repair or replace the disk",
    errno.ESTALE: "mount it again",
    errno.ENOENT: "put it back where it was",
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.EEXIST: _IN_THE_WAY,
    errno.EISDIR: _IN_THE_WAY,
    errno.ENOTDIR: _IN_THE_WAY,
}
_WRITE_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)


def unwritable(folder: pathlib.Path, number: int) -> UserError:
    """The error for a folder that cannot be written; `number` is a key of `FIXES`."""
    return UserError(
        f"{folder} cannot be written ({os.strerror(number)}): {FIXES[number]}, then give the same "
        "command again; what was saved before is kept"
    )


@contextlib.contextmanager
def writing(folder: pathlib.Path) -> Iterator[None]:
    """Turns a write below a folder that fails because of its disk into a UserError."""
    try:
        yield
    except OSError as error:
        ours = str(error.filename or "").startswith(str(folder))
        if error.errno is None or error.errno not in (FIXES if ours else _WRITE_ERRORS):
            raise
        raise unwritable(folder, error.errno) from error


@contextlib.contextmanager
def replacing(path: pathlib.Path) -> Iterator[BinaryIO]:
    """Opens a file for an atomic write: a reader finds the old content or the new, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with open(draft, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def write_atomically(path: pathlib.Path, content: bytes) -> None:
    """Writes a file atomically: a reader finds the old content or the new, never a part."""
    with replacing(path) as file:
        file.write(content)


def parse_json(content: str | bytes) -> Any:
    """Parses untrusted JSON; the result can be printed and written again.

    Raises:
      ValueError: it is not JSON, is nested too deeply, or holds lone surrogates.
    """
    try:
        parsed = json.loads(content)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    level = [parsed]
    for _ in range(_DEEPEST_JSON):
        nested = [one for one in level if isinstance(one, (dict, list))]
        level = [
            child for one in nested for child in (one.values() if isinstance(one, dict) else one)
        ]
        if not level:
            json.dumps(parsed, ensure_ascii=False).encode()
            return parsed
    raise ValueError("it is nested too deeply")


def read_json(path: pathlib.Path) -> Any:
    """Reads a JSON file.

    Raises:
      UserError: the file is missing, cannot be read or is damaged.
    """
    try:
        return parse_json(path.read_bytes())
    except FileNotFoundError as error:
        raise UserError(f"there is no file {path}") from error
    except (OSError, ValueError) as error:
        raise UserError(f"{path} is damaged ({error}); remove it, or choose another") from error


@contextlib.contextmanager
def locked(folder: pathlib.Path) -> Iterator[None]:
    """Creates a folder if missing and locks it for this process.

    The system releases the lock when the process ends, however it ends.

    Raises:
      UserError: the folder cannot be created or written, or another process has locked it.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = open(folder / LOCK, "w")  # noqa: SIM115 - held until the end
    except OSError as error:
        raise UserError(f"{folder} cannot be used ({error.strerror}); choose another") from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise UserError(
                f"another process uses {folder}; wait for it, or choose another"
            ) from error
        yield
