"""`python -m jxhash.data.builders mirflickr25k/pairs`: builds a data set from its archive."""

import os
import sys

from absl import app, flags

from jxhash.data import builders
from jxhash.errors import UserError

_DATA_DIR = flags.DEFINE_string(
    "data_dir",
    os.environ.get("JXHASH_DATA_DIR"),
    "Where prepared data sets are kept; by default $JXHASH_DATA_DIR.",
)
_MANUAL_DIR = flags.DEFINE_string(
    "manual_dir",
    None,
    "Where archives lie that are at hand; by default downloads/manual in --data_dir.",
)


def _main(arguments: list[str]) -> None:
    names = arguments[1:]
    if not names or not _DATA_DIR.value:
        sys.exit(f"give --data_dir and one of {', '.join(builders.names())}; see docs/data.md")
    try:
        for name in names:
            print(builders.prepare(name, _DATA_DIR.value, _MANUAL_DIR.value))
    except UserError as error:
        print(error, file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    app.run(_main)
