"""One table of losses, and the properties that every one of them has."""

import dataclasses
import functools
import math
import subprocess
import sys
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import oracles_losses as oracles
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jxhash import losses, parallel
from jxhash.losses import _pairs

# (rows of u, rows of v, bits): every property is compiled for these alone.
WIDE, SQUARE, SINGLE, BLOCKS = (5, 7, 8), (4, 4, 6), (1, 1, 2), (7, 4, 3)
few = settings(deadline=None, max_examples=4, derandomize=True, database=None)


def outputs(rng, rows, bits, size=1.0):
    return (size * rng.normal(size=(rows, bits))).astype(np.float32)


def zero_or_one(rng, *shape):
    return rng.integers(0, 2, shape).astype(np.float32)


def two_sides(rng, shape, size):
    return outputs(rng, shape[0], shape[2], size), outputs(rng, shape[1], shape[2], size)


def similar_pairs(rng, shape, size):
    return *two_sides(rng, shape, size), zero_or_one(rng, *shape[:2])


def signed_pairs(rng, shape, size):
    return *two_sides(rng, shape, size), 2 * zero_or_one(rng, *shape[:2]) - 1


def labelled_pairs(rng, shape, size):
    labels = [(rng.random((rows, 5)) < 0.4).astype(np.float32) for rows in shape[:2]]
    return *two_sides(rng, shape, size), *labels


def one_side(rng, shape, size):
    return (outputs(rng, shape[0], shape[2], size),)


def with_codes(rng, shape, size):
    return *one_side(rng, shape, size), 2 * zero_or_one(rng, shape[0], shape[2]) - 1


def with_bits(rng, shape, size):
    return *one_side(rng, shape, size), rng.random((shape[0], shape[2])).astype(np.float32)


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


OF_PAIRS = (
    Drop("where", down, ((0, 0), (2, 0))),
    Drop("where", across, ((1, 0), (2, 1))),
)
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
        (
            Drop("where", rows, ((0, 0), (2, 0))),
            Drop("where_v", rows, ((1, 0), (3, 0))),
        ),
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
        losses.quantization_loss,
        oracles.quantization,
        with_codes,
        (0, 1),
        OF_SAMPLES_WITH_CODES,
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
every_form = pytest.mark.parametrize("name", TABLE)
# Other settings of a loss in the table: their mathematics is tested, the contract once a loss.
OTHER_FORMS = {
    "pairwise_log_likelihood_clipped",
    "cosine_margin_hinge",
    "hamming_cross_entropy",
}
every_loss = pytest.mark.parametrize("name", [name for name in TABLE if name not in OTHER_FORMS])


def make(name, seed, shape=WIDE, size=1.0):
    return TABLE[name].arrays(np.random.default_rng(seed), shape, size)


def exact(arrays):
    return [np.asarray(a, np.float64) for a in arrays]


def masked(drop, arrays, mask):
    """The arrays without the samples that a mask leaves out."""
    left = list(arrays)
    for position, axis in drop.axes:
        left[position] = np.compress(mask, left[position], axis=axis)
    return left


def spoiled(drop, arrays, mask):
    """The arrays with NaN in the samples that a mask leaves out."""
    bad = [a.copy() for a in arrays]
    for position, axis in drop.axes:
        np.moveaxis(bad[position], axis, 0)[~mask] = np.nan
    return bad


def sample_mask(drop, arrays, seed=0):
    position, axis = drop.axes[0]
    mask = np.random.default_rng(seed).random(arrays[position].shape[axis]) < 0.6
    mask[0], mask[-1] = True, False
    return mask


def gradient(function, arrays, live):
    return jax.jit(jax.grad(function, live))(*arrays)


@pytest.mark.filterwarnings("ignore:similarity")
@every_form
@few
@given(seed=st.integers(0, 10**6), size=st.sampled_from([0.1, 1.0, 3.0]))
def test_value_is_the_oracle_s(name, seed, size):
    this = TABLE[name]
    for shape in (WIDE, SINGLE):
        arrays = make(name, seed, shape, size)
        expected = this.oracle(*exact(arrays))
        terms = np.abs(expected).sum() + (this.terms(*arrays) if this.terms else 0)
        tolerance = 1e-6 * terms
        got = np.asarray(this.loss(*arrays, reduce_fn=None), np.float64)
        assert got.shape == expected.shape
        assert np.abs(got - expected).max() <= tolerance
        assert abs(this.loss(*arrays, reduce_fn=jnp.sum) - expected.sum()) <= tolerance


@every_form
def test_gradient_is_the_slope(name):
    this = TABLE[name]
    slopes = jax.jit(jax.grad(functools.partial(this.loss, reduce_fn=jnp.sum), this.live))
    for seed in (0, 1):
        arrays = make(name, seed)
        for position, got in zip(this.live, slopes(*arrays), strict=True):
            expected = oracles.slope(this.oracle, exact(arrays), position)
            np.testing.assert_allclose(got, expected, atol=1e-5 * np.abs(expected).max() + 1e-7)


@every_loss
def test_where_equals_dropping_and_hides_nan(name):
    this = TABLE[name]
    arrays = make(name, 3)
    for drop in this.drops:
        mask = sample_mask(drop, arrays)
        function = functools.partial(this.loss, **{drop.option: drop.spread(mask)})
        bad = spoiled(drop, arrays, mask)
        value, found = jax.jit(jax.value_and_grad(function, this.live))(*bad)
        left = exact(masked(drop, arrays, mask))
        np.testing.assert_allclose(value, this.oracle(*left).mean(), rtol=1e-5, atol=1e-6)
        for position, got in zip(this.live, found, strict=True):
            own = dict(drop.axes).get(position)
            if own is not None:
                assert (np.asarray(got)[~mask] == 0).all()
                got = np.asarray(got)[mask]
            expected = oracles.slope(lambda *a: this.oracle(*a).mean(), left, position)
            np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-6)


