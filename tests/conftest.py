"""Two CPU devices for every test, no silent broadcasting between ranks, nothing compiled twice."""

import tempfile

import jax

jax.config.update("jax_num_cpu_devices", 2)
jax.config.update("jax_numpy_rank_promotion", "raise")

_compiled = tempfile.TemporaryDirectory()
jax.config.update("jax_compilation_cache_dir", _compiled.name)
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)
