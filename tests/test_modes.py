"""Every public function of JAX arrays gives the same under every mode of JAX."""

import contextlib
import functools
import gc
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding
from loss_table import OTHER_FORMS, TABLE
from random_arrays import SQUARE, draw, exact, make_codes, normal

from jxhash import codes, discrete, losses, metrics, similarity


class Case(NamedTuple):
    """A function, its arrays and options; `live` are the positions that get a gradient."""

    function: Callable[..., Any]
    arrays: tuple[np.ndarray, ...]
    options: Mapping[str, Any] = MappingProxyType({})
    live: tuple[int, ...] = ()


def of_loss(name):
    this = TABLE[name]
    arrays = draw(this.arrays, 0, SQUARE)
    each = this.oracle(*exact(arrays))
    masks = {drop.option: drop.spread(np.arange(4) != 2) for drop in this.drops}
    weights = np.arange(1, each.size + 1, dtype=np.float32).reshape(each.shape)
    weights = weights[:, :1] if each.ndim == 2 else weights
    return Case(this.loss, arrays, {**masks, "weights": weights}, this.live)


rng = np.random.default_rng(0)
U, V, BOOKS, WEIGHTS = normal(rng, 6, 8), normal(rng, 4, 8), normal(rng, 2, 3, 8), normal(rng, 8, 3)
CODES, OTHERS = (make_codes(rng, *x.shape) for x in (U, V))
PACKED = codes.pack(CODES), codes.pack(OTHERS)
WORDS = rng.integers(0, 3, (6, 2), np.int32)
IDS = np.array([0, 1, 2, 0, 1, 2], np.int32), np.array([0, 0, 1, 2], np.int32)
LABELS = tuple(np.eye(3, dtype=np.float32)[ids] for ids in IDS)
SIGNED = np.where(LABELS[0] @ LABELS[1].T > 0, 1, -1).astype(np.int8)
WHERE = MappingProxyType({"where": np.arange(6) != 1})
PREVIOUS = MappingProxyType({"previous": CODES})
HISTOGRAM = metrics.distance_histogram


def keyed(function, *settings, **options):
    return lambda points, **more: function(jax.random.key(0), points, *settings, **options, **more)


def set_by(function, **options):
    return functools.partial(function, **options)


CASES = {
    **{name: of_loss(name) for name in TABLE if name not in OTHER_FORMS},
    "mmd_median": Case(set_by(losses.mmd_loss, gamma="median"), (U, V), live=(0, 1)),
    "balanced_weights": Case(losses.balanced_weights, (SIGNED,)),
    "share_label": Case(similarity.share_label, LABELS),
    "signed": Case(similarity.signed, LABELS),
    "cosine": Case(similarity.cosine, LABELS),
    "sign": Case(codes.sign, (U,), PREVIOUS),
    "pack": Case(codes.pack, (CODES,)),
    "unpack": Case(set_by(codes.unpack, num_bits=8), PACKED[:1]),
    "hamming_distance": Case(codes.hamming_distance, (CODES, OTHERS)),
    "hamming_distance_packed": Case(codes.hamming_distance, PACKED),
    "consensus": Case(discrete.consensus, (U, -U[::-1]), PREVIOUS),
    "trace_step": Case(set_by(discrete.trace_step, eta=0.5), (U, OTHERS, SIGNED), PREVIOUS),
    "reconstruct": Case(discrete.reconstruct, (LABELS[0], CODES > 0), WHERE),
    "icm": Case(discrete.icm, (U, BOOKS), {"previous": WORDS}),
    "fit_codebooks": Case(set_by(discrete.fit_codebooks, num_codewords=3), (U, WORDS), WHERE),
    "decode": Case(discrete.decode, (WORDS, BOOKS)),
    "quantized_inner_products": Case(discrete.quantized_inner_products, (V, WORDS, BOOKS)),
    "product_codebooks": Case(keyed(discrete.product_codebooks, 2, 2, steps=1), (U,), WHERE),
    "coordinate_descent": Case(discrete.cyclic_coordinate_descent, (U, WEIGHTS), PREVIOUS),
    "kmeans": Case(keyed(discrete.kmeans, 2, steps=1), (U,), WHERE),
    "anchor_bandwidth": Case(discrete.anchor_bandwidth, (U, BOOKS[0]), WHERE),
    "anchor_affinities": Case(
        set_by(discrete.anchor_affinities, bandwidth=2, nearest=2), (U, BOOKS[0])
    ),
    "distance_histogram": Case(HISTOGRAM, (CODES, OTHERS, *LABELS)),
    "distance_histogram_packed": Case(set_by(HISTOGRAM, num_bits=8), (*PACKED, *IDS)),
}
every_function = pytest.mark.parametrize("name", CASES)


def values(case, arrays, options):
    """The result, of a loss beside its gradients."""
    if not case.live:
        return case.function(*arrays, **options)

    def loss(*live):
        given = list(arrays)
        for position, x in zip(case.live, live, strict=True):
            given[position] = x
        return case.function(*given, **options)

    live = [arrays[position] for position in case.live]
    return jax.value_and_grad(loss, tuple(range(len(live))))(*live)