@every_loss
def test_a_nan_that_counts_shows(name):
    this = TABLE[name]
    for position in this.live:
        arrays = [a.copy() for a in make(name, 4)]
        arrays[position][0, 0] = np.nan
        assert np.isnan(this.loss(*arrays))


@every_loss
def test_all_masked_is_zero(name):
    this = TABLE[name]
    arrays = make(name, 5)
    for drop in this.drops:
        position, axis = drop.axes[0]
        mask = np.zeros(arrays[position].shape[axis], bool)
        options = {drop.option: drop.spread(mask)}
        bad = spoiled(drop, arrays, mask)
        for reduce_fn in (jnp.mean, jnp.sum, functools.partial(jnp.mean, axis=0)):
            assert (np.asarray(this.loss(*bad, reduce_fn=reduce_fn, **options)) == 0).all()
        slopes = jax.jit(jax.grad(functools.partial(this.loss, **options), this.live))(*bad)
        for got in slopes:
            assert (np.asarray(got) == 0).all()


@every_loss
def test_unreduced_sums_to_the_reduced(name):
    this = TABLE[name]
    arrays = make(name, 6)
    drop = this.drops[0]
    mask = drop.spread(sample_mask(drop, arrays))
    each = this.loss(*arrays, reduce_fn=None, **{drop.option: mask})
    by = functools.partial(this.loss, *arrays, **{drop.option: mask})
    if this.scalar:
        assert each.shape == ()
        assert by() == by(reduce_fn=jnp.sum) == each
        return
    counted = np.broadcast_to(mask, each.shape)
    assert (np.asarray(each)[~counted] == 0).all()
    np.testing.assert_allclose(by(reduce_fn=jnp.sum), each.sum(), rtol=1e-6)
    np.testing.assert_allclose(by(), each.sum() / counted.sum(), rtol=1e-6)
    np.testing.assert_allclose(by(reduce_fn=lambda x: jnp.max(x)), each.max())
    means = by(reduce_fn=functools.partial(jnp.mean, axis=0))
    expected = np.asarray(each).sum(axis=0) / np.maximum(counted.sum(axis=0), 1)
    np.testing.assert_allclose(means, expected, rtol=1e-6)


def spread(x, where=None):
    return -jnp.mean(jnp.log1p(x), where=where)


@pytest.mark.parametrize(
    ("reduce_fn", "by_numpy"),
    [
        (jnp.max, np.max),
        (jnp.min, np.min),
        (jnp.var, np.var),
        (jnp.std, np.std),
        (spread, lambda x, axis=None: -np.mean(np.log1p(x), axis=axis)),
        (lambda x: jnp.sum(x), np.sum),
    ],
)
def test_any_reduction_leaves_out_what_does_not_count(reduce_fn, by_numpy):
    u, v, similarity = make("pairwise_log_likelihood", 35)
    mask = np.random.default_rng(0).random((5, 7)) < 0.5
    mask[:, 0], mask[2] = False, True
    loss = functools.partial(losses.pairwise_log_likelihood_loss, u, v, similarity)
    each = np.asarray(loss(reduce_fn=None))
    found = jax.jit(lambda where: loss(where=where, reduce_fn=reduce_fn))(mask)
    np.testing.assert_allclose(found, by_numpy(each[mask]), rtol=1e-5)
    assert loss(where=np.zeros((5, 7), bool), reduce_fn=reduce_fn) == 0
    np.testing.assert_allclose(loss(reduce_fn=reduce_fn), by_numpy(each), rtol=1e-5)


@pytest.mark.parametrize("reduce_fn", [jnp.max, jnp.min, jnp.var])
def test_a_reduction_of_rows_is_zero_where_a_row_does_not_count(reduce_fn):
    u, v, similarity = make("pairwise_log_likelihood", 36)
    mask = np.random.default_rng(1).random((5, 7)) < 0.6
    mask[3] = False
    loss = functools.partial(losses.pairwise_log_likelihood_loss, u, v, similarity, where=mask)
    each = np.asarray(loss(reduce_fn=None))
    found = loss(reduce_fn=functools.partial(reduce_fn, axis=1))
    by_numpy = getattr(np, reduce_fn.__name__)
    expected = [
        by_numpy(row[counted]) if any(counted) else 0
        for row, counted in zip(each, mask, strict=True)
    ]
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_a_builtin_may_reduce():
    u = outputs(np.random.default_rng(0), 3, 2)
    each = losses.bit_margin_loss(u, margin=3.0, reduce_fn=None)
    where = np.array([True, True, False])
    assert losses.bit_margin_loss(u, margin=3.0, where=where, reduce_fn=max) == each[:2].max()


@every_loss
def test_weights_multiply(name):
    this = TABLE[name]
    arrays = make(name, 7)
    each = this.loss(*arrays, reduce_fn=None)
    weights = np.random.default_rng(0).random(each.shape).astype(np.float32)
    weighted = this.loss(*arrays, weights=weights)
    np.testing.assert_allclose(weighted, (each * weights).mean(), rtol=1e-6)
    np.testing.assert_allclose(this.loss(*arrays, weights=2), 2 * this.loss(*arrays), rtol=1e-6)
    if this.scalar:
        return
    mask = np.zeros(each.shape, bool)
    mask[0] = True
    weights[1:] = np.nan
    got = this.loss(*arrays, where=mask, weights=weights)
    np.testing.assert_allclose(got, (each * weights)[0].mean(), rtol=1e-6)
    function = functools.partial(this.loss, where=mask, weights=weights)
    for slope in gradient(function, arrays, this.live):
        assert np.isfinite(slope).all()


