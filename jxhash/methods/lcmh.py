"""LCMH: Linear Cross-Modal Hashing (Zhu, Huang, Shen and Zhao, ACM Multimedia 2013).

Unsupervised, without gradients and in time linear in the number of pairs: each modality is
clustered, a point becomes its memberships in the clusters, and linear maps of the memberships bring
the two modalities of a pair to the same place. Points near the same centres get nearly the same
memberships, hence codes: nothing else keeps the neighbours within a modality together.

From the paper's abstract: k clusters a modality, the representation by distances to their centres,
linear training time, a transformation to a common binary subspace in which the codes of a pair
agree, which is the hash function too.

Ours, where the formulas are known to us second-hand alone: memberships decay exponentially and sum
to 1; sigma is a multiple of the median squared distance to the centres; a bit's threshold is its
median over the training rows. The maps bring P_1 W_1 and P_2 W_2 of centred P together under one of
three constraints: "stacked", the recalled one, [W_1; W_2]' [W_1; W_2] = I, which prefers directions
in which little varies; "pls", W_i' W_i = I, the leading singular vectors of the cross covariance;
"cca", W_i' P_i' P_i W_i = I, the canonical correlations, in which every bit varies as much as any
other. We advise the last.
"""

from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
import scipy.linalg

from jxhash import discrete
from jxhash.errors import UserError
from jxhash.methods import contract, updates
from jxhash.methods.needs import Needs
from jxhash.methods.settings import Positive, settings
from jxhash.networks.anchor_map import AnchorMap, flat, memberships, projections

NEEDS = Needs(image={"features"}, text={"features"})

# Where half of all distances are 0, memberships are hard.
_SMALLEST_BANDWIDTH = 1e-12


@settings
class Settings:
    #: k, the clusters of each modality; more than bits, at most the training rows
    anchors: Positive[int]
    #: how often the centres move
    kmeans_steps: Positive[int]
    #: sigma, as a multiple of the median squared distance of points to centres
    bandwidth: Positive[float]
    #: on the maps
    constraint: Literal["cca", "pls", "stacked"]
    #: added to the variances under "cca", as a multiple of their mean
    regularization: Positive[float]


def build(settings: Settings, bits: int, spec: contract.Spec) -> contract.Method:
    k = settings.anchors
    if bits >= spec.num_train:
        raise UserError(
            f"LCMH needs more training rows than bits, {bits}, and there are {spec.num_train}; "
            "lower the config key 'bits'"
        )
    if not bits < k <= spec.num_train:
        raise UserError(
            f"config key 'anchors' must be above the {bits} bits and at most the "
            f"{spec.num_train} training rows, not {k}"
        )
    networks = {modality: AnchorMap(k, bits) for modality in ("image", "text")}

    def anchors_update(modality: str, number: int) -> contract.Update:
        def find(state: contract.HashState, batch: contract.Batch) -> contract.Done:
            x, key = flat(batch.rows["pairs"][modality]), jax.random.fold_in(state.key, number)
            anchors = discrete.kmeans(key, x, k, steps=settings.kmeans_steps)
            scale = settings.bandwidth * discrete.anchor_bandwidth(x, anchors)
            fitted = state.params[modality] | {
                "anchors": anchors,
                "bandwidth": jnp.maximum(scale, _SMALLEST_BANDWIDTH),
            }
            P = memberships(fitted, x)
            distances = jnp.sum(jnp.square(x - anchors[jnp.argmax(P, axis=1)]), axis=1)
            fitted |= {"mean": jnp.mean(P, axis=0)}
            state = state.replace(params=state.params | {modality: fitted})
            return contract.Done(state, {"loss": (jnp.sum(distances), len(x))})

        return contract.Update(f"{modality} anchors", "host", find)

    def find_maps(state: contract.HashState, batch: contract.Batch) -> contract.Done:
        x, params, Y = batch.rows["pairs"], {}, {}
        A1, A2 = (
            np.asarray(memberships(state.params[m], x[m]) - state.params[m]["mean"][None, :], float)
            for m in networks
        )
        maps = dict(zip(networks, _maps(A1, A2, bits, settings), strict=True))
        for m in networks:
            fitted = state.params[m] | {"map": jnp.float32(maps[m])}
            Y[m] = projections(fitted, x[m])
            params[m] = fitted | {"threshold": jnp.median(Y[m], axis=0)}
        apart = jnp.sum(jnp.square(Y["image"] - Y["text"]))
        return contract.Done(state.replace(params=params), {"loss": (apart, len(Y["image"]))})

    anchors = (anchors_update(modality, number) for number, modality in enumerate(networks))
    stages = (contract.Stage("fit", 1, (*anchors, contract.Update("maps", "host", find_maps))),)
    return updates.method(networks, stages, spec)


def _maps(
    A1: np.ndarray, A2: np.ndarray, bits: int, settings: Settings
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
    return _with_signs(*(W[:, :bits] for W in found))


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
