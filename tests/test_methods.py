"""One table of properties for all methods."""

import contextlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import small

from jxhash import methods, metrics, parallel
from jxhash.errors import UserError
from jxhash.evaluation import measure
from jxhash.methods.base import Batch
from jxhash.training import batches, engine
from jxhash.training.progress import read_metrics


def train(made, data, workdir, **arguments):
    method, run = small.build(made, data)
    workdir.mkdir(parents=True, exist_ok=True)
    return method, engine.train(method, data.training, run, workdir, **arguments)


def mean_map(method, state, data):
    found = measure.retrieve(method, state, data.tasks)
    return np.mean([metrics.mean_average_precision(f.histogram) for f in found.values()])


pytestmark = pytest.mark.parametrize("name", methods.names())


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Each method trained once, for all properties that only look."""
    done = {}

    def get(name):
        if name not in done:
            data, folder = small.dataset(), tmp_path_factory.mktemp(name)
            done[name] = (*train(small.config(name), data, folder), data, folder)
        return done[name]

    return get


def test_every_method_is_in_the_table(name):
    assert name in small.SETTINGS


def test_objective_falls_and_codes_retrieve(name, trained):
    method, state, data, folder = trained(name)
    losses = [line["loss"] for line in read_metrics(folder / "metrics.jsonl") if "loss" in line]
    assert losses[-1] < 0.9 * losses[0]
    untrained = method.init(jax.random.key(0))
    assert mean_map(method, state, data) > mean_map(method, untrained, data) + 0.3


def test_codes_are_signs(name, trained):
    method, state, data, _ = trained(name)
    for modality in ("image", "text"):
        outputs = method.encode(state, modality, data.tasks[0].query.inputs[modality])
        assert outputs.shape == (40, 16)
        assert outputs.dtype == jnp.float32
        assert set(np.unique(method.index(state, modality, outputs))) <= {-1, 1}
        learned = method.learned(state, modality)
        assert learned is None or set(np.unique(learned)) <= {-1, 1}


def test_two_devices_take_the_same_step_as_one(name):
    """Dropout on, an uneven batch padded: every update by hand under jit, and mapped over two."""
    data = small.dataset()
    method, run = small.build(
        small.config(name, image_dropout=0.4, text_dropout=0.4, batch_size=15), data
    )
    arrays = jax.tree.map(jnp.asarray, dict(data.training))
    corpus = jax.tree.map(jnp.asarray, batches.labels_of(data.training))
    sizes = {source: batches.num_rows(a) for source, a in data.training.items()}
    updates = [update for stage in method.stages for update in stage.updates]
    for update in updates:
        if update.kind == "host":
            continue
        if update.kind == "minibatch":
            drawn = batches.epoch_plan(data.training, run.batch_size, "shuffled", (0,))
            plan = {source: index[-1] for source, index in drawn.items()}
        else:
            plan = batches.all_rows_plan(data.training)

        def step(state, index, update=update):
            taken = {
                source: batches.with_index(
                    batches.Resident.read(arrays[source], i, 0), i, sizes[source]
                )
                for source, i in index.items()
            }
            state, metrics = update.step(state, Batch(taken, corpus))
            return state, parallel.total(metrics)

        before = jax.jit(method.init)(jax.random.key(3))
        whole = {source: index.reshape(-1) for source, index in plan.items()}
        alone, alone_metrics = jax.jit(step)(before, whole)
        mapped = parallel.pmapped(step, in_axes=(None, 0))
        together, together_metrics = mapped(parallel.replicate(before), plan)
        moved = jax.tree.map(
            lambda a, b: float(jnp.max(jnp.abs(a - b))), alone.params, before.params
        )
        assert update.kind != "minibatch" or max(jax.tree.leaves(moved)) > 1e-4
        alone, together = (s.replace(key=jax.random.key_data(s.key)) for s in (alone, together))
        for one, other in zip(jax.tree.leaves(alone), jax.tree.leaves(together), strict=True):
            np.testing.assert_allclose(np.asarray(one), np.asarray(other), atol=1e-5)
        for metric, (total, count) in alone_metrics.items():
            other_total, other_count = together_metrics[metric]
            np.testing.assert_allclose(total / count, other_total / other_count, rtol=1e-4)


def test_resume_equals_uninterrupted(name, tmp_path):
    """Stopped again and again after a few calls, the training ends with the same bits."""
    data, made = small.dataset(), small.config(name, epochs=2)
    _, whole = train(made, data, tmp_path / "whole")
    method, run = small.build(made, data)
    (tmp_path / "pieces").mkdir()
    state = None
    while state is None:
        with contextlib.suppress(_StoppedError):
            state = _train_a_little(method, run, data, tmp_path / "pieces")
    for one, other in zip(_leaves(whole), _leaves(state), strict=True):
        np.testing.assert_array_equal(one, other)
    records = [(tmp_path / folder / "metrics.jsonl").read_text() for folder in ("whole", "pieces")]
    assert records[0] == records[1]


class _StoppedError(Exception):
    pass


def _train_a_little(method, run, data, folder):
    """Saves after every call and leaves after a few saves, between two of them, without a word."""
    saves = 0
    original = engine.Checkpoints.save

    def save_or_stop(self, state, place):
        nonlocal saves
        saves += 1
        if saves > 5:
            raise _StoppedError
        original(self, state, place)

    eager = run.__class__(**{**vars(run), "checkpoint_seconds": 0.0})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engine.Checkpoints, "save", save_or_stop)
        patch.setattr(engine, "SECONDS_PER_CALL", 1e-9)
        return engine.train(method, data.training, eager, folder)


def _leaves(state):
    return [
        np.asarray(x) for x in jax.tree.leaves(state.replace(key=jax.random.key_data(state.key)))
    ]


def test_streamed_equals_resident(name, tmp_path):
    data = small.dataset()
    _, resident = train(small.config(name, epochs=2), data, tmp_path / "resident")
    made = small.config(name, epochs=2, resident_gigabytes=0.0)
    _, streamed = train(made, data, tmp_path / "streamed")
    for one, other in zip(_leaves(resident), _leaves(streamed), strict=True):
        np.testing.assert_array_equal(one, other)


def test_every_setting_is_read_and_checked(name):
    data = small.dataset()
    with pytest.raises(UserError, match=r"epocs.*did you mean 'epochs'"):
        small.build(small.config(name, epocs=3), data)
    made = small.config(name)
    del made[name]["epochs"]
    with pytest.raises(UserError, match="epochs"):
        small.build(made, data)
    with pytest.raises(UserError, match="bits"):
        small.build(small.config(name, bits=0), data)


def test_no_labels_is_said(name):
    with pytest.raises(UserError, match="labels"):
        small.build(small.config(name), small.dataset(labelled=False))


def test_dropout_is_on_in_training_and_off_in_encoding(name):
    data = small.dataset()
    outcomes = []
    for dropout in (0.0, 0.5):
        method, _ = small.build(
            small.config(name, image_dropout=dropout, text_dropout=dropout), data
        )
        state = method.init(jax.random.key(0))
        inputs = data.tasks[0].query.inputs["image"]
        first, second = (method.encode(state, "image", inputs) for _ in range(2))
        np.testing.assert_array_equal(first, second)
        outcomes.append((first, method))
    np.testing.assert_array_equal(outcomes[0][0], outcomes[1][0])
