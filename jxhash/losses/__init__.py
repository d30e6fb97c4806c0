"""Losses of deep cross-modal hashing as pure functions of arrays.

Each takes network outputs with codes, bits or similarities. Options are keywords: `where` masks,
`weights` scales, `reduce_fn` reduces (None returns one value per pair, sample or bit). All losses
work under jit, grad, vmap, pmap and shard_map.

>>> import jax, jax.numpy as jnp
>>> u, v = jnp.array([[0.5, -0.5]]), jnp.array([[1.0, -1.0], [1.0, 1.0]])
>>> similarity = jnp.array([[1, 0]])
>>> gradient = jax.grad(pairwise_log_likelihood_loss)(u, v, similarity)
>>> gradient.shape
(1, 2)
"""

from jxhash.losses.bits import bit_balance_loss, decorrelation_loss
from jxhash.losses.cosine import (
    balanced_weights,
    cosine_margin_loss,
    cosine_quantization_loss,
    hamming_focal_loss,
)
from jxhash.losses.distribution import mmd_loss
from jxhash.losses.likelihood import (
    bit_cross_entropy_loss,
    pairwise_log_likelihood_from_labels_loss,
    pairwise_log_likelihood_loss,
)
from jxhash.losses.quantization import bit_margin_loss, log_magnitude_loss, quantization_loss
from jxhash.losses.trace import trace_loss

__all__ = [
    "balanced_weights",
    "bit_balance_loss",
    "bit_cross_entropy_loss",
    "bit_margin_loss",
    "cosine_margin_loss",
    "cosine_quantization_loss",
    "decorrelation_loss",
    "hamming_focal_loss",
    "log_magnitude_loss",
    "mmd_loss",
    "pairwise_log_likelihood_from_labels_loss",
    "pairwise_log_likelihood_loss",
    "quantization_loss",
    "trace_loss",
]
