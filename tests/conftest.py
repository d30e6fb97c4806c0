"""Two CPU devices for every test, no silent broadcasting between ranks, nothing compiled twice."""

import os
import tempfile

# In the environment, and not by jax.config, so that the processes that run beside this one, and
# those that tests start, find what the others compiled.
if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
    _compiled = tempfile.TemporaryDirectory()
    os.environ["JAX_COMPILATION_CACHE_DIR"] = _compiled.name
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.2"

# Compiling takes most of the tests' time. The commands of the README run optimised code.
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")

import hypothesis
import jax
import pytest

from jxhash import parallel

jax.config.update("jax_num_cpu_devices", 2)
jax.config.update("jax_numpy_rank_promotion", "raise")

# For `pytest tests/test_fuzz.py --hypothesis-profile=long`.
hypothesis.settings.register_profile("long", max_examples=2000, deadline=None)


def pytest_make_parametrize_id(val):
    """A file's content gives a test no name: an archive holds the time at which it was made.

    The processes that share the tests must all find the same names.
    """
    if isinstance(val, bytes) or (isinstance(val, str) and len(val) > 80):
        return "content"
    return None


@pytest.fixture(params=["pmap", "shard_map"])
def pmapped_by(request, monkeypatch):
    """The implementation of `pmapped`."""
    monkeypatch.setattr(parallel, "IMPLEMENTATION", request.param)
    return request.param
