"""Captions as Flickr8k and Flickr30k have them: picture#place, a tab, a caption on each line."""

import re
from collections.abc import Iterable, Mapping

from jxhash.data.builders import archive, base
from jxhash.errors import UserError

_LINE = re.compile(r"([\w-]+\.jpg(?:\.\d)?)#(\d)\t(.+)", re.ASCII)


def read(path: archive.Folder) -> dict[str, dict[int, str]]:
    """Reads a file of captions: picture -> place -> caption.

    Raises:
      UserError: a line is not of this kind.
    """
    captions: dict[str, dict[int, str]] = {}
    for where, line in archive.numbered_lines(path):
        found = _LINE.fullmatch(line)
        if not found:
            raise UserError(f"{where}: expected picture.jpg#place, a tab, a caption")
        captions.setdefault(found[1], {})[int(found[2])] = found[3]
    return captions


def pairs(
    path: archive.Folder,
    captions: Mapping[str, Mapping[int, str]],
    names: Iterable[str],
    pictures: archive.Folder,
    config: base.Config,
    faults: base.Faults,
) -> list[base.Pair]:
    """Pairs of pictures and their captions, in the order of the names.

    `path` has the captions; a picture without `config.num_texts` of them is a fault.
    """
    made = []
    for file in names:
        found = captions.get(file, {})
        if sorted(found) == list(range(config.num_texts)):
            texts = [found[place] for place in sorted(found)]
            made.append(base.Pair(file, texts, picture=pictures / file))
            continue
        faults.found(
            "captions", f"{path}: picture {file} does not have {config.num_texts} captions"
        )
    return made
