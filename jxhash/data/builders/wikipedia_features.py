"""The Wikipedia cross-modal set (Rasiwasia et al., ACM Multimedia 2010), from its own archive.

2,173 training and 693 query pairs of 128 counts of visual words and 10 topic proportions, each of
one of 10 classes. The training rows are the database.
"""

import io
import pathlib

import numpy as np

from jxhash import arrays
from jxhash.data.dataset import MODALITIES, Dataset, Items, both_directions, content_hash
from jxhash.errors import UserError

FILES = ("raw_features.mat", "trainset_txt_img_cat.list", "testset_txt_img_cat.list")
NUM_CLASSES = 10
_WIDTHS = {"I_tr": 128, "I_te": 128, "T_tr": 10, "T_te": 10}
_CLASSES = [str(number) for number in range(1, NUM_CLASSES + 1)]
# Far above what the archive holds.
_MAX_BYTES = 2**26
_MOST_ROWS = 2**18
_HELD_OUT = 200
_HELD_OUT_SEED = 2010


def load(folder: pathlib.Path) -> Dataset:
    """Reads the set: all 2,173 training rows, which are also the database, and 693 queries.

    Both kinds of features are shifted and scaled to mean 0 and standard deviation 1 of the training
    rows; before, the root is taken of visual words and the logarithm of topic proportions.

    Args:
      folder: holds the files of the authors' archive.

    Returns:
      The data set, without a validation split.

    Raises:
      UserError: a file is missing or is not what the archive holds.
    """
    return _dataset("wikipedia", "the authors' train and test lists", *_read(folder))


def load_held_out(folder: pathlib.Path) -> Dataset:
    """For choosing settings: 200 training rows, held out, are the queries.

    The test queries take no part, so that nothing can be chosen by them.
    """
    train, _, digest = _read(folder)
    order = np.random.default_rng(_HELD_OUT_SEED).permutation(len(train["labels"]))
    held, rest = np.sort(order[:_HELD_OUT]), np.sort(order[_HELD_OUT:])
    rule = f"{_HELD_OUT} rows of the authors' train list are the queries (seed {_HELD_OUT_SEED})"
    query = {name: array[held] for name, array in train.items()}
    train = {name: array[rest] for name, array in train.items()}
    archive = np.frombuffer(bytes.fromhex(digest), np.uint8)
    digest = content_hash({"archive": archive, "query": held})
    return _dataset("wikipedia-held-out", rule, train, query, digest)


def _read(folder: pathlib.Path) -> tuple[dict, dict, str]:
    train, query = read_sides(folder)
    features = {}
    for suffix, side in (("tr", train), ("te", query)):
        for letter, modality in (("I", "image"), ("T", "text")):
            side[modality] = np.asarray(side[modality], np.float32)
            features[f"{letter}_{suffix}"] = side[modality]
        side["ids"] = side["ids"][:, 1]
    return train, query, content_hash({**features, "tr": train["labels"], "te": query["labels"]})


def read_sides(folder: pathlib.Path) -> list[dict[str, np.ndarray]]:
    """The training and the test rows as the archive has them.

    Args:
      folder: holds the files of the authors' archive; may be the inside of a zip file.

    Returns:
      Of each side `image` [n, 128] and `text` [n, 10], float64, `labels` (one-hot uint8 [n, 10])
      and `ids` (text [n, 2]: of the text and of the image).

    Raises:
      UserError: a file is missing or is not what the archive holds.
    """
    features = _read_features(folder / FILES[0])
    sides = []
    for suffix, list_file in (("tr", FILES[1]), ("te", FILES[2])):
        labels, ids = _read_list(folder / list_file)
        image, text = features[f"I_{suffix}"], features[f"T_{suffix}"]
        if len({len(image), len(text), len(labels)}) != 1:
            raise UserError(f"{list_file} and {FILES[0]} in {folder} do not belong together")
        sides.append({"image": image, "text": text, "labels": labels, "ids": ids})
    return sides


