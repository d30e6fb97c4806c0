"""Files as people have them: each kind of spelling is read like our own, or refused in a line."""

import csv
import io
import json
import os
import struct
import unicodedata
import zipfile

import h5py
import ml_dtypes
import numpy as np
import pytest
import scipy.io
from PIL import Image
from safetensors.numpy import save_file

from jxhash import data, formats
from jxhash.data import extract, protocols
from jxhash.data.own import tables
from jxhash.data.own.collect import collect
from jxhash.data.own.common_names import _ARRAYS, _MEANINGS, PARTS
from jxhash.data.own.description import describe
from jxhash.data.own.label_cells import label_lists
from jxhash.errors import UserError

ROWS = 40
RANDOM = np.random.default_rng(0)
FEATURES = RANDOM.normal(size=(ROWS, 4)).astype(np.float32)
TAGS = RANDOM.random((ROWS, 5))
LABELS = (RANDOM.random((ROWS, 3)) < 0.5).astype(np.uint8)
NAMES = [f"img/p{row}.png" for row in range(ROWS)]
SETS = [["sea", "sky"], ["sky"], ["dog"], ["dog", "sea"]]


def load(path):
    return data.load(str(path))


def card(path):
    return load(path).card


@pytest.fixture
def folder(tmp_path):
    for name in NAMES:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.new("RGB", (4, 4)).save(tmp_path / name)
    np.savez(tmp_path / "features.npz", ids=np.array(NAMES), features=FEATURES)
    return tmp_path


def table(names=NAMES, head="picture,text,labels", separator=","):
    rows = [separator.join((name, "a red gull", "sea")) for name in names]
    return "\n".join([head, *rows, ""])


# Names of files.


def absolute(folder, name):
    return str(folder / name)


@pytest.mark.parametrize(
    "spelled",
    [
        lambda folder, name: name.replace("/", "\\"),
        lambda folder, name: ".\\" + name.replace("/", "\\"),
        lambda folder, name: "./" + name,
        absolute,
        lambda folder, name: f"img/../{name}",
    ],
)
def test_every_spelling_of_a_path_is_found(spelled, folder, monkeypatch):
    (folder / "t.csv").write_text(table())
    expected = card(folder)
    (folder / "t.csv").write_text(table([spelled(folder, name) for name in NAMES]))
    assert card(folder) == expected
    ids = [spelled(folder, name) for name in NAMES]
    np.savez(folder / "features.npz", ids=np.array(ids), features=FEATURES)
    (folder / "t.csv").write_text(table())
    assert card(folder)["sizes"] == expected["sizes"]
    (folder / "list.txt").write_text("\ufeff" + "\r\n".join(ids))
    assert len(extract.list_pictures(folder / "list.txt").files) == ROWS
    # A relative folder too.
    monkeypatch.chdir(folder.parent)
    assert card(folder.name)["sizes"] == expected["sizes"]


@pytest.mark.parametrize("stored", ["NFC", "NFD"])
@pytest.mark.parametrize("written", ["NFC", "NFD"])
def test_both_forms_of_unicode_are_one_name(stored, written, tmp_path):
    names = [f"caf\u00e9 \ud55c/p\u00fc{row}.png" for row in range(ROWS)]
    for name in names:
        path = tmp_path / unicodedata.normalize(stored, name)
        path.parent.mkdir(exist_ok=True)
        Image.new("RGB", (4, 4)).save(path)
    names = [unicodedata.normalize(written, name) for name in names]
    (tmp_path / "t.csv").write_text(table(names), encoding="utf-8")
    on_disk = list(extract.list_pictures(tmp_path).files)
    np.savez(tmp_path / "features.npz", ids=np.array(on_disk), features=np.ones((ROWS, 4), "f4"))
    assert card(tmp_path)["skipped"] == {}
    (tmp_path / "list.txt").write_text("\n".join(names), encoding="utf-8")
    assert len(extract.list_pictures(tmp_path / "list.txt").files) == ROWS


@pytest.mark.parametrize("name", ["/etc/passwd", "..\\x.png", "C:\\pictures\\x.png", "\\x.png"])
def test_paths_that_lead_out_are_refused(name, folder):
    (folder / "t.csv").write_text(table([*NAMES[:-1], name]))
    with pytest.raises(UserError, match=r"t\.csv, line 41: .* lies outside of"):
        load(folder)


def test_hidden_files_are_no_data(folder):
    (folder / "t.csv").write_text(table())
    expected = card(folder)
    for name in ("._t.csv", "._features.npz", ".ipynb_checkpoints/t.csv", "img/._p0.png"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"\0\5\x16\7")
    (folder / "__MACOSX" / "img").mkdir(parents=True)
    (folder / "__MACOSX" / "img" / "p0.png").write_bytes(b"\0\5\x16\7")
    assert card(folder) == expected
    listed = extract.list_pictures(folder)
    assert list(listed.files) == sorted(NAMES)
    assert {path.name for path in listed.others} == {"t.csv", "features.npz"}
    lists = folder / "lists"
    lists.mkdir()
    (lists / "query.txt").write_bytes(b"\xef\xbb\xbf1\r\n3\r\n")
    (lists / "._query.txt").write_bytes(b"\0\5\x16\7")
    assert protocols.read(lists, 6).query.tolist() == [1, 3]


