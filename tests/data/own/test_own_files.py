"""The user's own files: every layout as its writer makes it, and every way that it can be wrong."""

import io
import json

import jax
import numpy as np
import pytest
import scipy.io
import scipy.sparse
import small
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from jxhash import configuration, data
from jxhash.data.own import own_files, tables
from jxhash.data.pictures.decoding import EncodedPictures
from jxhash.errors import UserError
from jxhash.evaluation.encode import encode
from jxhash.networks import efficientnet_lite
from jxhash.training import batches

h5py = pytest.importorskip("h5py")

ROWS = 60
RANDOM = np.random.default_rng(0)
PIXELS = RANDOM.integers(0, 256, (ROWS, 8, 6, 3), dtype=np.uint8)  # height is not width
FEATURES = RANDOM.normal(size=(ROWS, 7)).astype(np.float32)
TAGS = (RANDOM.random((ROWS, 11)) < 0.3).astype(np.uint8)
LABELS = (RANDOM.random((ROWS, 4)) < 0.4).astype(np.uint8)
IDS = [f"im{row}" for row in range(ROWS)]
WORDS = ("sea", "sky", "gull", "red", "boat")
SENTENCES = [
    " ".join(word for word, there in zip(WORDS, RANDOM.random(5) < 0.5, strict=True) if there)
    for _ in range(ROWS)
]


def load(path):
    return data.load(str(path))


def part(dataset, name):
    """(inputs, labels) of a part."""
    items = {
        "query": dataset.tasks[0].query,
        "database": dataset.tasks[0].database,
        "train": dataset.trained,
        "validation": dataset.validation[0].query if dataset.validation else None,
    }[name]
    return {name: np.asarray(array) for name, array in items.inputs.items()}, items.labels


def rows_of(dataset, name):
    """Which rows of LABELS and TAGS a part has, found by what they hold."""
    inputs, labels = part(dataset, name)
    whole = np.concatenate([TAGS, LABELS], axis=1)
    found = np.concatenate([inputs["text"], labels], axis=1)
    return {int(np.flatnonzero((whole == row).all(axis=1))[0]) for row in found}


