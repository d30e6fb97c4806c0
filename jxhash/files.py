"""Files that are whole or not there."""

import os
import pathlib


def write_atomically(path: pathlib.Path, content: bytes) -> None:
    """Writes a file so that a reader finds the old content or the new, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    with open(draft, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
