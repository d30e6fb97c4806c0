"""The properties that every loss of the table has."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import oracles_losses as oracles
import pytest
from hypothesis import given
from hypothesis import strategies as st
from loss_table import OTHER_FORMS, TABLE
from random_arrays import (
    BLOCKS,
    SINGLE,
    SQUARE,
    WIDE,
    draw,
    exact,
    few,
    labelled_pairs,
    seeds,
    similar_pairs,
)

from jxhash import losses, parallel
from jxhash.losses import _pairs

every_form = pytest.mark.parametrize("name", TABLE)
every_loss = pytest.mark.parametrize("name", [name for name in TABLE if name not in OTHER_FORMS])


def make(name, seed, shape=WIDE, size=1.0):
    return draw(TABLE[name].arrays, seed, shape, size)


@functools.cache
def _compiled(name):
    this = TABLE[name]
    return jax.jit(
        lambda arrays, options: jax.value_and_grad(
            functools.partial(this.loss, **options), this.live
        )(*arrays)
    )


def value_and_slopes(name, arrays, **options):
    """The mean loss and its gradients, compiled once for all tests."""
    return _compiled(name)(arrays, options)


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


@pytest.mark.filterwarnings("ignore:similarity")
@every_form
@few
@given(seed=seeds, size=st.sampled_from([0.1, 1.0, 3.0]))
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
        bad = spoiled(drop, arrays, mask)
        value, found = value_and_slopes(name, bad, **{drop.option: drop.spread(mask)})
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
        for got in value_and_slopes(name, bad, **options)[1]:
            assert (np.asarray(got) == 0).all()


@every_loss
def test_unreduced_sums_to_the_reduced(name):
    this = TABLE[name]
    arrays = make(name, 6)
    drop = this.drops[0]
    mask = drop.spread(sample_mask(drop, arrays))
    each = np.asarray(this.loss(*arrays, reduce_fn=None, **{drop.option: mask}))
    by = functools.partial(this.loss, *arrays, **{drop.option: mask})
    if this.scalar:
        assert each.shape == ()
        assert by() == by(reduce_fn=jnp.sum) == each
        return
    counted = np.broadcast_to(mask, each.shape)
    assert (each[~counted] == 0).all()
    np.testing.assert_allclose(by(reduce_fn=jnp.sum), each.sum(), rtol=1e-6)
    np.testing.assert_allclose(by(), each.sum() / counted.sum(), rtol=1e-6)
    np.testing.assert_allclose(by(reduce_fn=lambda x: jnp.max(x)), each.max())
    means = by(reduce_fn=functools.partial(jnp.mean, axis=0))
    expected = each.sum(axis=0) / np.maximum(counted.sum(axis=0), 1)
    np.testing.assert_allclose(means, expected, rtol=1e-6)


@every_loss
def test_weights_multiply(name):
    this = TABLE[name]
    arrays = make(name, 7)
    each = np.asarray(this.loss(*arrays, reduce_fn=None))
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
    for slope in value_and_slopes(name, arrays, where=mask, weights=weights)[1]:
        assert np.isfinite(slope).all()


@every_loss
def test_under_jit_and_vmap(name):
    this = TABLE[name]
    batch = [make(name, seed) for seed in (8, 9)]
    both = jax.value_and_grad(this.loss, this.live)
    values, slopes = jax.jit(jax.vmap(both))(*map(np.stack, zip(*batch, strict=True)))
    for number, arrays in enumerate(batch):
        value, slope = value_and_slopes(name, arrays)
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
    value, slopes = value_and_slopes(name, rounded)
    assert value.dtype == jnp.float32
    np.testing.assert_allclose(value, this.oracle(*exact(rounded)).mean(), rtol=2e-6)
    for slope in slopes:
        assert slope.dtype == jnp.bfloat16
        assert np.isfinite(np.asarray(slope, np.float32)).all()


@every_form
def test_extreme_outputs_are_finite(name):
    for size in (0.0, 1e-20, 1e4):
        value, slopes = value_and_slopes(name, make(name, 12, size=size))
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


# Identities between losses.


def test_the_objective_of_dcmh_by_hand():
    one = np.ones((1, 2), np.float32)
    objective = (
        losses.pairwise_log_likelihood_loss(one, one, np.ones((1, 1)), reduce_fn=jnp.sum)
        + losses.quantization_loss(one, one, reduce_fn=jnp.sum)
        + losses.bit_balance_loss(one)
        + losses.bit_balance_loss(one)
    )
    assert objective == pytest.approx(math.log(1 + math.e) - 1 + 4)


def test_log_likelihood_is_the_focal_loss_at_its_probability():
    u, v, similarity = draw(similar_pairs, 31)
    each = losses.hamming_focal_loss(u, v, similarity, beta=0.2, focusing=0, reduce_fn=None)
    similar = losses.hamming_focal_loss(
        u, v, np.ones_like(similarity), beta=0.2, focusing=0, reduce_fn=None
    )
    p = np.exp(-np.asarray(similar, np.float64))
    logits = np.log(p) - np.log1p(-p)
    expected = losses.bit_cross_entropy_loss(logits.astype(np.float32), similarity, reduce_fn=None)
    np.testing.assert_allclose(each, expected, rtol=1e-4, atol=1e-6)


# What every loss refuses.


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
    u, v, similarity = draw(similar_pairs, 32)
    with pytest.raises(ValueError, match=named):
        loss(u, v, similarity, **options)
    with pytest.raises(ValueError, match=rf"{named} .*\(3, 1, 1\)"):
        loss(u, v, similarity, **options | {named: np.ones((3, 1, 1))})
    with pytest.raises(ValueError, match=rf"{named} .*\(7,\)"):
        jax.jit(lambda x: loss(u, v, similarity, **options | {named: x}))(np.ones(7))
    with pytest.raises(TypeError, match=named):
        loss(u, v, similarity, **options | {named: "1"})


def test_similarities_outside_their_alphabet_are_refused():
    u, v, similarity = draw(similar_pairs, 33)
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
    u, v, *labels = draw(labelled_pairs, 33)
    for position in (0, 1):
        wrong = [2 * x - 1 if i == position else x for i, x in enumerate(labels)]
        with pytest.raises(ValueError, match=r"labels_[uv] .*\([57], 5\).*-1"):
            losses.pairwise_log_likelihood_from_labels_loss(u, v, *wrong)
    # Nothing can be looked at while a function is traced.
    jax.jit(losses.pairwise_log_likelihood_loss)(u, v, signed)
