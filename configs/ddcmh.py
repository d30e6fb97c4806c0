"""DDCMH (Chen et al., AAAI 2018).

python -m jxhash.main --config=configs/ddcmh.py             # clip art, comes with the package
python -m jxhash.main --config=configs/ddcmh.py:wikipedia   # needs its archive, see --data_dir

To expect at 32 bits (image to text / text to image, mean of 3 seeds, database encoded): clip art
MAP .69 / .88 (random .155; learned codes .71 / .90), Wikipedia .34 / .53 (random .111; learned
codes .404 / .753). What keeps the image network from learning Wikipedia's training pictures by
heart (dropout of inputs) helps unseen queries, and costs text to image its encoded database.
"""

from ml_collections import ConfigDict

from jxhash.configuration import adam, run_config, variant

ADAM = adam(1e-3, 1e-4, weight_decay=1e-4)

# Chosen on the validation split of clip art. The paper's networks are AlexNet and three fully
# connected layers; its schedule is not known to us.
CLIPART = {
    "cosdish_restarts": 20,
    "reencoded_share": 0.0,
    "image_epochs": 60,
    "text_epochs": 60,
    "layers": {
        "image": {"hidden": (1024,), "dropout": 0.5, "input_dropout": 0.0},
        "text": {"hidden": (1024,), "dropout": 0.5},
    },
    "image_optimizer": {**ADAM},
    "text_optimizer": {**ADAM},
}

# Chosen by cross-validation in five folds of the training rows, MAP of learned codes there: .353 /
# .773 with one draw of COSDISH and no dropout of inputs, .368 / .780 with both, .375 / .788 with a
# quarter of the bits told from the texts.
WIKIPEDIA = {
    **CLIPART,
    "reencoded_share": 0.25,
    "image_epochs": 100,
    "text_epochs": 75,
    "layers": {
        "image": {"hidden": (2048,), "dropout": 0.5, "input_dropout": 0.4},
        "text": {"hidden": (512, 512), "dropout": 0.2},
    },
    "image_optimizer": {**ADAM, "weight_decay": 3e-4},
    "text_optimizer": {**ADAM, "weight_decay": 0.0},
}


# For any other data, see `jxhash.auto_settings`.
OWN = {**CLIPART, "image_epochs": "auto", "text_epochs": "auto"}


def get_config(data: str = "clipart") -> ConfigDict:
    """The config for "clipart", "wikipedia", "wikipedia-held-out", or data of one's own."""
    settings = variant(data, {"clipart": CLIPART, "wikipedia": WIKIPEDIA}, OWN)
    return run_config(
        method="ddcmh",
        data=data,
        bits=32,
        batch_size=variant(data, {"clipart": 128, "wikipedia": 128}, "auto"),
        validate_every=10,
        ddcmh=ConfigDict(settings),
    )
