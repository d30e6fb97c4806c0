r"""Measures codes from files, and compares reports: `python -m jxhash.evaluate ...`.

    python -m jxhash.evaluate codes.mat
    python -m jxhash.evaluate --query=q.npy --database=d.npy --query_labels=ql.npy \
        --database_labels=dl.npy --num_bits=64
    python -m jxhash.evaluate runs/*/report.json

The first form measures all directions of a .mat, .npz or .h5 file with the array names of
published code (q_img, q_txt, r_img, r_txt, q_l, r_l and their spellings), or of the codes.npz of a
run. The second names the arrays of one direction, FILE or FILE:NAME. Codes are -1 and +1, 0 and 1,
or packed (--num_bits). The third prints the trained rows of several reports in one table, unless
their protocol cards differ, and compares them query by query if their folders hold queries.npz.
Every measure is the exact expectation over the order of ties.
"""

import argparse
import collections
import pathlib
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import jxhash
from jxhash.errors import UserError, as_exit_code
from jxhash.evaluation import artifacts, code_files, comparison, measure, report
from jxhash.evaluation.code_files import Search
from jxhash.evaluation.measure import Definitions, Found
from jxhash.metrics.per_query import DENOMINATORS
from jxhash.metrics.query_means import EMPTY
from jxhash.metrics.ranking import TIES


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Reads the command line; options that are not given are no attributes of the result."""
    parser = argparse.ArgumentParser(
        prog="python -m jxhash.evaluate",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        argument_default=argparse.SUPPRESS,
    )
    add = parser.add_argument
    add("files", nargs="*", default=[], help="one file of codes and labels, or reports")
    add("--query", help="codes of the query: FILE or FILE:NAME")
    add("--database", help="codes of the database: FILE or FILE:NAME")
    add("--query_labels", help="multi-hot labels or class ids")
    add("--database_labels", help="multi-hot labels or class ids")
    add("--num_bits", type=int, help="code length of packed codes")
    add("--cut", type=int, help="k of MAP@k and NDCG@k (50)")
    add("--radius", type=int, help="Hamming radius of lookups, in bits (2)")
    add(
        "--denominator",
        choices=DENOMINATORS,
        help="of MAP@k: min(k, relevant items), all relevant items, or those among the first k",
    )
    add(
        "--empty",
        choices=EMPTY,
        help="queries without a relevant item: count them as 0, skip them, or refuse",
    )
    add(
        "--ties",
        choices=TIES,
        help="items at equal distance: expectation over their orders, or database order",
    )
    add("--output", type=pathlib.Path, help="folder for report.json, report.html, queries.npz")
    add("--anyway", action="store_true", help="show reports of other protocols too")
    return parser.parse_args(arguments)


def run(arguments: argparse.Namespace) -> str:
    """Measures codes or compares reports; returns the text to print.

    Raises:
      UserError: a file or an option is wrong.
    """
    if arguments.files and all(file.endswith(".json") for file in arguments.files):
        return _compare(arguments)
    return _score(arguments)


def _compare(arguments: argparse.Namespace) -> str:
    _refuse_options(arguments, ("files", "anyway"), "a report keeps the options of its making")
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
    fields = Definitions._fields
    known = ("files", "output", "num_bits", *Search._fields, *fields)
    _refuse_options(arguments, known, "it is for reports alone")
    name, searches = _searches(arguments)
    output = getattr(arguments, "output", None)
    if output:
        _make_folder(output)
    found = {task: code_files.found(task, search) for task, search in searches.items()}
    # Defaults are limited to what small data allows; what was asked for is done or refused.
    options = {name: value for name, value in vars(arguments).items() if name in fields}
    definitions = measure.fitted(measure.DEFAULT, found.values())._replace(**options)
    _require_measurable(found, definitions)
    made = _report(name, searches, found, definitions)
    printed = report.table(made)
    if output:
        artifacts.write_report(output, made, {measure.GIVEN: found}, definitions, {}, [])
        printed += f"\n\nreport: {output / artifacts.PAGE}"
    return printed


def _make_folder(folder: pathlib.Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"{folder} cannot be created ({error.strerror}); choose another --output"
        ) from error


def _report(
    name: str, searches: Mapping[str, Search], found: Mapping[str, Found], definitions: Definitions
) -> dict[str, Any]:
    first = next(iter(searches.values()))
    card = {
        "name": "labels of the files",
        "version": jxhash.__version__,
        "sizes": {"queries": len(first.query), "database": len(first.database)},
        "sha256": code_files.labels_hash(searches),
    }
    return report.make_report(
        f"{name}, {first.query.shape[1]} bits",
        card,
        "Hamming distance between codes",
        measure.evaluate({measure.GIVEN: found}, definitions),
        measure.bit_statistics(found),
        {},
        definitions,
    )


def _require_measurable(found: Mapping[str, Found], definitions: Definitions) -> None:
    """Refuses a cut or radius beyond the data and, if asked, queries without a relevant item."""
    most = measure.fitted(definitions._replace(cut=sys.maxsize, radius=sys.maxsize), found.values())
    if not 1 <= definitions.cut <= most.cut:
        raise UserError(f"--cut={definitions.cut} is not within the database of {most.cut} items")
    if not 0 <= definitions.radius <= most.radius:
        raise UserError(f"--radius={definitions.radius} is not within the {most.radius} bits")
    for task, one in found.items():
        unanswered = int((~one.answerable).sum())
        if definitions.empty == "error" and unanswered:
            raise UserError(
                f"{unanswered} of {len(one.query)} queries, {task}, have no relevant item in the "
                "database; choose another --empty"
            )


def _searches(arguments: argparse.Namespace) -> tuple[str, dict[str, Search]]:
    num_bits = getattr(arguments, "num_bits", None)
    given = {name: getattr(arguments, name) for name in Search._fields if name in arguments}
    if len(arguments.files) == 1 and not given:
        (file,) = arguments.files
        return pathlib.Path(file).name, code_files.searches_in(file, num_bits)
    missing = [f"--{name}" for name in Search._fields if name not in given]
    if arguments.files or missing:
        raise UserError(
            "give one file of codes and labels, or all of --query, --database, --query_labels and "
            f"--database_labels{f'; {missing[0]} is missing' if given and missing else ''}"
        )
    arrays = {name: code_files.read_array(value) for name, value in given.items()}
    search = code_files.search_of(**arrays, num_bits=num_bits)
    return pathlib.Path(arguments.query).name, {"query to database": search}


def main() -> None:
    """The command line."""
    with as_exit_code():
        print(run(parse(sys.argv[1:])))


if __name__ == "__main__":
    main()
