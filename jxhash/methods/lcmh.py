"""LCMH: Linear Cross-Modal Hashing (Zhu, Huang, Shen and Zhao, ACM Multimedia 2013).

Unsupervised, without a network and in time linear in the number of pairs: each modality is
clustered, a point becomes its memberships in the clusters, and linear maps of the memberships bring
the two modalities of a pair to the same place. Points near the same centres get nearly the same
memberships, hence codes: nothing else keeps the neighbours within a modality together.

Taken from the paper's abstract: k clusters a modality, the representation by distances to their
centres, linear training time, a transformation to a common binary subspace in which the codes of a
pair agree, which is the hash function too.

Decided here, where the formulas are known to us second-hand alone: memberships decay exponentially
and sum to 1; sigma is a multiple of the median squared distance to the centres; a bit's threshold
is its median over the training rows. The maps bring P_1 W_1 and P_2 W_2 of centred P together under
one of three constraints: "stacked", the recalled one, [W_1; W_2]' [W_1; W_2] = I, which prefers
directions in which little varies; "pls", W_i' W_i = I, the leading singular vectors of the cross
covariance; "cca", W_i' P_i' P_i W_i = I, the canonical correlations, in which every bit varies as
much as any other. We advise the last.
"""

import dataclasses
import math

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
import scipy.linalg

from jxhash import discrete
from jxhash.configuration import read_settings, require_one_of, require_positive
from jxhash.errors import UserError
from jxhash.methods.base import (
    Batch,
    HashState,
    Method,
    Metrics,
    Spec,
    Stage,
    Update,
    require_features,
)

MODALITIES = ("image", "text")

# Where half of all distances are 0, memberships are hard.
_SMALLEST_BANDWIDTH = 1e-12


@dataclasses.dataclass(frozen=True)
class Settings:
    """The method's part of the config.

    Attributes:
      anchors: k, the clusters of each modality; more than bits, at most the training rows.
      kmeans_steps: how often the centres move.
      bandwidth: sigma, as a multiple of the median squared distance of points to centres.
      constraint: on the maps: "cca", "pls" or "stacked".
      regularization: added to the variances under "cca", as a multiple of their mean.
    """

    anchors: int
    kmeans_steps: int
    bandwidth: float
    constraint: str
    regularization: float

    def __post_init__(self) -> None:
        require_positive(self, "anchors", "kmeans_steps", "bandwidth", "regularization")
        require_one_of(self, "constraint", ("cca", "pls", "stacked"))


def build(config: ml_collections.ConfigDict, spec: Spec) -> Method:
    """Builds LCMH for one config and one data set.

    Args:
      config: `bits` and the part `lcmh`, with the fields of `Settings`.
      spec: of data whose "pairs" have `image` and `text`; labels are not looked at.

    Returns:
      The method; outputs are the projections minus their medians.

    Raises:
      UserError: the config or the data does not fit.
    """
    settings = read_settings(config.lcmh, Settings)
    require_features(spec, "LCMH", *MODALITIES)
    k, num_bits = settings.anchors, config.bits
    if not num_bits < k <= spec.num_train:
        raise UserError(
            f"config key 'anchors' must be above the {num_bits} bits and at most the "
            f"{spec.num_train} training rows, not {k}"
        )

    def init(key: jax.Array) -> HashState:
        def unfitted(modality: str) -> dict[str, jax.Array]:
            width = math.prod(spec.inputs["pairs"][modality][0])
            return {
                "anchors": jnp.zeros((k, width)),
                "bandwidth": jnp.ones(()),
                "mean": jnp.zeros(k),
                "map": jnp.zeros((k, num_bits)),
                "threshold": jnp.zeros(num_bits),
            }

        return HashState(
            step=jnp.zeros((), jnp.int32),
            params={modality: unfitted(modality) for modality in MODALITIES},
            opt_state={},
            key=key,
        )

    def anchors_update(modality: str, stream: int) -> Update:
        def find(state: HashState, batch: Batch) -> tuple[HashState, Metrics]:
            x, fitted = _flat(batch.rows["pairs"][modality]), dict(state.params[modality])
            anchors = discrete.kmeans(
                jax.random.fold_in(state.key, stream), x, k, steps=settings.kmeans_steps
            )
            scale = settings.bandwidth * discrete.anchor_bandwidth(x, anchors)
            fitted |= {"anchors": anchors, "bandwidth": jnp.maximum(scale, _SMALLEST_BANDWIDTH)}
            P = _memberships(fitted, x)
            distances = jnp.sum(jnp.square(x - anchors[jnp.argmax(P, axis=1)]), axis=1)
            fitted |= {"mean": jnp.mean(P, axis=0)}
            state = state.replace(params=state.params | {modality: fitted})
            return state, {"loss": (jnp.sum(distances), len(x))}

        return Update(f"{modality} anchors", "host", find)

    def find_maps(state: HashState, batch: Batch) -> tuple[HashState, Metrics]:
        x = {modality: _flat(batch.rows["pairs"][modality]) for modality in MODALITIES}
        A = [np.float64(_centred(state.params[m], x[m])) for m in MODALITIES]
        maps = dict(zip(MODALITIES, _maps(*A, num_bits, settings), strict=True))
        params, Y = {}, {}
        for m in MODALITIES:
            fitted = dict(state.params[m]) | {"map": maps[m].astype(np.float32)}
            Y[m] = _projections(fitted, x[m])
            params[m] = fitted | {"threshold": jnp.median(Y[m], axis=0)}
        apart = jnp.sum(jnp.square(Y["image"] - Y["text"]))
        return state.replace(params=params), {"loss": (apart, len(Y["image"]))}

    def encode(state: HashState, modality: str, inputs: jax.Array) -> jax.Array:
        fitted = state.params[modality]
        return _projections(fitted, _flat(inputs)) - fitted["threshold"][None, :]

    anchors = (anchors_update(modality, stream) for stream, modality in enumerate(MODALITIES))
    stages = (Stage("fit", 1, (*anchors, Update("maps", "host", find_maps))),)
    return Method(init=init, stages=stages, encode=encode)