@every_loss
def test_under_jit_and_vmap(name):
    this = TABLE[name]
    batch = [make(name, seed) for seed in (8, 9)]
    both = jax.value_and_grad(this.loss, this.live)
    alone = jax.jit(both)
    values, slopes = jax.jit(jax.vmap(both))(*map(jnp.stack, zip(*batch, strict=True)))
    for number, arrays in enumerate(batch):
        value, slope = alone(*arrays)
        np.testing.assert_allclose(this.loss(*arrays), value, rtol=1e-5, atol=1e-7)
        np.testing.assert_allclose(values[number], value, rtol=1e-5, atol=1e-7)
        for got, one in zip(slopes, slope, strict=True):
            np.testing.assert_allclose(got[number], one, rtol=1e-4, atol=1e-6)


@every_loss
def test_settings_may_be_traced(name):
    this = TABLE[name]
    arrays = make(name, 8)
    values = {key: jnp.asarray(x) for key, x in this.loss.keywords.items()}
    got = jax.jit(lambda values: this.loss.func(*arrays, **values))(values)
    np.testing.assert_allclose(got, this.loss(*arrays), rtol=1e-5)


@every_loss
def test_on_two_devices(name):
    this = TABLE[name]
    arrays = make(name, 10, SQUARE)
    sharded = [np.reshape(arrays[p], (2, -1, arrays[p].shape[1])) for p in this.live]

    def step(*local):
        def whole(*local):
            joined = list(map(jnp.asarray, arrays))
            for position, x in zip(this.live, parallel.all_rows(local), strict=True):
                joined[position] = x
            return this.loss(*joined)

        value, slopes = jax.value_and_grad(whole, tuple(range(len(local))))(*local)
        # Each device differentiates the whole loss, so its slopes come once for every device.
        return value, parallel.all_rows([slope / parallel.num_devices() for slope in slopes])

    value, slopes = parallel.pmapped(step, in_axes=(0,) * len(sharded))(*sharded)
    np.testing.assert_allclose(value, this.oracle(*exact(arrays)).mean(), rtol=1e-5)
    for position, got in zip(this.live, slopes, strict=True):
        expected = oracles.slope(lambda *a: this.oracle(*a).mean(), exact(arrays), position)
        np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)


@every_loss
def test_under_shard_map(name):
    this = TABLE[name]
    arrays = make(name, 10, SQUARE)
    mesh = jax.make_mesh((2,), ("i",), axis_types=(jax.sharding.AxisType.Auto,))
    everywhere = jax.P()

    def whole(*arrays):
        return this.loss(*arrays)

    mapped = jax.shard_map(whole, mesh=mesh, in_specs=everywhere, out_specs=everywhere)
    np.testing.assert_allclose(mapped(*arrays), this.oracle(*exact(arrays)).mean(), rtol=1e-5)


@every_loss
def test_bfloat16_is_rounded_at_the_door_only(name):
    this = TABLE[name]
    rounded = [jnp.asarray(a, jnp.bfloat16) for a in make(name, 11)]
    value, slopes = jax.jit(jax.value_and_grad(this.loss, this.live))(*rounded)
    assert value.dtype == jnp.float32
    np.testing.assert_allclose(value, this.oracle(*exact(rounded)).mean(), rtol=2e-6)
    for slope in slopes:
        assert slope.dtype == jnp.bfloat16
        assert np.isfinite(np.asarray(slope, np.float32)).all()


@every_form
def test_extreme_outputs_are_finite(name):
    this = TABLE[name]
    both = jax.jit(jax.value_and_grad(this.loss, this.live))
    for size in (0.0, 1e-20, 1e4):
        value, slopes = both(*make(name, 12, size=size))
        assert np.isfinite(value)
        for slope in slopes:
            assert np.isfinite(slope).all()


@every_loss
def test_integer_outputs_are_refused(name):
    this = TABLE[name]
    arrays = make(name, 13)
    if this.loss.func is losses.trace_loss:
        assert np.isfinite(this.loss(*(np.sign(a).astype(np.int8) for a in arrays)))
        return
    with pytest.raises(TypeError, match="float32"):
        this.loss(arrays[0].astype(np.int32), *arrays[1:])


@every_loss
def test_other_arguments_have_any_real_dtype(name):
    this = TABLE[name]
    arrays = make(name, 14)
    whole = [np.round(a) if p not in this.live else a for p, a in enumerate(arrays)]
    for dtype in (np.int8, np.int64, np.float16, np.float64):
        cast = [a.astype(dtype) if p not in this.live else a for p, a in enumerate(whole)]
        np.testing.assert_array_equal(this.loss(*cast), this.loss(*whole))


@every_loss
def test_shapes_that_do_not_match_are_refused(name):
    this = TABLE[name]
    arrays = make(name, 15)
    for position in range(len(arrays)):
        broadcastable = arrays[position][:1, :1]
        wrong = [*arrays[:position], broadcastable, *arrays[position + 1 :]]
        if len(arrays) > 1:
            with pytest.raises(ValueError, match=r"\(1, 1\)"):
                this.loss(*wrong)
        with pytest.raises(ValueError, match=r"\(8,\)|\(7,\)|\(5,\)"):
            this.loss(*arrays[:position], arrays[position][0], *arrays[position + 1 :])
    drop = this.drops[0]
    with pytest.raises(ValueError, match=rf"{drop.option} .*\(11,\)"):
        this.loss(*arrays, **{drop.option: np.ones(11, bool)})
    with pytest.raises(TypeError, match=drop.option):
        this.loss(*arrays, **{drop.option: np.ones(drop.spread(np.ones(5)).shape)})
    with pytest.raises(ValueError, match=r"weights .*\(11,\)"):
        this.loss(*arrays, weights=np.ones(11))
    if this.loss.func is not losses.mmd_loss:
        with pytest.raises(ValueError, match="empty"):
            this.loss(*(a[:0] for a in arrays))


