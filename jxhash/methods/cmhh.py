"""CMHH: Cross-Modal Hamming Hashing (Cao, Liu, Long and Wang, ECCV 2018).

Built for lookups: a query should find what it looks for within Hamming radius 2, and not merely
rank it before the rest.

Taken from the paper: similarity as a probability p = exp(-beta d) that decays exponentially with
the Hamming distance, for which stands d = K/2 (1 - cos) of the outputs; the focal loss of p, whose
gradient goes to similar pairs outside of the radius; the prior L + lambda Q, where Q is the same
distance between the magnitudes of an output and (1, ..., 1). Both networks are trained together on
the pairs within a batch, outputs after tanh.

Decided here, since we know of no published values: Q does not carry beta; similar pairs weigh more
by as much as they are rarer (`losses.balanced_weights`, counted in each batch); L is the mean over
the pairs of a batch, Q over its rows for each modality; beta, gamma, lambda, optimiser and layers
are settings.
"""

import dataclasses

import jax
import ml_collections

from jxhash import losses, parallel, similarity
from jxhash.configuration import (
    read_settings,
    require_not_negative,
    require_positive,
    require_rate,
)
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
      beta: how fast the probability decays: it halves every log(2) / beta bits.
      focusing: gamma, how little the pairs count that are already on their side; 0 for the
        cross-entropy.
      quantization_weight: lambda, of the distance between outputs and codes, in bits.
      optimizer: of both networks.
    """

    epochs: int
    image_hidden: tuple[int, ...]
    text_hidden: tuple[int, ...]
    image_dropout: float
    text_dropout: float
    beta: float
    focusing: float
    quantization_weight: float
    optimizer: Optimizer

    def __post_init__(self) -> None:
        require_positive(self, "epochs", "image_hidden", "text_hidden", "beta")
        require_not_negative(self, "focusing", "quantization_weight")
        require_rate(self, "image_dropout", "text_dropout")


def build(config: ml_collections.ConfigDict, spec: Spec) -> Method:
    """Builds CMHH for one config and one data set.

    Args:
      config: `bits` and the part `cmhh`, with the fields of `Settings`.
      spec: of data whose "pairs" have `image`, `text` and `labels`.

    Returns:
      The method; it learns no codes of training rows besides its networks.

    Raises:
      UserError: the config or the data does not fit.
    """
    settings = read_settings(config.cmhh, Settings)
    require_features(spec, "CMHH", *MODALITIES)
    require_labels(spec, "CMHH")
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
        S = similarity.share_label(labels, labels)
        both = where[:, None] & where[None, :]
        L = losses.hamming_focal_loss(
            u,
            v,
            S,
            beta=settings.beta,
            focusing=settings.focusing,
            where=both,
            weights=losses.balanced_weights(S, where=both),
        )
        Q = sum(_distance_to_code(z, where) for z in (u, v))
        return {"loss": L + settings.quantization_weight * Q, "focal": L, "quantization": Q}

    return joint_method(networks, objective, settings.optimizer, settings.epochs, spec)


def _distance_to_code(outputs: jax.Array, where: jax.Array) -> jax.Array:
    """The mean of K/2 (1 - cos(|u|, 1)): what the angle between output and code is in bits."""
    bits = outputs.shape[1]
    return bits / 2 * losses.cosine_quantization_loss(outputs, margin=1.0, where=where)