def write_matlab_73(path, contents, compression=None):
    """A file as MATLAB writes it: axes backwards, behind a header of its own."""
    with h5py.File(path, "w", userblock_size=512) as file:
        for name, array in contents.items():
            file.create_dataset(name, data=array.T, chunks=compression and True,
                                compression=compression)  # fmt: skip
            file[name].attrs["MATLAB_class"] = np.bytes_("double")
    with open(path, "r+b") as file:
        file.write(b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM")


def matlab_pixels():
    """Pictures as MatConvNet has them: height, width, channels, items."""
    return PIXELS.transpose(1, 2, 3, 0)


def assert_is_the_data(dataset, image=FEATURES, text=TAGS):
    """All parts hold the right rows of the arrays above, and queries are apart."""
    order = {row.tobytes(): number for number, row in enumerate(np.ascontiguousarray(image))}
    seen = {}
    for name in ("train", "query", "database"):
        inputs, labels = part(dataset, name)
        rows = [order[row.tobytes()] for row in inputs["image"].astype(image.dtype)]
        np.testing.assert_array_equal(inputs["text"], text[rows])
        np.testing.assert_array_equal(labels, LABELS[rows])
        seen[name] = set(rows)
        assert len(seen[name]) == len(rows) == dataset.card["sizes"][name]
    assert not seen["query"] & seen["database"]
    assert seen["train"] <= seen["database"]
    pairs = dataset.training["pairs"]
    assert set(pairs) == {"image", "text", "labels"}
    return seen


# One file of arrays.


@pytest.mark.parametrize("compression", [None, "gzip"])
@pytest.mark.parametrize("names", [("images", "YAll", "LAll"), ("IAll", "tags", "labels")])
def test_matlab_7_3_of_dcmh(names, compression, tmp_path):
    contents = dict(zip(names, (matlab_pixels(), TAGS.astype(float), LABELS), strict=True))
    write_matlab_73(tmp_path / "FLICKR-25K.mat", contents, compression)
    dataset = load(tmp_path / "FLICKR-25K.mat")
    assert_is_the_data(dataset, PIXELS)
    assert dataset.card["sizes"] == {"train": 49, "validation": 5, "query": 6, "database": 54}
    assert dataset.training["pairs"]["image"].dtype == np.uint8


def test_matlab_5_with_items_last_or_first_and_sparse(tmp_path):
    items_last = {"images": matlab_pixels(), "tags": scipy.sparse.csc_matrix(TAGS.T.astype(float))}
    scipy.io.savemat(tmp_path / "last.mat", {**items_last, "labels": LABELS.T.astype(float)})
    assert_is_the_data(load(tmp_path / "last.mat"), PIXELS)
    items_first = {"XAll": FEATURES.astype(float), "YAll": TAGS.astype(float), "LAll": LABELS}
    scipy.io.savemat(tmp_path / "first.mat", items_first, do_compression=True)
    assert_is_the_data(load(tmp_path / "first.mat"))
    pixels = {"images": PIXELS.transpose(0, 3, 1, 2), "tags": TAGS, "labels": LABELS}
    scipy.io.savemat(tmp_path / "channels.mat", pixels)
    assert_is_the_data(load(tmp_path / "channels.mat"), PIXELS)


def test_sparse_of_matlab_7_3(tmp_path):
    sparse = scipy.sparse.csc_matrix(TAGS.astype(float))
    write_matlab_73(tmp_path / "a.mat", {"images": FEATURES, "labels": LABELS})
    with h5py.File(tmp_path / "a.mat", "r+") as file:
        group = file.create_group("tags")
        group.attrs["MATLAB_sparse"] = np.uint64(ROWS)
        for name, array in (("data", sparse.data), ("ir", sparse.indices), ("jc", sparse.indptr)):
            group[name] = array
    assert_is_the_data(load(tmp_path / "a.mat"))


@pytest.mark.parametrize("write", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("order", ["C", "F"])
def test_npz(write, order, tmp_path):
    write(
        tmp_path / "a.npz",
        features=np.asarray(FEATURES, order=order),
        tags=np.asarray(TAGS, ">f8", order=order),
        labels=LABELS,
        unrelated=np.array([{}], object),
    )
    assert_is_the_data(load(tmp_path / "a.npz"))


@pytest.mark.parametrize("order", ["C", "F"])
def test_a_folder_of_npy(order, tmp_path):
    for name, array in (("image", FEATURES), ("text", TAGS), ("labels", LABELS)):
        np.save(tmp_path / f"{name}.npy", np.asarray(array, order=order))
    assert_is_the_data(load(tmp_path))


def test_hdf5_in_the_order_of_its_writer(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["images"] = PIXELS.transpose(0, 3, 1, 2)
        file["set/tags"] = TAGS
        file["labels"] = LABELS
    assert_is_the_data(load(tmp_path / "a.h5"), PIXELS)


def test_parts_of_a_file_are_its_split(tmp_path):
    contents = {}
    for suffix, rows in (("tr", slice(0, 40)), ("te", slice(40, 60))):
        contents |= {f"I_{suffix}": FEATURES[rows], f"T_{suffix}": TAGS[rows]}
        contents |= {f"L_{suffix}": LABELS[rows].astype(float)}
    scipy.io.savemat(tmp_path / "a.mat", contents)
    seen = assert_is_the_data(load(tmp_path / "a.mat"))
    assert seen == {"train": set(range(40)), "database": set(range(40)), "query": {*range(40, 60)}}
    assert "own rows" in load(tmp_path / "a.mat").card["split"]
    describe(tmp_path, data="a.mat", split={"validation": 10, "seed": 3})
    dataset = load(tmp_path / "dataset.json")
    assert dataset.card["sizes"] == {"train": 30, "validation": 10, "query": 20, "database": 40}


def test_lists_of_rows_count_from_0_but_in_mat_from_1(tmp_path):
    contents = {"images": FEATURES, "tags": TAGS, "labels": LABELS}
    wanted = {"query": {1, 5, 59}, "train": set(range(10, 30)), "database": set(range(6, 59))}
    lists = {f"{name}_index": np.array(sorted(rows)) for name, rows in wanted.items()}
    np.savez(tmp_path / "a.npz", **contents, **lists)
    assert assert_is_the_data(load(tmp_path / "a.npz")) == wanted
    from_one = {name: rows + 1.0 for name, rows in lists.items()}
    scipy.io.savemat(tmp_path / "a.mat", {**contents, **from_one})
    assert assert_is_the_data(load(tmp_path / "a.mat")) == wanted
    scipy.io.savemat(tmp_path / "a.mat", {**contents, "query_index": [0, 3]})
    with pytest.raises(UserError, match=r"query_index, entry 0: 0 is not in 1 to 60 \(MATLAB"):
        load(tmp_path / "a.mat")


def test_class_ids_become_columns(tmp_path):
    ids = np.arange(ROWS) % 3 + 5
    np.savez(tmp_path / "a.npz", image=FEATURES, text=TAGS, labels=ids)
    query = load(tmp_path / "a.npz").tasks[0].query
    assert query.labels.shape == (6, 3)
    assert (query.labels.sum(axis=1) == 1).all()
    np.savez(tmp_path / "a.npz", image=FEATURES, text=TAGS, labels=(ids[:, None] > 5))
    with pytest.raises(UserError, match=r"labels: one column of 0 and 1 may be"):
        load(tmp_path / "a.npz")


def test_tokens_say_the_size_of_their_vocabulary(tmp_path):
    tokens = np.tile([3, 9, 1, 0], (ROWS, 1))
    np.savez(tmp_path / "a.npz", image=FEATURES, tokens=tokens, labels=LABELS)
    dataset = load(tmp_path / "a.npz")
    assert dataset.vocabulary_size == 9
    assert np.asarray(dataset.training["pairs"]["text"]).dtype == np.int32


# Tables and triplets.


def picture(row, kind="PNG"):
    content = io.BytesIO()
    Image.fromarray(PIXELS[row]).save(content, kind)
    return content.getvalue()


def write_pictures(folder, names):
    for row, name in enumerate(names):
        (folder / name).parent.mkdir(exist_ok=True, parents=True)
        (folder / name).write_bytes(picture(row))


def names_of(row):
    return [f"label {column}" for column in np.flatnonzero(row)] or ["none"]


def describe(folder, **values):
    (folder / "dataset.json").write_text(json.dumps(values))


def write_table(folder, kind="csv", *, labelled=True, change=lambda row, cells: None):
    """The table of the data above; `change` may alter the cells of a row."""
    lines = []
    for row in range(ROWS):
        cells = {"picture": f"p/{IDS[row]}.png", "text": SENTENCES[row], "id": IDS[row]}
        cells["labels"] = names_of(LABELS[row])
        change(row, cells)
        if kind == "jsonl":
            lines.append(json.dumps(cells))
        else:
            cells["labels"] = ";".join(cells["labels"])
            lines.append(",".join(f'"{cell}"' for cell in cells.values()))
    head = [] if kind == "jsonl" else ["picture,text,id,labels"]
    (folder / f"table.{kind}").write_text("\n".join([*head, *lines]) + "\n", encoding="utf-8")


@pytest.fixture
def folder(tmp_path):
    write_pictures(tmp_path, [f"p/{name}.png" for name in IDS])
    np.savez(tmp_path / "features.npz", features=FEATURES[::-1], ids=np.array(IDS[::-1]))
    return tmp_path


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_a_folder_of_pictures_with_features_aligned_by_id(kind, folder):
    write_table(folder, kind)
    dataset = load(folder)
    database = dataset.tasks[0].database
    rows = [SENTENCES.index(title) for title in database.titles]
    assert dataset.card["labels"] == ["label 0", "label 1", "label 2", "label 3", "none"]
    order = {row.tobytes(): number for number, row in enumerate(FEATURES)}
    rows = [order[row.tobytes()] for row in database.inputs["image"][:]]
    assert database.titles == [SENTENCES[row] for row in rows]
    assert [database.pictures[n] for n in (0, 9)] == [picture(rows[n]) for n in (0, 9)]
    np.testing.assert_array_equal(database.labels[:, :4], LABELS[rows])
    vocabulary = sorted(WORDS)
    expected = [[word in SENTENCES[row].split() for word in vocabulary] for row in rows]
    np.testing.assert_array_equal(database.inputs["text"][:][:, : len(WORDS)], expected)


def test_the_vocabulary_is_of_training_texts_alone(folder):
    # Each text has a word of its own, so that the vocabulary tells which texts it comes from.
    def own_word(row, cells):
        cells["text"] = f"word{row} word{row} all"

    write_table(folder, change=own_word)
    describe(folder, data=".", words={"form": "bag", "min_texts": 1})
    dataset = load(folder)
    train, _ = part(dataset, "train")
    query, _ = part(dataset, "query")
    assert train["text"].shape[1] == len(train["text"]) + 1
    assert query["text"].sum(axis=1).tolist() == [1] * len(query["text"])


def test_a_table_by_its_own_path_and_pictures_behind_a_link(folder):
    write_table(folder)
    elsewhere = folder.with_name(f"{folder.name}-pictures")
    (folder / "p").rename(elsewhere)
    (folder / "p").symlink_to(elsewhere)
    one, other = load(folder).card, load(folder / "table.csv").card
    assert one["sha256"] == other["sha256"]


def test_forms_of_texts(folder):
    write_table(folder)
    for form, dtype, columns, vocabulary_size in (
        ("bag", np.uint8, 3, None),
        ("words", np.float16, 103, None),
        ("tf-idf", np.float32, 3, None),
        ("tokens", np.int32, 4, 3),
    ):
        describe(folder, data=".", words={"form": form, "max_words": 3, "length": 4})
        dataset = load(folder)
        texts, _ = part(dataset, "train")
        assert texts["text"].dtype == dtype
        assert texts["text"].shape[1] == columns
        assert dataset.vocabulary_size == vocabulary_size


def test_texts_without_a_known_word_are_counted(folder):
    def of_other_scripts(row, cells):
        cells["text"] = {3: "!!!", 4: "qwrtzp"}.get(row, "赤い犬" if row % 2 else "दिन और दान")

    write_table(folder, change=of_other_scripts)
    dataset = load(folder)
    texts, _ = part(dataset, "train")
    assert texts["text"].shape[1] == len(["दिन", "और", "दान", "赤い", "い犬"]) + 100
    assert dataset.card["texts without a known word"] == 2


def test_precomputed_sentence_embeddings(folder):
    write_table(folder)
    embeddings = RANDOM.normal(size=(ROWS, 5)).astype(np.float32)
    np.save(folder / "by_row.npy", embeddings)
    shuffled = RANDOM.permutation(ROWS)
    np.savez(folder / "by_id.npz", vectors=embeddings[shuffled], ids=np.array(IDS)[shuffled])
    found = []
    for reference in ("by_row.npy", "by_id.npz:vectors"):
        describe(folder, data=".", text=reference)
        found.append(part(load(folder), "train")[0]["text"])
    np.testing.assert_array_equal(*found)
    assert found[0].shape == (49, 5)


def test_feature_files_of_the_extractor(folder):
    """Two arrays and a card, or .npy beside a list of ids: those of pictures are their paths."""
    write_table(folder)
    names = [f"p/{name}.png" for name in IDS[::-1]]
    np.savez(folder / "features.npz", ids=names, features=FEATURES[::-1], card=np.array("{}"))
    expected = part(load(folder), "train")[0]["image"]
    (folder / "features.npz").unlink()
    np.save(folder / "features.npy", FEATURES[::-1])
    (folder / "features.ids.txt").write_text("".join(f"{name}\n" for name in names))
    np.testing.assert_array_equal(part(load(folder), "train")[0]["image"], expected)
    assert_same_rows(expected, FEATURES)


def assert_same_rows(some, whole):
    assert {row.tobytes() for row in some} <= {row.tobytes() for row in whole}


def test_pictures_alone_are_read_but_no_method_takes_them(folder):
    (folder / "features.npz").unlink()
    write_table(folder)
    dataset = load(folder)
    assert dataset.tasks[0].query.pictures[0][:4] == b"\x89PNG"
    with pytest.raises(UserError, match=r"reads images, .* only .*python -m jxhash\.data\.extract"):
        small.build(small.config("dcmh"), dataset)
    before = dataset.card["sha256"]
    (folder / "p" / "im3.png").write_bytes(picture(4))
    assert load(folder).card["sha256"] != before
    table = own_files.read_table(folder)
    assert table.ids == IDS
    assert [path.name for path in table.pictures[:2]] == ["im0.png", "im1.png"]


def test_a_table_may_bring_its_split(folder):
    def with_split(row, cells):
        cells["split"] = "test" if row < 9 else "val" if row < 20 else "train"

    write_table(folder, "jsonl", change=with_split)
    sizes = load(folder).card["sizes"]
    assert sizes == {"train": 40, "validation": 11, "query": 9, "database": 51}


@pytest.mark.parametrize("captions", ["matrix", "cells", "several", "text file"])
def test_triplets_of_the_clip_repositories(captions, tmp_path):
    paths = [f"/elsewhere/mirflickr/im{row}.jpg" for row in range(ROWS)]
    scipy.io.savemat(tmp_path / "index.mat", {"index": paths})
    scipy.io.savemat(tmp_path / "label.mat", {"category": LABELS.astype(float)})
    texts = [sentence or "none" for sentence in SENTENCES]
    if captions == "text file":
        (tmp_path / "caption.txt").write_text("\n".join(texts))
    else:
        value = np.empty((ROWS, 2 if captions == "several" else 1), object)
        for row, one in enumerate(texts):
            value[row] = [one, "twice"] if captions == "several" else [one]
        as_matrix = [[one] for one in texts]
        caption = as_matrix if captions == "matrix" else value
        scipy.io.savemat(tmp_path / "caption.mat", {"caption": caption})
    np.save(tmp_path / "features.npy", FEATURES)
    dataset = load(tmp_path)
    sentences, images = dataset.tasks[0].database, dataset.tasks[1].database
    order = {row.tobytes(): number for number, row in enumerate(FEATURES)}
    rows = [order[row.tobytes()] for row in images.inputs["image"][:]]
    each = ["", "twice"] if captions == "several" else [""]
    assert sentences.titles == [other or texts[row] for row in rows for other in each]
    np.testing.assert_array_equal(images.labels, LABELS[rows])
    np.testing.assert_array_equal(sentences.labels, np.repeat(LABELS[rows], len(each), axis=0))
    assert images.pictures is None
    write_pictures(tmp_path, [f"im{row}.jpg" for row in range(ROWS)])
    assert load(tmp_path).tasks[1].database.pictures[2] == picture(rows[2])
    images = load(f"{tmp_path}-pixels-8").tasks[1].database.inputs["image"]
    np.testing.assert_array_equal(images[2:3], [efficientnet_lite.fit(picture(rows[2]), 8)])
    (tmp_path / "im7.jpg").unlink()
    with pytest.raises(UserError, match=r"index\.mat, row 8: there is no picture .*im7\.jpg"):
        load(tmp_path)


def test_triplets_of_matlab_7_3(tmp_path):
    def cells(file, name, texts):
        references = file.create_group("#refs#")
        cell = np.empty((1, len(texts)), h5py.ref_dtype)
        for row, one in enumerate(texts):
            characters = np.frombuffer(one.encode("utf-16-le"), "<u2")[:, None]
            cell[0, row] = references.create_dataset(str(row), data=characters).ref
        file[name] = cell

    np.save(tmp_path / "features.npy", FEATURES)
    scipy.io.savemat(tmp_path / "label.mat", {"label": LABELS})
    for name, texts in (("index", IDS), ("caption", [f"{one} ä" for one in SENTENCES])):
        write_matlab_73(tmp_path / f"{name}.mat", {})
        with h5py.File(tmp_path / f"{name}.mat", "r+") as file:
            cells(file, name, texts)
    assert all(title.endswith("ä") for title in load(tmp_path).tasks[0].query.titles)


# What is wrong is named, and left out only where the user said so.


def spoilt(rows):
    features = FEATURES.copy()
    features[rows, 2] = np.nan
    return features


def test_rows_that_are_not_finite(tmp_path):
    np.savez(tmp_path / "a.npz", image=spoilt([3, 17]), text=TAGS, labels=LABELS)
    with pytest.raises(UserError, match=r"a\.npz:image, row 3 .*NaN or infinity \(2 such rows\)"):
        load(tmp_path / "a.npz")
    describe(tmp_path, data="a.npz", skip=["not finite"])
    dataset = load(tmp_path)
    assert dataset.card["skipped"] == {"not finite": 2}
    seen = assert_is_the_data(dataset)
    assert seen["query"] | seen["database"] == set(range(ROWS)) - {3, 17}


def test_a_missing_picture(folder):
    write_table(folder)
    (folder / "p" / "im5.png").unlink()
    (folder / "p" / "im9.png").write_bytes(b"")
    with pytest.raises(UserError, match=r"table\.csv, line 7: there is no picture .*im5\.png"):
        load(folder)
    describe(folder, data=".", skip=["missing pictures"])
    dataset = load(folder)
    assert dataset.card["skipped"] == {"missing pictures": 2}
    assert dataset.card["sizes"]["query"] + dataset.card["sizes"]["database"] == ROWS - 2


def test_pictures_themselves_as_images(folder):
    """Features that lie beside are not looked at, nor are the pictures read before their rows."""
    write_table(folder)
    np.savez(folder / "features.npz", features=FEATURES[:2], ids=np.array(["other", "im3"]))
    dataset = load(f"{folder}-pixels-10")
    assert dataset.card["name"] == f"{folder.name}-pixels-10"
    assert dataset.card["image"] == "the pictures, 10 x 10 pixels, RGB"
    pairs = dataset.training["pairs"]
    assert isinstance(pairs["image"], EncodedPictures)
    assert pairs["image"].shape == (49, 10, 10, 3)
    assert isinstance(batches.place(dataset.training, 1e9, 16), batches.Streamed)
    rows_of_part = {"train": dataset.trained, "query": dataset.tasks[0].query}
    for items in rows_of_part.values():
        np.testing.assert_array_equal(
            items.inputs["image"][:], [efficientnet_lite.fit(one, 10) for one in items.pictures]
        )
        shown = [np.asarray(Image.open(io.BytesIO(one))) for one in items.pictures]
        rows = [int(np.flatnonzero((one == PIXELS).all(axis=(1, 2, 3)))[0]) for one in shown]
        np.testing.assert_array_equal(items.labels[:, :4], LABELS[rows])
    assert load(f"{folder / 'table.csv'}-pixels-10").card["sha256"] == dataset.card["sha256"]
    assert load(f"{folder}-pixels-11").card["sha256"] != dataset.card["sha256"]
    (folder / "p" / "im3.png").write_bytes(picture(4))
    assert load(f"{folder}-pixels-10").card["sha256"] != dataset.card["sha256"]


def test_a_damaged_picture(folder):
    write_table(folder)
    (folder / "p" / "im5.png").write_bytes(picture(5)[:60])
    (folder / "p" / "im7.png").unlink()
    (folder / "p" / "im9.png").write_bytes(b"GIF89a")
    describe(folder, data=".", skip=["missing pictures"])
    says = r'table\.csv, line 7: .*im5\.png: no picture .*\(2 such rows\); .*"damaged pictures"'
    with pytest.raises(UserError, match=says):
        load(f"{folder}-pixels-8")
    # What is known without decoding is said first.
    describe(folder, data=".", skip=["damaged pictures"])
    with pytest.raises(UserError, match=r"line 9: there is no picture .*im7\.png"):
        load(f"{folder}-pixels-8")
    describe(folder, data=".", skip=["damaged pictures", "missing pictures"])
    dataset = load(f"{folder}-pixels-8")
    assert dataset.card["skipped"] == {"missing pictures": 1, "damaged pictures": 2}
    database = dataset.tasks[0].database
    assert len(database.inputs["image"][:]) + dataset.card["sizes"]["query"] == ROWS - 3
    # One that is spoilt while it is in use is named too.
    (folder / "p" / "im0.png").write_bytes(b"")
    images = [items.inputs["image"] for items in (database, dataset.tasks[0].query)]
    with pytest.raises(UserError, match=r"table\.csv, line 2: .*im0\.png: no picture"):
        np.concatenate(images)


def test_pictures_of_data_without_them(tmp_path):
    np.savez(tmp_path / "a.npz", image=FEATURES, text=TAGS, labels=LABELS)
    with pytest.raises(UserError, match=r"a\.npz holds no table of pictures"):
        load(tmp_path / "a.npz-pixels-8")
    with pytest.raises(UserError, match=r"there is no file or folder .*/b$"):
        load(tmp_path / "b-pixels-8")


def test_missing_labels(folder):
    def unlabelled(row, cells):
        cells["labels"] = [] if row == 4 else cells["labels"]

    write_table(folder, change=unlabelled)
    with pytest.raises(UserError, match=r"table\.csv, line 6: no labels"):
        load(folder)
    describe(folder, data=".", skip=["missing labels"])
    assert load(folder).card["skipped"] == {"missing labels": 1}


def test_ids_that_do_not_match(folder):
    write_table(folder)
    names = np.array(["other", *IDS[1:]])
    np.savez(folder / "features.npz", features=FEATURES, ids=names)
    with pytest.raises(UserError, match=r"features\.npz has no row for the id 'im0' of row 0"):
        load(folder)
    np.savez(folder / "features.npz", features=np.append(FEATURES, FEATURES[:1], axis=0),
             ids=np.array([*IDS, "more"]))  # fmt: skip
    with pytest.raises(UserError, match=r"features\.npz, row 60 .*no id 'more' \(1 such rows\)"):
        load(folder)
    np.savez(folder / "features.npz", features=FEATURES, ids=names)
    describe(folder, data=".", skip=["unmatched ids"])
    dataset = load(folder)
    assert dataset.card["skipped"] == {"unmatched ids": 2}
    assert dataset.card["sizes"]["query"] + dataset.card["sizes"]["database"] == ROWS - 1
    np.savez(folder / "features.npz", features=FEATURES, ids=np.array([*IDS[:-1], "im0"]))
    with pytest.raises(UserError, match=r"'im0' names the rows 0 and 59"):
        load(folder)


@pytest.mark.parametrize(
    ("contents", "says"),
    [
        (
            {"foo": FEATURES, "bar": TAGS},
            r"a\.npz holds nothing under a name.*bar \(60 x 11\), foo",
        ),
        ({"image": FEATURES, "text": TAGS, "labels": np.arange(ROWS)}, "a class of its own"),
        ({"image": FEATURES, "labels": LABELS}, "no texts"),
        (
            {"image": FEATURES, "text": TAGS[:7], "labels": LABELS[:3]},
            "not share one number of items",
        ),
        ({"image": FEATURES, "img": FEATURES, "text": TAGS}, "may both be 'image'"),
        ({"image": FEATURES, "I_te": FEATURES, "text": TAGS}, "of the whole and of parts"),
        ({"I_tr": FEATURES, "I_te": FEATURES, "T_tr": TAGS}, "no 'text' of the part 'query'"),
        ({"image": FEATURES, "text": TAGS, "labels": LABELS * 2}, "row . .*0 and 1 alone"),
        ({"image": FEATURES, "text": TAGS[:, 0], "labels": LABELS}, "a row of numbers an item"),
        ({"image": IDS, "text": TAGS, "labels": LABELS}, "holds texts, not the numbers of 'image'"),
        ({"image": FEATURES * 1j, "text": TAGS, "labels": LABELS}, "not real numbers"),
        ({"image": np.array([{}], object), "text": TAGS, "labels": LABELS}, "Python objects"),
        ({"image": FEATURES, "text": TAGS, "labels": LABELS, "ids": [1] * ROWS}, "0 and 1"),
        (
            {"image": FEATURES, "text": TAGS, "labels": LABELS, "query_idx": [3, 3]},
            "3 is there twice",
        ),
        (
            {"image": FEATURES, "text": TAGS, "labels": LABELS, "query_idx": [60]},
            ": 60 is not in 0 to 59",
        ),
        ({"image": FEATURES, "text": TAGS, "labels": LABELS[:, :0]}, "a row an item"),
        ({"image": FEATURES[:1], "text": TAGS[:1], "labels": LABELS[:1]}, "cannot be drawn"),
    ],
)
def test_arrays_that_do_not_fit(contents, says, tmp_path):
    np.savez(tmp_path / "a.npz", **contents)
    with pytest.raises(UserError, match=says):
        load(tmp_path / "a.npz")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("picture,text,labels\np.png,a,b,c\n", "line 2: the header has 3 columns, this row has 4"),
        ("text,labels\na,b\n", "no column 'picture' or 'id'"),
        ("id,labels\n1,b\n1,b\n", r"line 3: '1' is already in .* line 2; ids must"),
        ("id,text,img\n1,a,b\n1,a,c\n", "line 3: '1' is already in .* different pictures"),
        ("id,text,split\n1,a,train\n1,b,test\n", "line 3: '1' is already in .* different splits"),
        (
            "id,file,text,split\n1,p,a,train\n2,p,b,test\n",
            "1 queries are also in the train list, the first is 'p'",
        ),
        ("id,text,Label,label\n1,a,b,c\n", "two columns 'Label' and 'label'"),
        ("id,text,labels\n,a,b\n", "line 2: no text under 'id'"),
        ("id,text,labels,split\n1,a,b,held\n", "line 2: the split is one of"),
        ("picture,text,labels\n../p.png,a,b\n", "line 2: .* lies outside of"),
        ("picture,text,labels\n/etc/passwd,a,b\n", "line 2: .* lies outside of"),
        ('id,text,labels\n1,"a,b\n', "line 2: "),
        ("id,text,labels\n", "has no rows"),
        ("id,text,labels\n1,a,b\n2,caf\xe9,b\n", "line 3: not in UTF-8"),
    ],
)
def test_tables_that_are_wrong(text, says, tmp_path):
    (tmp_path / "table.csv").write_bytes(text.encode("latin-1"))
    with pytest.raises(UserError, match=rf"table\.csv.*{says}"):
        load(tmp_path)


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(["csv", "jsonl"]),
    st.one_of(
        st.binary(max_size=80),
        st.text(alphabet='id,"\n\r;{}[]:\\ab1\0', max_size=80).map(str.encode),
    ),
)
def test_any_bytes_are_a_table_or_one_clear_line(tmp_path_factory, kind, content):
    file = tmp_path_factory.getbasetemp() / f"any.{kind}"
    head = b"id,text,labels\n" if kind == "csv" else b'{"id": "x", "text": "a"}\n'
    file.write_bytes(head + content)
    said = f"{file} is a table"
    try:
        table = tables.read_table(file)
        assert len(table.ids) == len(set(table.ids)) == len(table.texts)
    except UserError as error:
        said = str(error)
    assert file.name in said