def test_hidden_members_of_an_archive_are_no_arrays(tmp_path):
    np.savez(tmp_path / "a.npz", images=FEATURES, tags=TAGS, labels=LABELS)
    expected = card(tmp_path / "a.npz")["sha256"]
    with zipfile.ZipFile(tmp_path / "a.npz", "a") as archive:
        archive.writestr("__MACOSX/._images.npy", b"\0\5\x16\7")
    assert card(tmp_path / "a.npz")["sha256"] == expected


# Tables.


@pytest.mark.parametrize(
    ("head", "separator"),
    [
        ("Image,Caption,Labels", ","),
        (" picture , text , labels ", " , "),
        ("picture;text;labels", ";"),
        ("File Name\tTitle\tCategory", "\t"),
        ("image_path|sentence|class", "|"),
        ("FILENAME,comment,label-name", ","),
        ("sep=;\npicture;text;labels", ";"),
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_every_head_and_separator_is_known(head, separator, encoding, folder):
    (folder / "t.csv").write_text(table(), encoding="utf-8")
    expected = card(folder)
    (folder / "t.csv").write_text(table(head=head, separator=separator), encoding=encoding)
    assert card(folder) == expected


def test_separators_within_quotes_are_text(folder):
    rows = [[name, 'one; two, "three"', "sea;sky"] for name in NAMES]
    for delimiter in ",;\t|":
        with open(folder / "t.csv", "w", newline="") as file:
            writer = csv.writer(file, delimiter=delimiter, quoting=csv.QUOTE_ALL)
            writer.writerows([["Picture", "Text", "Labels"], *rows])
        found = tables.read_table(folder / "t.csv")
        assert found.texts[3] == ['one; two, "three"']
        assert found.label_names == ["sea", "sky"]


def write_parquet(path, rows):
    import pyarrow
    from pyarrow import parquet

    parquet.write_table(pyarrow.Table.from_pylist(rows), path)


def test_parquet_is_a_table(folder):
    rows = [
        {"Image": name, "captions": ["a gull", "the sea"], "labels": SETS[row % 4], "width": 2.5}
        for row, name in enumerate(NAMES)
    ]
    write_parquet(folder / "t.parquet", rows)
    found = tables.read_table(folder / "t.parquet")
    assert found.texts == [["a gull", "the sea"]] * ROWS
    assert found.label_names == ["dog", "sea", "sky"]
    assert found.labels[0].tolist() == [0, 1, 1]
    assert card(folder)["labels"] == ["dog", "sea", "sky"]
    write_parquet(folder / "t.parquet", [{"image": {"bytes": b"x", "path": "p"}, "text": "a"}])
    with pytest.raises(UserError, match=r"column 'image' holds struct.*save pictures as files"):
        tables.read_table(folder / "t.parquet")


def test_captions_of_flickr8k_are_a_table(tmp_path):
    lines = [f"{row // 5}.jpg#{row % 5}\ta dog, number {row} ." for row in range(20)]
    (tmp_path / "Flickr8k.token.txt").write_text("\n".join(lines))
    found = tables.read_table(tmp_path / "Flickr8k.token.txt")
    assert found.ids == ["0.jpg", "1.jpg", "2.jpg", "3.jpg"]
    assert found.texts[1] == [f"a dog, number {row} ." for row in range(5, 10)]
    (tmp_path / "plain.tsv").write_text("a.jpg\tone\na.jpg\ttwo\nb.jpg\tthree\n")
    assert tables.read_table(tmp_path / "plain.tsv").texts == [["one", "two"], ["three"]]
    (tmp_path / "plain.tsv").write_text("a.jpg\tone\nnothing\n")
    with pytest.raises(UserError, match=r"plain\.tsv, line 2: expected the name of a picture"):
        tables.read_table(tmp_path / "plain.tsv")


# Labels.


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        (["sea|sky", "sky"], [["sea", "sky"], ["sky"]]),
        (["sea, sky", "sky", "sea"], [["sea", "sky"], ["sky"], ["sea"]]),
        (["['sea', \"it's\"]", "[]", "('a', 'b')", "{'a'}"],
         [["sea", "it's"], [], ["a", "b"], ["a"]]),
        (["['sea' 'sky']", "[1 2]"], [["sea", "sky"], ["1", "2"]]),
        (['["sea", "s, k"]', "[1, null]"], [["sea", "s, k"], ["1"]]),
        ([["sea", 3], None, float("nan"), 0, ""], [["sea", "3"], [], [], ["0"], []]),
        (["polar bear", "brown bear", "black bear"],
         [["polar bear"], ["brown bear"], ["black bear"]]),
        (["New York, NY", "a", "b"], [["New York, NY"], ["a"], ["b"]]),
        (["sea;sky, blue"], [["sea", "sky, blue"]]),
        (["a;b", "a|b", "b\uff1bc"], [["a", "b"], ["a", "b"], ["b", "c"]]),
        (["海\uff0c天", "天", "海、天", "海"], [["海", "天"], ["天"], ["海", "天"], ["海"]]),
        (["N/A", "n/a", "<NA>", "NULL", "none", ["nan", "a"]], [[], [], [], [], ["none"], ["a"]]),
        # Rows of 0 and 1, and class ids that only look so.
        ([[0, 1, 1], [1, 0, 0], [0, 0, 0], None], [["1", "2"], ["0"], ["-1"], []]),
        (["[0, 1]", "[1. 0.]", "[True, False]"], [["1"], ["0"], ["0"]]),
        (["0,1,0", "0,1,1", "1,0,0", "0,0,1", "1,1,1"],
         [["1"], ["1", "2"], ["0"], ["2"], ["0", "1", "2"]]),
        ([[0, 1], [1]], [["0", "1"], ["1"]]),
        ([[0], [1]], [["0"], ["1"]]),
        ([[0, 2], [1, 0]], [["0", "2"], ["1", "0"]]),
    ],
)  # fmt: skip
def test_labels_of_cells(cells, expected):
    assert label_lists("t", cells) == expected


