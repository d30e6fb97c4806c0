"""THN: Transitive Hashing Network (Cao, Long, Wang and Yang, AAAI 2017, arXiv 1608.04307).

Queries of one modality and a database of the other come from different collections, without any
pair between them. An auxiliary collection of labelled image-text pairs teaches what belongs
together; the maximum mean discrepancy (MMD) draws the codes of the two unpaired collections to the
codes of the auxiliary rows of the same modality, so that what was learnt carries over.

Taken from the paper: the objective C = L + lambda Q + mu (D_q + D_d) on tanh outputs, inner
products without the factor 1/2, a Gaussian kernel, the MMD within a batch.

Decided here: the similarity covers auxiliary pairs alone, and labels of the two other collections
are no input of this method at all; L and Q are means over the pairs of a batch (a mean over pairs
of a sum over both points is the sum of the means over rows); the kernel's width follows the median
squared distance of the pooled rows; lambda, mu, optimiser and layers are settings.
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
from jxhash.errors import UserError
from jxhash.methods.base import (
    Batch,
    Method,
    Optimizer,
    Outputs,
    Spec,
    joint_method,
    require_features,
    require_inputs,
    require_labels,
)
from jxhash.networks.mlp import HashMLP

MODALITIES = ("image", "text")
DOMAINS = ("query", "database")


@dataclasses.dataclass(frozen=True)
class Settings:
    """The method's part of the config.

    Attributes:
      epochs: passes over the auxiliary pairs.
      image_hidden: widths of the image network's hidden layers.
      text_hidden: widths of the text network's hidden layers.
      image_dropout: the rate after each hidden layer of the image network, in [0, 1).
      text_dropout: the same of the text network.
      quantization_weight: lambda, of minus the logarithm of the outputs' magnitudes.
      mmd_weight: mu, of the discrepancy between domains and auxiliary rows; 0 learns from the
        auxiliary pairs alone.
      optimizer: of both networks.
    """

    epochs: int
    image_hidden: tuple[int, ...]
    text_hidden: tuple[int, ...]
    image_dropout: float
    text_dropout: float
    quantization_weight: float
    mmd_weight: float
    optimizer: Optimizer

    def __post_init__(self) -> None:
        require_positive(self, "epochs", "image_hidden", "text_hidden")
        require_not_negative(self, "quantization_weight", "mmd_weight")
        require_rate(self, "image_dropout", "text_dropout")


def build(config: ml_collections.ConfigDict, spec: Spec) -> Method:
    """Builds THN for one config and one data set.

    Args:
      config: `bits` and the part `thn`, with the fields of `Settings`.
      spec: of data whose "pairs" have `image`, `text` and `labels`, whose "query" rows have one of
        `image` and `text`, whose "database" rows have the other, and neither of these labels.

    Returns:
      The method; it encodes both modalities.

    Raises:
      UserError: the config or the data does not fit.
    """
    settings = read_settings(config.thn, Settings)
    require_features(spec, "THN", *MODALITIES)
    require_labels(spec, "THN")
    domain_modality = {domain: _only_modality(spec, domain) for domain in DOMAINS}
    if sorted(domain_modality.values()) != sorted(MODALITIES):
        raise UserError(f"THN's domains are of different modalities, not {domain_modality}")
    networks = {
        "image": HashMLP(config.bits, settings.image_hidden, settings.image_dropout),
        "text": HashMLP(config.bits, settings.text_hidden, settings.text_dropout),
    }

    def objective(outputs: Outputs, batch: Batch) -> dict[str, jax.Array]:
        pairs = batch.rows["pairs"]
        z = {modality: outputs("pairs", modality, i) for i, modality in enumerate(MODALITIES)}
        z_domain = {
            modality: outputs(domain, modality, 2 + i)
            for i, (domain, modality) in enumerate(domain_modality.items())
        }
        where_domain = {
            modality: batch.rows[domain]["where"] for domain, modality in domain_modality.items()
        }
        z, z_domain, where_domain, where, labels = parallel.all_rows(
            (z, z_domain, where_domain, pairs["where"], pairs["labels"])
        )
        S = similarity.share_label(labels, labels)
        L = losses.pairwise_log_likelihood_loss(
            z["image"], z["text"], S, scale=1.0, where=where[:, None] & where[None, :]
        )
        Q = sum(losses.log_magnitude_loss(z[modality], where=where) for modality in MODALITIES)
        D = sum(
            losses.mmd_loss(
                z_domain[modality],
                z[modality],
                gamma="median",
                where_x=where_domain[modality],
                where_y=where,
            )
            for modality in MODALITIES
        )
        C = L + settings.quantization_weight * Q + settings.mmd_weight * D
        return {"loss": C, "likelihood": L, "quantization": Q, "mmd": D}

    return joint_method(networks, objective, settings.optimizer, settings.epochs, spec)


def _only_modality(spec: Spec, domain: str) -> str:
    require_inputs(spec, domain)
    names = list(spec.inputs[domain])
    if len(names) != 1 or names[0] not in MODALITIES:
        raise UserError(
            f"THN's {domain} domain brings images or texts and nothing else, not {names}; "
            "labels of a domain are for the evaluator alone"
        )
    return names[0]