@pytest.mark.parametrize("name", [n for n, c in TABLE.items() if c.arrays is not labelled_pairs])
def test_bits_may_change_places_and_signs(name):
    this = TABLE[name]
    arrays = make(name, 16)
    order = np.random.default_rng(0).permutation(8)
    signs = np.where(np.arange(8) % 3 == 0, -1, 1).astype(np.float32)
    of_bits = [a.shape[1] == 8 for a in arrays]
    moved = [a[:, order] if bits else a for a, bits in zip(arrays, of_bits, strict=True)]
    np.testing.assert_allclose(this.loss(*moved), this.loss(*arrays), rtol=1e-5)
    if name == "bit_cross_entropy":
        flipped = [arrays[0] * signs, np.where(signs > 0, arrays[1], 1 - arrays[1])]
    else:
        flipped = [a * signs if bits else a for a, bits in zip(arrays, of_bits, strict=True)]
    np.testing.assert_allclose(this.loss(*flipped), this.loss(*arrays), rtol=1e-5)


@pytest.mark.parametrize(
    "name",
    [
        "cosine_margin",
        "cosine_margin_hinge",
        "cosine_quantization",
        "hamming_focal",
        "hamming_cross_entropy",
    ],
)
def test_angles_do_not_change_with_lengths(name):
    this = TABLE[name]
    arrays = make(name, 17)
    u, *rest = map(jnp.asarray, arrays)
    for length in (1e-15, 0.3, 1e15):
        np.testing.assert_allclose(this.loss(length * u, *rest), this.loss(u, *rest), rtol=1e-5)
    slope = jax.grad(functools.partial(this.loss, reduce_fn=jnp.sum))(u, *rest)
    scale = np.linalg.norm(slope, axis=1) * np.linalg.norm(u, axis=1)
    assert (np.abs(jnp.sum(slope * u, axis=1)) <= 1e-5 * scale + 1e-7).all()


@pytest.mark.parametrize(
    "name", ["pairwise_log_likelihood", "cosine_margin", "hamming_focal", "mmd", "trace"]
)
def test_pairs_do_not_change_under_a_rotation(name):
    this = TABLE[name]
    u, v, *rest = make(name, 18)
    turn = np.linalg.qr(np.random.default_rng(1).normal(size=(8, 8)))[0].astype(np.float32)
    np.testing.assert_allclose(this.loss(u @ turn, v @ turn, *rest), this.loss(u, v, *rest), 1e-5)


@pytest.mark.parametrize("name", ["decorrelation", "mmd"])
def test_statistics_do_not_change_under_a_translation(name):
    this = TABLE[name]
    arrays = make(name, 19)
    moved = [a + np.float32(8) for a in arrays]
    np.testing.assert_allclose(this.loss(*moved), this.loss(*arrays), rtol=1e-5)


@pytest.mark.parametrize("name", ["pairwise_log_likelihood", "hamming_focal", "cosine_margin"])
def test_blocks_of_rows_give_the_same(name, monkeypatch):
    monkeypatch.setattr(_pairs, "_MAX_ENTRIES", 8)
    this = TABLE[name]
    arrays = make(name, 20, BLOCKS)
    rng = np.random.default_rng(2)
    masks = [None, *(rng.random(shape) < 0.7 for shape in ((7, 4), (7, 1), (1, 4)))]
    weights = rng.random((7, 1)).astype(np.float32)

    @jax.jit
    def run(u, v):
        found = []
        for where in masks:
            for reduce_fn in (jnp.mean, jnp.sum, None):
                options = {"where": where, "weights": weights, "reduce_fn": reduce_fn}
                known = arrays[2] if where is None else np.where(where, arrays[2], np.nan)
                function = functools.partial(this.loss, similarity=known, **options)
                value, back = jax.vjp(function, u, v)
                found.append((value, *back(jnp.ones_like(value))))
        return found

    found = iter(run(*arrays[:2]))
    for where in masks:
        counted = np.ones((7, 4), bool) if where is None else np.broadcast_to(where, (7, 4))

        def each(u, v, similarity, counted=counted):
            return np.where(counted, this.oracle(u, v, similarity) * weights, 0)

        expected = each(*exact(arrays))
        slopes = [oracles.slope(each, exact(arrays), position) for position in (0, 1)]
        for divisor in (counted.sum(), 1, 1):
            value, *got = next(found)
            whole = expected if np.ndim(value) else expected.sum()
            np.testing.assert_allclose(value, whole / divisor, rtol=1e-5, atol=1e-6)
            for slope, by_hand in zip(got, slopes, strict=True):
                np.testing.assert_allclose(slope, by_hand / divisor, rtol=1e-4, atol=1e-5)


def test_blocks_of_labelled_rows_give_the_same(monkeypatch):
    u, v, labels_u, labels_v = make("pairwise_log_likelihood_from_labels", 37, BLOCKS)
    where, where_v = np.arange(7) != 2, np.arange(4) != 1
    similarity = (labels_u @ labels_v.T > 0).astype(np.float32)
    options = {"scale": 1.5, "clip": 2.0}
    pairs = functools.partial(losses.pairwise_log_likelihood_loss, **options)
    expected = jax.value_and_grad(pairs, (0, 1))(
        u, v, similarity, where=where[:, None] & where_v[None, :]
    )
    rows = functools.partial(losses.pairwise_log_likelihood_from_labels_loss, **options)
    monkeypatch.setattr(_pairs, "_MAX_ENTRIES", 8)
    found = jax.jit(
        lambda u, v: jax.value_and_grad(rows, (0, 1))(
            u, v, labels_u, labels_v, where=where, where_v=where_v
        )
    )(u, v)
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-5), found, expected)


def test_blocks_of_rows_of_two_devices(monkeypatch):
    monkeypatch.setattr(_pairs, "_MAX_ENTRIES", 8)
    mesh = jax.make_mesh((2,), ("i",), axis_types=(jax.sharding.AxisType.Auto,))
    u, v, similarity = make("pairwise_log_likelihood", 39, (14, 4, 3))
    slope = jax.grad(functools.partial(losses.pairwise_log_likelihood_loss, reduce_fn=jnp.sum))
    of_rows = jax.P("i")
    mapped = jax.shard_map(
        lambda u, similarity: slope(u, v, similarity),
        mesh=mesh,
        in_specs=(of_rows, of_rows),
        out_specs=of_rows,
    )
    np.testing.assert_allclose(mapped(u, similarity), slope(u, v, similarity), rtol=1e-5)


