"""One table of properties for all methods."""

import collections
import contextlib
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import small

from jxhash import methods, parallel
from jxhash.errors import UserError
from jxhash.evaluation import retrieval
from jxhash.methods import code
from jxhash.methods.contract import Batch
from jxhash.training import batches, engine, schedule
from jxhash.training.progress import read_metrics

# One method of each kind, for what the engine does with all of a kind alike: one descent, buffers
# and codes in turn, host, forward and full updates, several updates on each batch, host updates
# alone, further sources.
KINDS = ("chn", "dcmh", "ddcmh", "tvdb", "lcmh", "thn")


def train(made, data, workdir, **arguments):
    method, run = small.build(made, data)
    workdir.mkdir(parents=True, exist_ok=True)
    return method, engine.train(method, data.training, run, workdir, **arguments)


def mean_map(method, state, data):
    found = retrieval.retrieve(method, state, data.tasks)
    return np.mean([one.score() for one in found.values()])


def each(names):
    """All tests of a method on one worker, where it is trained once."""
    marked = [pytest.param(name, marks=pytest.mark.xdist_group(name)) for name in names]
    return pytest.mark.parametrize("name", marked)


every_method = each(methods.names())
every_kind = each(KINDS)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Each method trained once, for all properties that only look."""
    done = {}

    def get(name):
        if name not in done:
            data, folder = small.CASES[name].dataset(), tmp_path_factory.mktemp(name)
            done[name] = (*train(small.config(name), data, folder), data, folder)
        return done[name]

    return get


@pytest.fixture(scope="module")
def shortly_trained(tmp_path_factory):
    """The arrays of each method's state after a short training, and its record."""
    done = {}

    def get(name):
        if name not in done:
            case, folder = small.CASES[name], tmp_path_factory.mktemp(name)
            _, state = train(small.config(name, **case.short), case.dataset(), folder)
            done[name] = _leaves(state), (folder / "metrics.jsonl").read_text()
        return done[name]

    return get


@every_method
def test_every_method_is_in_the_table(name):
    assert name in small.CASES


@every_method
def test_objective_falls_and_codes_retrieve(name, trained):
    method, state, data, folder = trained(name)
    losses = collections.defaultdict(list)
    for line in read_metrics(folder / "metrics.jsonl"):
        for key in line:
            # Updates that share their batches put their names before.
            if key == "loss" or key.endswith(" loss"):
                losses[line["stage"], line["update"], key].append(line[key])
    assert losses
    assert all(each[-1] < 0.95 * each[0] for each in losses.values() if len(each) > 1)
    untrained = jax.jit(method.init)(jax.random.key(0))
    assert mean_map(method, state, data) > mean_map(method, untrained, data) + 0.3


@every_method
def test_codes_are_signs(name, trained):
    method, state, data, _ = trained(name)
    for modality in ("image", "text"):
        outputs = method.encode(state, modality, data.tasks[0].query.inputs[modality])
        assert outputs.dtype == jnp.float32
        assert len(outputs) == 40
        learned = method.learned and method.learned(state, modality)
        assert learned is None or len(learned) == len(data.training["pairs"]["image"])
        if method.code is not code.signs():
            continue
        assert outputs.shape == (40, 16)
        assert set(np.unique(method.code.entries(state.buffers, outputs))) <= {-1, 1}
        assert learned is None or set(np.unique(learned)) <= {-1, 1}


def plan_of(data, kind, batch_size):
    """The rows of the last step of an epoch, which is padded, or all rows; split over devices."""
    if kind == "full":
        return batches.all_rows_plan(data.training)
    drawn = batches.epoch_plan(data.training, batch_size, "shuffled", (0,))
    return {source: index[-1] for source, index in drawn.items()}


def joined(plan):
    """The rows of all devices in one."""
    return {source: index.reshape(-1) for source, index in plan.items()}


