"""`python -m jxhash.evaluate`: codes from files of every kind, and reports side by side."""

import json
import subprocess
import sys

import ml_dtypes
import numpy as np
import pytest
import scipy.io
import scipy.sparse

from jxhash import codes, evaluate, metrics
from jxhash.errors import UserError

RANDOM = np.random.default_rng(0)
LABELS = {
    "q_l": (RANDOM.random((30, 6)) < 0.3).astype(np.uint8),
    "r_l": (RANDOM.random((200, 6)) < 0.3).astype(np.uint8),
}
CODES = {
    name: codes.sign(
        LABELS[f"{name[0]}_l"] @ np.random.default_rng(1).normal(size=(6, 20))
        + RANDOM.normal(size=(len(LABELS[f"{name[0]}_l"]), 20))
    )
    for name in ("q_img", "q_txt", "r_img", "r_txt")
}


def expected(query="q_img", database="r_txt"):
    histogram = metrics.distance_histogram(
        CODES[query], CODES[database], LABELS["q_l"], LABELS["r_l"], graded=True
    )
    return metrics.mean_average_precision(histogram)


def score(*arguments):
    return evaluate.run(evaluate.parse([str(argument) for argument in arguments]))


def report(folder):
    return json.loads((folder / "report.json").read_text())


def four_files(folder, query, database, **labels):
    arrays = {"query": query, "database": database, "query_labels": LABELS["q_l"]}
    arrays |= {"database_labels": LABELS["r_l"], **labels}
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array)
    return [f"--{name}={folder / f'{name}.npy'}" for name in arrays]


@pytest.mark.parametrize("kind", ["mat", "npz"])
def test_a_peer_s_file_is_scored_both_ways(kind, tmp_path):
    arrays = {**{name: array.astype(np.float64) for name, array in CODES.items()}, **LABELS}
    file = tmp_path / f"codes.{kind}"
    (scipy.io.savemat if kind == "mat" else lambda f, a: np.savez(f, **a))(file, arrays)
    printed = score(file, f"--output={tmp_path / 'out'}")
    results = report(tmp_path / "out")["results"]
    np.testing.assert_allclose(results["image to text"]["given"]["map"], expected())
    np.testing.assert_allclose(results["text to image"]["given"]["map"], expected("q_txt", "r_img"))
    assert f"{expected():.3f}" in printed
    assert max(map(len, printed.splitlines()[:-1])) <= 80
    assert b"<svg" in (tmp_path / "out" / "report.html").read_bytes()


