r"""Computes the features of pictures and writes a feature file: `python -m jxhash.data.extract`.

    python -m jxhash.data.extract --network=cnn-f --weights=imagenet-vgg-f.mat \
        --pictures=mirflickr --output=mirflickr-cnn-f.npz
    python -m jxhash.data.extract --features=clip.npz --pictures=list.txt --output=features.npy

The first form runs a network over pictures. The second takes the features that a model of your own
(CLIP, say) gave them, from a file of two arrays, `ids` [n] and `features` [n, d], checks them, and
brings them to the order of the pictures.

Pictures are a folder, with all the folders in it, or a text file with a path a line, relative to
that file. A picture's id is its path below the folder, or its line. The output FILE.npz holds
`ids`, `features` (float32) and a `card`; FILE.npy the features alone, beside FILE.ids.txt and
FILE.card.json. A run that was killed goes on with the same command: until the end its work lies in
FILE.npz.part.
"""

import argparse
import hashlib
import itertools
import json
import os
import pathlib
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from tqdm import tqdm

import jxhash
from jxhash import formats
from jxhash.atomic_files import locked, read_json, replacing, write_atomically
from jxhash.data.pictures import decoding, feature_files
from jxhash.data.text_files import numbered, read_lines
from jxhash.errors import Preempted, UserError, as_exit_code
from jxhash.formats.file_names import is_hidden, relative, resolved

if TYPE_CHECKING:
    from jxhash.networks.picture_encoder import Encoder

NETWORKS = ("lite0", "alexnet", "cnn-f")  # of networks.pretrained: importing it takes seconds

# Files of a folder with these endings are its pictures; others are left out and counted, hidden
# ones (names with "." in front, "__MACOSX") not even that.
ENDINGS = (".bmp", ".gif", ".jpeg", ".jpg", ".jp2", ".png", ".ppm", ".tif", ".tiff", ".webp")

# Pictures between two saves.
CHUNK = 512

_PLAN = "plan.json"


class Listed(NamedTuple):
    """The pictures to encode."""

    files: Mapping[str, pathlib.Path]  # by id, in the order of the rows
    others: Sequence[pathlib.Path]  # of the folder, that do not end like a picture


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m jxhash.data.extract",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--network", choices=NETWORKS, help="the network to run")
    source.add_argument(
        "--features", type=pathlib.Path, help="a file of ids and features to take instead"
    )
    parser.add_argument(
        "--weights",
        type=pathlib.Path,
        help="cnn-f: imagenet-vgg-f.mat of MatConvNet; alexnet: torchvision's .pth, or the same "
        "tensors as .safetensors; lite0: by default the installed package's",
    )
    parser.add_argument(
        "--pictures", type=pathlib.Path, required=True, help="a folder, or a text file of paths"
    )
    parser.add_argument("--output", type=pathlib.Path, required=True, help="FILE.npz or FILE.npy")
    parser.add_argument(
        "--batch_size", type=int, default=32, help="pictures that the network sees at once (32)"
    )
    parser.add_argument(
        "--skip_damaged",
        action="store_true",
        help="leave out pictures that cannot be read, and name them in the card; otherwise the "
        "first one ends the run",
    )
    return parser.parse_args(arguments)


def run(arguments: argparse.Namespace) -> str:
    """Writes the feature file; returns what is printed.

    Raises:
      UserError: something about the files or options is wrong.
    """
    _require_options(arguments)
    listed = list_pictures(arguments.pictures)
    if arguments.features:
        plan = {"features_sha256": _file_hash(arguments.features)}
    else:
        from jxhash.networks import pretrained

        weights = pretrained.weights_file(arguments.network, arguments.weights)
        plan = {"network": arguments.network, "weights_sha256": _file_hash(weights)}
    plan["pictures_sha256"] = _listing_hash(listed)
    part = arguments.output.with_name(arguments.output.name + ".part")
    if arguments.output.exists():
        card = feature_files.read(arguments.output).card
        if card.get("plan") != plan:
            raise UserError(
                f"{arguments.output} exists and was made in another way, or from other pictures; "
                "remove it, or choose another --output"
            )
    elif arguments.features:
        card = _take(arguments.features, arguments.pictures, listed, arguments.output, plan)
    else:
        card = _encode(arguments, listed, part, plan)
    shutil.rmtree(part, ignore_errors=True)
    return _summary(arguments.output, card, listed)