@pytest.mark.parametrize("line", ["[1]", "{", '{"id": [1], "text": "a"}', "[" * 100_000])
def test_json_lines_that_are_wrong(line, tmp_path):
    (tmp_path / "table.jsonl").write_text('{"id": "1", "text": "a", "labels": ["b"]}\n' + line)
    with pytest.raises(UserError, match=r"table\.jsonl, line 2"):
        load(tmp_path)


def test_nought_and_false_are_labels(tmp_path):
    lines = [
        json.dumps({"id": n, "text": "a", "label": one}) for n, one in enumerate((0, 1, False))
    ]
    (tmp_path / "table.jsonl").write_text(
        "\n".join([*lines, '{"id": 3, "text": "a", "label": null}'])
    )
    table = tables.read_table(tmp_path / "table.jsonl")
    assert table.label_names == ["0", "1", "False"]
    assert [problem.rows.tolist() for problem in table.problems] == [[3]]


def test_a_triplet_of_other_lengths(tmp_path):
    scipy.io.savemat(tmp_path / "index.mat", {"index": [f"im{row}.jpg" for row in range(ROWS)]})
    scipy.io.savemat(tmp_path / "label.mat", {"category": LABELS[:7]})
    (tmp_path / "caption.txt").write_text("a\n" * ROWS)
    with pytest.raises(UserError, match=r"60 rows in index\.mat, 60 in .*, 7 x 4 in label\.mat"):
        load(tmp_path)


