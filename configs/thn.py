"""THN"""
from ml_collections import ConfigDict
from jxhash.configuration import run_config
def get_config(data="clipart-emoji"):
    return run_config(method="thn", data=data or "clipart-emoji", bits=32, validate_every=5, thn=ConfigDict(dict(
        epochs=40, image_hidden=(512,), text_hidden=(512,), dropout=0.3,
        quantization_weight=0.01, mmd_weight=1.0,
        optimizer=dict(name="adam", learning_rate=1e-3, final_learning_rate=1e-4, decay="geometric", momentum=0.0, weight_decay=0.0))))
