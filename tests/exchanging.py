"""One of several processes that exchange arrays and check what they receive: coordinator, number of
processes, number of this one."""

import sys
import time

import jax
import jax.numpy as jnp
import numpy as np

from jxhash import parallel, processes

TYPES = ("float32", "float16", "bfloat16", "int32", "uint32", "int8", "uint8", "bool")


def arrays_of(device):
    """What a device brings: every type, NaN, infinities, the smallest numbers, no rows, no axes."""
    generator = np.random.default_rng(device)
    whole = {name: generator.integers(-100, 100, (3, 2)).astype(name) for name in TYPES}
    return whole | {
        "odd": np.float32([[np.nan, -np.inf, np.inf, -0.0, 1e-42, 1e38]] * 3),
        "large": np.int32([[2**31 - 1, -(2**31), 2**24 + 1]] * 3),
        "empty": np.zeros((3, 0), "float32"),
        "long": generator.standard_normal((3, 2**17)).astype("float32"),
    }


def same(found, expected):
    """Bit for bit, so that NaN is NaN and minus zero stays that."""
    found = np.asarray(found)
    assert found.dtype == expected.dtype
    assert found.shape == expected.shape
    assert found.tobytes() == expected.tobytes()


def main():
    """Exchanges; an AssertionError ends the process."""
    coordinator, number, process = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    processes.join(coordinator, number, process)
    devices, own = jax.device_count(), jax.local_device_count()
    every = [arrays_of(device) for device in range(devices)]
    mine = jax.tree.map(lambda *x: np.stack(x), *every[process * own : (process + 1) * own])

    gathered = parallel.pmapped(parallel.all_rows, in_axes=(0,))(mine)
    for name, rows in gathered.items():
        same(rows, np.concatenate([arrays[name] for arrays in every]))

    numbers = {name: mine[name] for name in ("float32", "int32", "long")} | {
        "scalar": mine["float32"][:, 0, 0]
    }
    added = parallel.pmapped(parallel.total, in_axes=(0,))(numbers)
    for name in ("float32", "int32", "long"):
        expected = sum(arrays[name].astype("float64") for arrays in every)
        np.testing.assert_allclose(added[name], expected, rtol=1e-6, atol=1e-6)
        assert added[name].dtype == every[0][name].dtype
    assert added["scalar"] == sum(arrays["float32"][0, 0] for arrays in every)
    # What is not the same on all devices sooner or later makes other trainings of them.
    assert len(set(processes.from_every(np.asarray(added["long"]).tobytes().hex))) == 1
    averaged = parallel.pmapped(parallel.mean, in_axes=(0,))(numbers)
    np.testing.assert_allclose(averaged["long"], added["long"] / devices, rtol=1e-6)

    def slope(x, weights):
        def of_all(x):
            rows = parallel.all_rows((x, jnp.arange(3)))[0]
            return jnp.sum(rows * weights)

        return parallel.all_rows(jax.grad(of_all)(x))

    weights = np.random.default_rng(99).standard_normal((3 * devices, 2)).astype("float32")
    found = parallel.pmapped(slope, in_axes=(0, None))(mine["float32"], weights)
    np.testing.assert_allclose(found, weights * devices, rtol=1e-6)

    # After what a gradient sends, long messages take the milliseconds that they took before.
    add = parallel.pmapped(parallel.total, in_axes=(0,))
    jax.block_until_ready(add(mine["long"]))
    began = time.monotonic()
    for _ in range(20):
        jax.block_until_ready(add(mine["long"]))
    assert time.monotonic() - began < 2


if __name__ == "__main__":
    main()
