"""The readers of outside files in one table, and the watch that is kept while they read."""

import contextlib
import functools
import io
import json
import os
import pathlib
import pickle
import resource
import shutil
import signal
import struct
import tarfile
import types
import warnings
import zipfile
import zlib
from collections.abc import Callable
from typing import Any, NamedTuple

import archives
import h5py
import ml_dtypes
import numpy as np
import pyarrow
import scipy.io
import scipy.sparse
import small
from PIL import Image
from pyarrow import parquet
from safetensors.numpy import save_file
from weight_files import of_arrays, write_legacy, write_zip

import jxhash
from jxhash import codes, configuration, data, formats, running
from jxhash.data import extract, protocols
from jxhash.data.builders import (
    archive,
    base,
    flickr8k,
    flickr30k,
    iapr_tc12,
    mirflickr25k,
    mscoco2014,
    nuswide,
    pascal_sentence,
    prepared,
    wikipedia,
    wikipedia_features,
)
from jxhash.data.own import tables
from jxhash.data.pictures import feature_files, regions
from jxhash.errors import UserError
from jxhash.evaluation import code_files, report
from jxhash.formats import pth, tensor_files
from jxhash.networks import matconvnet
from jxhash.networks.picture_files import FORMATS, open_rgb
from jxhash.training import progress

RANDOM = np.random.default_rng(0)
ROWS = 30
IMAGES = RANDOM.normal(size=(ROWS, 5)).astype(np.float32)
TAGS = (RANDOM.random((ROWS, 7)) < 0.4).astype(np.uint8)
LABELS = (RANDOM.random((ROWS, 3)) < 0.5).astype(np.uint8)
IDS = np.array([f"im{row}" for row in range(ROWS)])
DATA = {"image": IMAGES, "tags": TAGS, "labels": LABELS}


class Reader(NamedTuple):
    """One way into the package.

    Attributes:
      write: puts valid files into an empty folder.
      read: reads all of them.
      damaged: the files that are damaged, as a pattern of paths.
      refuses: what `read` may raise, as its docstring says.
    """

    write: Callable[[pathlib.Path], Any]
    read: Callable[[pathlib.Path], Any]
    damaged: str = "*"
    refuses: type[Exception] = UserError


# What is read of files of arrays.


def all_arrays(path):
    for entry in formats.open_file(path).values():
        # What is wrong with one is no fault of the others.
        with contextlib.suppress(UserError):
            stored = entry.open()
            for axis in range(0 if isinstance(stored, list) else len(stored.shape)):
                rows = stored.along(axis)
                rows[: min(3, len(rows))]
                _ = rows.scan


def load_data(path):
    dataset = data.load(str(path))
    for array in dataset.training["pairs"].values():
        array[:3]
    for task in (*dataset.tasks, *dataset.validation):
        for one in (task.query, task.database):
            (*one.titles[:3], [np.asarray(array[:3]) for array in one.inputs.values()])


def write_h5(path, **options):
    with h5py.File(path, "w", **options) as file:
        for name, array in DATA.items():
            file[name] = array
        file.create_dataset("packed", data=IMAGES, chunks=(4, 5), compression="gzip")
        file["ids"] = IDS.astype("S")
        group = file.create_group("sparse")
        group.attrs["MATLAB_sparse"] = np.uint64(ROWS)
        sparse = scipy.sparse.csc_matrix(TAGS)
        for name, array in (("data", sparse.data), ("ir", sparse.indices), ("jc", sparse.indptr)):
            group[name] = array


def cells(*texts):
    return np.array([[text] for text in texts], object)


def write_mat(path, **options):
    contents = {
        **DATA,
        "sparse": scipy.sparse.csc_matrix(TAGS.astype(float)),
        "names": IDS,
        "caption": cells("two words", "caf\xe9", "", "three"),
        "complex": IMAGES * 1j,
    }
    scipy.io.savemat(path, contents, **options)


def write_old_mat(path):
    contents = {**DATA, "sparse": scipy.sparse.csc_matrix(TAGS.astype(float)), "names": IDS}
    scipy.io.savemat(path, contents, format="4")


# Weights.

TENSORS = {
    "a.weight": RANDOM.normal(size=(4, 3)).astype(np.float32),
    "b": np.arange(6, dtype=np.int64),
}