def test_a_prime_number_of_rows_goes_in_few_blocks(monkeypatch):
    monkeypatch.setattr(_pairs, "_MAX_ENTRIES", 100)
    rows = jnp.asarray(outputs(np.random.default_rng(38), 509, 3))
    seen = set()

    def kernel(block):
        seen.add(len(block))
        return jnp.sin(block)

    value, back = jax.vjp(jax.jit(lambda x: _pairs.by_rows(kernel, x, 10)), rows)
    assert seen == {10}
    np.testing.assert_allclose(value, jnp.sin(rows), rtol=1e-6)
    np.testing.assert_allclose(back(value)[0], jnp.cos(rows) * value, rtol=1e-5)


# What one loss has alone: values by hand, closed forms of gradients, identities between methods.


def test_values_written_by_hand():
    one = np.ones((1, 2), np.float32)
    similar = np.ones((1, 1), np.float32)
    softplus_one = math.log(1 + math.e)
    of_pair = losses.pairwise_log_likelihood_loss
    objective = (
        of_pair(one, one, similar, reduce_fn=jnp.sum)
        + losses.quantization_loss(one, one, reduce_fn=jnp.sum)
        + losses.bit_balance_loss(one)
        + losses.bit_balance_loss(one)
    )
    assert objective == pytest.approx(softplus_one - 1 + 4)
    both = np.array([[1, 1], [-1, -1]], np.float32)
    expected = 2 * (softplus_one - 1) + 2 * math.log(1 + math.exp(-1))
    assert of_pair(both, both, np.eye(2), reduce_fn=jnp.sum) == pytest.approx(expected)
    assert losses.bit_balance_loss(both) == 0
    zeros = np.zeros((3, 4), np.float32)
    assert of_pair(zeros, zeros, np.eye(3)) == pytest.approx(math.log(2))
    assert of_pair(20 * one, 20 * one, similar, scale=1, clip=15) == pytest.approx(
        math.log1p(math.exp(-15))
    )
    assert of_pair(500 * one, one, similar) == 0

    right = np.array([[1, -1]], np.float32)
    for sign in (1, -1):
        at_right_angle = losses.cosine_margin_loss(one, right, sign * similar, margin=0.5)
        assert at_right_angle == pytest.approx(0.25)
    corner = np.array([[1, 0]], np.float32)
    assert losses.cosine_quantization_loss(corner, margin=1) == pytest.approx(1 - 0.5**0.5)
    assert losses.cosine_quantization_loss(-3 * right, margin=1) == 0
    bits = np.array([[-0.7, 0.2, 0, 0.5]], np.float32)
    assert losses.bit_margin_loss(bits) == pytest.approx(0.8)
    for x, expected in ((0.1, 2.3059107), (1.0, 0.2723415), (3.0, 0.0049575)):
        assert losses.log_magnitude_loss(np.tanh([[np.float32(x)]])) == pytest.approx(
            expected, rel=1e-4
        )
    assert losses.log_magnitude_loss(both) == 0
    assert losses.log_magnitude_loss(0 * one) == pytest.approx(-2 * math.log(1e-6))


def test_cosines_by_hand():
    u = np.array([[1, 0]], np.float32)
    for cosine, sign, expected in ((0.6, 1, 0.0), (0.2, 1, 0.3), (0.2, -1, 0.7)):
        v = np.array([[cosine, math.sqrt(1 - cosine**2)]], np.float32)
        similarity = np.array([[sign]])
        hinge = losses.cosine_margin_loss(u, v, similarity, margin=0.5, power=1)
        assert hinge == pytest.approx(expected, abs=1e-6)
        slope = jax.grad(losses.cosine_margin_loss)(jnp.asarray(u), v, similarity, margin=0.5)
        assert bool(jnp.any(slope != 0)) == (expected > 0)


@pytest.mark.parametrize("distance", [0, 2, 8, 16])
def test_focal_loss_counts_bits(distance):
    u = np.ones((1, 16), np.float32)
    v = u.copy()
    v[0, :distance] = -1
    expected = {0: 0.0, 2: 0.0065717, 8: 0.2425909, 16: 1.0191507}[distance]
    got = losses.hamming_focal_loss(u, v, np.array([[1]]), beta=0.1)
    assert got == pytest.approx(expected, rel=1e-5, abs=1e-6)
    linear = losses.hamming_focal_loss(u, v, np.array([[1]]), beta=0.1, focusing=0)
    assert linear == pytest.approx(0.1 * max(distance, 1e-6), rel=1e-6)


@pytest.mark.parametrize("num_bits", [12, 32, 48, 64])
def test_hamming_distance_of_codes_is_exact(num_bits):
    rng = np.random.default_rng(num_bits)
    codes = (2 * rng.integers(0, 2, (20, num_bits)) - 1).astype(np.float32)
    distances = (codes[:, None] != codes[None]).sum(axis=2)
    similar = np.ones((20, 20))
    got = losses.hamming_focal_loss(codes, codes, similar, beta=1, focusing=0, reduce_fn=None)
    np.testing.assert_array_equal(got, np.maximum(distances, np.float32(1e-6)))
    other = losses.hamming_focal_loss(codes, codes, 0 * similar, beta=1, focusing=0)
    assert np.isfinite(other)


