"""Training from encoded pictures: decoded ahead, augmented on the device."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import small
from drawn import SIZE, drawn_pictures, encoded, pretrained_fit
from weight_files import random_variables

from jxhash import data, methods
from jxhash.configuration import read_run
from jxhash.data.dataset import Items, both_directions
from jxhash.errors import UserError
from jxhash.evaluation.encode import encode
from jxhash.networks import efficientnet_lite, picture_hash, pretrained
from jxhash.networks.picture_encoder import Encoder
from jxhash.training import engine, schedule

TRAINED = {"epochs": 15, "image.name": "lite0", "image.augment_pixels": 2}


def test_shift_and_flip_moves_and_mirrors():
    pixels = drawn_pictures(40)
    keys = jax.random.split(jax.random.key(0), 40)
    moved = jax.jit(picture_hash.shift_and_flip, static_argnums=2)
    found = np.asarray(moved(pixels, keys, 1))
    padded = np.pad(pixels, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="edge")
    seen = set()
    for number in range(40):
        crops = {
            (down, right, flip): padded[number, down : down + SIZE, right : right + SIZE][:, ::flip]
            for down in range(3)
            for right in range(3)
            for flip in (1, -1)
        }
        ways = [way for way, crop in crops.items() if np.array_equal(crop, found[number])]
        assert len(ways) == 1
        seen.update(ways)
    assert len(seen) > 12
    # A picture's way depends on its key alone.
    again = np.asarray(moved(np.roll(pixels, 7, axis=0), jnp.roll(keys, 7), 1))
    np.testing.assert_array_equal(np.roll(again, -7, axis=0), found)


def pixels_dataset(wrap):
    """The small data set, its images as pictures of which each class has a colour."""
    given = small.dataset(60)

    def painted(labels, seed):
        generator = np.random.default_rng(seed)
        colours = np.random.default_rng(7).integers(40, 216, (small.CLASSES, 3))
        mean = (labels @ colours) / np.maximum(labels.sum(axis=1), 1)[:, None]
        noise = generator.normal(0, 20, (len(labels), SIZE, SIZE, 3))
        return np.clip(mean[:, None, None] + noise, 0, 255).astype(np.uint8)

    def items(old, seed):
        image = wrap(painted(old.labels, seed))
        return Items({**old.inputs, "image": image}, old.labels, old.titles)

    train = items(given.trained, 0)
    return dataclasses.replace(
        given,
        training={"pairs": {**train.inputs, "labels": train.labels}},
        tasks=both_directions(items(given.tasks[0].query, 1), train),
        validation=(),
        trained=train,
    )


@pytest.fixture
def small_network(monkeypatch):
    """Stands in where the test is not about a network: a layer over the mean colour."""

    def apply(variables, pixels):
        mean = jnp.mean(pixels.astype(jnp.float32), axis=(1, 2)) / 64 - 2
        return jax.nn.relu(mean @ variables["params"]["kernel"] + variables["shift"])

    kernel = jax.random.normal(jax.random.key(5), (3, 32))
    variables = {"params": {"kernel": kernel}, "shift": jnp.ones((1, 32))}
    made = Encoder(pretrained_fit, jax.jit(apply), variables, 32, SIZE, "mean colours")
    monkeypatch.setitem(pretrained._MAKERS, "lite0", lambda path: made)
    monkeypatch.setattr(pretrained, "weights_file", lambda name, path: path)


def trained(given, folder):
    method, run = small.build(small.config("dcmh", **TRAINED), given)
    return method, engine.train(method, given.training, run, folder)


@pytest.mark.usefixtures("small_network")
def test_pictures_train_as_their_pixels_do(tmp_path):
    method, resident = trained(pixels_dataset(np.asarray), tmp_path / "resident")
    given = pixels_dataset(encoded)
    _, streamed = trained(given, tmp_path / "streamed")
    for one, other in zip(
        jax.tree.leaves(resident.params), jax.tree.leaves(streamed.params), strict=True
    ):
        np.testing.assert_array_equal(one, other)
    kernel = streamed.params["image"]["network"]["kernel"]
    assert not np.array_equal(kernel, pretrained.load("lite0").variables["params"]["kernel"])
    query = given.tasks[0].query
    found = np.sign(encode(method, streamed, "image", query.inputs["image"]))
    nearest = np.argmax(found @ np.asarray(streamed.codes["pairs"]).T, axis=1)
    # By chance about a fifth of the queries would meet their class.
    labels = given.trained.labels[nearest]
    assert np.mean(np.sum(labels * query.labels, axis=1) > 0) > 0.6


@pytest.mark.usefixtures("small_network")
def test_networks_and_data_must_fit():
    with pytest.raises(UserError, match="'mlp' reads features"):
        small.build(small.config("dcmh"), pixels_dataset(np.asarray))
    with pytest.raises(UserError, match="'lite0', and the images are float32"):
        small.build(small.config("dcmh", **{"image.name": "lite0"}), small.dataset())
    with pytest.raises(UserError, match="8 x 8 pixels"):
        pretrained.load("lite0").require((16, 16, 3))


def test_lite0_takes_steps_on_clip_art(tmp_path, monkeypatch):
    """Two of its groups of blocks, which compile in seconds, from random weights."""
    groups = (efficientnet_lite.GROUPS[0], efficientnet_lite.GROUPS[1]._replace(repeats=1))
    monkeypatch.setattr(efficientnet_lite, "GROUPS", groups)
    module = efficientnet_lite.EfficientNetLite0()
    variables = random_variables(module, (1, 64, 64, 3))
    monkeypatch.setattr(efficientnet_lite, "lite0", lambda path: (module, variables))
    pairs = data.load("clipart-pixels").training["pairs"]
    few = {name: pairs[name][:32] for name in ("text", "labels")}
    given = {"pairs": {**few, "image": pairs["image"].take(np.arange(32))}}
    made = small.config("dcmh", **(TRAINED | {"epochs": 1, "image.weights": "any"}))
    method = methods.get("dcmh").build(made, schedule.make_spec(given, 16))
    state = engine.train(method, given, read_run(made), tmp_path)
    assert int(state.step) == 4
    for name, before in jax.tree_util.tree_leaves_with_path(variables["params"]):
        after = functools.reduce(
            lambda node, step: node[step.key], name, state.params["image"]["network"]
        )
        assert 0 < np.abs(after - before).max() < 0.1, name