def _flat(inputs: jax.Array) -> jax.Array:
    return jnp.asarray(inputs, jnp.float32).reshape(len(inputs), -1)


def _memberships(fitted: dict[str, jax.Array], x: jax.Array) -> jax.Array:
    return discrete.anchor_affinities(x, fitted["anchors"], bandwidth=fitted["bandwidth"])


def _centred(fitted: dict[str, jax.Array], x: jax.Array) -> jax.Array:
    return _memberships(fitted, x) - fitted["mean"][None, :]


def _projections(fitted: dict[str, jax.Array], x: jax.Array) -> jax.Array:
    return jnp.matmul(_centred(fitted, x), fitted["map"], precision="highest")


def _maps(
    A1: np.ndarray, A2: np.ndarray, num_bits: int, settings: Settings
) -> tuple[np.ndarray, np.ndarray]:
    """W_1 and W_2, [k, K], for centred memberships [n, k]; signs are those of `_with_signs`."""
    within = A1.T @ A1 / len(A1), A2.T @ A2 / len(A2)
    between = A1.T @ A2 / len(A1)
    if settings.constraint == "cca":
        found = _cca(*within, between, settings.regularization)
    elif settings.constraint == "pls":
        U, _, Vt = np.linalg.svd(between)
        found = U, Vt.T
    else:
        found = _stacked(*within, between)
    return _with_signs(*(W[:, :num_bits] for W in found))


def _cca(
    C11: np.ndarray, C22: np.ndarray, C12: np.ndarray, regularization: float
) -> tuple[np.ndarray, np.ndarray]:
    """Canonical correlations: singular vectors of the whitened cross covariance."""
    eye = np.eye(len(C11))
    R1, R2 = (
        np.linalg.cholesky(C + regularization * np.trace(C) / len(C) * eye).T for C in (C11, C22)
    )
    half = scipy.linalg.solve_triangular(R1, C12, trans="T")
    whitened = scipy.linalg.solve_triangular(R2, half.T, trans="T").T
    U, _, Vt = np.linalg.svd(whitened)
    return scipy.linalg.solve_triangular(R1, U), scipy.linalg.solve_triangular(R2, Vt.T)


def _stacked(C11: np.ndarray, C22: np.ndarray, C12: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Leading eigenvectors of -||P_1 W_1 - P_2 W_2||^2, without the two constant ones.

    Memberships sum to 1, so their centred rows sum to 0 and a constant vector costs nothing.
    """
    k = len(C11)
    Z = np.block([[-C11, C12], [C12.T, -C22]])
    constant = np.kron(np.eye(2), np.full((k, k), 1 / k))
    beyond = 2 * (np.trace(C11) + np.trace(C22))
    vectors = np.linalg.eigh(Z - beyond * constant)[1][:, ::-1]
    return vectors[:k], vectors[k:]


def _with_signs(W1: np.ndarray, W2: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Turns each pair of columns so that the largest entry of the first is positive."""
    largest = np.take_along_axis(W1, np.argmax(np.abs(W1), axis=0)[None, :], axis=0)
    turned = np.where(largest < 0, -1.0, 1.0)
    return W1 * turned, W2 * turned