@pytest.mark.parametrize("focusing", [0.0, 0.5, 2.0])
def test_focal_gradient_is_the_closed_form(focusing):
    beta, size = 0.3, 16
    angles = np.linspace(0.3, 2.8, 6)
    u = np.zeros((1, size), np.float32)
    u[0, 0] = 1
    v = np.zeros((6, size), np.float32)
    v[:, 0], v[:, 1] = np.cos(angles), np.sin(angles)
    d = size / 2 * (1 - np.cos(angles))
    p = np.exp(-beta * d)
    for similar in (0, 1):
        if similar:
            slope = beta * (1 - p) ** focusing + focusing * beta**2 * d * p * (1 - p) ** (
                focusing - 1
            )
        else:
            slope = beta * p**focusing * (focusing * np.log(1 - p) - p / (1 - p))
        # Turning v by an angle moves d by size / 2 sin(angle).
        expected = slope * size / 2 * np.sin(angles)

        def along(turn, similar=similar):
            turned = jnp.asarray(v)
            cos, sin = jnp.cos(angles + turn), jnp.sin(angles + turn)
            turned = turned.at[:, 0].set(cos).at[:, 1].set(sin)
            target = jnp.full((1, 6), similar)
            return losses.hamming_focal_loss(
                u, turned, target, beta=beta, focusing=focusing, reduce_fn=jnp.sum
            )

        got = jax.grad(along)(jnp.zeros(6))
        np.testing.assert_allclose(got, expected, rtol=2e-5, atol=1e-6)


def test_focal_loss_is_monotone():
    d = np.linspace(0.02, 3.0, 30)
    u, v = np.array([[1, 0]], np.float32), np.stack([np.cos(d), np.sin(d)], 1).astype(np.float32)
    for similar, direction in ((1, 1), (0, -1)):
        target = np.full((1, 30), similar)
        each = losses.hamming_focal_loss(u, v, target, beta=0.5, reduce_fn=None)[0]
        assert (direction * np.diff(each) > 0).all()


def test_focal_loss_of_far_pairs_keeps_its_digits():
    u = np.zeros((1, 64), np.float32)
    u[0, 0] = 1
    v = outputs(np.random.default_rng(34), 20, 64)
    far = np.zeros((1, 20))
    each = losses.hamming_focal_loss(u, v, far, beta=0.4, focusing=1.0, reduce_fn=None)
    expected = oracles.hamming_focal(*exact((u, v, far)), 0.4, 1.0)
    assert expected.max() < 1e-6
    np.testing.assert_allclose(each, expected, rtol=2e-5)


def test_focal_slopes_of_similarity_and_focusing():
    u, v, similarity = map(jnp.asarray, make("hamming_focal", 21))

    def loss(similarity, focusing):
        return losses.hamming_focal_loss(
            u, v, similarity, beta=0.2, focusing=focusing, reduce_fn=jnp.sum
        )

    by_similarity, by_focusing = jax.grad(loss, (0, 1))(similarity, 1.5)
    arrays = exact((u, v, similarity, np.array([1.5])))

    def oracle(u, v, s, g):
        return oracles.hamming_focal(u, v, s, 0.2, g[0])

    np.testing.assert_allclose(by_similarity, oracles.slope(oracle, arrays, 2), rtol=1e-4)
    np.testing.assert_allclose(by_focusing, oracles.slope(oracle, arrays, 3)[0], rtol=1e-4)


def test_pairwise_gradient_is_the_closed_form():
    u, v, similarity = make("pairwise_log_likelihood", 22)
    theta = 0.5 * u.astype(np.float64) @ v.T.astype(np.float64)
    residual = 1 / (1 + np.exp(-theta)) - similarity
    function = functools.partial(losses.pairwise_log_likelihood_loss, reduce_fn=jnp.sum)
    by_u, by_v, by_similarity = gradient(function, (u, v, similarity), (0, 1, 2))
    np.testing.assert_allclose(by_u, 0.5 * residual @ v, atol=1e-5)
    np.testing.assert_allclose(by_v, 0.5 * residual.T @ u, atol=1e-5)
    np.testing.assert_allclose(by_similarity, -theta, atol=1e-5)
    forward = jax.jvp(lambda u: function(u, v, similarity), (u,), (np.ones_like(u),))[1]
    np.testing.assert_allclose(forward, by_u.sum(), rtol=1e-4, atol=1e-5)


def test_clipped_pairs_have_no_gradient():
    u, v = 4 * np.ones((1, 8), np.float32), np.ones((1, 8), np.float32)
    function = functools.partial(losses.pairwise_log_likelihood_loss, scale=1, clip=15)
    (slope,) = gradient(lambda u: function(u, v, np.zeros((1, 1))), (u,), (0,))
    assert (np.asarray(slope) == 0).all()
    inside = function(0.1 * u, v, np.zeros((1, 1)))
    assert inside == function(0.1 * u, v, np.zeros((1, 1)), clip=None)


def test_scale_may_be_shared_out():
    u, v, similarity = make("pairwise_log_likelihood", 23)
    root = np.float32(0.3**0.5)
    scaled = losses.pairwise_log_likelihood_loss(u, v, similarity, scale=0.3)
    shared = losses.pairwise_log_likelihood_loss(root * u, root * v, similarity, scale=1)
    np.testing.assert_allclose(scaled, shared, rtol=1e-6)
    swapped = losses.pairwise_log_likelihood_loss(-u, v, 1 - similarity, scale=0.3)
    np.testing.assert_allclose(scaled, swapped, rtol=1e-6)


def test_from_labels_equals_the_similarity_of_the_labels():
    u, v, labels_u, labels_v = make("pairwise_log_likelihood_from_labels", 24)
    similarity = (labels_u @ labels_v.T > 0).astype(np.float32)
    where, where_v = np.arange(5) != 2, np.arange(7) > 1
    expected = losses.pairwise_log_likelihood_loss(
        u, v, similarity, where=where[:, None] & where_v[None, :]
    )
    got = losses.pairwise_log_likelihood_from_labels_loss(
        u, v, labels_u, labels_v, where=where, where_v=where_v
    )
    np.testing.assert_allclose(got, expected, rtol=1e-6)


