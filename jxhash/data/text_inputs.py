"""Texts of a data set as networks read them, one or several an item."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from jxhash.inputs import text_forms
from jxhash.inputs.text_forms import TextForm, Words
from jxhash.rows import Grouped, in_memory


class TextInputs(NamedTuple):
    """What a form makes of texts.

    Attributes:
      arrays: a row a text; of items with several texts `Grouped`.
      card: its entries in the card of the data set.
      form: fitted on the texts of the training items.
    """

    arrays: np.ndarray | Grouped
    card: Mapping[str, Any]
    form: TextForm


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
    card, arrays = form.card(of(kept)), form.arrays(texts)
    if counts is None:
        return TextInputs(arrays, card, form)
    card["texts an item"] = f"{counts.min()} to {counts.max()}, of which a step draws one"
    return TextInputs(Grouped(in_memory(arrays), counts), card, form)
