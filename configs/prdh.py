"""PRDH (Yang et al., AAAI 2017).

python -m jxhash.main --config=configs/prdh.py             # clip art, comes with the package
python -m jxhash.main --config=configs/prdh.py:wikipedia   # needs its archive, see --data_dir

To expect at 32 bits (image to text / text to image, mean of 3 seeds, database encoded): clip art
MAP .72 / .90 (random .155; learned codes .73 / .91), Wikipedia .30 / .69 (random .111; learned
codes .33 / .71).

With pairs within a modality at the paper's weight of 1, images and texts first settle on codes of
their own, and the shared codes take longer: after 60 epochs 13 % of the bits still flip in an epoch
and validation MAP is .65 / .80, with a weight of 0.3 it is .70 / .87.
"""

from ml_collections import ConfigDict

from jxhash.configuration import adam, mlps, run_config, variant

# Chosen on the validation split of clip art. We know no values of the paper but the three layers
# of its text network; a public port has lambda 1 and gamma 1 over 500 epochs of sgd.
CLIPART = {
    "epochs": 120,
    "layers": mlps((1024,), dropout=0.5, hash_init=0.05),
    "intra_weight": 0.3,  # the paper: 1
    "decorrelation_weight": 1e-3,  # lambda
    "quantization_weight": 30.0,  # gamma
    "balance_weight": 1e-3,  # gamma in the paper
    "optimizer": adam(2e-3, 1e-4, weight_decay=1e-4),
}

# Chosen on 200 held-out training rows (the data set "wikipedia-held-out").
WIKIPEDIA = {
    **CLIPART,
    "epochs": 200,
    "layers": mlps((512, 512), dropout=0.0, hash_init=0.2),
    "intra_weight": 0.1,
    "quantization_weight": 3.0,
    "optimizer": {**CLIPART["optimizer"], "learning_rate": 1e-3, "weight_decay": 3e-4},
}


# For any other data, see `jxhash.auto_settings`.
OWN = {**CLIPART, "epochs": "auto"}


def get_config(data: str = "clipart") -> ConfigDict:
    """The config for "clipart", "wikipedia", "wikipedia-held-out", or data of one's own."""
    settings = variant(data, {"clipart": CLIPART, "wikipedia": WIKIPEDIA}, OWN)
    return run_config(
        method="prdh",
        data=data,
        bits=32,
        batch_size=variant(data, {"clipart": 128, "wikipedia": 128}, "auto"),
        validate_every=10,
        prdh=ConfigDict(settings),
    )
