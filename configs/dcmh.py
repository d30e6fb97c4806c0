r"""DCMH (Jiang and Li, CVPR 2017).

python -m jxhash.main --config=configs/dcmh.py             # clip art, comes with the package
python -m jxhash.main --config=configs/dcmh.py:wikipedia   # needs its archive, see --data_dir
python -m jxhash.main --config=configs/dcmh.py:clipart-pixels   # Lite0 trained from pixels
python -m jxhash.main --config=configs/dcmh.py:clipart-pixels-224 \
    --config.dcmh.image.name=cnn-f --config.dcmh.image.weights=imagenet-vgg-f.mat
python -m jxhash.main --config=configs/dcmh.py:photographs-pixels-224   # a folder with a table

To expect at 32 bits (image to text / text to image, mean of 3 seeds, database encoded): clip art
MAP .72 / .91 (random .155), Wikipedia .295 / .71 (random .111; learned codes .325 / .73).
"""

import re

from ml_collections import ConfigDict

from jxhash.configuration import adam, run_config, variant

# Chosen on the validation split of clip art. The paper's own schedule (sgd, 10^-1.5 falling to
# 10^-6 over 500 epochs, both weights 1, no dropout) is for CNN-F trained end to end.
CLIPART = {
    "epochs": 120,
    "image": {
        "name": "mlp",
        "hidden": (1024,),
        "dropout": 0.5,
        "hash_init": 0.05,  # the paper's code: 0.01
        "weights": "",
        "augment_pixels": 0,
        "pretrained_rate": 1.0,
    },
    "text": {"hidden": (1024,), "dropout": 0.5, "hash_init": 0.05},
    "quantization_weight": 30.0,  # gamma; the paper: 1
    "balance_weight": 1e-3,  # eta; the paper: 1
    "optimizer": adam(1e-3, 1e-4, weight_decay=1e-4),
}

# Chosen on 200 held-out training rows (the data set "wikipedia-held-out").
WIKIPEDIA = {
    **CLIPART,
    "epochs": 300,
    "image": {**CLIPART["image"], "hidden": (512, 512), "dropout": 0.0},
    "text": {**CLIPART["text"], "hidden": (512, 512), "dropout": 0.0},
    "quantization_weight": 3.0,
    "optimizer": {**CLIPART["optimizer"], "weight_decay": 3e-4},
}

# From pixels, chosen on the validation split of clip art at 64 x 64: of the rates .2, .03, .01 and
# .003 the last was best by far. So few pictures soon spoil pretrained weights that move fast.
PIXELS = {
    **CLIPART,
    "epochs": 25,
    "image": {
        **CLIPART["image"],
        "name": "lite0",
        "hash_init": 0.01,
        "augment_pixels": 3,
        "pretrained_rate": 0.003,
    },
    "text": {**CLIPART["text"], "hash_init": 0.01},
    "quantization_weight": 3.0,
}


# For any other data, see `jxhash.auto_settings`.
OWN = {**CLIPART, "epochs": "auto"}


def get_config(data: str = "clipart") -> ConfigDict:
    """The config for a data set.

    Args:
      data: "clipart", "wikipedia", "wikipedia-held-out", or any other that `jxhash.data` loads;
        settings are those for pixels where it is called NAME-pixels-SIZE.

    Returns:
      A config of which every value can be changed on the command line.
    """
    settings = variant(data, {"clipart": CLIPART, "wikipedia": WIKIPEDIA}, OWN)
    batch_size = variant(data, {"clipart": 128, "wikipedia": 128}, "auto")
    if re.search("-pixels(-[0-9]+)?(:|$)", data):
        settings, batch_size = PIXELS, 32
    return run_config(
        method="dcmh",
        data=data,
        bits=32,
        batch_size=batch_size,
        validate_every=10,
        dcmh=ConfigDict(settings),
    )
