"""What is saved once and referred to: constants, the best state, arrays of all rows."""

import contextlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import small

from jxhash import running
from jxhash.configuration import read_run
from jxhash.errors import UserError
from jxhash.methods import contract, updates
from jxhash.methods.settings import Optimizer
from jxhash.networks.mlp import HashMLP
from jxhash.training import engine, schedule
from jxhash.training.sidecars import Sidecars

SGD = Optimizer("sgd", 0.1, 0.1, "linear", 0.0, 0.0)
DATA = small.dataset()


def with_graph():
    """Neighbours by a host update, then descents that read them, and whole arrays, in a batch."""
    networks = {"image": HashMLP(4), "text": HashMLP(4)}

    def find(state, batch):
        x = np.asarray(batch.rows["pairs"]["image"])
        distances = np.square(x[:, None] - x[None]).sum(axis=2)
        order = np.argsort(distances, axis=1)[:, 1:4].astype(np.int32)
        graph = {"neighbour": order, "weight": np.float32(np.exp(-np.sort(distances)[:, 1:4]))}
        return contract.Done(state.replace(constants={"graph": graph}))

    def attract(net, batch):
        graph = batch.state.constants["graph"]
        near = batch.corpus["image"][batch.take(graph["neighbour"])[:, 0]]
        u, v = net("image"), net("image", near)
        weights = batch.take(graph["weight"])[:, 0]
        u_0 = jax.lax.stop_gradient(u)
        return updates.Terms(
            batch.mean(weights * jnp.sum((u - v) ** 2, axis=1)), pass_on={"target": u_0}
        )

    def follow(net, batch):
        distance = jnp.sum((net("text") - batch.passed["target"]) ** 2, axis=1)
        return updates.Terms(batch.mean(distance))

    on_each_batch = (
        updates.descent("attract", networks, attract, SGD, trains=["image"], corpus=["image"]),
        updates.descent("follow", networks, follow, SGD, trains=["text"], repeats=2),
    )
    stages = (
        contract.Stage("graph", 1, (contract.Update("neighbours", "host", find),)),
        contract.Stage("train", 3, on_each_batch, interleaved=True),
    )
    return updates.method(networks, stages, schedule.make_spec(DATA.training, 16))


def train(folder, method=None, validate=None, **changes):
    folder.mkdir(exist_ok=True, parents=True)
    run = read_run(small.config("dcmh", **{"checkpoint_seconds": 0.0, **changes}))
    return engine.train(method or with_graph(), DATA.training, run, folder, validate)


class _StoppedError(Exception):
    pass


def train_until(saves, folder, **arguments):
    """The state at the end; None where the training is stopped after so many saves."""
    original, count = engine.Checkpoints.save, 0

    def save(self, state, place):
        nonlocal count
        count += 1
        if count > saves:
            raise _StoppedError
        original(self, state, place)

    with pytest.MonkeyPatch.context() as patch, contextlib.suppress(_StoppedError):
        patch.setattr(engine.Checkpoints, "save", save)
        patch.setattr(engine, "SECONDS_PER_CALL", 1e-9)
        return train(folder, **arguments)


def leaves(state):
    plain = state.replace(key=jax.random.key_data(state.key))
    return [np.asarray(leaf) for leaf in jax.tree.leaves(plain)]


def test_constants_are_saved_once_and_come_back(tmp_path):
    whole = leaves(train(tmp_path / "whole"))
    assert len(list((tmp_path / "whole" / "checkpoint_arrays").glob("*.npz"))) == 1
    state = None
    while state is None:
        state = train_until(3, tmp_path / "stopped")
    for one, other in zip(whole, leaves(state), strict=True):
        np.testing.assert_array_equal(one, other)
    record = (tmp_path / "whole" / "metrics.jsonl").read_text()
    assert (tmp_path / "stopped" / "metrics.jsonl").read_text() == record


@pytest.mark.parametrize("damage", ["flipped", "missing"])
def test_a_damaged_file_of_constants_damages_its_checkpoints(tmp_path, caplog, damage):
    assert train_until(5, tmp_path) is None
    (file,) = (tmp_path / "checkpoint_arrays").glob("*.npz")
    content = bytearray(file.read_bytes())
    content[-300] ^= 1
    file.unlink() if damage == "missing" else file.write_bytes(content)
    again = train(tmp_path)
    assert "damaged checkpoints" in caplog.text
    for one, other in zip(leaves(train(tmp_path / "whole")), leaves(again), strict=True):
        np.testing.assert_array_equal(one, other)


def test_the_best_state_is_selected_and_survives_a_stop(tmp_path):
    """Scores by epoch: the second is best, the last worst."""
    scores = {}

    def validate(state):
        epoch = int(state.step) // 7
        scores[epoch] = np.asarray(state.params["text"]["Dense_0"]["kernel"])
        return {"one": [0.0, 0.5, 0.75, 0.25][epoch], "other": 0.5}

    best = {"select": "best", "validate_every": 1}
    state = train(tmp_path / "whole", validate=validate, **best)
    np.testing.assert_array_equal(state.params["text"]["Dense_0"]["kernel"], scores[2])
    last = train(tmp_path / "last", validate=validate, validate_every=1)
    np.testing.assert_array_equal(last.params["text"]["Dense_0"]["kernel"], scores[3])
    assert train_until(9, tmp_path / "stopped", validate=validate, **best) is None
    again = train(tmp_path / "stopped", validate=validate, **best)
    for one, other in zip(leaves(state), leaves(again), strict=True):
        np.testing.assert_array_equal(one, other)


def test_selection_needs_validation(tmp_path):
    made = small.config("dcmh", select="best", data="clipart")
    with pytest.raises(UserError, match=r"'select'.*'validate_every'"):
        running.run(made, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_whole_arrays_cannot_be_streamed(tmp_path):
    with pytest.raises(UserError, match=r"samples from image of all training rows.*resident_giga"):
        train(tmp_path, resident_gigabytes=0.0)


def test_files_that_nothing_refers_to_are_removed(tmp_path):
    sidecars = Sidecars(tmp_path, checkpoints=2)
    names = []
    for number in range(6):
        names.append(sidecars.save({"a": {"b": np.arange(number)}}))
        sidecars.refer([names[0], names[-1]])
    assert sorted(file.name for file in tmp_path.iterdir()) == sorted([names[0], *names[3:]])
    np.testing.assert_array_equal(sidecars.read(names[5])["a"]["b"], np.arange(5))
    assert sidecars.save({"a": {"b": np.arange(5)}}) == names[5]


def test_an_update_repeats_on_each_batch(tmp_path):
    """Three epochs of seven batches; the generator of the graph's method steps twice on each."""
    state = train(tmp_path)
    counts = {
        name: {int(leaf) for leaf in jax.tree.leaves(each) if leaf.dtype == jnp.int32}
        for optimiser in state.opt_state.values()
        for name, each in optimiser.items()
    }
    assert counts == {"image": {21}, "text": {42}}
