"""Divisions by protocol: their sizes, what they may not share, and files of authors."""

import numpy as np
import pytest
import scipy.io

from jxhash.data import protocols
from jxhash.data.protocols import PARTS, Sizes
from jxhash.errors import UserError

PUBLISHED = [
    ("dcmh", "mirflickr25k", 20_015, (2_000, 18_015, 10_000)),
    ("dcmh", "mirflickr25k/tags", 20_015, (2_000, 18_015, 10_000)),
    ("dcmh", "iapr_tc12", 20_000, (2_000, 18_000, 10_000)),
    ("dcmh", "nuswide/tc21", 195_834, (2_100, 193_734, 10_500)),
    ("ssah", "mirflickr25k", 20_015, (2_000, 18_015, 10_000)),
    ("scahn", "mscoco2014", 122_218, (5_000, 117_218, 10_000)),
    ("mith", "mscoco2014/pairs", 122_218, (5_000, 117_218, 10_000)),
    ("dchmt", "mirflickr25k/labelled", 24_581, (5_000, 19_581, 10_000)),
    ("ucch", "iapr_tc12", 20_000, (2_000, 18_000, 18_000)),
    ("ucch", "nuswide/tc10", 186_577, (2_100, 184_477, 184_477)),
    ("djsrh", "mirflickr25k", 20_015, (2_000, 18_015, 5_000)),
    ("acmr", "pascal_sentence", 1_000, (200, 800, 800)),
    ("thn", "mirflickr25k", 20_015, (2_000, 8_015, 10_000)),
    ("pairs", "flickr30k/pairs", 31_783, (1_000, 1_000, 29_783)),
]


def as_sets(split):
    return {part: set(getattr(split, part).tolist()) for part in PARTS}


@pytest.mark.parametrize(("name", "data", "rows", "sizes"), PUBLISHED)
def test_published_sizes(name, data, rows, sizes):
    split = protocols.draw(name, data, rows, seed=7)
    sets = as_sets(split)
    assert tuple(len(sets[part]) for part in PARTS[:3]) == sizes
    assert split.card["sizes"] == {part: len(getattr(split, part)) for part in PARTS}
    assert set().union(*sets.values()) == set(range(rows))
    assert not sets["query"] & (sets["train"] | sets["validation"])
    assert not sets["train"] & sets["validation"]
    # Without labels a query's partner is searched, which is the other half of the query.
    assert sets["query"] & sets["database"] == (sets["query"] if name == "pairs" else set())
    assert (sets["validation"] <= sets["database"]) == (name != "pairs")
    assert (sets["train"] <= sets["database"]) == (name not in ("thn", "pairs"))


def test_every_protocol_is_checked_above():
    assert {name for name, *_ in PUBLISHED} == set(protocols.names())


def test_divisions_are_of_the_seed_and_of_no_version_of_numpy():
    split = protocols.divide(np.arange(10), Sizes(2, 4, 1), seed=3)
    # np.random.RandomState(3).permutation(10) = 5 4 1 2 9 6 7 0 3 8, as in every version of numpy.
    assert split.query.tolist() == [4, 5]
    assert split.train.tolist() == [1, 2, 6, 9]
    assert split.validation.tolist() == [7]
    assert split.database.tolist() == [0, 1, 2, 3, 6, 7, 8, 9]
    assert all(getattr(split, part).dtype == np.int64 for part in PARTS)
    again = protocols.divide(np.arange(10), Sizes(2, 4, 1), seed=3)
    other = protocols.divide(np.arange(10), Sizes(2, 4, 1), seed=4)
    assert split.card == again.card
    assert split.card["sha256"] != other.card["sha256"]


def test_pairs_without_words_are_left_out_where_the_protocol_says_so():
    tagged = np.ones(195_834, bool)
    tagged[::36] = False
    rows = int(tagged.sum())
    with pytest.raises(UserError, match=rf"190,421 pairs.*have words.*{rows:,}"):
        protocols.draw("mith", "nuswide/tc21", 195_834, tagged=tagged)
    tagged[:] = True
    tagged[np.arange(5_413) * 36] = False
    split = protocols.draw("mith", "nuswide/tc21", 195_834, tagged=tagged)
    assert len(split.query) == 2_100
    assert len(split.database) == 190_421 - 2_100
    assert tagged[split.query].all()
    assert tagged[split.database].all()
    with pytest.raises(UserError, match="which pairs"):
        protocols.draw("mith", "nuswide/tc21", 195_834)


def test_what_a_protocol_does_not_say_is_refused():
    with pytest.raises(UserError, match="unknown protocol 'dcmg'; known are acmr"):
        protocols.draw("dcmg", "mirflickr25k", 20_015)
    with pytest.raises(UserError, match=r"says nothing of 'nuswide/tc10', only of mirflickr25k"):
        protocols.draw("dcmh", "nuswide/tc10", 186_577)
    with pytest.raises(UserError, match=r"20,015 pairs.*there are 24,581"):
        protocols.draw("dcmh", "mirflickr25k/labelled", 24_581)
    with pytest.raises(UserError, match=r"14,000 pairs are too few for 5,000 queries, 10,000"):
        protocols.draw("scahn", "mscoco2014", 14_000)
    with pytest.raises(UserError, match="too few"):
        protocols.divide(np.arange(5), Sizes(5, None), seed=0)


LISTS = {"query": [3, 1], "database": [0, 2, 4, 5], "train": [2, 5], "validation": [4]}


