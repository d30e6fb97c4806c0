"""jxhash learns binary codes in which pictures and text meet: deep cross-modal hashing in JAX.

The pure layers are imported here: `losses`, `discrete`, `metrics`, `codes` and `similarity` compose
in other JAX code without a config, a data set or Flax. Methods, data and the engine are imported by
their own names.
"""

from jxhash import codes, discrete, losses, metrics, similarity

__version__ = "0.1.0"

__all__ = ["codes", "discrete", "losses", "metrics", "similarity"]
