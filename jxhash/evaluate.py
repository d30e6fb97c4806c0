r"""Scores codes from files, and puts reports side by side: `python -m jxhash.evaluate ...`.

    python -m jxhash.evaluate codes.mat
    python -m jxhash.evaluate --query=q.npy --database=d.npy --query_labels=ql.npy \
        --database_labels=dl.npy --num_bits=64
    python -m jxhash.evaluate runs/*/report.json

The first form takes a .mat or .npz file with the names that the field's projects save (q_img,
q_txt, r_img, r_txt, q_l, r_l and their spellings) and scores both directions; the second names the
arrays of one direction, FILE or FILE:NAME; codes are -1 and +1, 0 and 1, or packed with --num_bits.
The third prints the trained rows of several reports in one table, and refuses where their protocol
cards differ. Every measure is exact, as the expectation over the order of ties.
"""

import argparse
import pathlib
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from jxhash.errors import UserError

if TYPE_CHECKING:
    from jxhash.evaluation.files import Search
    from jxhash.evaluation.measure import Definitions


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m jxhash.evaluate",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("files", nargs="*", help="one file of codes and labels, or reports")
    for name in ("query", "database"):
        parser.add_argument(f"--{name}", help=f"codes of the {name}: FILE or FILE:NAME")
    for name in ("query", "database"):
        parser.add_argument(f"--{name}_labels", help="multi-hot labels or class ids")
    parser.add_argument("--num_bits", type=int, help="code length, where codes are packed")
    parser.add_argument("--cut", type=int, default=50, help="k of MAP@k and NDCG@k (50)")
    parser.add_argument("--radius", type=int, default=2, help="of lookups, in bits (2)")
    parser.add_argument(
        "--denominator",
        default="min(k, relevant)",
        choices=("min(k, relevant)", "relevant", "retrieved relevant"),
        help="of MAP@k: the most that k positions can hold, all relevant items, or those found",
    )
    parser.add_argument(
        "--empty",
        default="zero",
        choices=("zero", "skip"),
        help="queries without a relevant item: count as 0, or are left out",
    )
    parser.add_argument(
        "--ties",
        default="expected",
        choices=("expected", "database_order"),
        help="items at one distance: expected over their orders, or as stored (published code)",
    )
    parser.add_argument("--output", type=pathlib.Path, help="folder for report.json, report.html")
    parser.add_argument("--anyway", action="store_true", help="reports with different protocols")
    return parser.parse_args(arguments)


def run(arguments: argparse.Namespace) -> str:
    """Scores or compares; returns what is printed.

    Raises:
      UserError: something about the files or options is wrong.
    """
    if arguments.files and all(file.endswith(".json") for file in arguments.files):
        return _compare(arguments)
    return _score(arguments)


def _compare(arguments: argparse.Namespace) -> str:
    from jxhash.evaluation import report

    reports = [report.read(pathlib.Path(file)) for file in arguments.files]
    return report.joint_table(reports, anyway=arguments.anyway)


def _score(arguments: argparse.Namespace) -> str:
    from jxhash.evaluation import measure, page, report
    from jxhash.evaluation.outcome import PAGE, REPORT, to_json
    from jxhash.files import write_atomically

    if arguments.cut < 1 or arguments.radius < 0:
        raise UserError("--cut is at least 1 and --radius at least 0")
    name, searches = _searches(arguments)
    if arguments.output:
        _make_folder(arguments.output)
    options = {option: getattr(arguments, option) for option in measure.Definitions._fields}
    made = _report(name, searches, measure.Definitions(**options))
    printed = report.table(made)
    if arguments.output:
        write_atomically(arguments.output / PAGE, page.make_page(made, {}, []))
        write_atomically(arguments.output / REPORT, to_json(made))
        printed += f"\n\nreport: {arguments.output / PAGE}"
    return printed


def _make_folder(folder: pathlib.Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"{folder} cannot be made ({error.strerror}); choose another --output"
        ) from error


def _report(
    name: str, searches: Mapping[str, "Search"], definitions: "Definitions"
) -> dict[str, Any]:
    import jxhash
    from jxhash.evaluation import files, measure, report

    found = {task: files.found(task, search) for task, search in searches.items()}
    results = {
        task: {
            measure.GIVEN: measure.measures(one, definitions),
            measure.RANDOM: measure.random_measures(one, definitions),
        }
        for task, one in found.items()
    }
    first = next(iter(searches.values()))
    card = {
        "name": "labels of the files",
        "version": jxhash.__version__,
        "sizes": {"queries": len(first.query), "database": len(first.database)},
        "sha256": files.labels_hash(searches),
    }
    title = f"{name}, {first.query.shape[1]} bits"
    bits = measure.bit_statistics(found)
    distance = "Hamming distance between codes"
    return report.make_report(title, card, distance, results, bits, {}, definitions)


def _searches(arguments: argparse.Namespace) -> tuple[str, dict[str, "Search"]]:
    from jxhash.evaluation import files

    parts = ("query", "database", "query_labels", "database_labels")
    given = {name: getattr(arguments, name) for name in parts}
    if len(arguments.files) == 1 and not any(given.values()):
        (file,) = arguments.files
        return pathlib.Path(file).name, files.searches_in(file, arguments.num_bits)
    missing = [f"--{name}" for name, value in given.items() if not value]
    if arguments.files or missing:
        raise UserError(
            "give one file of codes and labels, or all of --query, --database, --query_labels and "
            f"--database_labels{f'; {missing[0]} is missing' if any(given.values()) else ''}"
        )
    arrays = {name: files.read_array(value) for name, value in given.items()}
    search = files.search_of(arrays, arguments.num_bits)
    return pathlib.Path(arguments.query).name, {"query to database": search}


def main() -> None:
    """The command line."""
    try:
        print(run(parse(sys.argv[1:])))
    except UserError as error:
        print(f"jxhash: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
