"""The device axis: sums, gathers and their gradients, on one and two devices, by both maps."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jxhash import parallel

ROWS = np.float32([[1, -2], [3, 5], [-7, 0.5]])
DTYPES = ("float32", "float16", "bfloat16", "int32", "uint32", "int8", "uint8", "bool")


@pytest.fixture(params=[1, 2])
def devices(request):
    return jax.local_devices()[: request.param]


def mapped(function, devices, in_axes=(0,), **options):
    return parallel.pmapped(function, in_axes=in_axes, devices=devices, **options)


def shares(devices, rows=ROWS):
    """[devices, n, ...]: the rows, and for each further device twice as much."""
    return np.stack([rows * 2**number for number in range(len(devices))])


def test_outside_each_helper_is_the_identity():
    tree = {"a": ROWS, "b": (1, None)}
    for helper in (parallel.total, parallel.mean, parallel.all_rows):
        assert helper(tree) is tree
    assert parallel.num_devices() == 1


def test_sums_and_means_of_trees(pmapped_by, devices):
    mine = {"x": shares(devices), "n": shares(devices, np.arange(3))}
    factor = 2 ** len(devices) - 1

    def both(tree):
        return parallel.total(tree), parallel.mean(tree), parallel.num_devices()

    total, mean, number = mapped(both, devices)(mine)
    np.testing.assert_array_equal(total["x"], factor * ROWS)
    np.testing.assert_array_equal(total["n"], factor * np.arange(3))
    assert total["n"].dtype == np.int32
    np.testing.assert_allclose(mean["x"], factor / len(devices) * ROWS)
    assert number == len(devices)


@pytest.mark.parametrize("dtype", DTYPES)
def test_rows_are_joined_bit_for_bit(pmapped_by, devices, dtype):
    rows = np.random.default_rng(0).integers(0, 100, (len(devices), 3, 2)).astype(dtype)
    found = np.asarray(mapped(parallel.all_rows, devices)(rows))
    assert found.dtype == rows.dtype
    assert found.tobytes() == rows.tobytes()


@pytest.mark.parametrize("shape", [(3,), (3, 0), (2, 3, 4)])
def test_rows_of_any_shape(pmapped_by, devices, shape):
    rows = np.random.default_rng(0).random((len(devices), *shape), np.float32)
    found = mapped(parallel.all_rows, devices)(rows)
    np.testing.assert_array_equal(found, np.concatenate(list(rows)))


def test_averaged_gradients_through_all_rows_are_those_of_one_device(pmapped_by, devices):
    weight = np.float32([0.3, -0.8])

    def loss(weight, rows):
        outputs = parallel.all_rows(jnp.tanh(rows @ weight))
        return jnp.sum(outputs[:, None] * outputs[None, :]) - jnp.sum(outputs**3)

    def step(weight, rows):
        value, slope = jax.value_and_grad(loss)(weight, rows)
        return value, parallel.mean(slope)

    rows = shares(devices)
    value, slope = mapped(step, devices, (None, 0))(weight, rows)
    expected, expected_slope = jax.value_and_grad(loss)(weight, rows.reshape(-1, 2))
    np.testing.assert_allclose(value, expected, rtol=1e-6)
    np.testing.assert_allclose(slope, expected_slope, rtol=1e-5)


def test_summed_gradients_of_own_rows_are_those_of_all(pmapped_by, devices):
    def loss(weight, rows):
        return jnp.sum(jnp.tanh(rows @ weight) ** 2)

    def step(weight, rows):
        return parallel.total(jax.grad(loss)(weight, rows))

    weight, rows = np.float32([0.3, -0.8]), shares(devices)
    slope = mapped(step, devices, (None, 0))(weight, rows)
    np.testing.assert_allclose(slope, jax.grad(loss)(weight, rows.reshape(-1, 2)), rtol=1e-5)


def test_any_axis_may_count_the_devices(pmapped_by, devices):
    n = len(devices)
    whole, second, third = np.ones(5), np.random.rand(4, n, 3), np.random.rand(2, 3, n)

    def function(whole, second, third):
        assert (whole.shape, second["a"].shape, third.shape) == ((5,), (4, 3), (2, 3))
        return parallel.all_rows((second["a"], third))

    found = mapped(function, devices, (None, 1, 2))(whole, {"a": second}, third)
    np.testing.assert_allclose(found[0], np.moveaxis(second, 1, 0).reshape(-1, 3), rtol=1e-6)
    np.testing.assert_allclose(found[1], np.moveaxis(third, 2, 0).reshape(-1, 3), rtol=1e-6)


def test_an_axis_of_another_length_is_refused(pmapped_by, devices):
    with pytest.raises(ValueError, match=r"axis|axes|shard"):
        mapped(parallel.total, devices)(np.ones((len(devices) + 1, 3)))


def test_typed_keys_go_in_and_out(pmapped_by, devices):
    keys = jax.random.split(jax.random.key(0), len(devices))

    def function(state, own):
        key, noise = jax.random.split(state["key"])
        return (
            {"key": key},
            jax.random.normal(noise),
            parallel.all_rows(jax.random.normal(own)[None]),
        )

    state, noise, each = mapped(function, devices, (None, 0))({"key": jax.random.key(7)}, keys)
    key, own = jax.random.split(jax.random.key(7))
    assert state["key"] == key
    np.testing.assert_allclose(noise, jax.random.normal(own), rtol=1e-6)
    np.testing.assert_allclose(each, jax.vmap(jax.random.normal)(keys), rtol=1e-6)


def test_a_replicated_state_goes_through_many_calls(pmapped_by, devices):
    def step(state, rows):
        return {**state, "sum": state["sum"] + parallel.total(jnp.sum(rows))}

    if len(devices) < len(jax.local_devices()):
        pytest.skip("states are replicated over all devices of a process")
    state = parallel.replicate({"sum": np.float32(0), "key": jax.random.key(0)})
    assert state["sum"].sharding.is_fully_replicated
    assert state["sum"].sharding.device_set == set(devices)
    call, rows = mapped(step, devices, (None, 0), donate=(0,)), shares(devices)
    for _ in range(3):
        state = call(state, rows)
    np.testing.assert_allclose(state["sum"], 3 * rows.sum())
    assert state["key"] == jax.random.key(0)


def test_donated_memory_is_reused(pmapped_by):
    state = parallel.replicate(np.ones((64, 64), np.float32))
    kept = parallel.replicate(np.ones((64, 64), np.float32))
    rows = shares(jax.local_devices())

    def function(state, kept, rows):
        return state + kept + parallel.total(jnp.sum(rows))

    call = parallel.pmapped(function, in_axes=(None, None, 0), donate=(0,))
    jax.block_until_ready(call(state, kept, rows))
    assert state.is_deleted()
    assert not kept.is_deleted()


def test_both_maps_give_the_same_bits(devices, monkeypatch):
    def function(weight, rows):
        slope = jax.grad(lambda w: jnp.sum(parallel.all_rows(jnp.tanh(rows @ w)) ** 2))(weight)
        return parallel.mean(slope)

    found = []
    for implementation in ("pmap", "shard_map"):
        monkeypatch.setattr(parallel, "IMPLEMENTATION", implementation)
        weight = np.float32([0.3, -0.8])
        found.append(np.asarray(mapped(function, devices, (None, 0))(weight, shares(devices))))
    assert found[0].tobytes() == found[1].tobytes()