def test_other_spellings_and_matlab_7_3(tmp_path):
    h5py = pytest.importorskip("h5py")
    names = {"q_l": "queryLabel", "r_l": "retrievalLabel"}
    with h5py.File(tmp_path / "codes.mat", "w", userblock_size=512) as file:
        for name, array in {**CODES, **LABELS}.items():
            file[names.get(name, name)] = array.T
    # MATLAB's own header: 124 bytes of text, then version 2.0 in the machine's order.
    with open(tmp_path / "codes.mat", "r+b") as file:
        file.write(b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM")
    assert f"{expected():.3f}" in score(tmp_path / "codes.mat")


FORMS = {
    "signs": np.float32,
    "bits": lambda some: (some + 1) // 2,
    "bfloat16": lambda some: some.astype(ml_dtypes.bfloat16),
    "packed": codes.pack,
    # sentence-transformers' quantize_embeddings(precision="binary").
    "packed, signed": lambda some: (np.packbits(some > 0, axis=-1) - 128).astype(np.int8),
}


@pytest.mark.parametrize("transposed", ["", "codes", "codes and labels"])
@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_codes_gives_the_same(form, transposed, tmp_path):
    query, database = (FORMS[form](CODES[name]) for name in ("q_img", "r_txt"))
    labels = {"query_labels": LABELS["q_l"], "database_labels": LABELS["r_l"]}
    if transposed:
        query, database = query.T, database.T
    if transposed == "codes and labels":
        labels = {name: array.T for name, array in labels.items()}
    arguments = four_files(tmp_path, query, database, **labels)
    extra = ["--num_bits=20"] if "packed" in form else []
    if "packed" in form:  # distances alone would not tell a bit that is flipped on both sides
        sides = (query, database, *labels.values())
        search = evaluate.code_files.search_of(*sides, num_bits=20)
        np.testing.assert_array_equal(search.database, CODES["r_txt"])
    score(*arguments, *extra, f"--output={tmp_path}")
    found = report(tmp_path)["results"]["query to database"]["given"]
    np.testing.assert_allclose(found["map"], expected())


def test_codes_of_faiss_and_sentence_transformers_are_read_as_they_are(tmp_path):
    """Packed codes are FAISS's layout, with FAISS's distances; "ubinary" is numpy's packing."""
    faiss = pytest.importorskip("faiss")
    query, database = (np.sign(RANDOM.normal(size=(n, 64))).astype(np.int8) for n in (5, 90))
    index = faiss.IndexBinaryFlat(64)
    index.add(codes.pack(database))
    distances, order = index.search(codes.pack(query), 90)
    ours = np.asarray(codes.hamming_distance(query, database))
    np.testing.assert_array_equal(distances, np.take_along_axis(ours, order, axis=1))
    # What sentence-transformers' quantize_embeddings(precision="ubinary") gives for embeddings.
    embeddings = RANDOM.normal(size=(90, 64))
    ubinary = np.packbits(embeddings > 0, axis=-1)
    np.testing.assert_array_equal(codes.unpack(ubinary, 64), codes.sign(embeddings))


def test_definitions_are_the_asked_ones(tmp_path):
    arguments = four_files(tmp_path, CODES["q_img"], CODES["r_txt"])
    options = ["--cut=10", "--denominator=relevant", "--ties=database_order", "--empty=skip"]
    score(*arguments, *options, f"--output={tmp_path}")
    made = report(tmp_path)
    distances = np.asarray(codes.hamming_distance(CODES["q_img"], CODES["r_txt"]))
    relevant = (LABELS["q_l"].astype(int) @ LABELS["r_l"].T) > 0
    values = []
    for distance, of_query in zip(distances, relevant, strict=True):
        hits = of_query[np.argsort(distance, kind="stable")][:10]
        if of_query.any():
            precision = np.cumsum(hits) / np.arange(1, 11)
            values.append((precision * hits).sum() / of_query.sum())
    found = made["results"]["query to database"]["given"]["map_at_10"]
    np.testing.assert_allclose(found, np.mean(values))
    assert "relevant items" in made["protocol"]["measures"]["map_at_10"]
    assert "left out" in made["protocol"]["measures"]["map"]


def test_reports_stand_in_one_table_where_their_cards_agree(tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        noisy = CODES["q_img"] * (1 if name == "one" else -1)
        arguments = four_files(tmp_path / name, noisy, CODES["r_txt"])
        score(*arguments, f"--output={tmp_path / name}")
    reports = [tmp_path / name / "report.json" for name in ("one", "two")]
    assert f"{expected():.3f}" in score(*reports)
    score(*arguments, "--cut=7", f"--output={tmp_path / 'two'}")
    with pytest.raises(UserError, match=r"cards differ: definitions.cut: 50 here, 7 there"):
        score(*reports)
    printed = score(*reports, "--anyway")
    assert "PROTOCOLS DIFFER" in printed
    # What was measured at another cut does not stand under this one's head.
    rows = [line.split() for line in printed.splitlines() if "database given" in line]
    assert [row[3:5].count("-") for row in rows] == [0, 2]


def test_a_joint_table_says_which_report_and_which_distance(tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        arguments = four_files(tmp_path / name, CODES["q_img"], CODES["r_txt"])
        score(*arguments, f"--output={tmp_path / name}")
    files = [tmp_path / name / "report.json" for name in ("one", "two")]
    printed = score(*files)
    for file in files:
        assert str(file) in printed.replace("\n  ", "")
    assert printed.count("Hamming distance between codes") == 1
    changed = report(tmp_path / "two")
    changed["protocol"]["distance"] = "cosine distance"
    changed["protocol"]["versions"]["jax"] = "0.0"
    files[1].write_text(json.dumps(changed))
    printed = score(*files)
    assert "    cosine distance\n" in printed
    assert "    Hamming distance between codes\n" in printed
    assert max(map(len, printed.splitlines())) <= 80
    changed["protocol"]["database"]["given"] = "made by somebody"
    files[1].write_text(json.dumps(changed))
    with pytest.raises(UserError, match=r"cards differ: database.given"):
        score(*files)


def test_every_measure_is_in_the_report(tmp_path):
    arguments = four_files(tmp_path, CODES["q_img"], CODES["r_txt"])
    printed = score(*arguments, "--cut=7", "--radius=5", f"--output={tmp_path}")
    made = report(tmp_path)
    found = made["results"]["query to database"]["given"]
    assert found.keys() == made["protocol"]["measures"].keys()
    histogram = metrics.distance_histogram(
        CODES["q_img"], CODES["r_txt"], LABELS["q_l"], LABELS["r_l"]
    )
    for name in ("lookup_precision", "lookup_recall", "lookup_success"):
        assert found[name] == getattr(metrics, name)(histogram, 5), name
    for name in ("precision_at", "recall_at", "hit_rate_at"):
        expected_curve = getattr(metrics, name)(histogram, [1, 2, 5, 10, 20, 50, 100, 200])
        np.testing.assert_allclose(list(found[name].values()), expected_curve)
    interval = metrics.bootstrap_interval(metrics.average_precision(histogram))
    np.testing.assert_allclose(found["map_interval"], interval[1:])
    words = f"95 % bootstrap interval over queries: {interval.low:.3f}-{interval.high:.3f}"
    assert words in printed
    score(*arguments, "--cut=7", "--ties=database_order", f"--output={tmp_path}")
    ranking = metrics.ranked_relevance(
        codes.hamming_distance(CODES["q_img"], CODES["r_txt"]),
        metrics.shared_labels(LABELS["q_l"], LABELS["r_l"]),
        ties="database_order",
    )
    made = report(tmp_path)
    found = made["results"]["query to database"]["given"]
    expected_value = metrics.first_relevant_precision(ranking, 7).mean()
    np.testing.assert_allclose(found["first_7_relevant"], expected_value)
    assert found.keys() == made["protocol"]["measures"].keys()


@pytest.mark.parametrize("empty", ["zero", "skip"])
def test_reports_are_compared_query_by_query(empty, tmp_path):
    labels = LABELS["q_l"] * (np.arange(30) > 2)[:, None]
    values = []
    for name, rows in (("one", CODES["r_txt"]), ("two", np.roll(CODES["r_txt"], 60, axis=0))):
        (tmp_path / name).mkdir()
        arguments = four_files(tmp_path / name, CODES["q_img"], rows, query_labels=labels)
        score(*arguments, f"--empty={empty}", f"--output={tmp_path / name}")
        histogram = metrics.distance_histogram(CODES["q_img"], rows, labels, LABELS["r_l"])
        counted = labels.any(axis=1) | (empty == "zero")
        values.append(metrics.average_precision(histogram)[counted])
    files = [tmp_path / name / "report.json" for name in ("one", "two")]
    printed = score(*files)
    (mean, low, high), p_value = metrics.paired_comparison(values[1], values[0])
    assert f"{mean:+.3f}  {low:+.3f} to {high:+.3f}  p={p_value:.4f}" in printed
    assert max(map(len, printed.splitlines())) <= 80
    (tmp_path / "two" / "queries.npz").write_bytes((tmp_path / "one" / "queries.npz").read_bytes())
    with pytest.raises(UserError, match=r"two/queries.npz is not that of .*two/report.json"):
        score(*files)
    (tmp_path / "two" / "queries.npz").unlink()
    assert "query by query" not in score(*files)


@pytest.mark.parametrize(
    ("option", "says"),
    [
        ("--cut=201", "--cut=201 is not within the database of 200 items"),
        ("--cut=0", "--cut=0 is not within"),
        ("--radius=21", "--radius=21 is not within the 20 bits"),
        ("--radius=-1", "--radius=-1 is not within"),
        ("--empty=error", "1 of 30 queries, query to database, have no relevant item"),
        ("--anyway", "--anyway cannot be given here"),
    ],
)
def test_what_is_asked_for_is_done_or_refused(option, says, tmp_path):
    labels = LABELS["q_l"] * (np.arange(30) > 0)[:, None]
    answered = [labels[number].any() for number in range(30)]
    arguments = four_files(tmp_path, CODES["q_img"], CODES["r_txt"], query_labels=labels)
    unanswered = 30 - sum(answered)
    with pytest.raises(UserError, match=says.replace("1 of 30", f"{unanswered} of 30")):
        score(*arguments, option)


def test_options_that_reports_cannot_follow_are_refused(tmp_path):
    score(*four_files(tmp_path, CODES["q_img"], CODES["r_txt"]), f"--output={tmp_path}")
    with pytest.raises(UserError, match="--cut, --output cannot be given here"):
        score(tmp_path / "report.json", "--cut=3", "--output=zz")


def test_the_default_cut_gives_way_to_a_small_database(tmp_path):
    labels = {"database_labels": LABELS["r_l"][:9]}
    query, database = CODES["q_img"][:, :1], CODES["r_txt"][:9, :1]
    printed = score(*four_files(tmp_path, query, database, **labels), f"--output={tmp_path}")
    assert "MAP@9" in printed
    assert "P(r<=1)" in printed
    made = report(tmp_path)
    assert "map_at_9" in made["results"]["query to database"]["given"]
    assert made["protocol"]["definitions"]["cut"] == 9
    assert made["protocol"]["definitions"]["radius"] == 1


IDS = {name: labels.argmax(axis=1) for name, labels in LABELS.items()}
ONE_LABEL = {name: labels[:, :1] for name, labels in LABELS.items()}


@pytest.mark.parametrize("form", ["vector", "column", "row", "one of each"])
@pytest.mark.parametrize("queries", [1, 30])
def test_class_ids_are_read_in_every_shape(form, queries, tmp_path):
    shape = {"vector": (-1,), "column": (-1, 1), "row": (1, -1), "one of each": (-1, 1)}[form]
    query_ids, ids = IDS["q_l"][-queries:], IDS["r_l"]
    labels = {
        "query_labels": query_ids.reshape(shape).astype(np.float64),
        "database_labels": ids if form == "one of each" else ids.reshape(shape),
    }
    query = CODES["q_img"][-queries:]
    score(*four_files(tmp_path, query, CODES["r_txt"], **labels), f"--output={tmp_path}")
    histogram = metrics.distance_histogram(query, CODES["r_txt"], query_ids, ids)
    found = report(tmp_path)["results"]["query to database"]["given"]["map"]
    np.testing.assert_allclose(found, metrics.mean_average_precision(histogram))


def test_a_negative_class_id_is_no_label(tmp_path):
    """Two items without a label are not of one class, whatever their negative numbers."""
    query_ids, ids = (np.where(IDS[name] > 3, -IDS[name], IDS[name]) for name in ("q_l", "r_l"))
    labels = {"query_labels": query_ids * 1.0, "database_labels": ids}
    score(*four_files(tmp_path, CODES["q_img"], CODES["r_txt"], **labels), f"--output={tmp_path}")
    relevant = (query_ids[:, None] == ids) & (ids >= 0)
    distances = codes.hamming_distance(CODES["q_img"], CODES["r_txt"])
    expected_value = metrics.average_precision(metrics.ranked_relevance(distances, relevant)).mean()
    found = report(tmp_path)["results"]["query to database"]["given"]["map"]
    np.testing.assert_allclose(found, expected_value)


def test_queries_that_are_also_in_the_database_are_refused(tmp_path):
    ids = {"query_ids": np.arange(30), "database_ids": np.arange(29, 229)}
    np.savez(tmp_path / "codes.npz", **CODES, **LABELS, **ids)
    with pytest.raises(UserError, match=r"1 queries are also in the database list, .* '29'"):
        score(tmp_path / "codes.npz")


def test_a_column_of_zeros_and_ones_says_too_little(tmp_path):
    labels = {"query_labels": ONE_LABEL["q_l"], "database_labels": ONE_LABEL["r_l"]}
    with pytest.raises(UserError, match=r"add 1 to all of them, .* add a column of zeros"):
        score(*four_files(tmp_path, CODES["q_img"], CODES["r_txt"], **labels))
    two_columns = {name: np.pad(array, ((0, 0), (0, 1))) for name, array in labels.items()}
    score(
        *four_files(tmp_path, CODES["q_img"], CODES["r_txt"], **two_columns), f"--output={tmp_path}"
    )
    histogram = metrics.distance_histogram(
        CODES["q_img"], CODES["r_txt"], ONE_LABEL["q_l"], ONE_LABEL["r_l"]
    )
    found = report(tmp_path)["results"]["query to database"]["given"]["map"]
    np.testing.assert_allclose(found, metrics.mean_average_precision(histogram))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"query": CODES["q_img"] * 0.5}, r"-1 and \+1, or 0 and 1"),
        ({"query": CODES["q_img"] * (np.arange(20) > 0)}, r"a zero has no sign; .*codes\.sign"),
        ({"query": CODES["q_img"][:, :7]}, "one length on both sides, not 7 and 20 bits"),
        ({"query": codes.pack(CODES["q_img"])}, "--num_bits"),
        ({"query_labels": LABELS["q_l"][:4]}, "30 rows of labels"),
        ({"query_labels": LABELS["q_l"][:, :2]}, "over the same classes"),
        ({"query_labels": LABELS["q_l"] * 2}, "0 and 1"),
        ({"query_labels": IDS["q_l"]}, "over the same classes or class ids"),
        ({"query_labels": IDS["q_l"] * 0.5, "database_labels": IDS["r_l"]}, "whole numbers"),
        ({"database": CODES["r_txt"][:0]}, "one row per item"),
        ({"query": np.array([{}], dtype=object)}, "holds Python objects"),
    ],
)
def test_what_does_not_fit_is_named(changes, says, tmp_path):
    arrays = {"query": CODES["q_img"], "database": CODES["r_txt"], **changes}
    arguments = four_files(tmp_path, arrays.pop("query"), arrays.pop("database"), **arrays)
    with pytest.raises(UserError, match=says):
        score(*arguments)


