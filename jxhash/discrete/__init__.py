"""The discrete steps of hashing methods: from arrays to codes, without gradients.

Each documents its objective and never increases it, unless it says otherwise. Codes are never 0:
at a tie a bit keeps its previous value, or becomes +1 without one.
"""

from jxhash.discrete.closed_form import consensus, reconstruct, trace_step
from jxhash.discrete.codebooks import (
    decode,
    fit_codebooks,
    icm,
    product_codebooks,
    quantized_inner_products,
)
from jxhash.discrete.column_sampling import cosdish
from jxhash.discrete.coordinate import cyclic_coordinate_descent
from jxhash.discrete.kmeans import anchor_affinities, anchor_bandwidth, kmeans

__all__ = [
    "anchor_affinities",
    "anchor_bandwidth",
    "consensus",
    "cosdish",
    "cyclic_coordinate_descent",
    "decode",
    "fit_codebooks",
    "icm",
    "kmeans",
    "product_codebooks",
    "quantized_inner_products",
    "reconstruct",
    "trace_step",
]
