"""jxhash maps pictures and texts to short binary codes in one shared space.

Either can then search the other by Hamming distance. The pure layers `losses`, `discrete`,
`metrics`, `codes` and `similarity` compose in other JAX code without a config, a data set or Flax;
`run` trains and measures a config. Every name is resolved when it is first used: `import jxhash`
imports nothing.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jxhash import codes, discrete, losses, metrics, similarity
    from jxhash.running import run

__version__ = "0.2.0"

__all__ = ["codes", "discrete", "losses", "metrics", "run", "similarity"]

# The modules of public functions; the other public names are modules themselves.
_FUNCTIONS = {"run": "running"}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = importlib.import_module(f"{__name__}.{_FUNCTIONS.get(name, name)}")
    return getattr(module, name) if name in _FUNCTIONS else module


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