NUMBERED = {"names": ["a"], "formats": [np.int64]}


@pytest.mark.parametrize(
    ("name", "array", "says"),
    [
        ("query", CODES["q_img"].astype(str), "query: the array must hold numbers"),
        ("query", CODES["q_img"].astype("datetime64[s]"), "not real numbers"),
        ("query", CODES["q_img"].astype(complex), "not real numbers"),
        ("query", np.zeros((30, 20), NUMBERED), "not real numbers"),
        ("query_labels", IDS["q_l"].astype(str), "query_labels: the array must hold numbers"),
        ("query_labels", np.zeros(30, NUMBERED), "not real numbers"),
        ("query_labels", IDS["q_l"] > 2, "class ids are whole numbers"),
        ("query_labels", IDS["q_l"] + np.inf, "class ids are whole numbers"),
        ("query_labels", LABELS["q_l"][:, :0], "30 rows of labels are needed"),
        ("query_labels", np.where(LABELS["q_l"], np.nan, 0), "hold 0 and 1"),
    ],
)
def test_arrays_of_other_things_are_refused(name, array, says, tmp_path):
    arguments = four_files(tmp_path, CODES["q_img"], CODES["r_txt"])
    np.save(tmp_path / f"{name}.npy", array)
    if array.ndim == 1:
        np.save(tmp_path / "database_labels.npy", IDS["r_l"])
    with pytest.raises(UserError, match=says):
        score(*arguments)


