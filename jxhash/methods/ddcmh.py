"""DDCMH: Dual Deep Neural Networks Cross-Modal Hashing (Chen, Yu, Li, Nie and Xu, AAAI 2018).

The two networks are trained one after the other and never on pairs: a hash of a single modality
gives each training row a code, the image network learns these bits as if they were labels, its
codes are averaged over rows that share labels, and the text network learns the averages. So an
epoch costs as much as one of a classifier.

From the paper: the three stages, COSDISH for the first codes, the cross-entropy of each bit, the
reconstruction b^xr_i = l_i L' B^x / ||l_i L'||_1 (the number of shared labels is the weight of a
row, its own included), its values as soft targets, and sign(0) = 0 for bits in {0, 1}, here -1.

Ours: COSDISH's codes follow from the labels alone, but its classifier may predict a share of the
bits from the texts, so that classes whose texts are alike have codes that are alike; the best of
several draws of COSDISH is taken, because how evenly its codes lie apart differs much from draw to
draw; the reconstruction is a stage of its own between those of the networks; a row without labels
keeps its own image code; both networks are multilayer perceptrons over given features, with dropout
and optimisers as settings (the paper gives none); the codes that a database of training rows has
are the reconstructed ones, cut at 1/2.
"""

from collections.abc import Callable
from typing import Annotated

import jax
import jax.numpy as jnp
import numpy as np

from jxhash import codes, discrete, losses
from jxhash.errors import UserError
from jxhash.methods import contract, updates
from jxhash.methods.needs import Needs
from jxhash.methods.settings import MLPs, Optimizer, Positive, Range, settings

NEEDS = Needs(image={"features"}, text={"features"}, labels=True)

# What an output of 0 becomes, so that its sign is the paper's bit 0 for queries and items alike.
BELOW_ZERO = -1e-30

# (key, texts of all training rows, their labels, K) -> codes [n, K] in {-1, +1}.
InitialCodes = Callable[[jax.Array, np.ndarray, np.ndarray, int], np.ndarray]


@settings
class Settings:
    #: how many draws of COSDISH are made, of which the best is kept
    cosdish_restarts: Positive[int]
    #: the share of the bits whose first codes COSDISH's classifier predicts from the texts
    reencoded_share: Annotated[float, Range("from 0 to 1", lambda share: 0 <= share <= 1)]
    #: passes of the image network over the training rows
    image_epochs: Positive[int]
    #: passes of the text network
    text_epochs: Positive[int]
    #: hidden widths and dropout of each network
    layers: MLPs
    image_optimizer: Optimizer
    text_optimizer: Optimizer


def build(
    settings: Settings, bits: int, spec: contract.Spec, *, initial_codes: InitialCodes | None = None
) -> contract.Method:
    """DDCMH over COSDISH, or over another hash of a single modality, run once on the host."""
    networks, shape = settings.layers.networks(bits), (spec.num_train, bits)
    if initial_codes is None and spec.num_train <= bits:
        raise UserError(
            f"COSDISH samples as many training rows as there are bits: {spec.num_train} rows are "
            f"too few for {bits} bits; take fewer bits or more rows"
        )

    def cosdish(key: jax.Array, texts: np.ndarray, labels: np.ndarray, bits: int) -> np.ndarray:
        B = discrete.cosdish(key, labels, bits, restarts=settings.cosdish_restarts)
        predicted = round(settings.reencoded_share * bits)
        B[:, :predicted] = _classified(texts, B[:, :predicted])
        return B

    start: updates.Start = {
        "buffers": {"reconstructed": jnp.full(shape, 0.5)},
        "codes": {name: jnp.ones(shape, jnp.int8) for name in ("initial", "image")},
    }

    def hash_texts(state: contract.HashState, batch: contract.Batch) -> contract.Done:
        pairs, key = batch.rows["pairs"], jax.random.fold_in(state.key, state.step)
        B = np.asarray((initial_codes or cosdish)(key, pairs["text"], pairs["labels"], bits))
        if B.shape != shape or not np.isin(B, (-1, 1)).all():
            raise UserError(
                f"initial_codes gives codes of shape {shape} in -1 and +1, not an array of shape "
                f"{B.shape} that holds {np.unique(B)[:3]}"
            )
        return contract.Done(state.replace(codes=state.codes | {"initial": B.astype(np.int8)}))

    def network_update(
        own: str, targets: Callable[[updates.Seen], jax.Array], optimizer: Optimizer
    ) -> contract.Update:
        def objective(net: updates.Net, batch: updates.Seen) -> updates.Terms:
            t, where = batch.take(targets(batch)), batch.where[:, None]
            return updates.Terms(losses.bit_cross_entropy_loss(net(own), t, where=where))

        return updates.descent(own, networks, objective, optimizer, trains=[own])

    def hash_images(net: updates.Net, batch: updates.Seen) -> updates.Terms:
        B, taught = codes.sign(net("image"), previous=-1), batch.take(batch.codes["initial"])
        agreeing = batch.mean(jnp.mean(taught == B, axis=1))
        return updates.Terms(shown={"bits as taught": agreeing}, codes={"image": B})

    def reconstruct(rows: updates.Seen) -> updates.Terms:
        own = rows.take(rows.codes["image"]) > 0
        R = discrete.reconstruct(rows.labels, own, where=rows.where)
        changed = rows.mean(jnp.mean((R > 0.5) != own, axis=1))
        return updates.Terms(shown={"changed bits": changed}, keep={"reconstructed": R})

    image = network_update("image", lambda b: b.codes["initial"] > 0, settings.image_optimizer)
    text = network_update("text", lambda b: b.buffers["reconstructed"], settings.text_optimizer)
    reconstruction = (
        updates.forward("hash images", networks, hash_images),
        updates.full("reconstruct", reconstruct),
    )
    stages = (
        contract.Stage("first codes", 1, (contract.Update("hash texts", "host", hash_texts),)),
        contract.Stage("image network", settings.image_epochs, (image,)),
        contract.Stage("reconstruction", 1, reconstruction),
        contract.Stage("text network", settings.text_epochs, (text,)),
    )
    return updates.method(
        networks,
        stages,
        spec,
        squash=lambda z: jnp.where(z == 0, BELOW_ZERO, z),
        start=start,
        learned=lambda state, modality: codes.sign(state.buffers["reconstructed"] - 0.5, -1),
    )


def _classified(texts: np.ndarray, B: np.ndarray) -> np.ndarray:
    """COSDISH's codes of unseen texts: signs of a ridge regression on standardised features."""
    X = np.asarray(texts, np.float64)
    X = (X - X.mean(axis=0)) / np.maximum(X.std(axis=0), 1e-6)
    return codes.sign(X @ np.linalg.solve(X.T @ X + np.eye(X.shape[1]), X.T @ B), previous=-1)
