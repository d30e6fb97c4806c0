"""THN (Cao et al., AAAI 2017): emoji meet through clip art, without one emoji label.

    python -m jxhash.main --config=configs/thn.py

Clip art with texts and labels is the auxiliary collection; emoji pictures and the texts of other
emoji are the two collections that have no pair between them. To expect: MAP .43 / .43 (mean of 5
seeds; random .148), in half a minute on two cores. The paper gives no numbers for lambda, mu and
the schedule: all are ours, chosen on held-out clip art, on which MAP is .71 / .94. With equal
weights of all pairs and without balance a third of the text bits are constant.
"""

from ml_collections import ConfigDict

from jxhash.configuration import adam, mlps, run_config


def get_config(data: str = "clipart-emoji") -> ConfigDict:
    """The config for "clipart-emoji"."""
    return run_config(
        method="thn",
        data=data,
        bits=32,
        batch_size=256,
        validate_every=10,
        thn=ConfigDict(
            {
                "epochs": 120,
                "layers": mlps((512,), dropout=0.5),
                "similar_weight": 6.0,
                "balance_weight": 0.03,
                "quantization_weight": 1e-4,
                "mmd_weight": 1.0,
                "optimizer": adam(3e-3, 3e-4, weight_decay=1e-3),
            }
        ),
    )