def test_sparse_labels_of_matlab(tmp_path):
    sparse = {name: scipy.sparse.csc_matrix(array) for name, array in LABELS.items()}
    scipy.io.savemat(tmp_path / "codes.mat", {**CODES, **sparse, "note": "text"})
    assert f"{expected():.3f}" in score(tmp_path / "codes.mat")


def test_what_else_a_file_holds_does_not_matter(tmp_path):
    np.savez(tmp_path / "codes.npz", **CODES, **LABELS, note=np.array([{}], dtype=object))
    assert f"{expected():.3f}" in score(tmp_path / "codes.npz")
    four = four_files(tmp_path, CODES["q_img"], CODES["r_txt"])
    with pytest.raises(UserError, match=r"codes\.npz:note holds Python objects"):
        score(f"--query={tmp_path / 'codes.npz'}:note", *four[1:])


def test_hdf5_without_matlab_s_header_keeps_its_rows(tmp_path):
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "codes.mat", "w") as file:
        for name, array in {**CODES, **LABELS}.items():
            file[name] = array.astype(bool) if name in LABELS else array
    assert f"{expected():.3f}" in score(tmp_path / "codes.mat")


def test_names_of_files_may_hold_colons_and_capitals(tmp_path):
    folder = tmp_path / "12:30"
    folder.mkdir()
    arguments = four_files(folder, CODES["q_img"], CODES["r_txt"])
    (folder / "query.npy").rename(folder / "a:b.NPY")
    np.savez(folder / "codes.npz", r=CODES["r_txt"])
    arguments[:2] = [f"--query={folder / 'a:b.NPY'}", f"--database={folder / 'codes.npz'}:r"]
    assert f"{expected():.3f}" in score(*arguments)
    with pytest.raises(UserError, match=r"there is no file .*12:30/none.npy"):
        score(f"--query={folder / 'none.npy'}", *arguments[1:])


