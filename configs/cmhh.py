"""CMHH (Cao, Liu, Long and Wang, ECCV 2018).

python -m jxhash.main --config=configs/cmhh.py             # clip art, comes with the package
python -m jxhash.main --config=configs/cmhh.py:wikipedia   # needs its archive, see --data_dir

To expect at 32 bits (image to text / text to image, mean of 3 seeds, database encoded): clip art
MAP .721 / .911 (random .155), Wikipedia .352 / .730 (random .111). What the method is for, the
precision within radius 2, P(r<=2) of the report: clip art .61 / .89, Wikipedia .22 / .56.

The prior Q is a danger early on: with lambda 0.1 (Q is in bits) all codes of clip art fall into one
before the classes part (validation MAP .16 to .33); with 0.01 or less they do not.
"""

from ml_collections import ConfigDict

from jxhash.configuration import adam, mlps, run_config, variant

# Chosen on the validation split of clip art. We know no values by the authors; a public port has
# gamma 2, no prior, and a beta of 0.5 for another distance.
CLIPART = {
    "epochs": 80,
    "layers": mlps((1024,), dropout=0.5),
    "beta": 0.1,
    "focusing": 2.0,  # gamma
    "quantization_weight": 3e-3,  # lambda
    "optimizer": adam(1e-3, 1e-4, weight_decay=1e-4),
}

# Chosen on 200 held-out training rows (the data set "wikipedia-held-out").
WIKIPEDIA = {
    **CLIPART,
    "epochs": 120,
    "layers": mlps((512, 512), dropout=0.0),
    "optimizer": {**CLIPART["optimizer"], "weight_decay": 2e-3},
}


# For any other data, see `jxhash.auto_settings`.
OWN = {**CLIPART, "epochs": "auto"}


def get_config(data: str = "clipart") -> ConfigDict:
    """The config for "clipart", "wikipedia", "wikipedia-held-out", or data of one's own."""
    settings = variant(data, {"clipart": CLIPART, "wikipedia": WIKIPEDIA}, OWN)
    return run_config(
        method="cmhh",
        data=data,
        bits=32,
        batch_size=variant(data, {"clipart": 128, "wikipedia": 128}, "auto"),
        validate_every=10,
        cmhh=ConfigDict(settings),
    )