def write_network(path, **options):
    layer = {"name": "conv1", "type": "conv", "stride": np.ones((1, 2)), "opts": cells()}
    pair = np.empty((1, 2), object)
    pair[0] = [np.ones((2, 2, 3, 5), np.float32), np.ones((1, 5), np.float32)]
    row = np.empty((1, 2), object)
    row[0] = [{**layer, "weights": pair}, {"name": "relu1", "type": "relu"}]
    meta = {"normalization": {"averageImage": np.ones((4, 4, 3), np.float32)}}
    scipy.io.savemat(path, {"layers": row, "meta": meta}, **options)


def write_older_pth(path):
    write_legacy(path, *of_arrays(TENSORS), {"0": 12, "1": 6})


# Features, index lists, codes, tables.


def write_features(path):
    feature_files.write(path, IDS.tolist(), [IMAGES], 5, {"encoder": "x", "plan": {"a": [1]}})


LISTS = {"query": np.array([1, 3]), "retrieval": np.array([0, 2, 4]), "train": np.array([2, 4])}


def write_lists(folder):
    np.save(folder / "query.npy", LISTS["query"])
    (folder / "database.txt").write_text("0\n2\n4\n")
    np.save(folder / "train.npy", LISTS["train"].astype(float))


def run_codes():
    made = {}
    for one, other in (("image", "text"), ("text", "image")):
        query, database = f"{one}_to_{other}_query", f"{one}_to_{other}_database_encoded"
        made |= {query: codes.pack(2 * TAGS.astype(np.int8) - 1), f"{query}_labels": LABELS}
        made |= {database: made[query], f"{database}_labels": LABELS}
    return {**made, "num_bits": np.int32(7)}


PEER_CODES = {
    name: TAGS if "B" in name else LABELS
    for name in ("qB_img", "qB_txt", "rB_img", "rB_txt", "queryLabel", "retrievalLabel")
}


def each_array(path):
    for entry in formats.open_file(path).values():
        with contextlib.suppress(UserError):
            formats.whole(entry)
    code_files.searches_in(str(path))


def write_table(folder):
    folder.joinpath("p").mkdir()
    lines = ["picture,text,labels,id,split"]
    for row in range(ROWS):
        Image.new("L", (2, 2)).save(folder / f"p/{row}.png")
        part = ("train", "query", "database", "validation")[row % 4]
        lines.append(f'p/{row}.png,"red, sea",sky;sea{row % 3},{row},{part}')
    (folder / "table.csv").write_text("\n".join(lines) + "\n")


def write_json_table(folder):
    lines = [
        json.dumps({"id": row, "text": ["red", "sea sky"], "labels": ["a", f"b{row % 3}"]})
        for row in range(ROWS)
    ]
    (folder / "table.jsonl").write_text("\n".join(lines))
    np.savez(folder / "features.npz", features=IMAGES, ids=np.arange(ROWS).astype(str))


def write_parquet(path):
    rows = [
        {"id": str(name), "text": ["red", "sea sky"], "labels": ["a", f"b{row % 3}"],
         "image_emb": [0.5, float(row)]}
        for row, name in enumerate(IDS)
    ]  # fmt: skip
    parquet.write_table(pyarrow.Table.from_pylist(rows), path, compression="zstd")


def write_described(folder):
    np.savez(folder / "a.npz", x=IMAGES, words=[f"red sea {row % 5}" for row in range(ROWS)])
    np.save(folder / "l.npy", LABELS)
    description = {
        "name": "mine",
        "image": "a.npz:x",
        "text": "a.npz:words",
        "labels": "l.npy",
        "words": {"form": "tokens", "min_texts": 1, "max_words": 40, "length": 4},
        "split": {"query": [0, 1, 2], "train": 10, "validation": 2, "seed": 1},
        "skip": ["not finite", "missing labels"],
    }
    (folder / "dataset.json").write_text(json.dumps(description))


def write_folder(folder):
    np.save(folder / "image.npy", IMAGES)
    (folder / "image.ids.txt").write_text("".join(f"{name}\n" for name in IDS))
    np.savez(folder / "tokens.npz", tokens=-np.sort(-TAGS.astype(int)), ids=IDS[::-1])
    scipy.io.savemat(folder / "labels.mat", {"labels": LABELS})
    scipy.io.savemat(folder / "query_idx.mat", {"query_idx": [[1, 2, 3]]})


