"""LCMH (Zhu et al., ACM Multimedia 2013): unsupervised, no labels and no network.

python -m jxhash.main --config=configs/lcmh.py             # clip art, comes with the package
python -m jxhash.main --config=configs/lcmh.py:wikipedia   # needs its archive, see --data_dir
"""

from ml_collections import ConfigDict

from jxhash.configuration import run_config

CLIPART = {
    "anchors": 400,
    "kmeans_steps": 20,
    "bandwidth": 0.2,
    "constraint": "cca",
    "regularization": 0.3,
}

WIKIPEDIA = {**CLIPART}


def get_config(data: str = "clipart") -> ConfigDict:
    """The config for a data set.

    Args:
      data: "clipart", "wikipedia" or "wikipedia-held-out".

    Returns:
      A config of which every value can be changed on the command line.
    """
    settings = WIKIPEDIA if data.startswith("wikipedia") else CLIPART
    return run_config(
        method="lcmh", data=data, bits=32, validate_every=1, lcmh=ConfigDict(settings)
    )