def write_lists(path, lists, spelling="{}"):
    arrays = {spelling.format(part): np.array(rows) for part, rows in lists.items()}
    if path.suffix == ".mat":
        scipy.io.savemat(path, {**arrays, "Images": np.zeros((2, 2)), "param": {"indexTest": 1}})
    elif path.suffix == ".npz":
        np.savez(path, **arrays)
    else:
        path.mkdir()
        for number, (name, rows) in enumerate(arrays.items()):
            if number % 2:
                np.save(path / f"{name}.npy", rows)
            else:
                (path / f"{name}.txt").write_text("\n".join(map(str, rows)) + "\n")
    return path


@pytest.mark.parametrize("file", ["split.npz", "split.mat", "folder"])
@pytest.mark.parametrize("spelling", ["{}", "{}_index", "idx{}"])
def test_authors_lists_are_read(tmp_path, file, spelling):
    path = write_lists(tmp_path / file, LISTS, spelling)
    split = protocols.read(path, 6, first=0)
    assert as_sets(split) == {part: set(rows) for part, rows in LISTS.items()}
    assert split.card["file"] == file
    renamed = write_lists(
        tmp_path / "other.npz",
        {"indexTest": [3, 1], "indexRetrieval": [0, 2, 4, 5], "indexTrain": [2, 5], "val": [4]},
    )
    assert protocols.read(renamed, 6).card["sha256"] == split.card["sha256"]


def test_what_lists_leave_out_is_the_rest(tmp_path):
    path = write_lists(tmp_path / "split.mat", {"test": [[1], [2]]})
    split = protocols.read(path, 4)  # MATLAB counts from 1
    assert split.query.tolist() == [0, 1]
    assert split.database.tolist() == split.train.tolist() == [2, 3]
    assert split.validation.size == 0
    assert split.card["first"] == 1
    path = write_lists(tmp_path / "zero.mat", {"test": [0, 2]})
    with pytest.raises(UserError, match=r"entry 0: 0 is not in 1 to 4 \(give first=0"):
        protocols.read(path, 4)


def test_lists_of_matlab_7_are_read(tmp_path):
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "split.mat", "w", userblock_size=512) as file:
        file["indexTest"] = np.array([[2.0], [1.0]])
        file["indexTrain"] = np.array([[4.0]])
    with open(tmp_path / "split.mat", "r+b") as file:
        file.write(b"MATLAB 7.3 MAT-file".ljust(512))
    split = protocols.read(tmp_path / "split.mat", 4)
    assert (split.query.tolist(), split.train.tolist()) == ([0, 1], [3])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"query": [3, 6]}, r"query, entry 1: 6 is not in 0 to 5 \(give first=1"),
        ({"query": [3, -1]}, "query, entry 1: -1 is not in 0 to 5"),
        ({"train": [2, 2]}, "train: row 2 is there twice"),
        ({"database": [0, 1, 2]}, "1 queries are also in the database list, the first is row 1"),
        ({"train": [3]}, "1 queries are also in the train list, the first is row 3"),
        ({"query": [[1, 2], [3, 4]]}, r"expected a list of row numbers.*\(2, 2\)"),
        ({"query": [1.5]}, "not whole"),
        ({"query": [float("nan")]}, "not whole"),
        ({"query": ["a"]}, "expected a list of row numbers"),
        ({"query": []}, "empty"),
        ({"test": [5]}, "two arrays are called as if they were query"),
    ],
)
def test_wrong_lists_are_named(tmp_path, change, message):
    path = write_lists(tmp_path / "split.npz", {**LISTS, **change})
    with pytest.raises(UserError, match=message):
        protocols.read(path, 6)


def test_wrong_files_are_named(tmp_path):
    with pytest.raises(UserError, match=r"none\.npz is missing"):
        protocols.read(tmp_path / "none.npz", 6)
    (tmp_path / "cut.npz").write_bytes(write_lists(tmp_path / "a.npz", LISTS).read_bytes()[:100])
    with pytest.raises(UserError, match=r"cut\.npz cannot be read"):
        protocols.read(tmp_path / "cut.npz", 6)
    (tmp_path / "cut.mat").write_bytes(b"no matrix")
    with pytest.raises(UserError, match=r"cut\.mat cannot be read"):
        protocols.read(tmp_path / "cut.mat", 6)
    (tmp_path / "lists.csv").write_text("1\n")
    with pytest.raises(UserError, match=r"lists\.csv is none of \.npy, \.npz, \.mat"):
        protocols.read(tmp_path / "lists.csv", 6)
    np.savez(tmp_path / "pickled.npz", query=np.array([1, "a", None], object))
    with pytest.raises(UserError, match=r"pickled\.npz:query holds Python objects"):
        protocols.read(tmp_path / "pickled.npz", 6)
    folder = tmp_path / "lists"
    folder.mkdir()
    with pytest.raises(UserError, match="no indices of queries"):
        protocols.read(folder, 6)
    (folder / "query.txt").write_text("1\ntwo\n")
    with pytest.raises(UserError, match=r"query\.txt, line 2: no row number: 'two'"):
        protocols.read(folder, 6)


def test_a_file_too_large_for_a_list_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "bomb.npz"
    np.savez_compressed(path, query=np.zeros(100_000, np.int64))
    monkeypatch.setattr(protocols, "_MAX_BYTES", 10_000)
    assert path.stat().st_size < 10_000
    with pytest.raises(UserError, match=r"bomb\.npz, query is larger than 10,000 bytes"):
        protocols.read(path, 6)
