"""What people call the columns of a table and the arrays of a file."""

import re

# Field -> names of its column, in small letters and without other signs, our own first.
_COLUMNS = {
    "picture": (
        *("picture", "image", "img", "photo", "filename", "imagepath", "imgpath", "picturepath"),
        *("imagefile", "imgfile", "imagefilename", "imagename", "imgname", "filepath", "file"),
        "path",
    ),
    "text": (
        *("text", "caption", "sentence", "description", "comment", "title"),
        *("texts", "captions", "sentences", "descriptions", "comments", "raw"),
        *("tags", "tag", "keywords"),
    ),
    "labels": (
        *("labels", "label", "categories", "category", "classes", "class", "classid", "classids"),
        *("classname", "classnames", "labelname", "labelnames", "concepts", "target", "targets"),
    ),
    "id": ("id", "ids", "imageid", "imgid", "pictureid", "photoid", "itemid", "uid"),
    "split": ("split", "subset", "partition"),
}
# Columns of single words, all of one text.
OF_WORDS = ("tags", "tag", "keywords")

# The same of arrays.
_IMAGES = ("image", "img", "images", "imgs", "visual", "picture", "pictures", "photo", "photos")
_TEXTS = ("text", "txt", "texts", "txts", "caption", "captions", "sentence", "sentences", "title")
_VECTORS = (
    *("embedding", "embeddings", "embeds", "embed", "emb", "embs"),
    *("feature", "features", "feats", "feat", "vector", "vectors"),
)


def _vectors(of: tuple[str, ...]) -> tuple[str, ...]:
    after = [f"{one}{vectors}" for one in of for vectors in _VECTORS]
    return (*after, *(f"clip{one}" for one in of), *(f"{one}clip" for one in of))


_ARRAYS = {
    "image": (*_IMAGES, *_vectors(_IMAGES), "i", "x", "features", "feats"),
    "text": (*_TEXTS, *_vectors(_TEXTS), "t", "y", "tags", "tag", "bow", "titles", "embeddings"),
    "tokens": ("tokens",),
    "labels": (
        *("labels", "label", "l", "lab", "labs", "category", "categories", "classes", "classid"),
        *("classids", "labelid", "labelids", "targets", "target", "concepts"),
    ),
    "ids": (
        *("ids", "id", "imageids", "imageid", "itemids", "names", "filenames", "imagenames"),
        *("paths", "imagepaths", "filepaths"),
    ),
    "rows": ("index", "indices", "idx", "rows"),
}
PARTS = {
    "whole": ("", "all"),
    "train": ("tr", "train", "training"),
    "query": ("te", "test", "query"),
    "database": ("db", "database", "retrieval"),
    "validation": ("va", "val", "validation"),
}

_FIELDS = {name: field for field, names in _COLUMNS.items() for name in names}
_RANKS = {name: rank for names in _COLUMNS.values() for rank, name in enumerate(names)}
_MEANINGS = {
    spelling: (field, part)
    for field, names in _ARRAYS.items()
    for part, marks in PARTS.items()
    for name in names
    for mark in marks
    for spelling in (name + mark, mark + name)
}


def plain(name: str) -> str:
    """A name in small letters and digits alone.

    >>> plain(" Image_Path ")
    'imagepath'
    """
    return re.sub(r"[^a-z0-9]", "", name.lower())


def field_of(column: str) -> str | None:
    """The field that a column of a table holds, by its name, or None.

    >>> field_of("File Name"), field_of("width")
    ('picture', None)
    """
    return _FIELDS.get(plain(column))


def rank_of(column: str) -> int:
    """The place of a column among those that may hold its field; the first is taken."""
    return _RANKS[plain(column)]


def meaning_of(array: str) -> tuple[str, str] | None:
    """The field and part that an array holds, by its name, or None.

    >>> meaning_of("clip_image"), meaning_of("I_tr"), meaning_of("set/width")
    (('image', 'whole'), ('image', 'train'), None)
    """
    return _MEANINGS.get(plain(array.rpartition("/")[2]))
