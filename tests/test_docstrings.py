"""What docstrings show is what happens."""

import doctest
import importlib
import inspect
import pkgutil

import pytest

import jxhash
from jxhash import discrete, losses

MODULES = [module.name for module in pkgutil.walk_packages(jxhash.__path__, "jxhash.")]


@pytest.mark.parametrize("name", [name for name in MODULES if "configs" not in name])
def test_examples(name):
    assert doctest.testmod(importlib.import_module(name)).failed == 0


@pytest.mark.parametrize("module", [losses, discrete])
def test_public_functions_have_an_example(module):
    missing = [name for name in module.__all__ if ">>> " not in inspect.getdoc(vars(module)[name])]
    assert not missing