@pytest.mark.parametrize(
    ("cells", "separator"),
    [
        (["sea sky", "sky", "dog", "dog sea"], '" "'),
        (["tench, Tinca tinca", "goldfish, Carassius"], '","'),
        (["sea,sky", "dog", "cat", "sea", "cow"], '","'),
        (["sea/sky", "sky", "sea"], '"/"'),
        (["sea:sky", "sky", "sea"], '":"'),
        (["sea^sky", "sky", "sea"], r'"\^"'),
        (["sea&sky", "sky", "sea"], '"&"'),
        (["海\uff0c天", "狗", "猫", "海", "牛"], '"\uff0c"'),
    ],
)
def test_labels_that_may_be_several_are_refused(cells, separator):
    with pytest.raises(UserError, match=rf'"label_separator": {separator}, or ";" for one'):
        label_lists("t", cells)


@pytest.mark.parametrize(
    ("cells", "says"),
    [
        ([[["cat"], ["dog"]]], r"\[\['cat'\], \['dog'\]\]\" is nested; give one list"),
        (["[['cat'], ['dog']]"], "is nested"),
        (['[["cat"], ["dog"]]'], "is nested"),
        ([{"cat": 1}], "is nested"),
        (['{"cat": 1}'], "is nested"),
        (["[0. 0. ... 0. 1.]"], "save the whole list"),
        ([[-1, 1], [1, -1]], r"not -1 and \+1; save them as \(labels > 0\)"),
    ],
)
def test_lists_that_are_no_labels_are_refused(cells, says):
    with pytest.raises(UserError, match=f"^t: .*{says}"):
        label_lists("t", cells)


def test_a_list_is_read_beside_a_given_separator():
    cells = ["['a', 'b']", "c,d", "[1 2]", ["a,b"]]
    expected = [["a", "b"], ["c", "d"], ["1", "2"], ["a,b"]]
    assert label_lists("t", cells, ",") == expected


def test_a_description_names_the_separator_and_the_number_of_classes(folder):
    names = [" ".join(SETS[row % 4]) for row in range(ROWS)]
    rows = "".join(f"{name},a,{labels}\n" for name, labels in zip(NAMES, names, strict=True))
    (folder / "t.csv").write_text("picture,text,labels\n" + rows)
    for values, says in (
        ({}, "label_separator"),
        ({"label_separator": ""}, "'label_separator' is a text"),
        ({"label_separator": " ", "most_classes": 2}, '3 different classes.*"most_classes": 3'),
        ({"most_classes": 0}, "'most_classes' is a whole number"),
    ):
        (folder / "dataset.json").write_text(json.dumps({"data": ".", **values}))
        with pytest.raises(UserError, match=says):
            load(folder)
    (folder / "dataset.json").write_bytes(
        b"\xef\xbb\xbf" + json.dumps({"data": ".", "label_separator": " "}).encode()
    )
    assert card(folder)["labels"] == ["dog", "sea", "sky"]


