"""DVSH: Deep Visual-Semantic Hashing (Cao, Long, Wang, Yang and Yu, KDD 2016).

A fusion network sees picture and sentence of a pair together and learns their joint code; a picture
network and a sentence network, which see one of both, learn to give the same code alone. Queries
and database are encoded by these two; the fusion network is needed in training only.

From the paper: the two LSTM layers of the fusion network, with the mapped picture added to the
first one's output at every step and tanh after the second; joint codes as means over the words; the
objective L + lambda Q + beta (L_x + L_y), minimised over all parameters together, so that the joint
codes also move towards what the two networks can give; a margin in both terms.

Ours: L is a mean over the pairs of a batch and Q over its rows (the sums of the paper would tie
lambda and beta to their number), in which similar pairs count more, being fewer; the hashing
networks end in tanh; a sentence's code is the mean over its words, as the joint code is; L_y counts
words alone; a pair without a known word has no joint code and counts nowhere; words pass through an
embedding on their way to the LSTM; pictures are given features, mapped by multilayer perceptrons;
lambda, beta, dropout and optimiser.
"""

import jax
import jax.numpy as jnp

from jxhash import losses, similarity
from jxhash.methods import contract, updates
from jxhash.methods.needs import Needs
from jxhash.methods.settings import MLP, NotNegative, Optimizer, Positive, Rate, settings
from jxhash.networks.sequence import FusionLSTM, SentenceHashLSTM, is_word, masked_mean

NEEDS = Needs(image={"features"}, text={"tokens"}, labels=True)


@settings
class Settings:
    #: passes over the training pairs
    epochs: Positive[int]
    #: hidden widths and dropout of what pictures pass, in both networks that see them
    image: MLP
    #: numbers a word is turned into
    text_embedding: Positive[int]
    #: outputs of the sentence network's LSTM; in the fusion network they are the bits
    text_width: Positive[int]
    #: the rate of embedded words and of the outputs of the LSTMs over words
    text_dropout: Rate
    #: mu_c, the cosine between joint codes that is enough
    similarity_margin: Positive[float]
    #: mu_b, the magnitude of a joint code's bit that is enough
    bit_margin: Positive[float]
    #: of a similar pair beside a dissimilar one
    similar_weight: Positive[float]
    #: lambda, of what bits fall short of their margin
    quantization_weight: NotNegative[float]
    #: beta, of the distance between the two networks' outputs and the joint codes
    hashing_weight: NotNegative[float]
    optimizer: Optimizer


def build(settings: Settings, bits: int, spec: contract.Spec) -> contract.Method:
    image, dropout = settings.image, settings.text_dropout
    V, embedding = spec.vocabulary_size, settings.text_embedding
    fusion = FusionLSTM(bits, V, embedding, image.hidden, image.dropout, dropout)
    networks: updates.Networks = {
        "fusion": updates.Inputs(fusion, ("image", "text")),
        "image": image.network(bits),
        "text": SentenceHashLSTM(bits, V, embedding, settings.text_width, dropout),
    }

    def objective(net: updates.Net, batch: updates.Seen) -> updates.Terms:
        pi = is_word(net.inputs("text"))
        h_t, u, v_t = jnp.tanh(net("fusion")), jnp.tanh(net("image")), jnp.tanh(net("text"))
        h, where = masked_mean(h_t, pi), batch.where & jnp.any(pi, axis=1)
        S = similarity.signed(batch.labels, batch.labels)
        L = losses.cosine_margin_loss(
            h,
            h,
            S,
            margin=settings.similarity_margin,
            power=1,
            where=where[:, None] & where[None, :],
            weights=jnp.where(S > 0, settings.similar_weight, 1.0),
        )
        Q = losses.bit_margin_loss(h, margin=settings.bit_margin, where=where)
        L_x = losses.quantization_loss(u, h, where=where) / 2
        text_distances = jnp.sum(masked_mean(jnp.square(v_t - h_t), pi), axis=1)
        L_y = jnp.sum(text_distances, where=where) / (2 * jnp.maximum(jnp.sum(where), 1))
        loss = L + settings.quantization_weight * Q + settings.hashing_weight * (L_x + L_y)
        return updates.Terms(loss, {"similarity": L, "quantization": Q, "image": L_x, "text": L_y})

    def encode(net: updates.Net, modality: str) -> jax.Array:
        outputs = jnp.tanh(net(modality))
        return outputs if modality == "image" else masked_mean(outputs, is_word(net.inputs("text")))

    joint = updates.descent("networks", networks, objective, settings.optimizer)
    stages = (contract.Stage("joint", settings.epochs, (joint,)),)
    return updates.method(networks, stages, spec, encode=encode)
