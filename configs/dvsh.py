"""DVSH (Cao et al., KDD 2016): joint codes of pictures and sentences.

python -m jxhash.main --config=configs/dvsh.py     # clip art with sentences, in the package

To expect at 32 bits (image to text / text to image, mean of 3 seeds): MAP .66 / .79 (random .155).
It reads the first 12 known words of a text, where methods on bags of words see all of them.
"""

from ml_collections import ConfigDict

from jxhash.configuration import adam, run_config


def get_config(data: str = "clipart-sentences") -> ConfigDict:
    """The config for "clipart-sentences"."""
    return run_config(
        method="dvsh",
        data=data,
        bits=32,
        validate_every=10,
        dvsh=ConfigDict(
            {
                "epochs": 40,
                "image": {"hidden": (1024,), "dropout": 0.3},
                "text_embedding": 128,
                "text_width": 128,
                "text_dropout": 0.5,
                "similarity_margin": 0.2,  # mu_c; the paper: 0.5
                "bit_margin": 0.5,  # mu_b, the paper
                "similar_weight": 6.0,
                "quantization_weight": 0.01,  # lambda
                "hashing_weight": 0.01,  # beta
                "optimizer": adam(3e-3, 1e-4, weight_decay=1e-5),
            }
        ),
    )