def step_of(update, data):
    """(state, rows of each source) -> (state, metrics): one step, by hand."""
    arrays = jax.tree.map(jnp.asarray, dict(data.training))
    corpus = jax.tree.map(jnp.asarray, batches.labels_of(data.training))

    def step(state, plan):
        rows = {}
        for source, index in plan.items():
            taken = batches.Resident.read(arrays[source], index, 0)
            rows[source] = batches.with_index(taken, index, batches.num_rows(arrays[source]))
        state, metrics, _ = update.step(state, Batch(rows, corpus))
        return state, parallel.total(metrics)

    return step


@every_method
def test_two_devices_take_the_same_step_as_one(name):
    """Dropout on, an uneven batch padded: every update by hand under jit, and mapped over two."""
    data = small.CASES[name].dataset()
    dropout = dict.fromkeys(small.CASES[name].dropout, 0.4)
    method, run = small.build(small.config(name, **dropout, batch_size=15), data)
    for update in (update for stage in method.stages for update in stage.updates):
        if update.kind == "host":
            continue
        plan, step = plan_of(data, update.kind, run.batch_size), step_of(update, data)
        before = jax.jit(method.init)(jax.random.key(3))
        alone, alone_metrics = jax.jit(step)(before, joined(plan))
        mapped = parallel.pmapped(step, in_axes=(None, 0))
        together, together_metrics = mapped(parallel.replicate(before), plan)
        before, alone, together = (
            s.replace(key=jax.random.key_data(s.key)) for s in (before, alone, together)
        )
        moved = jax.tree.map(lambda a, b: np.max(np.abs(np.float64(a) - b)), alone, before)
        assert update.kind != "minibatch" or max(jax.tree.leaves(moved)) > 1e-4
        for one, other in zip(jax.tree.leaves(alone), jax.tree.leaves(together), strict=True):
            np.testing.assert_allclose(np.asarray(one), np.asarray(other), atol=1e-5)
        for metric, (total, count) in alone_metrics.items():
            other_total, other_count = together_metrics[metric]
            np.testing.assert_allclose(total / count, other_total / other_count, rtol=1e-4)


@every_kind
def test_resume_equals_uninterrupted(name, shortly_trained, tmp_path):
    """Stopped again and again after a few calls, the training ends with the same bits."""
    case, (whole, record) = small.CASES[name], shortly_trained(name)
    data = case.dataset()
    method, run = small.build(small.config(name, **case.short), data)
    state = None
    while state is None:
        with contextlib.suppress(_StoppedError):
            state = _train_a_little(method, run, data, tmp_path)
    for one, other in zip(whole, _leaves(state), strict=True):
        np.testing.assert_array_equal(one, other)
    assert (tmp_path / "metrics.jsonl").read_text() == record


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


@every_kind
def test_streamed_equals_resident(name, shortly_trained, tmp_path):
    case, (resident, _) = small.CASES[name], shortly_trained(name)
    made = small.config(name, **case.short, resident_gigabytes=0.0)
    _, streamed = train(made, case.dataset(), tmp_path)
    for one, other in zip(resident, _leaves(streamed), strict=True):
        np.testing.assert_array_equal(one, other)


@every_method
def test_every_setting_is_read_and_checked(name):
    data = small.CASES[name].dataset()
    for setting in small.CASES[name].settings:
        with pytest.raises(UserError, match=f"{setting}x.*did you mean '{setting}'"):
            small.build(small.config(name, **{f"{setting}x": 3}), data)
        made = small.config(name)
        del made[name][setting]
        with pytest.raises(UserError, match=setting):
            small.build(made, data)
    for rate in small.CASES[name].dropout:
        with pytest.raises(UserError, match=r"dropout' must be at least 0 and below 1"):
            small.build(small.config(name, **{rate: 1.0}), data)
    with pytest.raises(UserError, match="bits"):
        small.build(small.config(name, bits=0), data)


