"""Configs: what is wrong with one is said with the path of the key."""

import pytest
from ml_collections import ConfigDict

import jxhash
from jxhash import configuration
from jxhash.configuration import NotNegative, Positive, Rate, read_settings, settings
from jxhash.errors import UserError


@settings
class Inner:
    #: a width
    width: Positive[int]
    rate: Rate = 0.0


@settings
class Outer:
    inner: Inner
    sizes: tuple[Positive[int], ...]
    weight: NotNegative[float] | None


def outer(**changes):
    made = {"inner": {"width": 3}, "sizes": (1, 2), "weight": 1}
    made["inner"] |= {key[6:]: value for key, value in changes.items() if key.startswith("inner_")}
    return made | {key: value for key, value in changes.items() if not key.startswith("inner_")}


def test_settings_are_read():
    assert read_settings(outer(weight=None), Outer) == Outer(Inner(3, 0.0), (1, 2), None)
    assert type(read_settings(outer(), Outer).weight) is float


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"inner_width": 0}, "config key 'm.inner.width' must be positive, not 0"),
        ({"inner_width": 1.5}, "config key 'm.inner.width' holds 1.5, which is no int"),
        ({"inner_rate": 1.0}, "config key 'm.inner.rate' must be at least 0 and below 1, not 1.0"),
        ({"inner_widht": 3}, "unknown config key 'm.inner.widht'; did you mean 'width'?"),
        ({"inner": None}, "config key 'm.inner' holds None, not settings of its own"),
        ({"sizes": (1, 0)}, "config key 'm.sizes' must be positive, not 0"),
        ({"sizes": 3}, "config key 'm.sizes' holds 3, not a tuple"),
        ({"weight": float("nan")}, "config key 'm.weight' holds nan; give a finite number"),
        ({"weight": True}, "config key 'm.weight' holds True, which is no float"),
    ],
)
def test_mistakes_are_named_with_their_path(changes, message):
    with pytest.raises(UserError) as found:
        read_settings(outer(**changes), Outer, "m.")
    assert str(found.value) == message


def test_missing_keys_are_named():
    with pytest.raises(UserError, match=r"lacks 'm\.sizes', 'm\.weight'"):
        read_settings({"inner": {"width": 3}}, Outer, "m.")


def test_configs_that_are_none(tmp_path):
    made = configuration.load("configs/chn.py")
    without = ConfigDict({key: value for key, value in made.items() if key != "chn"})
    for config, message in (
        ("configs/chn.py", "a config is a ConfigDict, .* not str"),
        (made.to_dict(), "a config is a ConfigDict, .* not dict"),
        (without, "config key 'method' is 'chn', and the config has no settings 'chn'"),
    ):
        with pytest.raises(UserError, match=message):
            jxhash.run(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_adams_b1_is_a_setting():
    assert configuration.load("configs/dcmh.py:wikipedia").dcmh.optimizer.b1 == 0.9
