"""What people call the columns of a table and the arrays of a file."""

import re
from collections.abc import Mapping
from types import MappingProxyType

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
        *("alttext", "alt", "captiontext", "textcaption", "imagecaption", "imagedescription"),
        *("imagetext", "textdescription", "rawcaption", "rawtext"),
        *("tags", "tag", "keywords"),
    ),
    "labels": (
        *("labels", "label", "categories", "category", "classes", "class", "classid", "classids"),
        *("classname", "classnames", "labelname", "labelnames", "concepts", "target", "targets"),
    ),
    "id": ("id", "ids", "imageid", "imgid", "pictureid", "photoid", "itemid", "uid"),
    "split": ("split", "subset", "partition"),
}
# What a description may name columns of; the picture and the vectors of an image are two columns.
COLUMN_FIELDS = (*_COLUMNS, "image")
Named = Mapping[str, tuple[str, ...]]  # field -> its columns, as a description names them
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


def base_of(column: str) -> tuple[str, int]:
    """The plain name of a column and its number: -1 but for numbered columns of texts.

    >>> base_of("Caption_2"), base_of("caption"), base_of("image_2")
    (('caption', 2), ('caption', -1), ('image2', -1))
    """
    name = plain(column)
    base = name.rstrip("0123456789")
    if name == base or _FIELDS.get(base) != "text":
        return name, -1
    return base, int(name[len(base) :][-9:])


def field_of(column: str, named: Named = MappingProxyType({})) -> str | None:
    """The field that a column of a table holds, by a description or else by its name, or None.

    >>> field_of("File Name"), field_of("caption_2"), field_of("width")
    ('picture', 'text', None)
    >>> [field_of(one, {"text": ("width",)}) for one in ("width", "caption")]
    ['text', None]
    """
    own = _described(column, named)
    common = _FIELDS.get(base_of(column)[0])
    return own or (None if common in named else common)


def _described(column: str, named: Named) -> str | None:
    return next((field for field, columns in named.items() if column in columns), None)


def rank_of(column: str) -> tuple[int, int]:
    """The place of a column among those that may hold its field; the first is taken."""
    base, number = base_of(column)
    return _RANKS[base], number


def array_field_of(column: str, named: Named = MappingProxyType({})) -> str | None:
    """The field whose array a column of a table may hold, where its cells are lists of numbers.

    >>> array_field_of("image_embeddings"), array_field_of("caption"), array_field_of("label")
    ('image', 'text', None)
    """
    own = _described(column, named)
    if own is not None:
        return {"picture": "image", "image": "image", "text": "text"}.get(own)
    field, part = meaning_of(column) or (None, None)
    is_array = part == "whole" and field in ("image", "text") and field not in named
    return field if is_array else None


def meaning_of(array: str) -> tuple[str, str] | None:
    """The field and part that an array holds, by its name, or None.

    >>> meaning_of("clip_image"), meaning_of("I_tr"), meaning_of("set/width")
    (('image', 'whole'), ('image', 'train'), None)
    """
    return _MEANINGS.get(plain(array.rpartition("/")[2]))
