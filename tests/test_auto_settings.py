"""Settings that a config leaves open."""

import pytest
import small

from jxhash import auto_settings, configuration
from jxhash.errors import UserError


@pytest.mark.parametrize(
    ("rows", "batch_size", "epochs"),
    [(1, 32, 2000), (240, 32, 250), (2000, 128, 125), (5000, 256, 100), (45_000, 256, 20)],
)
def test_numbers_follow_the_rows(rows, batch_size, epochs):
    made = small.config("dcmh", batch_size=0)
    values = made.to_dict() | {"batch_size": "auto"}
    values["dcmh"]["epochs"] = "auto"
    settled = auto_settings.resolved(type(made)(values), rows)
    assert settled.chosen == {"batch_size": batch_size, "dcmh.epochs": epochs}
    assert settled.config.batch_size == batch_size
    assert settled.config.dcmh.epochs == epochs


@pytest.mark.parametrize(
    ("rows", "bits", "anchors"), [(2000, 32, 400), (240, 32, 120), (70, 64, 65), (25, 32, 25)]
)
def test_anchors_are_more_than_the_bits(rows, bits, anchors):
    config = configuration.load("configs/lcmh.py:own.npz")
    config.bits = bits
    assert auto_settings.resolved(config, rows).chosen == {"lcmh.anchors": anchors}


def test_what_is_given_stays():
    made = small.config("dcmh")
    settled = auto_settings.resolved(made, 10)
    assert settled.config.to_dict() == made.to_dict()
    assert settled.chosen == {}


def test_numbers_of_the_command_line_are_texts():
    config = configuration.load("configs/chn.py:own.npz")
    config.batch_size = "48"  # what --config.batch_size=48 puts there
    auto_settings.read_numbers(config)
    assert auto_settings.read_run(config).batch_size == 48
    config.batch_size = 7  # what Python puts there
    assert auto_settings.read_run(config).batch_size == 7
    config.batch_size = "many"
    with pytest.raises(UserError, match="'batch_size' holds 'many', which is no int"):
        auto_settings.read_run(config)


def test_settings_can_be_left_open():
    config = configuration.load("configs/dcmh.py")
    auto_settings.leave_open(config, ["batch_size", "dcmh.epochs"])
    assert auto_settings.resolved(config, 240).chosen == {"batch_size": 32, "dcmh.epochs": 250}
    with pytest.raises(UserError, match="'bits' cannot be 'auto', only batch_size, epochs"):
        auto_settings.leave_open(config, ["bits"])
    with pytest.raises(KeyError, match="epochs"):
        auto_settings.leave_open(config.copy_and_resolve_references().lock(), ["chn.epochs"])