@every_method
def test_no_labels_is_said(name):
    case = small.CASES[name]
    is_said = pytest.raises(UserError, match=f"{name.upper()} learns from labels")
    with is_said if methods.get(name).needs.labels else contextlib.nullcontext():
        small.build(small.config(name), case.dataset(labelled=False))


@every_method
def test_inputs_of_another_form_are_refused(name):
    """In one line that names the method and the fix; pictures, say, are no features."""
    needs, data = methods.get(name).needs, small.CASES[name].dataset()
    made, spec = small.config(name), schedule.make_spec(data.training, 16, data.vocabulary_size)
    forms = {
        "features": ((7,), np.dtype(np.float32)),
        "pixels": ((8, 8, 3), np.dtype(np.uint8)),
        "regions": ((4, 9), np.dtype(np.float32)),
        "tokens": ((12,), np.dtype(np.int32)),
        "views": {"low": ((7,), np.dtype(np.float32))},
    }
    for modality, wanted in (("image", needs.image), ("text", needs.text)):
        for form in forms.keys() - wanted - ({"tokens"} if modality == "image" else set()):
            pairs = spec.inputs["pairs"] | {modality: forms[form]}
            other = spec._replace(inputs=spec.inputs | {"pairs": pairs}, vocabulary_size=20)
            with pytest.raises(UserError, match=f"^{name.upper()} reads {modality}s as") as found:
                methods.get(name).build(made, other)
            assert "\n" not in str(found.value)
            assert re.search(r"choose|jxhash\.(data|inputs)", str(found.value))
        without = {key: each for key, each in spec.inputs["pairs"].items() if key != modality}
        with pytest.raises(UserError, match=f"{name.upper()} reads {modality}s, and the source"):
            methods.get(name).build(made, spec._replace(inputs=spec.inputs | {"pairs": without}))


@every_method
def test_what_else_is_needed_is_checked(name):
    needs, data = methods.get(name).needs, small.CASES[name].dataset()
    made, spec = small.config(name), schedule.make_spec(data.training, 16, data.vocabulary_size)
    if needs.sentence_length:
        longer = spec.inputs["pairs"] | {"text": ((13,), np.dtype(np.int32))}
        with pytest.raises(UserError, match=f"{name.upper()} reads sentences of .* not 13"):
            methods.get(name).build(made, spec._replace(inputs={"pairs": longer}))
    if not needs.unpaired:
        return
    with pytest.raises(UserError, match=f"{name.upper()} learns from the unpaired sources"):
        methods.get(name).build(made, spec._replace(inputs={"pairs": spec.inputs["pairs"]}))
    alike = spec.inputs | {"database": spec.inputs["query"]}
    with pytest.raises(UserError, match=f"{name.upper()} needs images alone"):
        methods.get(name).build(made, spec._replace(inputs=alike))


@every_method
def test_dropout_is_on_in_training_and_off_in_encoding(name):
    case = small.CASES[name]
    if not case.dropout:
        return
    data, after = case.dataset(), []
    for rate in (0.0, 0.5):
        made = small.config(name, **dict.fromkeys(case.dropout, rate))
        method, run = small.build(made, data)
        state = jax.jit(method.init)(jax.random.key(0))
        inputs = data.tasks[0].query.inputs["image"]
        encode = jax.jit(method.encode, static_argnums=1)
        first, second = (encode(state, "image", inputs) for _ in range(2))
        np.testing.assert_array_equal(first, second)
        plan = joined(plan_of(data, "minibatch", run.batch_size))
        updates = [u for stage in method.stages for u in stage.updates if u.kind == "minibatch"]
        moved = [jax.jit(step_of(update, data))(state, plan)[0].params for update in updates]
        after.append((first, jax.tree.leaves(moved)))
    (outputs, plain), (same_outputs, dropped) = after
    np.testing.assert_array_equal(outputs, same_outputs)
    assert any(np.any(one != other) for one, other in zip(plain, dropped, strict=True))
