"""CDQ (Cao et al., AAAI 2017).

python -m jxhash.main --config=configs/cdq.py             # clip art, comes with the package
python -m jxhash.main --config=configs/cdq.py:wikipedia   # needs its archive, see --data_dir

To expect at 32 bits (image to text / text to image, mean of 3 seeds, database encoded): clip art
MAP .66 / .88 (random .155; learned codes .71 / .91), Wikipedia .315 / .70 (random .111; learned
codes .31 / .70).
"""

from ml_collections import ConfigDict

from jxhash.configuration import adam, mlps, run_config, variant

# Chosen on the validation split of clip art. The authors' code: sgd with momentum .9, .002 for
# images and .2 for text, halved every 15 epochs, 30 epochs, dropout .5, width 128, lambda .003,
# alpha 1, AlexNet and one hidden layer of 4096.
CLIPART = {
    "first_epochs": 5,
    "epochs": 40,
    "layers": mlps((1024,), dropout=0.5),
    "width": 128,
    "codewords": 256,
    "icm_sweeps": 1,
    "scale": 0.2,
    "quantization_weight": 3e-3,
    "optimizer": adam(1e-3, 1e-4, weight_decay=1e-4),
}

# Chosen on 200 held-out training rows (the data set "wikipedia-held-out").
WIKIPEDIA = {
    **CLIPART,
    "layers": mlps((512, 512), dropout=0.0),
    "optimizer": {**CLIPART["optimizer"], "weight_decay": 3e-4},
}


# For any other data, see `jxhash.auto_settings`.
# Every epoch fits the codebooks, which takes as long for few rows as for many.
OWN = {**CLIPART}


def get_config(data: str = "clipart") -> ConfigDict:
    """The config for "clipart", "wikipedia", "wikipedia-held-out", or data of one's own."""
    settings = variant(data, {"clipart": CLIPART, "wikipedia": WIKIPEDIA}, OWN)
    return run_config(
        method="cdq",
        data=data,
        bits=32,
        batch_size=variant(data, {"clipart": 128, "wikipedia": 128}, "auto"),
        validate_every=5,
        cdq=ConfigDict(settings),
    )
