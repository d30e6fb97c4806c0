"""Codes: values by hand, and numpy against jax."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jxhash import codes


@pytest.mark.parametrize("xp", [np, jnp])
def test_sign_has_two_values(xp):
    x = xp.asarray([2.0, -0.5, 0.0, -0.0])
    assert codes.sign(x).tolist() == [1, -1, 1, 1]
    assert codes.sign(x, -1).tolist() == [1, -1, -1, -1]
    assert codes.sign(x, xp.asarray([-1, 1, -1, 0])).tolist() == [1, -1, -1, 1]
    assert codes.sign(x).dtype == np.int8
    assert isinstance(codes.sign(x), jax.Array if xp is jnp else np.ndarray)


@pytest.mark.parametrize("num_bits", [1, 7, 8, 9, 64])
def test_pack_and_unpack(num_bits):
    made = codes.sign(np.random.default_rng(0).normal(size=(5, num_bits)))
    packed = codes.pack(made)
    assert packed.shape == (5, -(-num_bits // 8))
    np.testing.assert_array_equal(packed, codes.pack(jnp.asarray(made)))
    np.testing.assert_array_equal(codes.unpack(packed, num_bits), made)
    np.testing.assert_array_equal(codes.unpack(jnp.asarray(packed), num_bits), made)


@pytest.mark.parametrize("num_bits", [3, 64, 200])
def test_hamming_distance_counts(num_bits):
    generator = np.random.default_rng(1)
    a, b = (codes.sign(generator.normal(size=(n, num_bits))) for n in (4, 6))
    expected = [[int(np.sum(x != y)) for y in b] for x in a]
    forms = (np.asarray, jnp.asarray, lambda c: jnp.asarray(c, jnp.bfloat16), codes.pack)
    for form in (*forms, lambda c: np.asfortranarray(codes.pack(c))):
        assert codes.hamming_distance(form(a), form(b)).tolist() == expected
    assert jax.jit(codes.hamming_distance)(a, b).tolist() == expected


def test_wrong_codes_are_refused():
    a = np.ones((2, 8), np.int8)
    with pytest.raises(TypeError, match="packed"):
        codes.hamming_distance(a, codes.pack(a))
    with pytest.raises(ValueError, match="one length on both sides, not 8 and 4 bits"):
        codes.hamming_distance(a, a[:, :4])
    with pytest.raises(ValueError, match="matrices with one row per item"):
        codes.hamming_distance(a[0], a)
    with pytest.raises(TypeError, match="integer"):
        codes.unpack(codes.pack(a), 7.5)
    with pytest.raises(ValueError, match="bytes"):
        codes.unpack(codes.pack(a), 9)
    with pytest.raises(TypeError, match="uint8"):
        codes.unpack(a, 8)
