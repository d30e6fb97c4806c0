"""The Wikipedia cross-modal set (Rasiwasia et al., ACM Multimedia 2010), from its own archive.

2,173 training and 693 query pairs of 128 counts of visual words and 10 topic proportions, each of
one of 10 classes. The training rows are the database.
"""

import io
import pathlib

import numpy as np

from jxhash import formats
from jxhash.data.assemble import from_parts
from jxhash.data.builders import archive
from jxhash.data.dataset import Dataset, content_hash
from jxhash.errors import UserError

FILES = ("raw_features.mat", "trainset_txt_img_cat.list", "testset_txt_img_cat.list")
NUM_CLASSES = 10
_WIDTHS = {"I_tr": 128, "I_te": 128, "T_tr": 10, "T_te": 10}
_CLASSES = [str(number) for number in range(1, NUM_CLASSES + 1)]
# Well above any real archive.
_MOST_ROWS = 2**18
_HELD_OUT = 200
_HELD_OUT_SEED = 2010

# Name -> array; the rows of all arrays belong together.
Side = dict[str, np.ndarray]


def load(folder: pathlib.Path) -> Dataset:
    """Reads the set from the files of the authors' archive, without a validation split.

    All 2,173 training rows are also the database. Both kinds of features are shifted and scaled to
    mean 0 and standard deviation 1 of the training rows; before, the root is taken of visual words
    and the logarithm of topic proportions.

    Raises:
      UserError: a file is missing or is not what the archive holds.
    """
    train, query, digest = _read(folder)
    both = {name: np.concatenate([train[name], query[name]]) for name in train}
    rows = np.arange(len(both["labels"]))
    first, others = np.split(rows, [len(train["labels"])])
    return _dataset("wikipedia", "the authors' train and test lists", both, first, others, digest)


def load_held_out(folder: pathlib.Path) -> Dataset:
    """For choosing settings: 200 training rows, held out, are the queries.

    The test queries take no part, so that nothing can be chosen by them.
    """
    train, _, digest = _read(folder)
    order = np.random.default_rng(_HELD_OUT_SEED).permutation(len(train["labels"]))
    held, rest = np.sort(order[:_HELD_OUT]), np.sort(order[_HELD_OUT:])
    rule = f"{_HELD_OUT} rows of the authors' train list are the queries (seed {_HELD_OUT_SEED})"
    whole = np.frombuffer(bytes.fromhex(digest), np.uint8)
    digest = content_hash({"archive": whole, "query": held})
    return _dataset("wikipedia-held-out", rule, train, rest, held, digest)


def _read(folder: pathlib.Path) -> tuple[Side, Side, str]:
    train, query = read_sides(folder)
    hashed: Side = {}
    for suffix, side in (("tr", train), ("te", query)):
        side |= {name: side[name].astype(np.float32) for name in ("image", "text")}
        side["ids"] = side["ids"][:, 1]
        hashed |= {f"I_{suffix}": side["image"], f"T_{suffix}": side["text"]}
        hashed[suffix] = side["labels"]
    return train, query, content_hash(hashed)


def read_sides(folder: archive.Folder) -> list[Side]:
    """The training and the test rows as the archive has them.

    Each side has `image` [n, 128] and `text` [n, 10], float64, `labels` (one-hot uint8 [n, 10]) and
    `ids` (text [n, 2]: of the text and of the image).

    Raises:
      UserError: a file is missing or is not what the archive holds.
    """
    for file in FILES:
        if not (folder / file).is_file():
            raise UserError(
                f"{folder / file} is missing; unpack the data set's archive there, or point "
                "--data_dir or JXHASH_DATA_DIR at the folder that holds it"
            )
    features = _read_features(folder / FILES[0])
    sides = []
    for suffix, list_file in (("tr", FILES[1]), ("te", FILES[2])):
        labels, ids = _read_list(folder / list_file)
        image, text = features[f"I_{suffix}"], features[f"T_{suffix}"]
        if len({len(image), len(text), len(labels)}) != 1:
            raise UserError(f"{list_file} and {FILES[0]} in {folder} do not belong together")
        sides.append({"image": image, "text": text, "labels": labels, "ids": ids})
    return sides


def _dataset(
    name: str, rule: str, side: Side, train: np.ndarray, query: np.ndarray, digest: str
) -> Dataset:
    card = {
        "name": name,
        "version": "raw_features.mat of 2010",
        "source": "Rasiwasia et al., ACM Multimedia 2010",
        "features": "root of 128 visual words, log of 10 topics; standardised on training rows",
        "split": f"{rule}; the training rows are the database",
        "sizes": {"train": len(train), "query": len(query)},
        "sha256": digest,
    }
    inputs = {
        "image": _standardised(np.sqrt(side["image"]), train),
        "text": _standardised(np.log(np.maximum(side["text"], 1e-4)), train),
    }
    parts = {"train": train, "database": train, "query": query, "validation": query[:0]}
    return from_parts(card, inputs, side["labels"], side["ids"].tolist(), None, parts)


def _standardised(features: np.ndarray, train: np.ndarray) -> np.ndarray:
    mean, deviation = features[train].mean(axis=0), features[train].std(axis=0)
    scaled: np.ndarray = (features - mean) / np.maximum(deviation, 1e-6)
    return scaled


def _read_features(path: archive.Folder) -> dict[str, np.ndarray]:
    content = archive.read(path)
    entries = formats.open_mat(str(path), lambda: io.BytesIO(content))
    found = {}
    for name, width in _WIDTHS.items():
        shape = entries[name].shape if name in entries else ()
        array = formats.whole(entries[name]) if len(shape) == 2 and shape[1] == width else None
        if array is None or array.dtype.kind != "f" or not 0 < len(array) <= _MOST_ROWS:
            raise UserError(f"{path} lacks {name}, a matrix of {width} columns of numbers")
        bad = np.flatnonzero(~np.isfinite(array).all(axis=1))
        if bad.size:
            raise UserError(f"{path}: {name} holds NaN or infinity in row {bad[0]}; fix the row")
        found[name] = np.asarray(array, np.float64)
    return found


def _read_list(path: archive.Folder) -> tuple[np.ndarray, np.ndarray]:
    rows = []
    for where, line in archive.numbered_lines(path):
        row = line.split()
        if len(row) != 3 or row[2] not in _CLASSES:
            raise UserError(f"{where}: expected text id, image id, class 1 to 10")
        rows.append(row)
    if not rows:
        raise UserError(f"{path} is empty; unpack the archive again")
    classes = np.array([int(row[2]) - 1 for row in rows], int)
    return np.eye(NUM_CLASSES, dtype=np.uint8)[classes], np.array([row[:2] for row in rows])
