"""COSDISH: codes learned from labels alone by sampling columns of the similarity matrix."""

import itertools
from typing import Literal

import jax
import numpy as np
from jax.typing import ArrayLike

from jxhash import _checks, codes

_ROUNDING = 1e-5
_JUDGED_COLUMNS = 128


def _similarity(labels: np.ndarray, sampled: np.ndarray, reweight: str) -> np.ndarray:
    """Sampled columns of the similarity: 1, or the re-weighted value of a dissimilar pair."""
    similar = labels @ labels[sampled].T > 0
    dissimilar_pairs = similar.size - similar.sum()
    ratio = similar.sum() / max(dissimilar_pairs, 1)
    dissimilar = {"-r": -ratio, "+r": ratio, "-1": -1.0}[reweight]
    return np.where(similar, 1.0, dissimilar)


def _balanced_bits(quadratic: np.ndarray, linear: np.ndarray) -> np.ndarray:
    """A balanced b in {-1, +1} with a small b' Q b + p' b, for Q symmetric with a zero diagonal.

    Written in {0, 1}, with one more entry that is always 1, the problem is x' A x. For a fixed
    number of ones it is a clustering problem in which A orders the neighbours of each point. The
    cheapest of the clusters around each point is returned.
    """
    size = len(linear)
    augmented = np.zeros((size + 1, size + 1))
    augmented[:size, :size] = 4 * quadratic
    augmented[:size, size] = augmented[size, :size] = linear - 2 * quadratic.sum(axis=1)
    ones = (size + 2) // 2
    near = augmented[:, :size].copy()
    # Every point is its own nearest neighbour.
    np.fill_diagonal(near, -np.inf)
    members = np.argsort(near, axis=1, kind="stable")[:, : ones - 1]
    clusters = np.zeros((size + 1, size + 1))
    np.put_along_axis(clusters, members, 1.0, axis=1)
    clusters[:, size] = 1
    costs = np.einsum("ij,ij->i", clusters @ augmented, clusters)
    return 2 * clusters[np.argmin(costs), :size] - 1


def _sampled_codes(
    sampled_similarity: np.ndarray, other_similarity: np.ndarray, other_codes: np.ndarray
) -> np.ndarray:
    """New codes of the sampled rows, bit by bit, each fitted to the residual of earlier bits."""
    num_bits = other_codes.shape[1]
    sampled_rest = num_bits * sampled_similarity
    other_rest = num_bits * other_similarity
    new = np.empty((len(sampled_similarity), num_bits))
    for bit in range(num_bits):
        quadratic = -2 * sampled_rest
        np.fill_diagonal(quadratic, 0)
        new[:, bit] = _balanced_bits(quadratic, -2 * other_rest.T @ other_codes[:, bit])
        sampled_rest = sampled_rest - np.outer(new[:, bit], new[:, bit])
        other_rest = other_rest - np.outer(other_codes[:, bit], new[:, bit])
    return new


def cosdish(
    key: jax.Array,
    labels: ArrayLike,
    num_bits: int,
    *,
    reweight: Literal["-r", "+r", "-1"] = "-r",
    rounds: int = 10,
    alternations: int = 3,
    columns: int | None = None,
    restarts: int = 1,
) -> np.ndarray:
    r"""Codes of training samples whose inner products approximate the label similarity.

    Kang, Li and Zhou, Column Sampling Based Discrete Supervised Hashing, AAAI 2016. Each round
    samples columns O of the similarity and alternates between the codes of O and of the remaining
    rows G on

    .. math:: \lVert q S_{OO} - B_O B_O^\top \rVert^2 + \lVert q S_{GO} - B_G B_O^\top \rVert^2

    The step for the rows G maximises the trace of B_G^T S B_O exactly (for similarities of plus
    and minus one it minimises the sum of absolute errors). The step for the sampled rows is the
    paper's approximation by balanced clustering and may increase the objective.

    It runs sequentially on the host, in time linear in the number of samples.

    Args:
      key: draws the initial codes and the columns.
      labels: [n, C] multi-hot labels of any real dtype; samples that share one are similar.
      num_bits: q, the code length.
      reweight: the similarity of a dissimilar pair, 1 being that of a similar pair: "-r", minus
        the ratio of similar to dissimilar pairs, which balances both; "+r", the ratio itself, as
        in the published code; "-1", no re-weighting.
      rounds: how often columns are sampled.
      alternations: the number of updates of both sets of codes per round.
      columns: the number of columns per round, below n; None for `num_bits`.
      restarts: the number of runs with new draws. The codes with the smallest mean squared error
        of inner products against q times the similarity, over 128 sampled columns, are returned
        (not in the paper: single runs differ up to fivefold).

    Returns:
      numpy int8 [n, num_bits] codes in {-1, +1}.

    Raises:
      ValueError: `labels` is not a matrix or negative, a number is below 1, `reweight` is
        unknown, or there are not more samples than columns.

    >>> labels = np.repeat(np.eye(3), 50, axis=0)
    >>> found = cosdish(jax.random.key(0), labels, 8)
    >>> found.shape, np.unique(found).tolist()
    ((150, 8), [-1, 1])
    """
    labels = np.asarray(_checks.real("labels", labels))
    _checks.require_values("labels", labels, _checks.NOT_NEGATIVE)
    columns = num_bits if columns is None else columns
    _checks.setting("num_bits", num_bits, _checks.COUNT)
    _checks.setting("rounds", rounds, _checks.COUNT)
    _checks.setting("alternations", alternations, _checks.COUNT)
    _checks.setting("restarts", restarts, _checks.COUNT)
    if reweight not in ("-r", "+r", "-1"):
        raise ValueError(f'reweight is "-r", "+r" or "-1", not "{reweight}"')
    if not 1 <= columns < len(labels):
        raise ValueError(
            f"columns={columns} is not between 1 and one less than the {len(labels)} samples "
            f"(num_bits={num_bits}); take fewer bits or columns, or more samples"
        )
    random = np.random.default_rng(np.asarray(jax.random.key_data(key)).ravel())
    starts = (
        _one_start(random, labels, num_bits, reweight, rounds, alternations, columns)
        for _ in range(restarts)
    )
    found = next(starts)
    if restarts == 1:
        return found
    judged = random.choice(len(labels), min(_JUDGED_COLUMNS, len(labels)), replace=False)
    wanted = num_bits * _similarity(labels, judged, reweight)

    def error(found: np.ndarray) -> float:
        found = found.astype(float)
        return float(np.square(wanted - found @ found[judged].T).mean())

    return min(itertools.chain([found], starts), key=error)


def _one_start(
    random: np.random.Generator,
    labels: np.ndarray,
    num_bits: int,
    reweight: str,
    rounds: int,
    alternations: int,
    columns: int,
) -> np.ndarray:
    """Codes int8 [n, num_bits] from one draw of initial codes and columns."""
    found = random.choice([-1.0, 1.0], size=(len(labels), num_bits))
    for _ in range(rounds):
        sampled = random.choice(len(labels), columns, replace=False)
        rest = np.setdiff1d(np.arange(len(labels)), sampled)
        similarity = _similarity(labels, sampled, reweight)
        for _ in range(alternations):
            found[sampled] = _sampled_codes(similarity[sampled], similarity[rest], found[rest])
            pull = similarity[rest] @ found[sampled]
            # Differences of the size of rounding errors are ties.
            pull[np.abs(pull) < _ROUNDING] = 0
            found[rest] = codes.sign(pull, found[rest])
    return found.astype(np.int8)
