"""DCMH."""
from ml_collections import ConfigDict
from jxhash.configuration import run_config
def get_config(data="clipart"):
    return run_config(method="dcmh", data=data, bits=32, dcmh=ConfigDict(dict(
        epochs=100, image_hidden=(1024,), text_hidden=(1024,), dropout=0.0, hash_init=0.05,
        quantization_weight=1.0, balance_weight=0.0,
        optimizer=dict(name="adam", learning_rate=1e-3, final_learning_rate=1e-4, decay="geometric", momentum=0.0, weight_decay=0.0))))
