"""What a figure is kept with: the command that made it, the machine, the versions."""

import importlib.metadata
import json
import os
import pathlib
import platform
import shlex
import sys
from collections.abc import Mapping
from typing import Any


def keep(found: Mapping[str, Any], packages: tuple[str, ...], out: pathlib.Path | None) -> None:
    """Prints a record as JSON, and writes it where a file is named.

    Args:
      found: JSON values.
      packages: whose versions the record tells.
      out: the file; None for none.
    """
    record = {
        "command": shlex.join(["python", *sys.argv]),
        "machine": f"{platform.machine()}, {len(os.sched_getaffinity(0))} cores",
        "versions": {name: importlib.metadata.version(name) for name in packages},
        **found,
    }
    text = json.dumps(record, indent=1) + "\n"
    print(text, end="")
    if out:
        out.write_text(text)