def _dataset(name: str, rule: str, train: dict, query: dict, digest: str) -> Dataset:
    train, query = _standardised(train, query)
    database = _items(train)
    return Dataset(
        card={
            "name": name,
            "version": "raw_features.mat of 2010",
            "source": "Rasiwasia et al., ACM Multimedia 2010",
            "features": "root of 128 visual words, log of 10 topics; standardised on training rows",
            "split": f"{rule}; the training rows are the database",
            "sizes": {"train": len(database), "query": len(query["labels"])},
            "sha256": digest,
        },
        training={"pairs": {name: train[name] for name in (*MODALITIES, "labels")}},
        tasks=both_directions(_items(query), database),
        trained=database,
    )


def _items(side: dict) -> Items:
    inputs = {modality: side[modality] for modality in MODALITIES}
    return Items(inputs, side["labels"], side["ids"].tolist())


def _read_features(path: pathlib.Path) -> dict[str, np.ndarray]:
    content = _read_bytes(path)
    entries = arrays.open_mat(str(path), lambda: io.BytesIO(content))
    found = {}
    for name, width in _WIDTHS.items():
        shape = entries[name].shape if name in entries else ()
        array = arrays.whole(entries[name]) if len(shape) == 2 and shape[1] == width else None
        if array is None or array.dtype.kind != "f" or not 0 < len(array) <= _MOST_ROWS:
            raise UserError(f"{path} lacks {name}, a matrix of {width} columns of numbers")
        bad = np.flatnonzero(~np.isfinite(array).all(axis=1))
        if bad.size:
            raise UserError(f"{path}: {name} holds NaN or infinity in row {bad[0]}; mend the row")
        found[name] = np.asarray(array, np.float64)
    return found


def _read_bytes(path: pathlib.Path) -> bytes:
    """The content of a file of the archive, which may lie in a zip file."""
    require_file(path)
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_BYTES + 1)
    # A damaged zip file shows as whatever its reader happens to raise.
    except Exception as error:
        raise UserError(f"{path} cannot be read ({error}); unpack the archive again") from error
    if len(content) > _MAX_BYTES:
        raise UserError(f"{path} is larger than {_MAX_BYTES:,} bytes; it is another file")
    return content


def _read_list(path: pathlib.Path) -> tuple[np.ndarray, np.ndarray]:
    rows = []
    for number, line in enumerate(_read_bytes(path).splitlines(), start=1):
        if not line.strip():
            continue
        try:
            row = line.decode("utf-8").split()
        except UnicodeDecodeError as error:
            raise UserError(f"{path}, line {number}: not in UTF-8") from error
        if len(row) != 3 or row[2] not in _CLASSES:
            raise UserError(f"{path}, line {number}: expected text id, image id, class 1 to 10")
        rows.append(row)
    if not rows:
        raise UserError(f"{path} is empty; unpack the archive again")
    classes = np.array([int(row[2]) - 1 for row in rows], int)
    return np.eye(NUM_CLASSES, dtype=np.uint8)[classes], np.array([row[:2] for row in rows])


def require_file(path: pathlib.Path) -> None:
    """Raises a UserError where a file of a data set is missing."""
    if not path.is_file():
        raise UserError(
            f"{path} is missing; unpack the data set's archive there, or point --data_dir or "
            "JXHASH_DATA_DIR at the folder that holds it"
        )


def _standardised(train: dict, query: dict) -> tuple[dict, dict]:
    train, query = (
        {**side, "image": np.sqrt(side["image"]), "text": np.log(np.maximum(side["text"], 1e-4))}
        for side in (train, query)
    )
    for modality in MODALITIES:
        mean, deviation = train[modality].mean(axis=0), train[modality].std(axis=0)
        for side in (train, query):
            side[modality] = (side[modality] - mean) / np.maximum(deviation, 1e-6)
    return train, query
