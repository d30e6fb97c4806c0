"""The losses, each with arguments, an oracle and the masks by which samples can be left out."""

import dataclasses
import functools
from collections.abc import Callable

import numpy as np
import oracles_losses as oracles
from random_arrays import (
    labelled_pairs,
    one_side,
    signed_pairs,
    similar_pairs,
    two_sides,
    with_bits,
    with_codes,
)

from jxhash import losses


def rows(mask):
    return mask


def down(mask):
    return mask[:, None]


def across(mask):
    return mask[None, :]


@dataclasses.dataclass(frozen=True)
class Drop:
    """A mask by which samples can be left out, and where these samples lie in the arrays."""

    option: str
    spread: Callable
    axes: tuple[tuple[int, int], ...]


@dataclasses.dataclass(frozen=True)
class Case:
    loss: Callable
    arrays: Callable
    oracle: Callable
    live: tuple[int, ...]
    drops: tuple[Drop, ...]
    scalar: bool = False
    terms: Callable | None = None


OF_PAIRS = (Drop("where", down, ((0, 0), (2, 0))), Drop("where", across, ((1, 0), (2, 1))))
OF_SAMPLES = (Drop("where", rows, ((0, 0),)),)
OF_SAMPLES_WITH_CODES = (Drop("where", rows, ((0, 0), (1, 0))),)


def case(loss, oracle, arrays, live, drops, *, scalar=False, terms=None, **options):
    # The two take the same options under the same names, but for the kernels' widths.
    oracle_options = dict(options)
    if "gamma" in oracle_options:
        oracle_options["gammas"] = np.atleast_1d(oracle_options.pop("gamma"))
    return Case(
        functools.partial(loss, **options),
        arrays,
        functools.partial(oracle, **oracle_options),
        live,
        drops,
        scalar,
        terms,
    )


TABLE = {
    "pairwise_log_likelihood": case(
        losses.pairwise_log_likelihood_loss,
        oracles.pairwise_log_likelihood,
        similar_pairs,
        (0, 1),
        OF_PAIRS,
    ),
    "pairwise_log_likelihood_clipped": case(
        losses.pairwise_log_likelihood_loss,
        oracles.pairwise_log_likelihood,
        similar_pairs,
        (0, 1),
        OF_PAIRS,
        scale=1.0,
        clip=2.0,
    ),
    "pairwise_log_likelihood_from_labels": case(
        losses.pairwise_log_likelihood_from_labels_loss,
        oracles.pairwise_log_likelihood_from_labels,
        labelled_pairs,
        (0, 1),
        (Drop("where", rows, ((0, 0), (2, 0))), Drop("where_v", rows, ((1, 0), (3, 0)))),
        scale=0.7,
        clip=2.0,
    ),
    "bit_cross_entropy": case(
        losses.bit_cross_entropy_loss,
        oracles.bit_cross_entropy,
        with_bits,
        (0,),
        (Drop("where", down, ((0, 0), (1, 0))),),
    ),
    "cosine_margin": case(
        losses.cosine_margin_loss,
        oracles.cosine_margin,
        signed_pairs,
        (0, 1),
        OF_PAIRS,
        terms=lambda u, v, s: s.size,
        margin=0.8,
        power=2,
    ),
    "cosine_margin_hinge": case(
        losses.cosine_margin_loss,
        oracles.cosine_margin,
        signed_pairs,
        (0, 1),
        OF_PAIRS,
        terms=lambda u, v, s: s.size,
        margin=0.5,
        power=1,
    ),
    "cosine_quantization": case(
        losses.cosine_quantization_loss,
        oracles.cosine_quantization,
        one_side,
        (0,),
        OF_SAMPLES,
        terms=len,
        margin=0.95,
    ),
    "hamming_focal": case(
        losses.hamming_focal_loss,
        oracles.hamming_focal,
        similar_pairs,
        (0, 1),
        OF_PAIRS,
        beta=0.2,
        focusing=2.0,
    ),
    "hamming_cross_entropy": case(
        losses.hamming_focal_loss,
        oracles.hamming_focal,
        similar_pairs,
        (0, 1),
        OF_PAIRS,
        beta=0.2,
        focusing=0.0,
    ),
    "quantization": case(
        losses.quantization_loss, oracles.quantization, with_codes, (0, 1), OF_SAMPLES_WITH_CODES
    ),
    "log_magnitude": case(
        losses.log_magnitude_loss, oracles.log_magnitude, one_side, (0,), OF_SAMPLES
    ),
    "bit_margin": case(
        losses.bit_margin_loss, oracles.bit_margin, one_side, (0,), OF_SAMPLES, margin=0.5
    ),
    "bit_balance": case(
        losses.bit_balance_loss,
        oracles.bit_balance,
        one_side,
        (0,),
        OF_SAMPLES,
        scalar=True,
        terms=lambda u: np.square(np.abs(u).sum(axis=0)).sum(),
    ),
    "decorrelation": case(
        losses.decorrelation_loss,
        oracles.decorrelation,
        one_side,
        (0,),
        OF_SAMPLES,
        scalar=True,
        terms=lambda u: np.square(np.abs(u - u.mean(axis=0)).T @ np.abs(u) / len(u)).sum(),
    ),
    "mmd": case(
        losses.mmd_loss,
        oracles.mmd,
        two_sides,
        (0, 1),
        (Drop("where_x", rows, ((0, 0),)), Drop("where_y", rows, ((1, 0),))),
        scalar=True,
        terms=lambda x, y: 4.0,
        gamma=(0.05, 0.1, 0.4),
    ),
    "trace": case(
        losses.trace_loss,
        oracles.trace,
        signed_pairs,
        (0, 1),
        OF_PAIRS,
        scalar=True,
        terms=lambda u, v, s: (np.abs(u) @ np.abs(v).T).sum(),
    ),
}

# Other settings of a loss in the table: their mathematics is tested, the contract once a loss.
OTHER_FORMS = {"pairwise_log_likelihood_clipped", "cosine_margin_hinge", "hamming_cross_entropy"}
