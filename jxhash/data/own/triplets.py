"""The triplet of files of published repositories: index.mat, caption.mat and label.mat."""

import pathlib

import numpy as np

from jxhash import formats
from jxhash.data.ids import require_once
from jxhash.data.own.own_labels import LabelRules, as_multi_hot
from jxhash.data.own.tables import Table, has_content, missing_pictures
from jxhash.data.text_files import read_lines
from jxhash.errors import UserError
from jxhash.formats.file_names import inside, resolved
from jxhash.formats.stored import Texts, texts_along

_TRIPLET = {
    "index": ("index", "FAll"),
    "caption": ("caption", "tags", "YAll"),
    "label": ("category", "label", "labels", "LAll"),
}


def is_triplet(folder: pathlib.Path) -> bool:
    """Whether a folder holds index.mat, caption.mat (or caption.txt) and label.mat."""
    return all((folder / f"{name}.mat").is_file() for name in ("index", "label")) and any(
        (folder / f"caption.{suffix}").is_file() for suffix in ("mat", "txt")
    )


def read_triplet(
    folder: pathlib.Path, pictures: pathlib.Path | None = None, rules: LabelRules | None = None
) -> Table:
    """Reads index.mat, caption.mat or caption.txt, and label.mat, as the repositories write them.

    index.mat has the paths of the pictures, often absolute ones of another machine: a picture is
    looked for under the folder by its path, then by its file name. Where not one is there, the
    table has no pictures. A row of caption.mat may hold several texts.
    The folder of pictures is by default that of the three files.

    Raises:
      UserError: a file is not of this kind, or they differ in their number of rows.
    """
    index, most_classes = folder / "index.mat", (rules or LabelRules()).most_classes
    paths = _triplet_entry(folder, "index")
    texts: formats.Stored | Texts
    if (folder / "caption.mat").is_file():
        texts = _triplet_entry(folder, "caption")
    else:
        texts = read_lines(folder / "caption.txt")
    labels = _triplet_entry(folder, "label")
    if isinstance(paths, formats.Stored) or isinstance(texts, formats.Stored):
        raise UserError(f"{folder}: index and caption hold texts; one of them has numbers")
    texts = texts_along(texts, len(paths))
    names = [one if isinstance(one, str) else " ".join(one) for one in paths]
    if not isinstance(labels, formats.Stored):
        raise UserError(f"{folder}: label.mat holds texts, not a matrix")
    if len(texts) != len(paths) or len(paths) not in labels.shape[:1] + labels.shape[-1:]:
        raise UserError(
            f"{folder}: {len(paths)} rows in index.mat, {len(texts)} in the captions, "
            f"{' x '.join(map(str, labels.shape))} in label.mat; they do not belong together"
        )
    matrix = labels.along(0 if labels.shape[0] == len(paths) else len(labels.shape) - 1)
    where = [f"{index}, row {row + 1}" for row in range(len(paths))]
    pictures = pictures or folder
    found = [_beneath(pictures, path) for path in names]
    problems = missing_pictures(where, found)
    require_once(str(index), names)
    none = bool(problems) and len(problems[0].rows) == len(paths)
    return Table(
        file=index,
        where=where,
        ids=names,
        pictures=None if none else found,
        picture_ids=[path.relative_to(pictures).as_posix() for path in found],
        texts=texts,
        labels=as_multi_hot(f"{folder / 'label.mat'}", np.asarray(matrix), most_classes),
        problems=[] if none else problems,
    )


def _triplet_entry(folder: pathlib.Path, kind: str) -> formats.Stored | Texts:
    file = folder / f"{kind}.mat"
    entries = formats.open_file(file)
    known = [name for name in _TRIPLET[kind] if name in entries]
    if not known:
        raise UserError(
            f"{file} holds none of {', '.join(_TRIPLET[kind])}; it has {formats.listed(entries)}"
        )
    return entries[known[0]].open()


def _beneath(folder: pathlib.Path, path: str) -> pathlib.Path:
    parts = pathlib.PurePosixPath(path.replace("\\", "/"))
    whole = inside(folder, str(parts.relative_to(parts.anchor)))
    if whole is not None and has_content(whole):
        return whole
    return resolved(folder, parts.name)
