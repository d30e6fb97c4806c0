"""TVDB: Textual-Visual Deep Binaries (Shen, Liu, Shao and Song, ICCV 2017, arXiv 1708.02531).

Pictures are sequences of regions, from dominant to minor, each with its features and place;
sentences are read in three overlapping crops. For every batch the codes of both modalities are
found first, by coordinate steps on the trace of B S H' and their distance to the outputs; then each
network takes one step towards its codes.

From the paper: the objective; codes and networks in turn on every batch; the picture network (a
bidirectional LSTM over regions, the mean of its outputs, ReLU, two dense layers); the sentence
network (12 words, embedded linearly in 128 numbers; crops of 10, 9 and 8 words, each through
convolutions of its own; two dense layers). The coordinate step is exact and takes all entries at
once: see `discrete.trace_step`.

Ours: S is 1 for similar pairs and 0 for others, divided by the geometric mean of how many rows of
the batch each of the two is similar to, less its mean over all pairs. In {0, 1} one code for all is
best; in {-1, +1}, where most pairs are dissimilar, one code for all images and its opposite for all
texts; and large labels would outweigh small ones. A row's codes start where its last batch left
them, at random before the first: the trace is a sum over bits, so bits that start alike, as the
signs of untrained outputs do, end alike. Outputs are those with dropout off in the codes' turn;
both codes take turns `rounds` times; the crops are the first, the middle and the last words;
convolutions see `text_kernels` words, their maxima over the crop's words are taken; outputs are
linear; widths, eta, dropout and optimiser.
"""

import jax
import jax.numpy as jnp

from jxhash import discrete, losses, similarity
from jxhash.methods import contract, updates
from jxhash.methods.needs import Needs
from jxhash.methods.settings import NotNegative, Optimizer, Positive, Rate, settings
from jxhash.networks.sequence import RegionHashLSTM, SentenceHashConvolutions

NEEDS = Needs(image={"regions"}, text={"tokens"}, labels=True, sentence_length=12)

CROPS = ((0, 10), (1, 9), (4, 8))


@settings
class Settings:
    #: passes over the training pairs
    epochs: Positive[int]
    #: outputs of the LSTM over regions in each direction
    image_width: Positive[int]
    #: width of the first dense layer of the picture network
    image_hidden: Positive[int]
    #: numbers a word is turned into
    text_embedding: Positive[int]
    #: the numbers of words that the convolutions see at once
    text_kernels: tuple[Positive[int], ...]
    #: outputs of each convolution
    text_filters: Positive[int]
    #: width of the first dense layer of the sentence network
    text_hidden: Positive[int]
    #: the rate before and after the first dense layer of the picture network
    image_dropout: Rate
    #: the same of the sentence network
    text_dropout: Rate
    #: eta, of the distance between codes and outputs
    output_weight: NotNegative[float]
    #: how often the codes of both modalities take turns on a batch
    rounds: Positive[int]
    optimizer: Optimizer


def build(settings: Settings, bits: int, spec: contract.Spec) -> contract.Method:
    eta = settings.output_weight
    networks = {
        "image": RegionHashLSTM(
            bits, settings.image_width, (settings.image_hidden,), settings.image_dropout
        ),
        "text": SentenceHashConvolutions(
            bits,
            spec.vocabulary_size,
            settings.text_embedding,
            CROPS,
            settings.text_kernels,
            settings.text_filters,
            (settings.text_hidden,),
            settings.text_dropout,
        ),
    }

    def start(key: jax.Array) -> updates.Start:
        B, H = jax.random.rademacher(key, (2, spec.num_train, bits), jnp.int8)
        return {"codes": {"image": B, "text": H}}

    def find_codes(net: updates.Net, batch: updates.Seen) -> updates.Terms:
        F, G = net("image"), net("text")
        S = _even_similarity(batch.labels, batch.pairs)
        B, H = (batch.take(batch.codes[m]) for m in networks)
        for _ in range(settings.rounds):
            B = discrete.trace_step(F, H, S, eta=eta, previous=B)
            H = discrete.trace_step(G, B, S.T, eta=eta, previous=H)
        trace = losses.trace_loss(B, H, S, where=batch.pairs) / batch.count
        distance = sum(
            losses.quantization_loss(outputs, own, where=batch.where)
            for outputs, own in ((F, B), (G, H))
        )
        return updates.Terms(shown={"loss": trace + eta * distance}, codes={"image": B, "text": H})

    def network_update(own: str, stream: int) -> contract.Update:
        def objective(net: updates.Net, batch: updates.Seen) -> updates.Terms:
            outputs, B = net(own, stream=stream), batch.take(batch.codes[own])
            return updates.Terms(eta * losses.quantization_loss(outputs, B, where=batch.where))

        return updates.descent(own, networks, objective, settings.optimizer, trains=[own])

    on_each_batch = (
        updates.forward("codes", networks, find_codes, sampling="shuffled"),
        network_update("image", 0),
        network_update("text", 1),
    )
    stages = (contract.Stage("alternate", settings.epochs, on_each_batch, interleaved=True),)
    return updates.method(
        networks, stages, spec, start=start, learned=lambda state, modality: state.codes[modality]
    )


def _even_similarity(labels: jax.Array, pairs: jax.Array) -> jax.Array:
    """S of the rows of a batch, [B, B]; 0 beside padding."""
    shared = jnp.where(pairs, similarity.share_label(labels, labels), 0)
    similar = jnp.maximum(jnp.sum(shared, axis=1), 1)
    even = shared / jnp.sqrt(similar[:, None] * similar[None, :])
    return jnp.where(pairs, even - jnp.sum(even) / jnp.sum(pairs), 0)