def test_an_output_that_cannot_be_made(tmp_path):
    arguments = four_files(tmp_path, CODES["q_img"], CODES["r_txt"])
    for output in (tmp_path / "query.npy", tmp_path / "query.npy" / "out"):
        with pytest.raises(UserError, match="choose another --output"):
            score(*arguments, f"--output={output}")


def test_reports_that_are_none(tmp_path):
    score(*four_files(tmp_path, CODES["q_img"], CODES["r_txt"]), f"--output={tmp_path}")
    file, made = tmp_path / "report.json", report(tmp_path)
    (task,) = made["results"]
    given = made["results"][task]["given"]
    for wrong in (
        [],
        {**made, "results": {task: {}}},
        {**made, "results": {}},
        {**made, "results": {task: {"given": {**given, "map": "high"}}}},
        {**made, "results": {task: {"given": {"map": 0.5}}}},
        {**made, "protocol": {}},
        {**made, "protocol": {**made["protocol"], "data": None}},
        {**made, "protocol": {**made["protocol"], "definitions": {"cut": 50, "further": 1}}},
    ):
        file.write_text(json.dumps(wrong))
        with pytest.raises(UserError, match="is no report of this version"):
            score(file)
    file.unlink()
    with pytest.raises(UserError, match=r"there is no file .*report.json"):
        score(file)