def list_pictures(source: pathlib.Path) -> Listed:
    """The pictures of a folder, sorted by id, or of a list, in its order.

    Raises:
      UserError: there is no such folder or file, or no picture in it; a line of the list is not
        UTF-8, occurs twice, or names no file.
    """
    if source.is_dir():
        found = sorted(
            path
            for path in source.rglob("*")
            if path.is_file() and not is_hidden(str(path.relative_to(source)))
        )
        files = {_id(source, path): path for path in found if path.suffix.lower() in ENDINGS}
        others = [path for path in found if path.suffix.lower() not in ENDINGS]
    elif source.is_file():
        files, others = _read_list(source), []
    else:
        raise UserError(f"there is no folder or list {source}")
    if not files:
        raise UserError(f"{source} names no picture")
    return Listed(files, others)


def _id(folder: pathlib.Path, path: pathlib.Path) -> str:
    name = path.relative_to(folder).as_posix()
    if not name.isprintable():
        raise UserError(f"{str(path)!a}: rename this file; its name makes no id of one line")
    return name


def _read_list(source: pathlib.Path) -> dict[str, pathlib.Path]:
    files: dict[str, pathlib.Path] = {}
    for where, name in numbered(source, read_lines(source)):
        file = resolved(source.parent, name)
        if name in files:
            raise UserError(f"{where}: {name!r} occurs twice")
        if not os.path.isfile(file):  # unlike Path.is_file, False for a name no file can have
            raise UserError(f"{where}: there is no picture {str(file)[:300]!r}")
        files[name] = file
    return files


def _require_options(arguments: argparse.Namespace) -> None:
    if arguments.output.suffix not in feature_files.SUFFIXES:
        raise UserError(f"--output={arguments.output} must end in .npz or .npy")
    if arguments.batch_size < 1:
        raise UserError("--batch_size is at least 1")
    if arguments.features and (arguments.weights or arguments.skip_damaged):
        raise UserError("--features opens no picture: leave out --weights and --skip_damaged")
    if arguments.network not in (None, "lite0") and not arguments.weights:
        raise UserError(f"--network={arguments.network} needs --weights=FILE, see --help")


def _file_hash(path: pathlib.Path) -> str:
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror})") from error


def _listing_hash(listed: Listed) -> str:
    """Names the pictures as they are now: ids, sizes and times of change."""
    digest = hashlib.sha256()
    for name, file in listed.files.items():
        state = file.stat()
        digest.update(json.dumps([name, state.st_size, state.st_mtime_ns]).encode())
    return digest.hexdigest()


def _encode(
    arguments: argparse.Namespace, listed: Listed, part: pathlib.Path, plan: Mapping[str, Any]
) -> dict[str, Any]:
    from jxhash.networks import pretrained

    with locked(part):
        if (part / _PLAN).exists() and read_json(part / _PLAN) != plan:
            raise UserError(
                f"{part} holds the work of another command, or of pictures that have changed "
                "since; remove it, or choose another --output"
            )
        write_atomically(part / _PLAN, json.dumps(plan).encode())
        encoder = pretrained.load(arguments.network, arguments.weights)
        chunks = _encode_chunks(arguments, encoder, listed, part)
        ids = [name for chunk in chunks for name in _read_chunk(chunk)["ids"].tolist()]
        damaged = [text for chunk in chunks for text in _read_chunk(chunk)["damaged"].tolist()]
        if not ids:
            raise UserError(f"none of the {len(damaged)} pictures can be read: {damaged[0]}")
        parts = (_read_chunk(chunk)["features"] for chunk in chunks)
        card = _card(len(ids), encoder.width, plan) | {"encoder": encoder.described}
        card["damaged"] = damaged
        feature_files.write(arguments.output, ids, parts, encoder.width, card)
    return card


def _card(rows: int, width: int, plan: Mapping[str, Any]) -> dict[str, Any]:
    return {"jxhash": jxhash.__version__, "rows": rows, "width": width, "plan": plan}