def test_cross_entropy_of_a_soft_target_is_least_at_its_logit():
    targets = np.array([[0.2, 0.5, 0.9]], np.float32)
    logits = np.log(targets / (1 - targets))
    each = losses.bit_cross_entropy_loss(logits, targets, reduce_fn=None)
    entropy = -targets * np.log(targets) - (1 - targets) * np.log(1 - targets)
    np.testing.assert_allclose(each, entropy, rtol=1e-6)
    slope = jax.grad(losses.bit_cross_entropy_loss)(jnp.asarray(logits), targets)
    np.testing.assert_allclose(slope, np.zeros((1, 3)), atol=1e-7)
    other = jax.grad(losses.bit_cross_entropy_loss)(jnp.zeros((1, 3)), targets)
    np.testing.assert_allclose(other, (0.5 - targets) / 3, rtol=1e-6)


def test_log_magnitude_gradient_is_minus_the_inverse():
    u = jnp.array([[0.5, -0.2, 1e-9]])
    slope = jax.grad(losses.log_magnitude_loss)(u)
    np.testing.assert_allclose(slope, [[-2.0, 5.0, 0.0]], rtol=1e-6)


def test_bit_margin_gradient_points_away_from_zero():
    u = jnp.array([[0.2, -0.2, 0.9, 0.0]])
    slope = jax.grad(losses.bit_margin_loss)(u)
    np.testing.assert_array_equal(slope, [[-1.0, 1.0, 0.0, 0.0]])


def test_balance_counts_the_rest_of_the_training_set():
    u = outputs(np.random.default_rng(25), 6, 4)
    whole = losses.bit_balance_loss(u)
    batch = losses.bit_balance_loss(u[:2], rest=u[2:].sum(axis=0))
    np.testing.assert_allclose(batch, whole, rtol=1e-6)
    slope = jax.grad(lambda x: losses.bit_balance_loss(x, rest=u[2:].sum(axis=0)))(u[:2])
    np.testing.assert_allclose(slope, np.broadcast_to(2 * u.sum(axis=0), (2, 4)), rtol=1e-5)
    with pytest.raises(ValueError, match=r"rest .*\(2, 4\)"):
        losses.bit_balance_loss(u, rest=u[:2])


def test_decorrelation_by_hand_and_in_closed_form():
    orthogonal = np.array([[1, 1], [-1, 1], [1, -1], [-1, -1]], np.float32)
    assert losses.decorrelation_loss(orthogonal) == 0
    assert losses.decorrelation_loss(orthogonal[:, :1] * np.ones((1, 2), np.float32)) == 1
    assert losses.decorrelation_loss(orthogonal[:1]) == 0
    u = outputs(np.random.default_rng(26), 5, 4)
    np.testing.assert_allclose(
        losses.decorrelation_loss(2 * u), 16 * losses.decorrelation_loss(u), rtol=1e-5
    )
    centred = u - u.mean(axis=0)
    covariance = centred.T @ centred / 5
    np.fill_diagonal(covariance, 0)
    slope = jax.grad(losses.decorrelation_loss)(u)
    np.testing.assert_allclose(slope, 2 / 5 * centred @ covariance, rtol=1e-4, atol=1e-6)


def test_mmd_by_hand():
    zero, one = np.zeros((1, 1), np.float32), np.ones((1, 1), np.float32)
    assert losses.mmd_loss(zero, one, gamma=1.0) == pytest.approx(2 - 2 / math.e)
    x, y = make("mmd", 27)
    assert losses.mmd_loss(x, y, gamma=0.1) == pytest.approx(
        float(losses.mmd_loss(y, x, gamma=0.1)), rel=1e-5
    )
    assert losses.mmd_loss(np.zeros((3, 2), np.float32), np.zeros((5, 2), np.float32), gamma=1) == 0
    assert losses.mmd_loss(x, x, gamma=(0.1, 1.0)) == pytest.approx(0, abs=1e-6)
    assert losses.mmd_loss(x[:0], y, gamma=1.0) == 0
    assert losses.mmd_loss(x, y[:0], gamma="median") == 0
    slope = jax.grad(losses.mmd_loss)(jnp.asarray(x), jnp.asarray(x), gamma=0.1)
    np.testing.assert_allclose(slope, np.zeros_like(x), atol=1e-6)


@pytest.mark.parametrize("shape", [WIDE, SQUARE])
def test_mmd_at_the_median(shape):
    x, y = two_sides(np.random.default_rng(28), shape, 1.0)
    gamma = oracles.median_gamma(*exact((x, y)))
    expected = oracles.mmd(*exact((x, y)), [gamma])
    np.testing.assert_allclose(losses.mmd_loss(x, y, gamma="median"), expected, atol=2e-6)
    where = np.arange(len(y)) != 1
    gamma = oracles.median_gamma(*exact((x, y[where])))
    expected = oracles.mmd(*exact((x, y[where])), [gamma])
    got = losses.mmd_loss(x, y, gamma="median", where_y=where)
    np.testing.assert_allclose(got, expected, atol=2e-6)
    fixed = jax.grad(losses.mmd_loss)(jnp.asarray(x), y[where], gamma=float(gamma))
    moving = jax.grad(losses.mmd_loss)(jnp.asarray(x), y, gamma="median", where_y=where)
    np.testing.assert_allclose(moving, fixed, atol=1e-6)
    same = np.ones((3, 2), np.float32)
    assert losses.mmd_loss(same, same, gamma="median") == pytest.approx(0, abs=1e-6)


def test_mmd_at_the_median_with_64_bits():
    x, y = make("mmd", 40)
    script = f"""
import jax, numpy as np
from jxhash import losses
jax.config.update("jax_enable_x64", True)
x, y = (np.array(a, np.float32) for a in ({x.tolist()}, {y.tolist()}))
print(float(losses.mmd_loss(x, y, gamma="median")))
"""
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert found.returncode == 0, found.stderr
    assert float(found.stdout) == pytest.approx(float(losses.mmd_loss(x, y, gamma="median")), 1e-6)