def run(name, place=jnp.asarray, wrap=jax.jit, function=values):
    case = CASES[name]
    arguments = jax.tree.map(place, (case.arrays, dict(case.options)))
    return wrap(functools.partial(function, case))(*arguments)


def value(case, arrays, options):
    return case.function(*arrays, **options)


@functools.cache
def expected(name):
    return jax.tree.map(np.asarray, run(name))


def assert_same(found, name, of=lambda expected: expected):
    def same(x, y):
        np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-5)

    jax.tree.map(same, found, of(expected(name)))


def assert_same_value(found, name):
    assert_same(found, name, lambda expected: expected[0] if CASES[name].live else expected)


def mesh(kind):
    return jax.make_mesh((2,), ("data",), axis_types=(kind,))


def on_mesh(kind):
    """Shards the first axis that two devices can share, and replicates other arrays."""

    def place(x):
        even = [axis for axis, length in enumerate(np.shape(x)) if length % 2 == 0][:1]
        spec = jax.P(*(None,) * even[0], "data") if even else jax.P()
        return jax.device_put(x, NamedSharding(mesh(kind), spec))

    return place


@contextlib.contextmanager
def with_64_bits():
    jax.config.update("jax_enable_x64", True)
    try:
        yield
    finally:
        jax.config.update("jax_enable_x64", False)


@every_function
def test_rows_sharded_over_explicit_axes(name):
    with jax.debug_nans(True):
        assert_same(run(name, on_mesh(AxisType.Explicit)), name)


@pytest.mark.parametrize(
    ("function", "placed", "spec"),
    [
        (similarity.share_label, ("data", "data"), ("data", None)),
        (similarity.cosine, ("data", None), ("data", None)),
        (codes.hamming_distance, (None, "data"), (None, "data")),
        (losses.quantization_loss, ("data", "data"), ()),
        (set_by(losses.quantization_loss, reduce_fn=None), ("data", None), ("data",)),
        (set_by(discrete.anchor_affinities, bandwidth=1), ("data", "data"), ("data", None)),
    ],
)
def test_results_are_laid_out_like_their_rows(function, placed, spec):
    arrays = np.eye(4, dtype=np.float32), np.tri(4, dtype=np.float32)
    explicit = mesh(AxisType.Explicit)
    on_axes = [
        x if axis is None else jax.device_put(x, NamedSharding(explicit, jax.P(axis)))
        for x, axis in zip(arrays, placed, strict=True)
    ]
    found = function(*on_axes)
    assert tuple(jax.typeof(found).sharding.spec) == spec
    np.testing.assert_array_equal(found, function(*arrays))


@pytest.mark.parametrize("name", ["pairwise_log_likelihood", "mmd", "kmeans", "hamming_distance"])
def test_rows_sharded_over_auto_axes(name):
    # Nothing of ours depends on Auto axes: the compiler alone distributes the work.
    assert_same_value(run(name, on_mesh(AxisType.Auto), function=value), name)


def traced(name, place=jnp.asarray, around=lambda function: function, function=values):
    """The shapes and dtypes of the result; nothing is compiled."""

    def wrap(function):
        return functools.partial(jax.eval_shape, around(function))

    return run(name, place, wrap, function)


@pytest.fixture(scope="module")
def frozen_heap():
    """Every search for a leak is a garbage collection; older objects need none."""
    gc.freeze()
    yield
    gc.unfreeze()


@every_function
def test_strict_dtypes_with_64_bits(name):
    def widened(x):
        return jnp.asarray(x, np.float64 if x.dtype == np.float32 else x.dtype)

    with with_64_bits(), jax.numpy_dtype_promotion("strict"):
        found, _ = traced(name), traced(name, widened)
    if name not in ("distance_histogram", "distance_histogram_packed"):
        assert all(x.dtype != np.float64 for x in jax.tree.leaves(found))


@every_function
def test_without_jit(name):
    # Loops are Python loops then, whose counters are no arrays.
    with jax.disable_jit():
        traced(name, function=value)


@every_function
def test_leaks_no_tracer(name, frozen_heap):
    with jax.checking_leaks():
        traced(name, function=value)


@every_function
def test_under_vmap(name):
    traced(name, lambda x: jnp.asarray(x)[None], jax.vmap)


@every_function
def test_under_checkpoint(name):
    traced(name, around=jax.checkpoint)


@pytest.mark.parametrize("check_vma", [True, False])
@pytest.mark.parametrize("kind", [AxisType.Auto, AxisType.Explicit])
@every_function
def test_under_shard_map(name, kind, check_vma):
    options = {"in_specs": jax.P(), "out_specs": jax.P(), "check_vma": check_vma}
    traced(name, around=lambda function: jax.shard_map(function, mesh=mesh(kind), **options))
