"""The discrete steps of hashing methods: from arrays to codes, without a gradient.

Each states an objective that it does not increase. No step answers with a zero: a tie keeps the
previous code where one is given, and becomes +1 where none is.
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