@pytest.mark.parametrize("size", [8.0, 100.0, 1e4])
def test_mmd_of_long_rows_keeps_their_distance_to_themselves(size):
    x, y = two_sides(np.random.default_rng(41), (20, 20, 64), 0.01)
    x, y = (a + np.float32(size) * np.sign(a) for a in (x, y))
    expected = oracles.mmd(*exact((x, y)), [1.0])
    np.testing.assert_allclose(losses.mmd_loss(x, y, gamma=1.0), expected, atol=4e-6)
    for slope in jax.grad(losses.mmd_loss, (0, 1))(jnp.asarray(x), jnp.asarray(y), gamma=1.0):
        assert np.isfinite(slope).all()


def test_mmd_refuses_what_is_no_bandwidth():
    x, y = make("mmd", 29)
    for gamma in (0.0, -1.0, (0.1, 0.0), "mean", np.ones((2, 2)), ()):
        with pytest.raises(ValueError, match="gamma"):
            losses.mmd_loss(x, y, gamma=gamma)
        with pytest.raises(ValueError, match="gamma"):
            losses.mmd_loss(x[:0], y, gamma=gamma)
    with pytest.raises(ValueError, match="weights"):
        losses.mmd_loss(x[:0], y, gamma=1.0, weights=np.ones(3))


def test_trace_gradient_is_the_pull_of_the_other_side():
    u, v, similarity = make("trace", 30)
    slope = jax.grad(losses.trace_loss)(u, v, similarity)
    np.testing.assert_allclose(slope, -similarity @ v, rtol=1e-5, atol=1e-6)


def test_weights_of_the_two_classes():
    similarity = np.array([[1, 0, 0], [0, 0, 1]])
    where = np.array([[True, True, False], [True, False, False]])
    np.testing.assert_array_equal(losses.balanced_weights(similarity), [[3, 1, 1], [1, 1, 3]])
    np.testing.assert_array_equal(
        losses.balanced_weights(similarity, where=where), [[3, 1, 1], [1, 1, 3]]
    )
    assert (np.asarray(losses.balanced_weights(0 * similarity)) == 1).all()


def test_log_likelihood_is_the_focal_loss_at_its_probability():
    u, v, similarity = make("pairwise_log_likelihood", 31)
    each = losses.hamming_focal_loss(u, v, similarity, beta=0.2, focusing=0, reduce_fn=None)
    similar = losses.hamming_focal_loss(
        u, v, np.ones_like(similarity), beta=0.2, focusing=0, reduce_fn=None
    )
    p = np.exp(-np.asarray(similar, np.float64))
    logits = np.log(p) - np.log1p(-p)
    expected = losses.bit_cross_entropy_loss(logits.astype(np.float32), similarity, reduce_fn=None)
    np.testing.assert_allclose(each, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("loss", "options", "named"),
    [
        (losses.pairwise_log_likelihood_loss, {"scale": 0.0}, "scale"),
        (losses.pairwise_log_likelihood_loss, {"clip": -1.0}, "clip"),
        (losses.hamming_focal_loss, {"beta": 0.0}, "beta"),
        (losses.hamming_focal_loss, {"beta": 1.0, "focusing": -0.5}, "focusing"),
        (losses.cosine_margin_loss, {"margin": 0.0}, "margin"),
        (losses.cosine_margin_loss, {"margin": 1.5}, "margin"),
        (losses.cosine_margin_loss, {"margin": 0.5, "power": 3}, "power"),
    ],
)
def test_settings_out_of_range_are_refused(loss, options, named):
    u, v, similarity = make("pairwise_log_likelihood", 32)
    with pytest.raises(ValueError, match=named):
        loss(u, v, similarity, **options)
    with pytest.raises(ValueError, match=rf"{named} .*\(3, 1, 1\)"):
        loss(u, v, similarity, **options | {named: np.ones((3, 1, 1))})
    with pytest.raises(ValueError, match=rf"{named} .*\(7,\)"):
        jax.jit(lambda x: loss(u, v, similarity, **options | {named: x}))(np.ones(7))
    with pytest.raises(TypeError, match=named):
        loss(u, v, similarity, **options | {named: "1"})
    for margin in (0.0, 2.0, -1.0):
        with pytest.raises(ValueError, match="margin"):
            losses.cosine_quantization_loss(u, margin=margin)
    for margin in (-0.5, np.full(8, 0.5)):
        with pytest.raises(ValueError, match="margin"):
            losses.bit_margin_loss(u, margin=margin)


def test_similarities_outside_their_alphabet_are_refused():
    u, v, similarity = make("pairwise_log_likelihood", 33)
    signed = 2 * similarity - 1
    for function in (
        losses.pairwise_log_likelihood_loss,
        functools.partial(losses.hamming_focal_loss, beta=0.1),
    ):
        with pytest.raises(ValueError, match=r"similarity .*\(5, 7\).*-1"):
            function(u, v, signed)
        hidden = np.where(similarity > 0, 1, -7)
        assert np.isfinite(function(u, v, hidden, where=similarity > 0))
    with pytest.raises(ValueError, match="similarity"):
        losses.cosine_margin_loss(u, v, similarity, margin=0.5)
    with pytest.raises(ValueError, match="bits"):
        losses.bit_cross_entropy_loss(u, np.sign(u))
    u, v, *labels = make("pairwise_log_likelihood_from_labels", 33)
    for position in (0, 1):
        wrong = [2 * x - 1 if i == position else x for i, x in enumerate(labels)]
        with pytest.raises(ValueError, match=r"labels_[uv] .*\([57], 5\).*-1"):
            losses.pairwise_log_likelihood_from_labels_loss(u, v, *wrong)
    with pytest.raises(ValueError, match="empty"):
        losses.balanced_weights(similarity[:0])
    # Nothing can be looked at while a function is traced.
    jax.jit(losses.pairwise_log_likelihood_loss)(u, v, signed)
