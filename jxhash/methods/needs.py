"""What a method needs of a data set, as one value: checked, documented and tested in one place."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence, Set
from typing import Literal

import numpy as np

from jxhash.errors import UserError
from jxhash.methods.contract import Spec

Form = Literal["features", "pixels", "regions", "tokens", "views"]

_FORM_OF_RANK: Mapping[int, Form] = {1: "features", 2: "regions"}

# What the rows of each form are, and how data gets them.
_FORMS = {
    "features": (
        "one vector of features a row",
        "features are computed from pictures by python -m jxhash.data.extract, and from texts as "
        "bags of words by jxhash.inputs.text",
    ),
    "pixels": ("pictures, uint8 [height, width, 3]", "choose data called NAME-pixels-SIZE"),
    "regions": (
        "sequences of picture regions, [regions, width]",
        "choose clipart-regions, or compute them with jxhash.data.pictures.regions",
    ),
    "tokens": (
        "sentences of token numbers",
        "choose clipart-sentences or clipart-regions, add '-sentences' to the name of a prepared "
        "data set, or compute them with jxhash.inputs.text",
    ),
    "views": ("several named vectors of features a row", "give a mapping of arrays"),
}


@dataclasses.dataclass(frozen=True)
class Needs:
    """What a method needs of a data set.

    Attributes:
      image: the forms of which the images of the training pairs have one; empty where images are
        not read.
      text: the same of texts.
      labels: whether it learns from labels of the pairs.
      single_label: whether each pair must have exactly one.
      unpaired: whether it learns from the unpaired sources "query" and "database" besides, one of
        images and one of texts.
      sentence_length: the number of tokens of each text; None for any.
    """

    image: Set[Form]
    text: Set[Form]
    labels: bool = False
    single_label: bool = False
    unpaired: bool = False
    sentence_length: int | None = None

    def check(self, spec: Spec, method: str, unsupervised: Callable[[], Sequence[str]]) -> None:
        """Raises a UserError, which names the method, where the data does not meet a need.

        `unsupervised` gives the names of the methods that need no labels.
        """
        for modality, forms in (("image", self.image), ("text", self.text)):
            if forms:
                _require_form(spec, method, modality, forms)
        if self.labels and "labels" not in spec.inputs["pairs"]:
            raise UserError(
                f"{method} learns from labels, and this data set has none for its training pairs; "
                f"bring labels, or choose a method that needs none: {', '.join(unsupervised())}"
            )
        if self.single_label and not spec.single_label:
            raise UserError(
                f"{method} needs exactly one label a training pair, and this data set has pairs "
                "with more or none; choose data with classes"
            )
        if self.unpaired:
            _require_unpaired(spec, method)
        if self.sentence_length is not None:
            _require_length(spec, method, self.sentence_length)


def form_of(spec: Spec, modality: str) -> Form | None:
    """The form of a modality of the training pairs; None for one that no method reads."""
    described = spec.inputs["pairs"][modality]
    if isinstance(described, Mapping):
        return "views"
    shape, dtype = described
    numbers = len(shape) == 1 and np.dtype(dtype).kind in "iu"
    if modality == "text" and numbers and spec.vocabulary_size:
        return "tokens"
    if len(shape) == 3 and shape[-1] == 3 and dtype == np.uint8:
        return "pixels"
    return _FORM_OF_RANK.get(len(shape))


def _require_form(spec: Spec, method: str, modality: str, forms: Set[Form]) -> None:
    pairs = spec.inputs["pairs"]
    if modality not in pairs:
        raise UserError(
            f"{method} reads {modality}s, and the source 'pairs' has only {', '.join(pairs)}; "
            f"{_FORMS[min(forms)][1]}"
        )
    if form_of(spec, modality) in forms:
        return
    wanted = " or ".join(_FORMS[form][0] for form in sorted(forms))
    raise UserError(
        f"{method} reads {modality}s as {wanted}, and those of this data set are "
        f"{_in_words(spec, modality)}; {_FORMS[min(forms)][1]}"
    )


def _in_words(spec: Spec, modality: str) -> str:
    form = form_of(spec, modality)
    if form is not None:
        return _FORMS[form][0]
    return f"arrays of shape {spec.inputs['pairs'][modality][0]}"


def _require_unpaired(spec: Spec, method: str) -> None:
    for source in ("query", "database"):
        if source not in spec.inputs:
            raise UserError(
                f"{method} learns from the unpaired sources 'query' and 'database'; the data has "
                f"only {', '.join(spec.inputs)}"
            )
    names = [list(spec.inputs[source]) for source in ("query", "database")]
    if sorted(names) != [["image"], ["text"]]:
        raise UserError(
            f"{method} needs images alone in one of the sources 'query' and 'database' and texts "
            f"alone in the other, not {names[0]} and {names[1]}; labels there are for the "
            "evaluator alone"
        )


def _require_length(spec: Spec, method: str, length: int) -> None:
    (found, *_), _ = spec.inputs["pairs"]["text"]
    if found != length:
        raise UserError(
            f"{method} reads sentences of {length} tokens, not {found}; make them that long with "
            "jxhash.inputs.text"
        )