def write_triplet(folder):
    scipy.io.savemat(folder / "index.mat", {"index": cells(*(f"/x/{n}.jpg" for n in IDS))})
    (folder / "caption.txt").write_text("red sea\n" * ROWS)
    scipy.io.savemat(folder / "label.mat", {"category": LABELS})
    np.save(folder / "image.npy", IMAGES)


# Archives.


def fetch(folder):
    def download(url):
        raise UserError(f"{url} is not downloaded here")

    manager = types.SimpleNamespace(
        manual_dir=folder, download_dir=folder / "downloads", download=download
    )
    return archive.Fetch(manager, "name", "how to get it")


def contents_of(module, class_name, config):
    """Reads an archive, with all its pictures; damaged pairs are counted."""
    builder_class = getattr(module, class_name)

    def read(folder):
        builder = types.SimpleNamespace(builder_config=config.skipping())
        faults = base.Faults(builder.builder_config)
        found = builder_class.contents(builder, fetch(folder), faults)
        word = base.columns(base.vocabulary_of(found, config.num_words))
        for pairs in found.splits.values():
            for pair in pairs:
                base.bag(pair, word)
                "\n".join((pair.id, *pair.texts)).encode()
                with contextlib.suppress(UserError):
                    archive.checked_picture(pair.picture)

    return read


def write_zipped(folder, **options):
    archives.write_mirflickr(folder)
    for name, file in (
        ("mirflickr", "mirflickr25k.zip"),
        ("mirflickr25k_annotations_v080", "mirflickr25k_annotations_v080.zip"),
    ):
        archives.zip_folder(folder / name, folder / file, **options)


def write_tar(folder):
    source = folder / "source"
    archives.write(source, {"a/1.txt": "one", "a/" + "long" * 40: "two", "b": bytes(2000)})
    with tarfile.open(folder / "a.tgz", "w:gz", format=tarfile.GNU_FORMAT) as file:
        file.add(source, "x")
    with tarfile.open(folder / "b.tar", "w", format=tarfile.PAX_FORMAT) as file:
        file.add(source, "x")
    shutil.rmtree(source)


def read_tar(folder):
    out = folder / "downloads"
    try:
        for name in ("a.tgz", "b.tar"):
            root = fetch(folder).manual(name)
            for path in root.rglob("*"):
                _ = path.is_file() and archive.read(path)
    finally:
        shutil.rmtree(out, ignore_errors=True)


def write_pictures(folder):
    archives.write(folder, {"p/1.png": archives.picture(1, "PNG"), "p/2.jpg": b"x"})
    (folder / "list.txt").write_text("p/1.png\n\np/2.jpg\n")


def write_built(folder):
    archives.write_mirflickr(folder / "manual")
    archives.build(mirflickr25k.Mirflickr25k, archives.MIR, folder)
    shutil.rmtree(folder / "manual")
    (folder / "prepared" / "downloads").exists() and shutil.rmtree(folder / "prepared/downloads")


def opened_pairs(folder):
    (path,) = folder.glob("prepared/mirflickr25k/small/*")
    (path / "jxhash.npz").unlink(missing_ok=True)
    pairs = prepared.open_pairs(path)
    with contextlib.suppress(Exception):
        pairs.pictures[0]


# What a run left of itself.


class _Builder(NamedTuple):
    info: Any


PREPARED = prepared.Pairs(
    "x/y", IDS.tolist(), ["red\nsea"] * ROWS, TAGS, LABELS, np.repeat(["train", "test"], 15),
    {"text_features": IMAGES.astype(float)}, None, None, {}, "1.0.0",
)  # fmt: skip