@pytest.mark.parametrize("kind", ["npz", "mat", "h5", "csv", "jsonl", "triplet"])
def test_a_class_id_below_0_is_no_label(kind, tmp_path):
    ids = np.arange(ROWS) % 4 - 1
    arrays = {"images": FEATURES, "tags": TAGS, "labels": ids}
    path = tmp_path / f"a.{kind}"
    if kind == "npz":
        np.savez(path, **arrays)
    elif kind == "mat":
        scipy.io.savemat(path, arrays)
    elif kind == "h5":
        with h5py.File(path, "w") as file:
            file.update({**arrays, "labels": ids.astype(float)})
    elif kind == "triplet":
        path = tmp_path
        np.save(path / "image.npy", FEATURES)
        scipy.io.savemat(path / "index.mat", {"index": NAMES})
        scipy.io.savemat(path / "caption.mat", {"caption": ["red gull"] * ROWS})
        scipy.io.savemat(path / "label.mat", {"label": ids[:, None]})
    else:
        np.savez(tmp_path / "features.npz", ids=np.arange(ROWS).astype(str), features=FEATURES)
        rows = [{"id": row, "text": "gull", "label": int(one)} for row, one in enumerate(ids)]
        lines = [json.dumps(row) for row in rows]
        if kind == "csv":
            lines = ["id,text,label", *(",".join(map(str, row.values())) for row in rows)]
        path.write_text("\n".join(lines))
        path = tmp_path
    found = card(path)
    names = ["0", "1", "2"] if kind in ("csv", "jsonl") else 3
    assert (found["labels"], found["rows without labels"], found["skipped"]) == (names, 10, {})


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet", "npz"])
def test_minus_1_among_names_is_no_label_and_an_empty_cell_misses_one(kind, tmp_path):
    names = ["cat", "dog", "-1", "-1.0"] * (ROWS // 4)
    path = tmp_path / f"a.{kind}"
    rows = [{"id": row, "text": "a gull", "label": one} for row, one in enumerate(names)]
    if kind == "npz":
        np.savez(path, images=FEATURES, captions=["a gull"] * ROWS, labels=np.array(names))
    elif kind == "parquet":
        write_parquet(path, rows)
    elif kind == "jsonl":
        path.write_text("\n".join(map(json.dumps, rows)))
    else:
        path.write_text(
            "\n".join(["id,text,label", *(",".join(map(str, r.values())) for r in rows)])
        )
    collected = collect(describe(path))
    assert collected.label_names == ["cat", "dog"]
    assert collected.labels.tolist() == [[1, 0], [0, 1], [0, 0], [0, 0]] * (ROWS // 4)
    assert collected.problems == []
    if kind == "csv":
        path.write_text(path.read_text().replace("a gull,-1\n", "a gull,N/A\n"))
        assert [len(one.rows) for one in collect(describe(path)).problems] == [ROWS // 4]
        path.write_text(path.read_text().replace("cat", "").replace("dog", "null"))
        with pytest.raises(UserError, match=r"a\.csv: no row has a label.*leave the labels out"):
            collect(describe(path))


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_rows_of_0_and_1_in_cells_are_multi_hot(kind, tmp_path):
    path = tmp_path / f"a.{kind}"
    rows = [{"id": row, "text": "a gull", "labels": own} for row, own in enumerate(LABELS.tolist())]
    if kind == "parquet":
        write_parquet(path, rows)
    elif kind == "jsonl":
        path.write_text("\n".join(map(json.dumps, rows)))
    else:
        lines = [f'{row["id"]},a gull,"{row["labels"]}"' for row in rows]
        path.write_text("\n".join(["id,text,labels", *lines]))
    collected = collect(describe(path))
    assert collected.label_names == ["0", "1", "2"]
    np.testing.assert_array_equal(collected.labels, LABELS)
    assert collected.problems == []


def test_labels_of_minus_1_and_1_are_refused_with_the_way_out(tmp_path):
    np.savez(tmp_path / "a.npz", images=FEATURES, tags=TAGS, labels=2 * LABELS.astype(int) - 1)
    with pytest.raises(UserError, match=r"a\.npz:labels: multi-hot .*\(labels > 0\)$"):
        load(tmp_path / "a.npz")


def test_labels_that_are_row_numbers_are_told(tmp_path):
    for labels, expected in ((np.arange(ROWS), True), (np.arange(ROWS) // 2, False)):
        np.savez(tmp_path / "a.npz", images=FEATURES, tags=TAGS, labels=labels)
        assert collect(describe(tmp_path / "a.npz")).is_one_class_a_row == expected
    np.savez(tmp_path / "a.npz", images=FEATURES, tags=TAGS)
    collected = collect(describe(tmp_path / "a.npz"))
    assert collected.labels is None
    assert not collected.is_one_class_a_row


# Several texts an item.

CAPTIONS = [[f"a {one} gull", f"some {one} bird", "the sea"] for one in ("red", "blue") * 20]


def nested_cells(texts):
    cells = np.empty(len(texts), object)
    for row, own in enumerate(texts):
        cells[row] = np.array(own, object)
    return cells


def matlab_73(path, captions):
    """A cell array [n, k] as MATLAB 7.3 writes it."""
    with h5py.File(path, "w", userblock_size=512) as file:
        cells = np.empty((3, ROWS), h5py.ref_dtype)
        for row, own in enumerate(captions):
            for column, one in enumerate(own):
                text = np.frombuffer(one.encode("utf-16-le"), "<u2")[:, None]
                cells[column, row] = file.create_dataset(f"#refs#/{row}_{column}", data=text).ref
        file["captions"] = cells
        file["images"], file["labels"] = FEATURES.T, LABELS.T
    with open(path, "r+b") as file:
        file.write(b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM")


@pytest.mark.parametrize(
    "kind", ["npz", "npz, k first", "mat", "mat, nested", "h5", "7.3", "csv", "jsonl", "parquet"]
)
def test_several_texts_of_an_item(kind, tmp_path):
    texts, others = np.array(CAPTIONS), {"images": FEATURES, "labels": LABELS}
    path = tmp_path / f"a.{kind.partition(',')[0].replace('7.3', 'mat')}"
    if kind.startswith("npz"):
        np.savez(path, captions=texts.T if "first" in kind else texts, **others)
    elif kind.startswith("mat"):
        cells = nested_cells(CAPTIONS) if "nested" in kind else texts.astype(object)
        scipy.io.savemat(path, {"captions": cells, **others})
    elif kind == "h5":
        with h5py.File(path, "w") as file:
            file.create_dataset("captions", data=texts.astype(object), dtype=h5py.string_dtype())
            file.update(others)
    elif kind == "7.3":
        matlab_73(path, CAPTIONS)
    elif kind == "csv":
        rows = [f"{row},{text},x" for row, own in enumerate(CAPTIONS) for text in own]
        path.write_text("\n".join(["id,text,labels", *rows]))
    elif kind == "jsonl":
        rows = [{"id": row, "text": own, "labels": "x"} for row, own in enumerate(CAPTIONS)]
        path.write_text("\n".join(map(json.dumps, rows)))
    else:
        write_parquet(path, [{"id": row, "text": own} for row, own in enumerate(CAPTIONS)])
    collected = collect(describe(path))
    assert collected.rows == ROWS
    assert collected.captions.tolist() == [3] * ROWS
    assert collected.texts == [text for own in CAPTIONS for text in own]
    if kind in ("csv", "jsonl", "parquet"):  # which bring no images here
        return
    forth, back = load(path).tasks
    # A text is one caption, a picture is called by its first.
    assert set(back.query.titles) == {text for own in CAPTIONS for text in own}
    assert len(back.query) == 3 * len(forth.query)
    assert set(forth.query.titles) <= {own[0] for own in CAPTIONS}
    np.testing.assert_array_equal(back.query.labels, np.repeat(forth.query.labels, 3, axis=0))


def test_as_many_texts_as_each_item_has(tmp_path):
    rows = [("a", "one", "x"), ("b", "two", "x"), ("a", "three", "y"), ("a", "one", "")]
    lines = ["id,text,labels", *map(",".join, rows)]
    (tmp_path / "t.csv").write_text("\n".join(lines))
    collected = collect(describe(tmp_path / "t.csv"))
    assert collected.texts == ["one", "three", "one", "two"]
    assert collected.captions.tolist() == [3, 1]
    assert collected.labels.tolist() == [[1, 1], [1, 0]]
    assert collected.problems == []


@pytest.mark.parametrize("with_features", [False, True])
def test_ids_that_number_rows_do_not_part_a_picture(with_features, folder):
    """Five captions a picture, each with a number of its own, are no five pictures."""
    rows = [f"{5 * row + k},{name},caption {k}" for row, name in enumerate(NAMES) for k in range(5)]
    (folder / "t.csv").write_text("\n".join(["id,image,caption", *rows]))
    if not with_features:
        os.remove(folder / "features.npz")
    collected = collect(describe(folder))
    assert collected.ids == NAMES
    assert collected.captions.tolist() == [5] * ROWS
    # Where features have these ids, they are the items.
    ids = np.arange(5 * ROWS).astype(str)
    np.savez(folder / "features.npz", ids=ids, features=np.ones((5 * ROWS, 4)))
    assert collect(describe(folder)).rows == 5 * ROWS
    rows = [f"{n},{row},caption {k}" for n, (row, k) in enumerate(np.ndindex(ROWS, 5))]
    (folder / "t.csv").write_text("\n".join(["id,image_id,caption", *rows]))
    assert tables.read_table(folder / "t.csv").ids == [str(row) for row in range(ROWS)]


SEVERAL = [["a red gull", "some, bird"], ["the 'sea'", "a boat"]] * (ROWS // 2)


@pytest.mark.parametrize("write", [str, json.dumps, lambda own: str(np.array(own)), tuple])
def test_a_list_in_a_cell_of_a_csv_is_several_texts(write, tmp_path):
    with open(tmp_path / "t.csv", "w", newline="") as file:
        rows = [[row, write(own)] for row, own in enumerate(SEVERAL)]
        csv.writer(file).writerows([["id", "captions"], *rows])
    assert tables.read_table(tmp_path / "t.csv").texts == SEVERAL


@pytest.mark.parametrize("text", ["[a] gull [b]", "[2019]", "[sic]", "(a gull)", "a 'gull'", "[1]"])
def test_a_text_in_brackets_is_one_text(text, tmp_path):
    (tmp_path / "t.csv").write_text(f"id,text\n1,{text}\n")
    assert tables.read_table(tmp_path / "t.csv").texts == [[text]]


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
@pytest.mark.parametrize("name", ["caption_{}", "Caption{}", "sentence {}"])
def test_numbered_columns_are_several_texts(name, kind, tmp_path):
    path = tmp_path / f"t.{kind}"
    texts = [["one", "two"], ["one", "two", "three"]] * 2
    numbers = (1, 10, 2)  # written in another order
    rows = [
        {"id": row, **{name.format(n): (own[k : k + 1] or [""])[0] for n, k in
                       zip(numbers, (0, 2, 1), strict=True)}}
        for row, own in enumerate(texts)
    ]  # fmt: skip
    if kind == "csv":
        with open(path, "w", newline="") as file:
            csv.writer(file).writerows([list(rows[0]), *(row.values() for row in rows)])
    elif kind == "jsonl":
        rows = [{key: value for key, value in row.items() if value != ""} for row in rows]
        path.write_text("\n".join(map(json.dumps, rows)))
    else:
        write_parquet(path, rows)
    assert tables.read_table(path).texts == texts


@pytest.mark.parametrize("name", ["alt_text", "Alt", "caption_text", "image caption"])
def test_common_names_of_texts(name, tmp_path):
    (tmp_path / "t.csv").write_text(f"id,{name}\n1,a gull\n")
    assert tables.read_table(tmp_path / "t.csv").texts == [["a gull"]]


# Columns that a description names.


def describe_columns(folder, **columns):
    (folder / "dataset.json").write_text(json.dumps({"data": ".", "columns": columns}))


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_a_description_names_the_columns(kind, folder):
    rows = [
        {"Bild": name, "my caption": "a gull", "zwei": "the sea", "Art": "ab"[row % 2], "text": "-"}
        for row, name in enumerate(NAMES)
    ]
    if kind == "csv":
        lines = [";".join(row.values()) for row in rows]
        (folder / "t.csv").write_text("\n".join([";".join(rows[0]), *lines]))
    elif kind == "jsonl":
        (folder / "t.jsonl").write_text("\n".join(map(json.dumps, rows)))
    else:
        write_parquet(folder / "t.parquet", rows)
    with pytest.raises(UserError, match=r"it has .*'Art'.*\"columns\": \{\"picture\": COLUMN"):
        load(folder)
    for picture in ("picture", "image"):
        describe_columns(folder, text=["my caption", "zwei"], labels="Art", **{picture: "Bild"})
        collected = collect(describe(folder))
        assert collected.texts == ["a gull", "the sea"] * ROWS
        assert collected.label_names == ["a", "b"]
        assert [path.name for path in collected.pictures] == [name[4:] for name in NAMES]
    describe_columns(folder, text="my caption", picture="Bild")
    assert collect(describe(folder)).texts == ["a gull"] * ROWS


@pytest.mark.parametrize(
    ("columns", "says"),
    [
        ({"text": "none"}, r"t\.csv has no column 'none'; it has 'picture', 'text', 'labels'"),
        ({"pictures": "picture"}, "did you mean 'picture'"),
        ({"labels": ["labels"]}, "'labels' of 'columns' is the name of a column"),
        ({"text": []}, "'text' of 'columns' is the name"),
        ({"text": ["text", 3]}, "'text' of 'columns' is the name"),
        ({"text": "picture", "picture": "picture"}, "names a column twice"),
        ({"image": "text", "picture": "picture"}, "the column 'text' holds no lists of numbers"),
        ("text", "is not a JSON object"),
    ],
)
def test_columns_of_a_description_that_are_wrong(columns, says, folder):
    (folder / "t.csv").write_text(table())
    (folder / "dataset.json").write_text(json.dumps({"data": ".", "columns": columns}))
    with pytest.raises(UserError, match=says):
        load(folder)


def test_columns_without_a_table_or_without_texts(folder):
    (folder / "t.csv").write_text("picture,written\nimg/p0.png,a gull\n")
    with pytest.raises(UserError, match=r"t\.csv holds no texts; it has 'picture', 'written'; say"):
        load(folder)
    os.remove(folder / "t.csv")
    describe_columns(folder, text="written")
    with pytest.raises(UserError, match="'columns' are those of a table; there is none"):
        load(folder)


# Arrays in a table.


def write_vectors(path, rows, size=4):
    """Parquet with its lists of numbers of one size, JSON lines, or CSV as pandas writes it."""
    if path.suffix == ".parquet":
        import pyarrow
        from pyarrow import parquet

        written = pyarrow.Table.from_pylist(rows)
        for place, name in enumerate(written.column_names):
            if name.startswith("image") and isinstance(rows[0][name], list):
                kind = pyarrow.list_(pyarrow.float32(), size)
                written = written.set_column(place, name, written[name].cast(kind))
        parquet.write_table(written, path, row_group_size=16)
    elif path.suffix == ".jsonl":
        path.write_text("\n".join(map(json.dumps, rows)))
    else:
        with open(path, "w", newline="") as file:
            csv.writer(file).writerows([list(rows[0]), *(row.values() for row in rows)])


@pytest.mark.parametrize("kind", ["parquet", "jsonl", "csv"])
@pytest.mark.parametrize(
    ("image", "text"),
    [("image_embeddings", "text_embeddings"), ("image", "caption"), ("img_emb", "tags")],
)
def test_lists_of_numbers_in_a_table_are_arrays(image, text, kind, tmp_path):
    if (kind, text) == ("csv", "caption"):
        text = "caption_emb"  # a caption may begin with a bracket
    if (kind, text) == ("csv", "tags"):
        text = "bow"
    rows = [
        {image: FEATURES[row].tolist(), text: TAGS[row].tolist(), "label": "ab"[row % 2]}
        for row in range(ROWS)
    ]
    write_vectors(tmp_path / f"t.{kind}", rows)
    for path in (tmp_path, tmp_path / f"t.{kind}"):
        collected = collect(describe(path))
        np.testing.assert_array_equal(np.asarray(collected.arrays["image"]), FEATURES)
        np.testing.assert_allclose(np.asarray(collected.arrays["text"]), TAGS, rtol=1e-6)
        assert collected.label_names == ["a", "b"]
    assert load(tmp_path).card["files"]["image"] == f"t.{kind}:{image}"


def test_arrays_of_a_table_follow_its_items(folder):
    rows = [
        {"image": name, "caption": f"gull {k}", "image_embeddings": FEATURES[row].tolist(),
         "text_embeddings": [float(row), k]}
        for k in range(2) for row, name in enumerate(NAMES)
    ]  # fmt: skip
    os.remove(folder / "features.npz")
    write_vectors(folder / "t.parquet", rows)
    collected = collect(describe(folder))
    assert collected.rows == ROWS
    np.testing.assert_array_equal(np.asarray(collected.arrays["image"]), FEATURES)
    expected = [[[row, 0], [row, 1]] for row in range(ROWS)]
    np.testing.assert_array_equal(np.asarray(collected.arrays["text"]), expected)
    assert len(collected.pictures) == ROWS
    describe_columns(folder, text="caption")
    assert collect(describe(folder)).texts[:2] == ["gull 0", "gull 1"]
    rows[-1]["image_embeddings"] = [0.0] * 4
    write_vectors(folder / "t.parquet", rows)
    with pytest.raises(UserError, match=r"row 79 .*different 'image_embeddings'"):
        collect(describe(folder))


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"image_embeddings": [1.0, 2.0]}, r"line 4: 'image_embeddings' holds no 4 numbers"),
        ({"image_embeddings": None}, r"line 4: 'image_embeddings' holds no 4 numbers"),
        ({"image_embeddings": [1, 2, 3, "4"]}, r"line 4: 'image_embeddings' holds no 4 numbers"),
        ({"image_embeddings": [1, 2, 3, 10**400]}, r"line 4: 'image_embeddings' holds no 4"),
        ({"image_embeddings": [1, 2, None, 4]}, r"row 3 \(from 0\): NaN or infinity"),
    ],
)
def test_lists_of_numbers_that_are_no_array_are_refused(changed, says, tmp_path):
    rows = [{"image_embeddings": own.tolist(), "caption": "a gull"} for own in FEATURES]
    rows[3] |= changed
    write_vectors(tmp_path / "t.jsonl", rows)
    with pytest.raises(UserError, match=says):
        load(tmp_path)


def test_two_arrays_of_one_field_are_refused(folder):
    rows = [
        {"id": name, "caption": "a gull", "image_emb": own.tolist(), "img_feat": own.tolist()}
        for name, own in zip(NAMES, FEATURES, strict=True)
    ]
    write_vectors(folder / "t.jsonl", rows)
    with pytest.raises(UserError, match=r"'image_emb' and 'img_feat' may both be the 'image'"):
        load(folder)
    describe_columns(folder, image="img_feat")
    with pytest.raises(UserError, match=r"features\.npz and t\.jsonl:img_feat may both be 'image'"):
        load(folder)
    os.remove(folder / "features.npz")
    assert card(folder)["files"]["image"] == "t.jsonl:img_feat"


def test_a_column_of_an_array_that_is_left_out_is_told(folder, caplog):
    rows = [
        {"image": name, "caption": "a gull", "text_embeddings": b"123", "width": b"1"}
        for name in NAMES
    ]
    write_parquet(folder / "t.parquet", rows)
    load(folder)
    assert [one.getMessage().partition(": ")[2] for one in caplog.records] == [
        "column 'text_embeddings' is left out: it holds no lists of numbers"
    ]


# Arrays.


def test_every_name_of_an_array_means_one_thing():
    meanings = {}
    for field, names in _ARRAYS.items():
        for name in names:
            for part, marks in PARTS.items():
                for mark in marks:
                    for spelling in (name + mark, mark + name):
                        meanings.setdefault(spelling, set()).add((field, part))
    assert {one: found for one, found in meanings.items() if len(found) > 1} == {}
    assert set(meanings) == set(_MEANINGS)


@pytest.mark.parametrize(
    "names",
    [
        ("image_embeddings", "text_embeddings"),
        ("clip_image", "clip_text"),
        ("img_emb", "txt_emb"),
        ("image_embeds", "text_embeds"),
        ("image_features", "caption_features"),
        ("imageFeats", "textFeats"),
    ],
)
def test_common_names_of_arrays(names, tmp_path):
    np.savez(tmp_path / "a.npz", labels=LABELS, **dict(zip(names, (FEATURES, TAGS), strict=True)))
    collected = collect(describe(tmp_path / "a.npz"))
    np.testing.assert_array_equal(np.asarray(collected.arrays["image"]), FEATURES)


@pytest.mark.parametrize("kind", ["npy", "npz", "npz, packed", "safetensors"])
def test_bfloat16_is_read_as_float32(kind, tmp_path):
    rounded = FEATURES.astype(ml_dtypes.bfloat16)
    path = tmp_path / f"image.{kind.partition(',')[0]}"
    if kind == "npy":
        np.save(path, rounded)
    elif kind == "safetensors":
        bits = rounded.view(np.uint16)
        save_file({"image": bits, "other": FEATURES}, path)
        content = path.read_bytes()
        # The library's writer for numpy knows no bfloat16: the header is all that differs.
        length = struct.unpack("<Q", content[:8])[0]
        header = json.loads(content[8 : 8 + length])
        header["image"]["dtype"] = "BF16"
        text = json.dumps(header).encode().ljust(length + 8)
        path.write_bytes(struct.pack("<Q", len(text)) + text + content[8 + length :])
    else:
        (np.savez if kind == "npz" else np.savez_compressed)(path, image=rounded)
    entries = formats.open_file(path)
    found = entries.get("image", entries.get(formats.ONLY)).open()
    assert found.rows.dtype == np.float32
    np.testing.assert_array_equal(found.rows[3:5], rounded[3:5].astype(np.float32))
    np.testing.assert_array_equal(np.asarray(found.rows), rounded.astype(np.float32))


def test_a_damaged_header_of_tensors_is_refused(tmp_path):
    path = tmp_path / "a.safetensors"
    for header in (
        {"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 4]}},
        {"a": {"dtype": "F32", "shape": [2], "data_offsets": [8, 16]}},
        {"a": {"dtype": "F32", "shape": [-1], "data_offsets": [0, -4]}},
        {"a": {"dtype": "F32", "shape": [2]}},
        {name: {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]} for name in "ab"},
        ["a"],
    ):
        text = json.dumps(header).encode()
        path.write_bytes(struct.pack("<Q", len(text)) + text + bytes(12))
        with pytest.raises(UserError, match=r"a\.safetensors cannot be read"):
            formats.open_file(path)


def test_texts_saved_as_objects_are_refused_with_the_way_out(tmp_path):
    texts = np.array(["a", "b"] * 20, object)
    np.savez(tmp_path / "a.npz", images=FEATURES, captions=texts, labels=LABELS)
    with pytest.raises(UserError, match=r"captions holds .*np\.array\(texts, dtype=str\)"):
        load(tmp_path / "a.npz")


def test_what_nobody_asks_for_is_passed_over(tmp_path):
    contents = {"images": FEATURES, "tags": TAGS, "labels": LABELS}
    scipy.io.savemat(tmp_path / "a.mat", {**contents, "text": {"a": 1}, "opts": {"b": 2}})
    assert card(tmp_path / "a.mat")["labels"] == 3
    scipy.io.savemat(tmp_path / "a.mat", {**contents, "labels": {"a": 1}})
    with pytest.raises(UserError, match=r"labels is a struct of MATLAB.*cellstr"):
        load(tmp_path / "a.mat")
    np.save(tmp_path / "l.npy", LABELS)
    (tmp_path / "d.json").write_text(json.dumps({"data": "a.mat", "labels": "l.npy"}))
    assert card(tmp_path / "d.json")["labels"] == 3


def test_queries_that_are_also_in_the_database_are_refused(tmp_path):
    lists = {"query_index": [1, 2], "database_index": [2, 3, 4]}
    np.savez(tmp_path / "a.npz", images=FEATURES, tags=TAGS, labels=LABELS, **lists)
    says = "1 queries are also in the database list, the first is row 2"
    with pytest.raises(UserError, match=says):
        load(tmp_path / "a.npz")
    np.savez(tmp_path / "lists.npz", **lists)
    with pytest.raises(UserError, match=says):
        protocols.read(tmp_path / "lists.npz", ROWS)


def test_the_hash_of_a_table_is_that_of_its_content(folder):
    (folder / "t.csv").write_text(table())
    one = card(folder)["sha256"]
    content = io.BytesIO(b"\xef\xbb\xbf" + table().replace("\n", "\r\n").encode())
    (folder / "t.csv").write_bytes(content.getvalue())
    assert card(folder)["sha256"] == one
