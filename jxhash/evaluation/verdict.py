"""What a reader of a table must know before its numbers: codes that tell nothing, and chance."""

from collections.abc import Mapping
from typing import Any

from jxhash.evaluation import measure
from jxhash.evaluation.measure import Found

# More constant bits than this share are a fault of the training, not of the data.
_MANY = 1 / 4

_OF_CODES = (
    "likely causes: features that hardly differ or are on another scale (config key "
    "'normalization'), too high a learning rate, or too few similar pairs (the method's weights)"
)
_OF_CHANCE = (
    "likely causes: texts and pictures of a row that do not belong together, too short a training, "
    "or features that say nothing of the labels"
)


def of_codes(found: Mapping[str, Found], split: str = "database") -> list[str]:
    """Whether the codes of a modality are all alike, or more than a quarter of the bits constant.

    Args:
      found: task -> search results.
      split: what the lines call the database.

    Returns:
      A line each; none where all is well.
    """
    lines = []
    for one in found.values():
        if one.histogram is None:
            constant, width = measure.constant_components(one.entries), one.entries.shape[1]
            distinct = 1 if constant == width else 2
        else:
            bits = measure.bits_of(one.entries)
            constant, width, distinct = bits["constant"], len(bits["mean"]), bits["distinct"]
        items, modality = len(one.entries), one.task.database_modality
        if items > 1 and distinct == 1:
            lines.append(f"all {items:,} {modality} codes of the {split} are equal; {_OF_CODES}")
        elif items > 1 and constant > _MANY * width:
            lines.append(
                f"{constant} of {width} bits are constant over the {items:,} {modality} codes of "
                f"the {split}; {_OF_CODES}"
            )
    return lines


def of_results(found: Mapping[str, Found], results: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Whether MAP is not above chance, and how many queries have nothing to find.

    Args:
      found: task -> search results.
      results: task -> measures of these results, and under `measure.RANDOM` of a random ranking.

    Returns:
      A line each; none where all is well.
    """
    lines = []
    for task, one in found.items():
        lost = int((~one.answerable).sum())
        if lost:
            lines.append(
                f"{task}: {lost:,} of {len(one.query):,} queries have nothing relevant in the "
                "database"
            )
        values, chance = results[task][measure.ENCODED], results[task][measure.RANDOM]["map"]
        if values["map_interval"] and values["map_interval"][0] <= chance:
            low, high = values["map_interval"]
            lines.append(
                f"{task}: MAP {values['map']:.3f} ({low:.3f}-{high:.3f}) is not above that of a "
                f"random ranking, {chance:.3f}; {_OF_CHANCE}"
            )
    return lines