def _encode_chunks(
    arguments: argparse.Namespace, encoder: "Encoder", listed: Listed, part: pathlib.Path
) -> list[pathlib.Path]:
    """Computes the missing chunks; returns the files of all."""
    names = list(listed.files)
    files = []
    with tqdm(total=len(names), desc="encoding", unit="picture") as bar:
        for first in range(0, len(names), CHUNK):
            chunk = {name: listed.files[name] for name in names[first : first + CHUNK]}
            files.append(part / f"{first // CHUNK:06d}.npz")
            if not files[-1].exists():
                _write_chunk(files[-1], chunk, encoder, arguments, bar.update)
                continue
            bar.update(len(chunk))
            bar.initial += len(chunk)  # not done by this run, so not part of its speed
    return files


def _write_chunk(
    file: pathlib.Path,
    pictures: Mapping[str, pathlib.Path],
    encoder: "Encoder",
    arguments: argparse.Namespace,
    advance: Callable[[int], Any],
) -> None:
    from jxhash.networks.picture_encoder import encode

    damaged: list[str] = []
    ids, rows = [], [np.zeros((0, encoder.width), np.float32)]
    decoded = _decoded(pictures, encoder, arguments, damaged, advance)
    while batch := list(itertools.islice(decoded, arguments.batch_size)):
        names, pixels = zip(*batch, strict=True)
        found = encode(encoder, np.stack(pixels), arguments.batch_size)
        bad = np.flatnonzero(~np.isfinite(found).all(axis=1))
        if bad.size:
            raise UserError(
                f"the features of {names[bad[0]]} are not finite; look for NaN in the weights"
            )
        ids += names
        rows.append(found)
    features = np.concatenate(rows)
    with replacing(file) as stream:
        np.savez(stream, ids=np.array(ids, str), features=features, damaged=np.array(damaged, str))


def _decoded(
    pictures: Mapping[str, pathlib.Path],
    encoder: "Encoder",
    arguments: argparse.Namespace,
    damaged: list[str],
    advance: Callable[[int], Any],
) -> Iterator[tuple[str, np.ndarray]]:
    """Yields ids and pixels; damaged pictures end the run, or are added to `damaged`."""
    depth = 2 * arguments.batch_size
    for name, future in decoding.ahead(lambda name: encoder.fit(pictures[name]), pictures, depth):
        advance(1)
        try:
            yield name, future.result()
        except (OSError, ValueError) as error:
            if not arguments.skip_damaged:
                raise UserError(
                    f"{pictures[name]}: {error}; fix or remove it, or leave out such pictures "
                    "with --skip_damaged"
                ) from error
            damaged.append(f"{name}: {error}")


def _read_chunk(file: pathlib.Path) -> dict[str, np.ndarray]:
    try:
        entries = formats.open_file(file)
        return {name: formats.whole(entries[name]) for name in ("ids", "features", "damaged")}
    except (ValueError, KeyError) as error:
        raise UserError(f"{file} is damaged ({error}); remove it, and start again") from error


def _take(
    source: pathlib.Path,
    pictures: pathlib.Path,
    listed: Listed,
    output: pathlib.Path,
    plan: Mapping[str, Any],
) -> dict[str, Any]:
    found = feature_files.read(source)
    ids, width = list(listed.files), found.features.shape[1]
    own = [relative(pictures, name) or name for name in found.ids]
    rows, unused = feature_files.matched(source, ids, own)
    parts = (found.features[rows[first : first + CHUNK]] for first in range(0, len(ids), CHUNK))
    card = _card(len(ids), width, plan) | {"encoder": found.card, "unused": len(unused)}
    feature_files.write(output, ids, parts, width, card)
    return card


def _summary(output: pathlib.Path, card: Mapping[str, Any], listed: Listed) -> str:
    lines = [f"{output}: {card['rows']} rows of {card['width']} features"]
    if card.get("damaged"):
        lines.append(f"{len(card['damaged'])} pictures left out: {'; '.join(card['damaged'][:3])}")
    if card.get("unused"):
        lines.append(f"{card['unused']} rows of the given features belong to no picture")
    if listed.others:
        names = ", ".join(path.name for path in listed.others[:3])
        lines.append(f"{len(listed.others)} files do not end like a picture: {names}")
    return "\n".join(lines)


def main() -> None:
    """The command line."""
    with as_exit_code():
        try:
            print(run(parse(sys.argv[1:])))
        except KeyboardInterrupt as event:
            raise Preempted("stopped; the same command goes on from here") from event


if __name__ == "__main__":
    main()
