"""`python -m jxhash.data.builders nuswide/tc21 --data_dir=FOLDER`: builds from the archive."""

import argparse
import os
import sys
from collections.abc import Sequence

from jxhash.data import builders
from jxhash.errors import as_exit_code


def main(arguments: Sequence[str]) -> None:
    """Builds data sets."""
    parser = argparse.ArgumentParser(
        prog="python -m jxhash.data.builders",
        description="Builds data sets from the archives of their authors; see docs/data.md.",
        epilog=f"data sets: {', '.join(builders.names())}",
    )
    parser.add_argument("names", nargs="+", help="data sets, with a config where one is wanted")
    parser.add_argument(
        "--data_dir",
        default=os.environ.get("JXHASH_DATA_DIR"),
        required=not os.environ.get("JXHASH_DATA_DIR"),
        help="where prepared data sets are kept; by default $JXHASH_DATA_DIR",
    )
    parser.add_argument(
        "--manual_dir",
        help="where archives lie that are at hand; by default downloads/manual in --data_dir",
    )
    settings = parser.parse_args(arguments)
    with as_exit_code():
        for name in settings.names:
            print(builders.prepare(name, settings.data_dir, settings.manual_dir))


if __name__ == "__main__":
    main(sys.argv[1:])