def test_mistakes_on_the_command_line(tmp_path):
    np.savez(tmp_path / "some.npz", a=CODES["q_img"], b=CODES["r_txt"])
    (tmp_path / "cut.npy").write_bytes(b"\x93NUMPY")
    for arguments, says in (
        ([tmp_path / "none.mat"], "there is no file"),
        ([tmp_path / "some.npz"], "no image query"),
        (["codes.txt"], "none of .npy"),
        ([f"--query={tmp_path / 'some.npz'}"], "--database is missing"),
        ([], "one file of codes"),
    ):
        with pytest.raises(UserError, match=says):
            score(*arguments)
    four = [f"--{n}={tmp_path / 'some.npz'}" for n in ("query", "database", "query_labels")]
    with pytest.raises(UserError, match="more than one array"):
        score(*four, f"--database_labels={tmp_path / 'cut.npy'}")
    with pytest.raises(UserError, match="cannot be read"):
        score(*(f"--{n}={tmp_path / 'cut.npy'}" for n in ("query", "database")),
              *(f"--{n}_labels={tmp_path / 'cut.npy'}" for n in ("query", "database")))  # fmt: skip


def test_the_command(tmp_path):
    arguments = four_files(tmp_path, CODES["q_img"], CODES["r_txt"])
    command = [sys.executable, "-m", "jxhash.evaluate"]
    done = subprocess.run([*command, *arguments], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert f"{expected():.3f}" in done.stdout
    for missing in ("x.npy", 5000 * "x" + ".npz"):
        done = subprocess.run([*command, missing], capture_output=True, text=True, cwd=tmp_path)
        assert done.returncode == 2
        assert len(done.stderr.splitlines()) == 1
