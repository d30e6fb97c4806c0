r"""Scores codes from files, and puts reports side by side: `python -m jxhash.evaluate ...`.

    python -m jxhash.evaluate codes.mat
    python -m jxhash.evaluate --query=q.npy --database=d.npy --query_labels=ql.npy \
        --database_labels=dl.npy --num_bits=64
    python -m jxhash.evaluate runs/*/report.json

The first form takes a .mat or .npz file with the names that the field's projects save (q_img,
q_txt, r_img, r_txt, q_l, r_l and their spellings), or the codes.npz of a run, and scores all its
directions; the second names the arrays of one direction, FILE or FILE:NAME; codes are -1 and +1,
0 and 1, or packed with --num_bits. The third prints the trained rows of several reports in one
table, refuses where their protocol cards differ, and compares them query by query where their
folders hold queries.npz. Every measure is exact, as the expectation over the order of ties.
"""

import argparse
import collections
import pathlib
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from jxhash.errors import UserError, as_exit_code
from jxhash.metrics.measures import EMPTY
from jxhash.metrics.per_query import DENOMINATORS
from jxhash.metrics.ranking import TIES

if TYPE_CHECKING:
    from jxhash.evaluation.code_files import Search
    from jxhash.evaluation.measure import Definitions, Found

_PARTS = ("query", "database", "query_labels", "database_labels")


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m jxhash.evaluate",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        argument_default=argparse.SUPPRESS,
    )
    parser.add_argument(
        "files", nargs="*", default=[], help="one file of codes and labels, or reports"
    )
    for name in ("query", "database"):
        parser.add_argument(f"--{name}", help=f"codes of the {name}: FILE or FILE:NAME")
    for name in ("query", "database"):
        parser.add_argument(f"--{name}_labels", help="multi-hot labels or class ids")
    parser.add_argument("--num_bits", type=int, help="code length, where codes are packed")
    parser.add_argument("--cut", type=int, help="k of MAP@k and NDCG@k (50)")
    parser.add_argument("--radius", type=int, help="of lookups, in bits (2)")
    parser.add_argument(
        "--denominator",
        choices=DENOMINATORS,
        help="of MAP@k: the most that k positions can hold, all relevant items, or those found",
    )
    parser.add_argument(
        "--empty",
        choices=EMPTY,
        help="queries without a relevant item: count as 0, are left out, or are refused",
    )
    parser.add_argument(
        "--ties",
        choices=TIES,
        help="items at one distance: expected over their orders, or as stored (published code)",
    )
    parser.add_argument(
        "--output", type=pathlib.Path, help="folder for report.json, report.html, queries.npz"
    )
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
    from jxhash.evaluation import comparison, report

    _refuse_options(arguments, ("files", "anyway"), "reports keep what they were made with")
    reports = [report.read(pathlib.Path(file)) for file in arguments.files]
    titles = collections.Counter(one["title"] for one in reports)
    named = [
        one if titles[one["title"]] == 1 else one | {"title": f"{one['title']}: {file}"}
        for one, file in zip(reports, arguments.files, strict=True)
    ]
    printed = report.joint_table(named, anyway="anyway" in arguments)
    if "anyway" in arguments:
        return printed
    paired = comparison.paired_table(named, [pathlib.Path(file) for file in arguments.files])
    return f"{printed}\n\n{paired}".rstrip()


def _refuse_options(arguments: argparse.Namespace, known: Sequence[str], why: str) -> None:
    others = [f"--{name}" for name in vars(arguments) if name not in known]
    if others:
        raise UserError(f"{', '.join(others)} cannot be given here: {why}")


def _score(arguments: argparse.Namespace) -> str:
    from jxhash.atomic_files import write_atomically
    from jxhash.evaluation import report, report_page
    from jxhash.evaluation.comparison import QUERIES
    from jxhash.evaluation.measure import Definitions
    from jxhash.evaluation.outcome import PAGE, REPORT, to_json

    options = {
        name: value for name, value in vars(arguments).items() if name in Definitions._fields
    }
    parts = ("files", "output", "num_bits", *_PARTS, *Definitions._fields)
    _refuse_options(arguments, parts, "there is one set of codes to score")
    name, searches = _searches(arguments)
    output = getattr(arguments, "output", None)
    if output:
        _make_folder(output)
    made, queries = _report(name, searches, options)
    printed = report.table(made)
    if output:
        write_atomically(output / QUERIES, queries)
        write_atomically(output / PAGE, report_page.make_page(made, {}, []))
        write_atomically(output / REPORT, to_json(made))
        printed += f"\n\nreport: {output / PAGE}"
    return printed


def _make_folder(folder: pathlib.Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"{folder} cannot be made ({error.strerror}); choose another --output"
        ) from error


def _report(
    name: str, searches: Mapping[str, "Search"], options: Mapping[str, Any]
) -> tuple[dict[str, Any], bytes]:
    """The report, and the values of its queries as a file."""
    import jxhash
    from jxhash.evaluation import code_files, comparison, measure, report

    found = {task: code_files.found(task, search) for task, search in searches.items()}
    # What was not asked for gives way to small data; what was asked for is done or refused.
    definitions = measure.fitted(measure.DEFAULT, found.values())._replace(**options)
    _require_measurable(found, definitions)
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
        "sha256": code_files.labels_hash(searches),
    }
    title = f"{name}, {first.query.shape[1]} bits"
    bits = measure.bit_statistics(found)
    distance = "Hamming distance between codes"
    made = report.make_report(title, card, distance, results, bits, {}, definitions)
    return made, comparison.to_npz({measure.GIVEN: found}, definitions)


def _require_measurable(found: Mapping[str, "Found"], definitions: "Definitions") -> None:
    """Refuses a cut and a radius that the data does not have, and unanswered queries if asked."""
    from jxhash.evaluation import measure
    from jxhash.metrics import per_query

    most = measure.fitted(definitions._replace(cut=sys.maxsize, radius=sys.maxsize), found.values())
    if not 1 <= definitions.cut <= most.cut:
        raise UserError(f"--cut={definitions.cut} is not within the database of {most.cut} items")
    if not 0 <= definitions.radius <= most.radius:
        raise UserError(f"--radius={definitions.radius} is not within the {most.radius} bits")
    for task, one in found.items():
        unanswered = int((~per_query.answerable(one.histogram)).sum())
        if definitions.empty == "error" and unanswered:
            raise UserError(
                f"{unanswered} of {len(one.query)} queries, {task}, have nothing relevant in the "
                "database; choose another --empty"
            )


def _searches(arguments: argparse.Namespace) -> tuple[str, dict[str, "Search"]]:
    from jxhash.evaluation import code_files

    num_bits = getattr(arguments, "num_bits", None)
    given = {name: getattr(arguments, name) for name in _PARTS if name in arguments}
    if len(arguments.files) == 1 and not given:
        (file,) = arguments.files
        return pathlib.Path(file).name, code_files.searches_in(file, num_bits)
    missing = [f"--{name}" for name in _PARTS if name not in given]
    if arguments.files or missing:
        raise UserError(
            "give one file of codes and labels, or all of --query, --database, --query_labels and "
            f"--database_labels{f'; {missing[0]} is missing' if given and missing else ''}"
        )
    arrays = {name: code_files.read_array(value) for name, value in given.items()}
    search = code_files.search_of(arrays, num_bits)
    return pathlib.Path(arguments.query).name, {"query to database": search}


def main() -> None:
    """The command line."""
    with as_exit_code():
        print(run(parse(sys.argv[1:])))


if __name__ == "__main__":
    main()