def write_prepared(folder):
    records = [
        {
            "row": row,
            "id": IDS[row].encode(),
            "texts": [b"red", b"sea"],
            "words": TAGS[row],
            "labels": LABELS[row],
            "text_features": IMAGES[row].astype(float),
        }
        for row in range(ROWS)
    ]
    splits = {name: types.SimpleNamespace(num_examples=ROWS // 2) for name in ("train", "test")}
    info = types.SimpleNamespace(features=list(records[0]), splits=splits)

    class Source(list):
        def __getitems__(self, index):
            return [self[row] for row in index]

    prepared._table(Source(records), _Builder(info), folder / "jxhash.npz")


LINE = {"stage": "joint", "update": "networks"}


def write_run(folder):
    config = small.config("thn")
    (folder / "version.txt").write_text(f"{jxhash.__version__}\n")
    (folder / "config.json").write_text(configuration.as_json(config))
    (folder / "card.json").write_text(json.dumps({"sha256": "0" * 64, "name": "small"}))
    lines = [{"place": [0, n, 0], **LINE, "epoch": n, "loss": 0.5 / (n + 1)} for n in range(5)]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def read_run(folder):
    running._require_own(folder, small.config("thn"))
    running._require_same_data(folder, {"sha256": "0" * 64, "name": "small"})
    list(progress.read_metrics(folder / progress.FILE))


def write_report(folder):
    from jxhash.evaluation import artifacts, measure

    search = code_files.search_of(
        query=2 * TAGS.astype(int) - 1,
        database=2 * TAGS.astype(int) - 1,
        query_labels=LABELS,
        database_labels=LABELS,
    )
    found = {"image to text": code_files.found("image to text", search)}
    card = {"name": "small", "version": "1", "sizes": {"query": ROWS}, "sha256": "0" * 64}
    definitions = measure.fitted(measure.DEFAULT, list(found.values()))
    results = measure.evaluate({"given": found, "untrained networks": found}, definitions)
    statistics = measure.bit_statistics(found)
    made = report.make_report("t", card, "Hamming", results, statistics, {"seed": 0}, definitions)
    (folder / "report.json").write_bytes(artifacts.to_json(made))


# Pictures.


def picture_of(kind):
    pixels = RANDOM.integers(0, 256, (12, 16, 3), np.uint8)
    file = io.BytesIO()
    image = Image.fromarray(pixels)
    (image.quantize(16) if kind == "GIF" else image).save(file, kind)
    return file.getvalue()


def one(name, write, read, **options):
    """A reader of a single file."""
    return Reader(
        lambda folder: write(folder / name), lambda folder: read(folder / name), **options
    )


def saved(save, **contents):
    return lambda path: save(path, **contents)


READERS = {
    "pth": one("a.pth", lambda path: write_zip(path, *of_arrays(TENSORS)), tensor_files.read),
    "pth, alone": one(
        "a.pth", lambda p: write_zip(p, *of_arrays(TENSORS)), pth.read, refuses=pth.PthError
    ),
    "pth, older": one("a.pth", write_older_pth, tensor_files.read),
    "safetensors": one("a.safetensors", lambda path: save_file(TENSORS, path), tensor_files.read),
    "matconvnet": one("a.mat", write_network, matconvnet.read),
    "matconvnet, packed": one(
        "a.mat", functools.partial(write_network, do_compression=True), matconvnet.read
    ),
    "npy": one("a.npy", lambda path: np.save(path, IMAGES), all_arrays),
    "npy of texts": one("a.npy", lambda path: np.save(path, IDS), all_arrays),
    "npz": one("a.npz", saved(np.savez, **DATA, ids=IDS), all_arrays),
    "npz, packed": one("a.npz", saved(np.savez_compressed, **DATA, ids=IDS), all_arrays),
    "mat": one("a.mat", write_mat, all_arrays),
    "mat, packed": one("a.mat", functools.partial(write_mat, do_compression=True), all_arrays),
    "mat 4": one("a.mat", write_old_mat, all_arrays),
    "h5": one("a.h5", write_h5, all_arrays),
    "mat 7.3": one("a.mat", functools.partial(write_h5, userblock_size=512), all_arrays),
    "features, npz": one("a.npz", write_features, feature_files.read),
    "features, npy": Reader(
        lambda folder: write_features(folder / "a.npy"),
        lambda folder: feature_files.read(folder / "a.npy"),
    ),
    "data, npz": one("a.npz", saved(np.savez, **DATA, query_idx=[1, 2, 3]), load_data),
    "data, mat": one("a.mat", lambda path: scipy.io.savemat(path, DATA), load_data),
    "data, csv": Reader(write_table, load_data, "table.csv"),
    "data, jsonl": Reader(write_json_table, load_data),
    "data, described": Reader(write_described, load_data),
    "data, folder": Reader(write_folder, load_data),
    "data, triplet": Reader(write_triplet, load_data),
    "table, tsv": one(
        "table.tsv",
        lambda path: path.write_text("".join(f"{n}.jpg#0\tred\n{n}.jpg#1\tsea\n" for n in IDS)),
        lambda path: tables.read_table(path),
    ),
    "table, parquet": one("table.parquet", write_parquet, lambda path: tables.read_table(path)),
    "tensors": one("a.safetensors", lambda path: save_file(TENSORS, path), all_arrays),
    "npy of bfloat16": one(
        "a.npy", lambda path: np.save(path, IMAGES.astype(ml_dtypes.bfloat16)), all_arrays
    ),
    "table, csv": Reader(write_table, lambda f: tables.read_table(f / "table.csv"), "table.csv"),
    "split, npz": one("a.npz", saved(np.savez, **LISTS), lambda p: protocols.read(p, 6)),
    "split, mat": one(
        "a.mat", lambda path: scipy.io.savemat(path, LISTS), lambda p: protocols.read(p, 6, first=0)
    ),
    "split, folder": Reader(write_lists, lambda folder: protocols.read(folder, 6)),
    "regions": one(
        "a.npy",
        lambda p: np.save(p, np.zeros((2, regions.MAX_REGIONS + 1, 22), np.float16)),
        lambda path: regions._read(path, 2, 18),
    ),
    "list of pictures": Reader(
        write_pictures, lambda f: extract.list_pictures(f / "list.txt"), "*.txt"
    ),
    "prepared, whole": Reader(write_built, lambda folder: opened_pairs(folder), "**/*.[ja]*[!z]"),
    "prepared": Reader(write_prepared, lambda f: prepared._kept_table(f / "jxhash.npz")),
    "codes, npz": one("a.npz", saved(np.savez, **PEER_CODES), each_array),
    "codes of a run": one("codes.npz", saved(np.savez_compressed, **run_codes()), each_array),
    "codes, mat": one(
        "a.mat", lambda path: scipy.io.savemat(path, {**PEER_CODES, "note": "text"}), each_array
    ),
    "codes, npy": one("a.npy", lambda p: np.save(p, TAGS), lambda p: code_files.read_array(str(p))),
    "report": Reader(write_report, lambda folder: report.read(folder / "report.json")),
    "run": Reader(write_run, read_run),
    "zip": Reader(write_zipped, contents_of(mirflickr25k, "Mirflickr25k", archives.MIR)),
    "zip, packed": Reader(
        functools.partial(write_zipped, compression=zipfile.ZIP_DEFLATED),
        contents_of(mirflickr25k, "Mirflickr25k", archives.MIR),
    ),
    "tar": Reader(write_tar, read_tar, "*.t*"),
    "mirflickr25k": Reader(
        archives.write_mirflickr, contents_of(mirflickr25k, "Mirflickr25k", archives.MIR), "**/*"
    ),
    "nuswide": Reader(
        archives.write_nuswide, contents_of(nuswide, "Nuswide", archives.NUS), "**/*.txt"
    ),
    "mscoco2014": Reader(
        lambda folder: archives.write_coco(folder, archives.coco_parts()),
        contents_of(mscoco2014, "Mscoco2014", archives.COCO),
        "**/*.json",
    ),
    "iapr_tc12": Reader(
        archives.write_iapr, contents_of(iapr_tc12, "IaprTc12", archives.IAPR), "**/*.[te]*"
    ),
    "wikipedia": Reader(
        archives.write_wikipedia,
        contents_of(wikipedia, "WikipediaCrossModal", archives.WIKI),
        "**/*.[lmx]*",
    ),
    "wikipedia's features": Reader(
        archives.write_wikipedia,
        lambda f: wikipedia_features.load(f / "wikipedia_dataset"),
        "**/*.[lm]*t",
    ),
    "pascal_sentence": Reader(
        archives.write_pascal,
        contents_of(pascal_sentence, "PascalSentence", archives.PASCAL),
        "**/*.html",
    ),
    "flickr30k": Reader(
        archives.write_flickr, contents_of(flickr30k, "Flickr30k", archives.FLICKR), "**/*.token"
    ),
    "flickr8k": Reader(
        archives.write_flickr8k,
        contents_of(flickr8k, "Flickr8k", archives.FLICKR8K),
        "**/Flickr8k_text.zip",
    ),
    **{
        f"picture, {kind}": one(
            "a.bin",
            lambda path, kind=kind: path.write_bytes(picture_of(kind)),
            lambda path: open_rgb(path.read_bytes()),
            refuses=ValueError,
        )
        for kind in FORMATS
    },
}


# Pillow imports the readers of formats when it first meets a strange file.
Image.init()


# The watch.

SECONDS = 10
# What files of some kilobytes may take. SciPy unpacks 128 KiB of a file at once, which may become a
# thousand times as much, and copies it.
MEGABYTES = 400
_MOST_MEMORY = 2**31

_RUNS_SOMETHING = {
    "ctypes.dlopen", "os.exec", "os.fork", "os.forkpty", "os.posix_spawn", "os.spawn", "os.system",
    "pickle.find_class", "socket.connect", "socket.getaddrinfo", "subprocess.Popen",
}  # fmt: skip
_CHANGES_FILES = {
    "os.chmod", "os.link", "os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.symlink",
    "os.truncate", "shutil.rmtree",
}  # fmt: skip
_FOR_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND

_watched: pathlib.Path | None = None
_seen: list[str] = []


class TooSlow(BaseException):
    """Not an Exception, so that no reader takes it for damage."""


def _hook(event, arguments):
    if _watched is None:
        return
    if event in _RUNS_SOMETHING:
        _seen.append(f"{event}: {arguments!r:.200}")
    elif event == "exec" and getattr(arguments[0], "co_filename", "").startswith("<string"):
        _seen.append(f"code is run: {arguments[0]!r:.200}")
    elif event in _CHANGES_FILES:
        # A path beside an open folder is one of shutil.rmtree's, which never leaves it.
        if event == "os.truncate" or arguments[-1] in (None, -1):
            _seen.extend(f"{event}: {path}" for path in arguments if _is_outside(path))
    elif event == "open" and (arguments[2] or 0) & _FOR_WRITING and _is_outside(arguments[0]):
        _seen.append(f"written: {arguments[0]}")


def _is_outside(path):
    if not isinstance(path, str | bytes | os.PathLike):
        return False
    path = pathlib.Path(os.path.abspath(os.fsdecode(path)))
    return _watched not in (path, *path.parents)


_TOLD = pathlib.Path("/proc/self/clear_refs").exists()


def _memory(line):
    with open("/proc/self/status") as file:
        return next(int(row.split()[1]) for row in file if row.startswith(line)) * 1024


def _reset_peak():
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")


def _too_slow(*_):
    raise TooSlow(f"not done after {SECONDS} s")


@functools.cache
def _hooked():
    import sys

    sys.addaudithook(_hook)


@contextlib.contextmanager
def watched(folder):
    """Fails where what is done inside runs something, writes elsewhere, or takes too much."""
    global _watched
    _hooked()
    _seen.clear()
    limits = resource.getrlimit(resource.RLIMIT_AS)
    handler = signal.signal(signal.SIGALRM, _too_slow)
    before = 0
    if _TOLD:
        _reset_peak()
        before = _memory("VmRSS")
        resource.setrlimit(resource.RLIMIT_AS, (_memory("VmSize") + _MOST_MEMORY, limits[1]))
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    _watched = folder
    try:
        yield
    finally:
        _watched = None
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, handler)
        resource.setrlimit(resource.RLIMIT_AS, limits)
        # Also where the file was refused.
        taken = (_memory("VmHWM") - before) / 2**20 if _TOLD else 0
        assert not _seen, "; ".join(_seen)
        assert taken < MEGABYTES, f"{taken:.0f} MiB"


class Payload:
    """Makes a file where it is unpickled."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.mkdir, (str(self.marker),)


def pickled(marker, protocol=2):
    return pickle.dumps({"w": Payload(marker)}, protocol)


def members_of(content):
    """Name -> content of the members of a zip file."""
    with zipfile.ZipFile(io.BytesIO(content)) as file:
        return {name: file.read(name) for name in file.namelist()}


def zip_of(members, method):
    """A zip file; a name may be there twice."""
    buffer = io.BytesIO()
    with warnings.catch_warnings(action="ignore"), zipfile.ZipFile(buffer, "w", method) as file:
        for name, content in members:
            file.writestr(name, content)
    return buffer.getvalue()


def unpacked(elements):
    """The variables of a MATLAB 5 file, behind the file's head."""
    found, place = [], 0
    while place < len(elements):
        kind, length = struct.unpack("<II", elements[place : place + 8])
        content = elements[place + 8 : place + 8 + length]
        found.append(
            zlib.decompress(content) if kind == 15 else elements[place : place + 8 + length]
        )
        place += 8 + length
    return found
