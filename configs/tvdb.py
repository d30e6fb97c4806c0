"""TVDB (Shen et al., ICCV 2017): regions of pictures and crops of sentences.

pip install 'jxhash[regions,pretrained]'           # to work out the regions, once
python -m jxhash.main --config=configs/tvdb.py     # clip art, in the package

To expect at 32 bits (image to text / text to image, mean of 3 seeds, database encoded): MAP .63 /
.76 (random .155; learned codes .65 / .88). It reads the first 12 known words of a text, where
methods on bags of words see all of them.
"""

from ml_collections import ConfigDict

from jxhash.configuration import adam, run_config


def get_config(data: str = "clipart-regions") -> ConfigDict:
    """The config for "clipart-regions"."""
    return run_config(
        method="tvdb",
        data=data,
        bits=32,
        validate_every=10,
        tvdb=ConfigDict(
            {
                "epochs": 20,
                "image_width": 128,
                "image_hidden": 512,
                "text_embedding": 128,  # the paper
                "text_kernels": (1, 3),
                "text_filters": 128,
                "text_hidden": 512,
                "image_dropout": 0.5,
                "text_dropout": 0.5,
                "output_weight": 0.05,  # eta
                "rounds": 3,
                "optimizer": adam(1e-3, 1e-4, weight_decay=1e-5),
            }
        ),
    )
