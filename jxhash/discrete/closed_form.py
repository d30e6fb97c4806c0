"""Discrete steps with a closed-form solution."""

import functools

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from jxhash import _checks, codes, parallel
from jxhash._sharding import any_mesh, like_first, row_sharded


@jax.jit
@any_mesh(like_first)
def _consensus(outputs: tuple[jax.Array, ...], previous: jax.Array | None) -> jax.Array:
    return codes.sign(functools.reduce(jnp.add, outputs), previous)


def consensus(*outputs: ArrayLike, previous: ArrayLike | None = None) -> jax.Array:
    r"""The codes nearest to the outputs of all modalities: the signs of their sum.

    Jiang and Li, Deep Cross-Modal Hashing, CVPR 2017, the step for B; Yang et al., Pairwise
    Relationship Guided Deep Hashing, AAAI 2017. Minimises, over all codes,

    .. math:: \sum_s \lVert B - U^s \rVert^2

    Args:
      *outputs: [n, K] real-valued outputs, one array per modality.
      previous: [n, K] codes to keep at a tie; None sets ties to +1.

    Returns:
      int8 codes [n, K] in {-1, +1}.

    Raises:
      ValueError: there are no outputs, or their shapes differ.

    >>> consensus(jnp.array([[0.5, -2.0]]), jnp.array([[-0.1, 1.0]])).tolist()
    [[1, -1]]
    """
    if not outputs:
        raise ValueError("consensus needs the outputs of at least one modality")
    arrays = tuple(_checks.real("outputs", x) for x in outputs)
    _checks.require_rows(outputs=arrays[0])
    for other in arrays[1:]:
        _checks.same("shape", outputs=arrays[0], others=other)
    arrays = _checks.one_dtype(*arrays)
    if previous is not None:
        previous = _checks.real("previous", previous)
        _checks.same("shape", outputs=arrays[0], previous=previous)
    found: jax.Array = _consensus(arrays, previous)
    return found


@jax.jit
@any_mesh(like_first)
def _trace_step(
    outputs: jax.Array,
    other_codes: jax.Array,
    similarity: jax.Array,
    eta: ArrayLike,
    previous: jax.Array | None,
) -> jax.Array:
    agreement = jnp.matmul(similarity, other_codes, precision="highest")
    return codes.sign(agreement + 2 * jnp.asarray(eta, outputs.dtype) * outputs, previous)


def trace_step(
    outputs: ArrayLike,
    other_codes: ArrayLike,
    similarity: ArrayLike,
    *,
    eta: ArrayLike,
    previous: ArrayLike | None = None,
) -> jax.Array:
    r"""The codes of one modality given the codes of the other: sign(S H + 2 eta F).

    Shen et al., Deep Binaries: Encoding Semantic-Rich Cues for Efficient Textual-Visual Cross
    Retrieval, ICCV 2017. Minimises, over all codes,

    .. math:: -\sum_{ij} S_{ij} \langle b_i, h_j \rangle + \eta \lVert B - F \rVert^2

    which separates over bits, so no coordinate descent is needed. Alternating with the other
    modality (which passes the transposed similarity) never increases the sum for both. Without
    negative similarities the optimal codes are all equal, and a warning says so: use
    `similarity.signed`.

    Args:
      outputs: [m, K] real-valued outputs F of this modality.
      other_codes: [n, K] codes H of the other.
      similarity: [m, n], negative where a pair is dissimilar; any real dtype.
      eta: the weight of the outputs, not negative; a fraction of n, the range of S H.
      previous: [m, K] codes to keep at a tie; None sets ties to +1.

    Returns:
      int8 codes [m, K] in {-1, +1}.

    Raises:
      ValueError: the shapes do not match, or `eta` is negative.

    >>> outputs, other, similarity = jnp.array([[1.0]]), jnp.array([[1]]), jnp.array([[-1]])
    >>> trace_step(outputs, other, similarity, eta=0.3).tolist()
    [[-1]]
    >>> trace_step(outputs, other, similarity, eta=0.6).tolist()
    [[1]]
    """
    _checks.setting("eta", eta, _checks.NOT_NEGATIVE)
    outputs, other = _checks.real("outputs", outputs), _checks.real("other_codes", other_codes)
    similarity = _checks.real("similarity", similarity)
    _checks.require_rows(outputs=outputs, other_codes=other)
    _checks.same("width", outputs=outputs, other_codes=other)
    if similarity.shape != (len(outputs), len(other)):
        raise ValueError(
            f"similarity has one value per pair, {(len(outputs), len(other))}, not the shape "
            f"{similarity.shape}; transpose it for the other modality"
        )
    outputs, other, similarity = _checks.one_dtype(outputs, other, similarity)
    if previous is not None:
        previous = _checks.real("previous", previous)
        _checks.same("shape", outputs=outputs, previous=previous)
    _checks.warn_of_agreement(similarity)
    found: jax.Array = _trace_step(outputs, other, similarity, eta, previous)
    return found


def reconstruct(labels: ArrayLike, bits: ArrayLike, *, where: ArrayLike | None = None) -> jax.Array:
    r"""For each sample the mean of all bits, weighted by the number of shared labels.

    Chen et al., Dual Deep Neural Networks Cross-Modal Hashing, AAAI 2018, code reconstruction.
    Minimises, over all real R,

    .. math:: \sum_{ij} \langle l_i, l_j \rangle \, \lVert r_i - b_j \rVert^2, \quad
              r_i = \frac{l_i L^\top B}{l_i L^\top 1}

    in time and memory linear in n. Inside `parallel.pmapped` it reads the rows of all devices.

    Args:
      labels: [n, C] multi-hot labels of any real dtype, not negative.
      bits: [n, K] bits in {0, 1}, any real dtype.
      where: boolean [n] mask of rows; False rows are ignored and keep their own bits.

    Returns:
      float32 [n, K] in [0, 1]; a row without labels keeps its own bits.

    Raises:
      TypeError: `where` is not boolean.
      ValueError: the shapes do not match, `labels` are negative, or `bits` are outside [0, 1].

    >>> labels = jnp.array([[1, 0], [1, 0], [0, 1]])
    >>> reconstruct(labels, jnp.array([[1, 0], [0, 0], [1, 1]])).tolist()
    [[0.5, 0.0], [0.5, 0.0], [1.0, 1.0]]
    """
    labels, bits = _checks.real("labels", labels), _checks.real("bits", bits)
    _checks.require_rows(labels=labels, bits=bits)
    _checks.same("length", labels=labels, bits=bits)
    labels, bits = _checks.one_dtype(labels, bits)
    where = _checks.row_mask("where", where, bits)
    _checks.require_values("labels", labels, _checks.NOT_NEGATIVE, where)
    _checks.require_values("bits", bits, _checks.BITS, where)
    found: jax.Array = _reconstruct(labels, bits, where)
    return found


@jax.jit
@any_mesh(row_sharded)
def _reconstruct(labels: jax.Array, bits: jax.Array, where: jax.Array) -> jax.Array:
    labels = jnp.where(where[:, None], labels, 0)
    kept = jnp.where(where[:, None], bits, 0)
    sums, counts = parallel.total(
        (jnp.matmul(labels.T, kept, precision="highest"), jnp.sum(labels, axis=0))
    )
    shared = jnp.matmul(labels, counts, precision="highest")[:, None]
    means = jnp.matmul(labels, sums, precision="highest") / jnp.where(shared > 0, shared, 1)
    # A mean of ones may round to more than 1.
    return jnp.where(shared > 0, jnp.clip(means, 0, 1), bits)
