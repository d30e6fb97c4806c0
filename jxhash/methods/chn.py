"""CHN: Correlation Hashing Network (Cao, Long, Wang and Yu, BMVC 2017, arXiv 1602.06697).

Taken from the paper: the objective L + lambda Q on the angles between outputs, with one margin
delta in both terms. L is the squared hinge on the cosine of each image-text pair; Q asks that the
magnitudes of an output's entries be alike, so that its angle to its code is small, by a hinge that
is not squared. Both networks are trained together on the pairs within a batch, outputs after tanh.

Decided here: L and Q are means (over the pairs of a batch, and over its rows for each modality),
so that lambda and the learning rate do not depend on the batch size; all pairs of a batch are
observed; similar pairs, which are the rarer ones, may weigh more; optimiser and layers are
settings, lambda too, of which we know no value by the authors.
"""

import dataclasses

import jax
import jax.numpy as jnp
import ml_collections

from jxhash import losses, parallel, similarity
from jxhash.configuration import (
    read_settings,
    require_not_negative,
    require_positive,
    require_rate,
)
from jxhash.errors import UserError
from jxhash.methods.base import (
    Batch,
    Method,
    Optimizer,
    Outputs,
    Spec,
    joint_method,
    require_features,
    require_labels,
)
from jxhash.networks.mlp import HashMLP

MODALITIES = ("image", "text")


@dataclasses.dataclass(frozen=True)
class Settings:
    """The method's part of the config.

    Attributes:
      epochs: passes over the training pairs.
      image_hidden: widths of the image network's hidden layers.
      text_hidden: widths of the text network's hidden layers.
      image_dropout: the rate after each hidden layer of the image network, in [0, 1).
      text_dropout: the same of the text network.
      margin: delta, the cosine that is enough: of a pair, on its side of zero, and of an output
        with its code. In (0, 1]; the latter is never below 1 / sqrt(bits).
      similar_weight: how much a similar pair counts beside a dissimilar one; the paper: 1.
      quantization_weight: lambda, of the angle between outputs and codes.
      optimizer: of both networks.
    """

    epochs: int
    image_hidden: tuple[int, ...]
    text_hidden: tuple[int, ...]
    image_dropout: float
    text_dropout: float
    margin: float
    similar_weight: float
    quantization_weight: float
    optimizer: Optimizer

    def __post_init__(self) -> None:
        require_positive(self, "epochs", "image_hidden", "text_hidden")
        require_positive(self, "margin", "similar_weight")
        require_not_negative(self, "quantization_weight")
        require_rate(self, "image_dropout", "text_dropout")
        if self.margin > 1:
            raise UserError(f"config key 'margin' is a cosine, at most 1, not {self.margin}")


def build(config: ml_collections.ConfigDict, spec: Spec) -> Method:
    """Builds CHN for one config and one data set.

    Args:
      config: `bits` and the part `chn`, with the fields of `Settings`.
      spec: of data whose "pairs" have `image`, `text` and `labels`.

    Returns:
      The method; it learns no codes of training rows besides its networks.

    Raises:
      UserError: the config or the data does not fit.
    """
    settings = read_settings(config.chn, Settings)
    require_features(spec, "CHN", *MODALITIES)
    require_labels(spec, "CHN")
    networks = {
        "image": HashMLP(config.bits, settings.image_hidden, settings.image_dropout),
        "text": HashMLP(config.bits, settings.text_hidden, settings.text_dropout),
    }

    def objective(outputs: Outputs, batch: Batch) -> dict[str, jax.Array]:
        pairs = batch.rows["pairs"]
        u, v, where, labels = parallel.all_rows(
            (
                outputs("pairs", "image", 0),
                outputs("pairs", "text", 1),
                pairs["where"],
                pairs["labels"],
            )
        )
        S = similarity.signed(labels, labels)
        L = losses.cosine_margin_loss(
            u,
            v,
            S,
            margin=settings.margin,
            where=where[:, None] & where[None, :],
            weights=jnp.where(S > 0, settings.similar_weight, 1.0),
        )
        Q = sum(
            losses.cosine_quantization_loss(z, margin=settings.margin, where=where) for z in (u, v)
        )
        return {"loss": L + settings.quantization_weight * Q, "correlation": L, "quantization": Q}

    return joint_method(networks, objective, settings.optimizer, settings.epochs, spec)