def test_python_objects_are_named_as_such(tmp_path):
    objects = np.array([None] * ROWS)
    np.savez(tmp_path / "a.npz", image=FEATURES, text=objects, labels=LABELS)
    with pytest.raises(UserError, match=r"a\.npz:text holds Python objects"):
        load(tmp_path / "a.npz")


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"dat": "a.npz"}, "did you mean 'data'"),
        ({"data": "b.npz"}, "there is no file .*b.npz"),
        ({"data": "a.npz", "image": "a.npz:none"}, r"no array 'none'.*text \(60 x 11\)"),
        ({"data": "a.npz", "image": "a.npz"}, "more than one array"),
        ({"data": "a.npz", "split": {"queries": 3}}, "did you mean 'query'"),
        ({"data": "a.npz", "split": {"query": -3}}, "'query' of the split is -3"),
        ({"data": "a.npz", "split": {"query": 60}}, "cannot be drawn"),
        ({"data": "a.npz", "split": {"query": [[1], [2, 3]]}}, "neither a size nor a list"),
        ({"data": "a.npz", "split": {"seed": 1.5}}, "'seed' of the split is 1.5"),
        ({"data": "a.npz", "words": {"form": ["words"]}}, "the form of words is one of"),
        ({"data": "a.npz", "split": {"query": [0, 60]}}, "entry 1: 60 is not in 0 to 59"),
        ({"data": "a.npz", "split": {"query": [0], "train": [0, 1]}}, "row 0 is a query and"),
        ({"data": "a.npz", "split": {"database": 5}}, "a list of rows is the database"),
        ({"data": "a.npz", "skip": ["nan"]}, "'skip' is a list of some of"),
        ({"data": "a.npz", "words": {"form": "sack"}}, "the form of words is one of"),
        ({"data": "a.npz", "words": {"min_texts": 0}}, "'min_texts' is a whole number"),
        ({"data": "a.npz", "words": {"nearest": 1.5}}, "'nearest' is a cosine"),
        ({"data": "a.npz", "words": {"nearest": "yes"}}, "'nearest' is a cosine"),
        ({"data": 5}, "'data' is a text"),
        ({"data": "a.npz", "table": "a.npz"}, "a table is one of"),
    ],
)
def test_descriptions_that_are_wrong(values, says, tmp_path):
    np.savez(tmp_path / "a.npz", image=FEATURES, text=TAGS, labels=LABELS)
    describe(tmp_path, **values)
    with pytest.raises(UserError, match=says):
        load(tmp_path)


