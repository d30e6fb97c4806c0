"""Texts of a data set as networks read them, one or several an item."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from jxhash.inputs import text_forms
from jxhash.inputs.text_forms import Words
from jxhash.rows import Grouped, Rows, in_memory


class TextInputs(NamedTuple):
    """The texts of a data set as networks read them.

    Attributes:
      arrays: a row a text; of items with several texts `Grouped`.
      card: their entries in the card of the data set.
      vocabulary_size: see `Dataset`.
      captions: of items with several texts, those that the rows of `arrays` stand for.
      lost: the numbers of the items of which no text has a known word; their rows say nothing.
    """

    arrays: np.ndarray | Rows | Grouped
    card: Mapping[str, Any]
    vocabulary_size: int | None = None
    captions: Sequence[str] | None = None
    lost: np.ndarray = np.zeros(0, np.int64)


def text_inputs(
    texts: Sequence[str],
    counts: np.ndarray | None,
    kept: np.ndarray,
    train: np.ndarray,
    words: Words,
) -> TextInputs:
    """Fits a form on the texts of training items and maps all texts.

    Args:
      texts: of all items, in their order.
      counts: int64 [n], how many texts each of n items has, at least one; None for one each.
      kept: the numbers of the items that the card speaks of.
      train: the numbers of the training items.
      words: the form.

    Raises:
      UserError: no word occurs in as many texts as `words` asks for.
    """
    of_items = None if counts is None else Grouped(in_memory(np.arange(len(texts))), counts)

    def of(items: np.ndarray) -> list[str]:
        rows = items if of_items is None else of_items.rows_of(items)
        return [texts[row] for row in rows]

    form = text_forms.fit(of(train), words)
    card, arrays, usable = form.card(of(kept)), form.arrays(texts), form.usable(texts)
    if counts is None:
        lost = np.flatnonzero(~usable)
        return TextInputs(arrays, card, form.vocabulary_size, lost=lost)
    owner = np.repeat(np.arange(len(counts)), counts)
    has_words = np.bincount(owner[usable], minlength=len(counts)) > 0
    taken = np.flatnonzero(usable | ~has_words[owner])
    counts = np.bincount(owner[taken])
    card["texts an item"] = f"{counts.min()} to {counts.max()}, of which a step draws one"
    grouped = Grouped(in_memory(arrays[taken]), counts)
    known, lost = [texts[row] for row in taken.tolist()], np.flatnonzero(~has_words)
    return TextInputs(grouped, card, form.vocabulary_size, known, lost)
