"""From a data set that a builder prepared to one that methods train on."""

import contextlib
import hashlib
import io
import itertools
import os
import pathlib
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from jxhash import formats
from jxhash.atomic_files import read_json, write_atomically
from jxhash.data import builders, protocols
from jxhash.data.assemble import from_parts
from jxhash.data.dataset import Dataset, Input, content_hash
from jxhash.data.pictures import feature_files
from jxhash.data.pictures.decoding import EncodedPictures, Pictures, in_squares, said_of
from jxhash.data.text_inputs import TextInputs, text_inputs
from jxhash.errors import UserError
from jxhash.inputs.text_forms import Words
from jxhash.rows import Grouped

# What a run needs of all pairs at once, collected at the first use: reading it off the records
# takes 0.2 ms a pair, every time.
_TABLE = "jxhash.npz"
FEATURES = "image_features.npz"
_FEATURE_KEYS = ("pythonClassName", "python_class_name", "type")
_OWN_FEATURES = "tensorflow_datasets.core.features."

# What follows the name of data whose texts are not the protocol's bags of words. Published numbers
# are of the vocabulary's words alone.
FORMS = {
    "-sentences": Words(form="tokens", nearest=None),
    "-tf-idf": Words(form="tf-idf", nearest=None),
}


class Pairs(NamedTuple):
    """A prepared data set, in the order of its archive."""

    name: str  # of the data set and its config, as protocols call it
    ids: list[str]  # paths of the pictures, below the archive's folder of pictures
    texts: list[str]  # tags or sentences of a pair, a line each
    words: np.ndarray  # bag of words, uint8 [n, V] in {0, 1}
    labels: np.ndarray | None  # multi-hot uint8 [n, C]; None where the data set has none
    parts: np.ndarray  # the split of the archive that each pair is in, such as "train"
    arrays: Mapping[str, np.ndarray]  # features that the archive brings, float64 [n, D] each
    pictures: Pictures | None  # encoded, read when asked for; None where none were built
    pictures_sha256: str | None  # of the hashes of the pictures
    metadata: Mapping[str, Any]  # of the builder: `vocabulary`, `label_names`, `skipped`
    version: str


def _require_known_features(path: pathlib.Path) -> None:
    """Refuses features that are not tensorflow-datasets' own: it imports the modules they name."""
    waiting = [read_json(path)]
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict):
            names = [one[key] for key in _FEATURE_KEYS if key in one]
            if not all(isinstance(name, str) and name.startswith(_OWN_FEATURES) for name in names):
                raise UserError(f"{path} names a feature {names[0]!r:.80}, which is not imported")
        if isinstance(one, dict | list):
            waiting.extend(one.values() if isinstance(one, dict) else one)


def open_pairs(folder: str | os.PathLike[str]) -> Pairs:
    """Opens what a builder prepared in a folder, `<data_dir>/<name>/<config>/<version>`.

    Raises:
      UserError: there is none, or it is damaged.
    """
    try:
        return _opened(pathlib.Path(folder))
    except UserError:
        raise
    # Each of the readers has errors of its own.
    except Exception as error:
        reason = str(error).strip().partition("\n")[0][:120]
        raise UserError(
            f"{folder} is damaged ({type(error).__name__}: {reason}); remove it and build it again"
        ) from error


def _opened(folder: pathlib.Path) -> Pairs:
    import tensorflow_datasets as tfds

    if not (folder / "dataset_info.json").is_file():
        raise UserError(f"{folder} is not a prepared data set; docs/data.md says how to build it")
    _require_known_features(folder / "features.json")
    builder = tfds.builder_from_directory(folder)
    splits = list(builder.info.splits)
    decoders = {"image": tfds.decode.SkipDecoding()} if "image" in builder.info.features else None
    source = builder.as_data_source("+".join(splits), decoders=decoders)
    table = _kept_table(folder / _TABLE)
    if table is None or ("pictures" in table) != (decoders is not None):
        table = _table(source, builder, folder / _TABLE)
    pictures = Pictures(lambda place: source[place]["image"], table["places"])
    return Pairs(
        name=f"{builder.name}/{builder.builder_config.name}",
        ids=_unjoined(table["ids"], table["ids_ends"]),
        texts=_unjoined(table["texts"], table["texts_ends"]),
        words=np.unpackbits(table["words"], axis=1, count=int(table["num_words"])),
        labels=table.get("labels"),
        parts=table["parts"],
        arrays={name[6:]: array for name, array in table.items() if name.startswith("array_")},
        pictures=pictures if decoders else None,
        pictures_sha256=table["pictures"].tobytes().hex() if decoders else None,
        metadata=builder.info.metadata,
        version=str(builder.version),
    )