def test_paths_that_are_wrong(tmp_path):
    np.save(tmp_path / "image.npy", FEATURES)
    for path, says in (
        (tmp_path / "none.mat", "there is no file or folder"),
        (tmp_path / "image.npy", "is one array; give the folder"),
        (tmp_path, "no texts"),
    ):
        with pytest.raises(UserError, match=says):
            load(path)
    with pytest.raises(UserError, match="unknown data set 'clipar'"):
        data.load("clipar")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="it has nothing"):
        load(tmp_path / "empty")


# Split and card.


def test_a_seed_draws_one_split_and_the_card_tells_it(tmp_path):
    np.savez(tmp_path / "a.npz", image=FEATURES, text=TAGS, labels=LABELS)
    cards = []
    for seed in (0, 0, 1):
        describe(tmp_path, data="a.npz", split={"query": 10, "train": 20, "seed": seed})
        cards.append(load(tmp_path).card)
    assert cards[0] == cards[1]
    assert cards[0]["sha256"] != cards[2]["sha256"]
    # What reports print of every card.
    assert {"name", "version", "sizes", "sha256"} <= cards[0].keys()
    assert cards[0]["split"].startswith("query: 10 of 60 rows; database: every row that is no")
    describe(tmp_path, data="a.npz", split={"query": 10, "train": 20, "seed": 0})
    for change in ({"image": FEATURES + 1}, {"text": 1 - TAGS}, {"labels": 1 - LABELS}):
        contents = {"image": FEATURES, "text": TAGS, "labels": LABELS, **change}
        np.savez(tmp_path / "a.npz", **contents)
        assert load(tmp_path).card["sha256"] != cards[0]["sha256"]


