"""`data.load`: names of all kinds, and those that name nothing."""

import pytest

from jxhash import configuration, data
from jxhash.data.builders import prepared
from jxhash.errors import UserError


def test_names_that_cannot_be_loaded(tmp_path, monkeypatch):
    for name, message in (
        ("mirflick:dcmh", "no builder is called 'mirflick'"),
        ("mirflickr25k/pair:dcmh", "no config 'pair'; there are pairs, tags, labelled, pairs-s"),
        ("mirflickr25k:dcmh", r"holds no prepared data set; build it with `python -m"),
        ("mirflickr25k:dcmh:x", "a protocol and a seed"),
        ("mirflickr25k:dcmh:0:1", "a protocol and a seed"),
        ("mirflickr25k", "name a protocol after 'mirflickr25k', as in"),
        ("nuswide/tc21", "name a protocol after 'nuswide/tc21', as in"),
        ("mirflick", r"unknown data set .* with a protocol after it.*mirflickr25k, mscoco2014"),
    ):
        with pytest.raises(UserError, match=message):
            data.load(name, tmp_path)
    monkeypatch.delenv("JXHASH_DATA_DIR", raising=False)
    with pytest.raises(UserError, match=r"prepared data set: give the folder .*--data_dir"):
        data.load("mirflickr25k:dcmh")
    with pytest.raises(UserError, match="is not a prepared data set"):
        prepared.open_pairs(tmp_path)


@pytest.mark.parametrize(
    "name", ["no-such-pixels-64", "clipart-emoji-pixels-64", "clipart-pixels-0", "clipart-pixels-x"]
)
def test_pixels_of_unknown_data(name):
    with pytest.raises(UserError, match=r"unknown data set .* NAME-pixels-SIZE"):
        data.load(name)


def test_the_config_for_pixels():
    for name in ("clipart-pixels", "my/birds-pixels-96", "mirflickr25k-pixels-224:dcmh:1"):
        assert configuration.load(f"configs/dcmh.py:{name}").dcmh.image.name == "lite0"
    for name in ("clipart", "my-pixels-birds", "mirflickr25k:dcmh"):
        assert configuration.load(f"configs/dcmh.py:{name}").dcmh.image.name == "mlp"