def _kept_table(path: pathlib.Path) -> dict[str, np.ndarray] | None:
    if not path.exists():
        return None
    try:
        table = {name: formats.whole(entry) for name, entry in formats.open_file(path).items()}
        _check(table)
    # A damaged table raises many kinds of errors.
    except Exception as error:
        raise UserError(f"{path} is damaged ({error}); remove it, and it is made again") from error
    return table


def _check(table: Mapping[str, np.ndarray]) -> None:
    """Raises a ValueError or KeyError unless a kept table is one that `_table` makes."""
    rows, num_words = len(table["parts"]), table["num_words"]
    if not np.array_equal(np.sort(table["places"]), np.arange(rows)):
        raise ValueError("its rows are not those of the records")
    if num_words.shape != () or table["words"].shape != (rows, -(-int(num_words) // 8)):
        raise ValueError("its words do not fit its rows")
    for name in ("ids", "texts"):
        content, ends = table[name], table[f"{name}_ends"]
        if content.dtype != np.uint8 or ends.dtype != np.int64 or ends.shape != (rows,):
            raise ValueError(f"its {name} do not fit its rows")
        if (np.diff(ends, prepend=0) < 0).any() or ends[-1:].sum() != content.size:
            raise ValueError(f"its {name} do not end where they should")
        _unjoined(content, ends)
    others = [array for name, array in table.items() if name.startswith(("labels", "array_"))]
    if table["words"].dtype != np.uint8 or any(a.ndim != 2 or len(a) != rows for a in others):
        raise ValueError("its arrays do not fit its rows")


def _table(source: Any, builder: Any, path: pathlib.Path) -> dict[str, np.ndarray]:
    """Collects what is needed of all records but their pictures, and keeps it in a file."""
    collected: dict[str, list[Any]] = {name: [] for name in builder.info.features}
    for record in _records(source):
        for name, values in collected.items():
            values.append(_digest(record[name]) if name == "image" else record[name])
    order = np.argsort(collected.pop("row"))
    digests = collected.pop("image", None)
    ids, texts = collected.pop("id"), [b"\n".join(some) for some in collected.pop("texts")]
    arrays = {name: np.stack(values)[order] for name, values in collected.items()}
    words = arrays.pop("words")
    splits = builder.info.splits
    parts = np.repeat(list(splits), [split.num_examples for split in splits.values()])
    table: dict[str, Any] = {
        "places": order,
        "parts": parts[order],
        "words": np.packbits(words, axis=1),
        "num_words": np.array(words.shape[1]),
        **_joined("ids", [ids[row] for row in order]),
        **_joined("texts", [texts[row] for row in order]),
        **{name if name == "labels" else f"array_{name}": array for name, array in arrays.items()},
    }
    if digests is not None:
        table["pictures"] = _digest(np.stack(digests)[order])
    buffer = io.BytesIO()
    np.savez(buffer, **table)
    with contextlib.suppress(OSError):  # a folder that cannot be written works too, but slowly
        write_atomically(path, buffer.getvalue())
    return table


def _digest(content: Any) -> np.ndarray:
    """SHA-256, uint8 [32]."""
    return np.frombuffer(hashlib.sha256(content).digest(), np.uint8)


def _records(source: Any) -> Iterator[dict[str, Any]]:
    for begin in range(0, len(source), 256):
        yield from source.__getitems__(range(begin, min(begin + 256, len(source))))


def _joined(name: str, strings: list[bytes]) -> dict[str, np.ndarray]:
    return {
        name: np.frombuffer(b"".join(strings), np.uint8),
        f"{name}_ends": np.cumsum([len(string) for string in strings], dtype=np.int64),
    }


def _unjoined(content: np.ndarray, ends: np.ndarray) -> list[str]:
    joined, bounds = content.tobytes(), [0, *ends.tolist()]
    return [joined[begin:end].decode() for begin, end in itertools.pairwise(bounds)]


def load(name: str, data_dir: str | os.PathLike[str], size: int | None = None) -> Dataset:
    """A prepared data set under a protocol.

    Args:
      name: data set, protocol and seed: "mirflickr25k:dcmh", "nuswide/tc10:djsrh:1" with a config
        and a seed (else 0). The protocol "archive" is the archive's own division. Instead of a
        protocol, a file of indices: "mirflickr25k:split.mat", or "mirflickr25k:split.mat:0" with
        the number of the first row (see `protocols.read`). "-sentences" behind the data set makes
        texts token numbers ("iapr_tc12-sentences:dcmh"), "-tf-idf" weighs their words.
      data_dir: the folder that data sets were prepared in. Features that the archive does not bring
        are read from `image_features.npz` in the folder of the prepared data set.
      size: height and width of the pictures as images; None for features as images.

    Raises:
      UserError: a part of the name is unknown, the data set is not prepared, features are missing
        or belong to other pairs, or pictures are asked for that were not built.
    """
    data, protocol, number = _parts_of(name)
    form = next((ending for ending in FORMS if data.endswith(ending)), "")
    data = data.removesuffix(form)
    _, config = builders.resolve(data)
    folder = pathlib.Path(data_dir) / data.partition("/")[0] / config.name
    versions = sorted(path.parent for path in folder.glob("*/dataset_info.json"))
    if not versions:
        raise UserError(
            f"{folder} holds no prepared data set; build it with "
            f"`python -m jxhash.data.builders {data} --data_dir={data_dir}`"
        )
    pairs = open_pairs(versions[-1])
    split = division(pairs, protocol, number)
    images: Input
    if size is not None:
        images = pixels(pairs, size)
    elif "image_features" in pairs.arrays:
        images = pairs.arrays["image_features"].astype(np.float32)
    else:
        images = read_features(versions[-1] / FEATURES, pairs.ids)
    return dataset(pairs, split, images, FORMS.get(form))


def _parts_of(name: str) -> tuple[str, str, int | None]:
    data, protocol, *others = name.split(":")
    if len(others) > 1 or not all(re.fullmatch("[0-9]{1,9}", part) for part in others):
        raise UserError(
            f"{name!r} is not a data set, a protocol and a seed (0 to 999999999), as in "
            "'mirflickr25k:dcmh:1'"
        )
    return data, protocol, int(others[0]) if others else None


def division(pairs: Pairs, protocol: str, number: int | None = None) -> protocols.Split:
    """Divides prepared pairs by a protocol, or by a file or folder of indices.

    `number` is the seed of a protocol, by default 0, or how a file calls the first row.
    """
    path = pathlib.Path(protocol).expanduser()
    by_pairs = pairs.labels is None
    if protocol not in ("archive", *protocols.names()) and path.exists():
        return protocols.read(path, len(pairs.ids), first=number, by_pairs=by_pairs)
    if protocol != "archive":
        tagged = np.asarray(pairs.words.any(axis=1))
        return protocols.draw(protocol, pairs.name, len(pairs.ids), number or 0, tagged=tagged)
    train, validation, query = (
        np.flatnonzero(pairs.parts == part) for part in ("train", "validation", "test")
    )
    if not (train.size and query.size):
        raise UserError(f"the archive of {pairs.name} does not divide its pairs; name a protocol")
    database = query if by_pairs else np.union1d(train, validation)
    parts = {"query": query, "database": database, "train": train, "validation": validation}
    return protocols.of_parts(parts, {"protocol": "archive", "data": pairs.name})


def pixels(pairs: Pairs, size: int) -> EncodedPictures:
    """The pictures of prepared pairs as images uint8 [n, size, size, 3], decoded when read."""
    if pairs.pictures is None:
        raise UserError(
            f"{pairs.name} is prepared without pictures; choose a config with them (docs/data.md), "
            "or leave out '-pixels-'"
        )
    names = [f"{pairs.name}, pair {name}" for name in pairs.ids]
    return in_squares(pairs.pictures, names, size)


def read_features(path: pathlib.Path, ids: Sequence[str]) -> np.ndarray:
    """Reads the pictures' features, float32 [n, D], from a feature file, in the order of `ids`.

    Raises:
      UserError: the file is missing or malformed, or lacks a pair.
    """
    if not path.is_file():
        raise UserError(
            f"{path} is missing: make features of the pictures there (docs/data.md), or take the "
            "pictures themselves by '-pixels-224' behind the name of the data"
        )
    found = feature_files.read(path)
    rows, _ = feature_files.matched(path, ids, found.ids)
    return np.asarray(found.features[rows], np.float32)


def dataset(
    pairs: Pairs, split: protocols.Split, images: Input, words: Words | None = None
) -> Dataset:
    """Prepared pairs and a division of them, as methods train on them.

    Images are features of the pictures in the order of the pairs, or the pictures (`pixels`). Texts
    become arrays as `words` says, with a vocabulary of the training pairs alone; by default they
    are the protocol's bags of words, or the archive's own features where it has no texts. Pairs
    without labels are searched by pairs, and each of their captions is a text of its own.

    Raises:
      UserError: the images are not as many as the pairs, or texts have no words.
    """
    if len(images) != len(pairs.ids):
        raise UserError(f"{len(images):,} images were given for {len(pairs.ids):,} pairs")
    texts = _texts(pairs, split, words)
    inputs: dict[str, Input] = {"image": images, "text": texts.arrays}
    arrays: dict[str, Any] = {**inputs, "ids": np.array(pairs.ids)}
    if isinstance(texts.arrays, Grouped):
        arrays |= {"text": texts.arrays.flat[:], "texts": texts.arrays.counts}
    if pairs.labels is not None:
        arrays["labels"] = pairs.labels
    name = pairs.name
    if isinstance(images, EncodedPictures):
        name += f"-pixels-{images.shape[1]}"
        arrays["image"] = np.array([pairs.pictures_sha256, images.described])
    parts = {part: getattr(split, part) for part in protocols.PARTS}
    card = {
        "name": name,
        "version": pairs.version,
        "image": said_of(images),
        **texts.card,
        "split": dict(split.card),
        "sizes": split.card["sizes"],
        "skipped": dict(pairs.metadata["skipped"]),
        "sha256": content_hash(arrays | parts),
    }
    titles = [text or name for text, name in zip(pairs.texts, pairs.ids, strict=True)]
    features = {
        "image": not isinstance(images, EncodedPictures),
        "text": words is None and not pairs.words.shape[1],
    }
    given = [modality for modality, is_given in features.items() if is_given]
    return from_parts(
        card,
        inputs,
        pairs.labels,
        [title.partition("\n")[0] for title in titles],
        pairs.pictures,
        parts,
        texts.vocabulary_size,
        given,
        texts.captions,
    )


def _texts(pairs: Pairs, split: protocols.Split, words: Words | None) -> TextInputs:
    if words is not None or pairs.labels is None:
        texts, counts = pairs.texts, None
        if pairs.labels is None:
            counts = np.array([1 + text.count("\n") for text in texts], np.int64)
            texts = "\n".join(texts).split("\n")
        every = np.arange(len(pairs.texts))
        return text_inputs(texts, counts, every, split.train, words or Words())
    if not pairs.words.shape[1]:
        said = "the archive's own features"
        return TextInputs(pairs.arrays["text_features"].astype(np.float32), {"text": said})
    card = {
        "text": f"which of the {pairs.words.shape[1]} words of all pairs a text has",
        "texts without a known word": int((~pairs.words.any(axis=1)).sum()),
    }
    return TextInputs(pairs.words, card)