# The files themselves.


def test_the_engine_takes_rows_of_a_file_as_it_takes_arrays(tmp_path):
    np.savez(tmp_path / "a.npz", **small.rows(101, 0))
    dataset = load(tmp_path / "a.npz")
    read = {name: np.asarray(array) for name, array in dataset.training["pairs"].items()}
    plan = batches.epoch_plan(dataset.training, 16, "shuffled", (0,))
    for resident_bytes in (0, 2**30):
        placed, expected = (
            batches.place(training, resident_bytes, 16).arrays(plan, 1)["pairs"]
            for training in (dataset.training, {"pairs": read})
        )
        for name, array in expected.items():
            np.testing.assert_array_equal(placed[name], array)
            assert placed[name].dtype == array.dtype


def test_a_run_on_a_path_has_a_folder_named_after_it(tmp_path):
    made = small.config("dcmh")
    made.data = str(tmp_path / "mir.mat")
    assert configuration.run_name(made).startswith("dcmh-mir-16-s0-")


def test_a_method_encodes_from_a_path(tmp_path):
    given = small.rows(101, 0)
    np.savez(tmp_path / "own.npz", **given)
    describe(tmp_path, data="own.npz", split={"query": list(range(20))})
    dataset = load(tmp_path)
    method, _ = small.build(small.config("chn"), dataset)
    state = jax.jit(method.init)(jax.random.key(0))
    query = dataset.tasks[0].query.inputs["image"]
    outputs = encode(method, state, "image", query)
    expected = method.encode(state, "image", given["image"][:20])
    np.testing.assert_allclose(outputs, expected, atol=1e-6)
