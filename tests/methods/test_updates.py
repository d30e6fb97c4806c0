"""What methods are written with: networks by name, batches of all devices, descents."""

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import small

from jxhash import losses, parallel, similarity
from jxhash.configuration import read_run
from jxhash.errors import UserError
from jxhash.evaluation import retrieval
from jxhash.methods import contract, updates
from jxhash.methods.objective import Net
from jxhash.methods.settings import Optimizer
from jxhash.networks.batch_norm import BatchNorm
from jxhash.networks.mlp import HashMLP
from jxhash.training import batches, engine, schedule

SGD = Optimizer("sgd", 0.1, 0.1, "linear", 0.0, 0.0)
BITS = 8
DATA = small.dataset()
SPEC = schedule.make_spec(DATA.training, 15)
ARRAYS = jax.tree.map(jnp.asarray, dict(DATA.training))
# The last batch of an epoch, which is padded: 11 rows.
PLAN = batches.epoch_plan(DATA.training, 15, "in_order", (0,))["pairs"][-1]


class Normalised(nn.Module):
    """A layer, batch normalisation, and a layer."""

    width: int

    @nn.compact
    def __call__(self, x, row_keys=None, where=None):
        x = nn.Dense(16)(x.astype(jnp.float32))
        x = nn.relu(BatchNorm()(x, train=row_keys is not None, where=where))
        return nn.Dense(self.width)(x)


def adversarial():
    """A generator that hides the modality of its outputs from a judge, both normalised."""
    networks = {
        "image": Normalised(BITS),
        "text": Normalised(BITS),
        "judge": updates.Inputs(Normalised(1), (BITS,)),
    }

    def judged(net, batch):
        u, v = net("image"), net("text")
        verdicts = [net("judge", z)[:, 0] for z in (u, v)]
        losses = (
            batch.mean(optax.sigmoid_binary_cross_entropy(verdict, float(side)))
            for side, verdict in enumerate(verdicts)
        )
        return u, v, sum(losses)

    def judge(net, batch):
        return updates.Terms(judged(net, batch)[2])

    def generate(net, batch):
        u, v, loss = judged(net, batch)
        return updates.Terms(batch.mean(jnp.sum(jnp.square(u - v), axis=1)) - 0.1 * loss)

    on_each_batch = (
        updates.descent("judge", networks, judge, SGD, trains=["judge"]),
        updates.descent("generator", networks, generate, SGD, trains=["image", "text"], repeats=2),
    )
    stages = (contract.Stage("adversarial", 3, on_each_batch, interleaved=True),)
    return updates.method(networks, stages, SPEC)


def step_of(update, repeat=0, passed=None):
    """(state, rows of PLAN) -> (state, metrics, passed)."""

    def step(state, index):
        rows = batches.with_index(batches.Resident.read(ARRAYS["pairs"], index, 0), index, 101)
        corpus = {"pairs": {"labels": ARRAYS["pairs"]["labels"]}}
        batch = contract.Batch({"pairs": rows}, corpus, passed or {}, repeat)
        done = update.step(state, batch)
        return done.state, parallel.total(done.metrics), done.passed

    return step


def alone(update, state, **arguments):
    return jax.jit(step_of(update, **arguments))(state, PLAN.reshape(-1))


def together(update, state, **arguments):
    mapped = parallel.pmapped(step_of(update, **arguments), in_axes=(None, 0))
    return mapped(parallel.replicate(state), PLAN)


def same(one, other):
    return jax.tree.all(jax.tree.map(lambda a, b: bool(jnp.all(a == b)), one, other))


def close(one, other, atol=1e-5):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=atol), one, other)


def test_adversaries_leave_each_other_alone(pmapped_by):
    method = adversarial()
    before = method.init(jax.random.key(0))
    judge, generator = method.stages[0].updates
    for update, moved, still in (
        (judge, ["judge"], ["image", "text"]),
        (generator, ["image", "text"], ["judge"]),
    ):
        after, *_ = alone(update, before)
        for name in still:
            assert same(before.params[name], after.params[name])
            assert same(before.model_state[name], after.model_state[name])
        for name in moved:
            assert not same(before.params[name], after.params[name])
            assert not same(before.model_state[name], after.model_state[name])
        close(after.params, together(update, before)[0].params)
        close(after.model_state, together(update, before)[0].model_state)


def test_batch_statistics_are_no_optimizer_s(pmapped_by):
    state = adversarial().init(jax.random.key(0))
    paths = [jax.tree_util.keystr(p) for p, _ in jax.tree_util.tree_leaves_with_path(state.params)]
    assert not any("batch_stats" in path for path in paths)
    assert sorted(state.model_state) == ["image", "judge", "text"]
    assert "batch_stats" not in str(jax.tree_util.tree_structure(state.opt_state))


def test_batch_norm_counts_each_row_once():
    """By hand: padding, which repeats the last row, does not count."""
    layer = BatchNorm(momentum=0.75, epsilon=0.25)
    x = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    padded, where = np.concatenate([x, x[-1:], x[-1:]]), np.arange(7) < 5
    variables = layer.init(jax.random.key(0), x, train=False)
    variables["params"] = {"scale": jnp.arange(1.0, 4), "bias": jnp.ones(3)}
    outputs, kept = layer.apply(variables, padded, train=True, where=where, mutable="batch_stats")
    mean, variance = np.float64(x).mean(axis=0), np.float64(x).var(axis=0)
    expected = (x - mean) / np.sqrt(variance + 0.25) * np.arange(1, 4) + 1
    np.testing.assert_allclose(outputs[:5], expected, atol=1e-5)
    np.testing.assert_allclose(kept["batch_stats"]["mean"], 0.25 * mean, atol=1e-6)
    np.testing.assert_allclose(kept["batch_stats"]["var"], 0.75 + 0.25 * variance, atol=1e-6)
    running = layer.apply({**variables, **kept}, x, train=False)
    expected = (x - 0.25 * mean) / np.sqrt(1 + 0.25 * variance) * np.arange(1, 4) + 1
    np.testing.assert_allclose(running, expected, atol=1e-5)


class Statistics(nn.Module):
    """Gives its input, and keeps the mean of it over a batch."""

    @nn.compact
    def __call__(self, x, row_keys=None, where=None):
        normalised = BatchNorm(momentum=0.0)(x, train=row_keys is not None, where=where)
        return normalised + nn.Dense(BITS)(x)


def test_padding_of_given_rows_does_not_count(pmapped_by):
    """Of both modalities at once; on two devices there is more padding than on one."""
    networks = {
        "image": HashMLP(BITS),
        "text": HashMLP(BITS),
        "judge": updates.Inputs(Statistics(), (BITS,)),
    }

    def objective(net, batch):
        both = jnp.concatenate([net("image"), net("text")])
        return updates.Terms(jnp.sum(net("judge", both)), pass_on={"given": both})

    def unknown(net, batch):
        return updates.Terms(jnp.sum(net("judge", net("image")[:7])))

    update = updates.descent("judge", networks, objective, SGD, trains=["judge"])
    other = updates.descent("other", networks, unknown, SGD, trains=["judge"])
    method = updates.method(networks, (contract.Stage("only", 1, (update, other)),), SPEC)
    state, (bound, unbound) = method.init(jax.random.key(0)), method.stages[0].updates
    state_of_15, _, passed = jax.jit(step_of(bound))(state, PLAN.reshape(-1)[:15])
    mean = np.concatenate([passed["given"][:11], passed["given"][15:26]]).mean(axis=0)
    for after in (state_of_15, alone(bound, state)[0], together(bound, state)[0]):
        found = after.model_state["judge"]["batch_stats"]["BatchNorm_0"]["mean"]
        np.testing.assert_allclose(found, mean, atol=1e-5)
    with pytest.raises(ValueError, match="which of 7 rows count for network 'judge'"):
        alone(unbound, state)


NETWORKS = {
    "image": HashMLP(BITS, (16,), dropout=0.5),
    "text": HashMLP(BITS, (16,), dropout=0.5),
    "fused": updates.Inputs(HashMLP(BITS, (16,), dropout=0.5), (BITS,)),
}


def seen_by(objective, trains=("image",), **options):
    """What an objective sees on one and on two devices; it returns named arrays of all rows."""
    found = {}

    def shown(net, batch):
        return updates.Terms(jnp.sum(net("image")), pass_on=objective(net, batch))

    update = updates.descent("look", NETWORKS, shown, SGD, trains=trains, **options)
    method = updates.method(NETWORKS, (contract.Stage("only", 1, (update,)),), SPEC)
    state, bound = method.init(jax.random.key(0)), method.stages[0].updates[0]
    found = alone(bound, state)[2]
    close(found, together(bound, state)[2])
    return found


def test_a_network_drops_alike_in_one_stream_alone(pmapped_by):
    found = seen_by(
        lambda net, batch: {
            "first": net("image"),
            "again": net("image"),
            "other": net("image", stream=1),
            "off": net("image", train=False),
            "off again": net("image", stream=1, train=False),
        }
    )
    np.testing.assert_array_equal(found["first"], found["again"])
    np.testing.assert_array_equal(found["off"], found["off again"])
    assert np.any(found["first"] != found["other"])
    assert np.any(found["first"] != found["off"])


def test_each_network_and_stream_draws_by_itself():
    """Also where one network moves and the others are constant."""
    net = Net(NETWORKS, {}, {}, {}, ["text"], jax.random.key(0))
    numbers = [net._number(name, stream) for name in NETWORKS for stream in range(9)]
    assert len(set(numbers)) == 27
    assert max(numbers) < 2**20


def test_given_rows_are_shared_out_and_joined_again(pmapped_by):
    """Of any number: those of the batch, of both modalities, or an odd number of others."""

    def objective(net, batch):
        u, v = net("image"), net("text")
        both, some = jnp.concatenate([u, v]), jnp.ones((7, BITS))
        return {
            "one": net("fused", u),
            "both": net("fused", both),
            "some": net("fused", some),
            "first": net("fused", both[:3]),
        }

    found = seen_by(objective)
    assert [len(found[name]) for name in ("one", "both", "some", "first")] == [16, 32, 7, 3]
    np.testing.assert_allclose(found["both"][:16], found["one"], atol=1e-6)
    np.testing.assert_allclose(found["first"], found["one"][:3], atol=1e-6)


def test_gradients_pass_through_given_rows(pmapped_by):
    """The parameters of a network in front of another move as on one device."""

    def objective(net, batch):
        return updates.Terms(batch.mean(jnp.sum(net("fused", net("image")) ** 2, axis=1)))

    update = updates.descent("chain", NETWORKS, objective, SGD)
    method = updates.method(NETWORKS, (contract.Stage("only", 1, (update,)),), SPEC)
    state, bound = method.init(jax.random.key(0)), method.stages[0].updates[0]
    one, two = alone(bound, state)[0], together(bound, state)[0]
    close(one.params, two.params, atol=1e-6)
    assert not same(one.params["image"], state.params["image"])
    assert not same(one.params["fused"], state.params["fused"])
    assert same(one.params["text"], state.params["text"])


def test_a_batch_is_that_of_all_devices(pmapped_by):
    buffer = jnp.arange(101.0)[:, None] * jnp.ones((1, 2))

    def objective(net, batch):
        return {
            "index": batch.index,
            "labels": batch.labels,
            "all labels": batch.all_labels,
            "where": batch.where,
            "pairs": batch.pairs,
            "count": batch.count,
            "taken": batch.take(buffer),
            "rest": batch.rest(buffer, batch.take(buffer)),
            "mean": batch.mean(batch.index.astype(jnp.float32)),
            "images": net.inputs("image"),
            "query": batch.key is not None,
        }

    found = seen_by(objective)
    assert found["index"].tolist() == [*range(90, 101), *[101] * 5]
    assert found["where"].tolist() == [True] * 11 + [False] * 5
    assert found["count"] == 11
    assert found["pairs"].sum() == 121
    np.testing.assert_array_equal(found["labels"][:11], DATA.training["pairs"]["labels"][90:])
    np.testing.assert_array_equal(found["all labels"], DATA.training["pairs"]["labels"])
    np.testing.assert_array_equal(found["images"][:11], DATA.training["pairs"]["image"][90:])
    np.testing.assert_array_equal(found["taken"][:, 0], [*range(90, 101), *[100] * 5])
    np.testing.assert_array_equal(found["rest"], [sum(range(90))] * 2)
    assert found["mean"] == 95


def keeping(net, batch):
    u = net("image")
    return updates.Terms(
        jnp.sum(u), {"size": jnp.sum(u)}, keep={"image": u}, codes={"pairs": jnp.sign(u)}
    )


def start(key):
    return {
        "buffers": {"image": jnp.full((101, BITS), 7.0)},
        "codes": {"pairs": jnp.ones((101, BITS), jnp.int8)},
    }


@pytest.mark.parametrize("moves", [True, False])
def test_rows_are_kept_and_padding_is_dropped(pmapped_by, moves):
    make = updates.descent if moves else updates.forward
    update = make("keep", NETWORKS, keeping, *([SGD] if moves else []))
    stages = (contract.Stage("only", 1, (update,)),)
    method = updates.method(NETWORKS, stages, SPEC, start=start, learned="pairs")
    state, bound = method.init(jax.random.key(0)), method.stages[0].updates[0]
    after, metrics, _ = alone(bound, state)
    close(after.buffers, together(bound, state)[0].buffers)
    close(after.codes, together(bound, state)[0].codes, atol=0)
    assert np.all(after.buffers["image"][:90] == 7)
    assert not np.any(after.buffers["image"][90:] == 7)
    np.testing.assert_array_equal(method.learned(after, "text"), after.codes["pairs"])
    np.testing.assert_array_equal(after.codes["pairs"][90:], np.sign(after.buffers["image"][90:]))
    assert same(after.params, state.params) is not moves
    assert metrics["size"][1] == 11


def test_an_update_that_runs_again_on_a_batch_draws_anew():

    def objective(net, batch):
        return updates.Terms(jnp.sum(net("image")), pass_on={"drawn": net("image")})

    update = updates.descent("draw", NETWORKS, objective, SGD, repeats=2)
    method = updates.method(NETWORKS, (contract.Stage("only", 1, (update,)),), SPEC)
    state, bound = method.init(jax.random.key(0)), method.stages[0].updates[0]
    first, again, second = (alone(bound, state, repeat=n)[2]["drawn"] for n in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert np.any(first != second)


def test_what_is_passed_on_reaches_the_next():
    def objective(net, batch):
        return updates.Terms(jnp.sum(net("image")) * batch.passed["factor"])

    update = updates.descent("next", NETWORKS, objective, SGD)
    method = updates.method(NETWORKS, (contract.Stage("only", 1, (update,)),), SPEC)
    state, bound = method.init(jax.random.key(0)), method.stages[0].updates[0]
    one, two = (alone(bound, state, passed={"factor": n})[1]["loss"] for n in (1.0, 2.0))
    np.testing.assert_allclose(2 * one[0], two[0], rtol=1e-6)


def test_descents_share_the_states_of_optimizers():
    """Twice a batch: the rate falls over twice as many steps."""

    def objective(net, batch):
        return updates.Terms(jnp.sum(net("image")))

    falling = Optimizer("sgd", 1.0, 0.5, "linear", 0.9, 0.0)
    one = updates.descent("one", NETWORKS, objective, falling, opt_state="nets")
    two = updates.descent("two", NETWORKS, objective, falling, trains=["image"], opt_state="nets")
    stages = (contract.Stage("only", 3, (one, two), interleaved=True),)
    method = updates.method(NETWORKS, stages, SPEC)
    state = method.init(jax.random.key(0))
    assert {name: sorted(each) for name, each in state.opt_state.items()} == {
        "nets": ["fused", "image", "text"]
    }
    for update in method.stages[0].updates:
        state, *_ = alone(update, state)
    counts = {
        name: [int(leaf) for leaf in jax.tree.leaves(each) if leaf.dtype == jnp.int32]
        for name, each in state.opt_state["nets"].items()
    }
    assert counts == {"image": [2], "text": [1], "fused": [1]}
    other = updates.descent("other", NETWORKS, objective, SGD, opt_state="nets")
    with pytest.raises(ValueError, match="'nets' have different optimisers"):
        updates.method(NETWORKS, (contract.Stage("only", 1, (one, other)),), SPEC)


def test_mistakes_of_a_method_are_named():
    networks = {"image": NETWORKS["image"], "judge": HashMLP(1)}
    stage = contract.Stage("only", 1, (updates.forward("no", networks, keeping),))
    with pytest.raises(ValueError, match=r"no array 'judge'.*Inputs\(network"):
        updates.method(networks, (stage,), SPEC).init(jax.random.key(0))
    lossless = updates.descent("none", NETWORKS, lambda net, batch: updates.Terms(), SGD)
    method = updates.method(NETWORKS, (contract.Stage("only", 1, (lossless,)),), SPEC)
    with pytest.raises(ValueError, match="update 'none' gives no loss"):
        alone(method.stages[0].updates[0], method.init(jax.random.key(0)))


class Views(nn.Module):
    @nn.compact
    def __call__(self, views, row_keys=None):
        return nn.Dense(16)(jnp.concatenate([views["low"], views["high"]], axis=1))


def with_views(items):
    image = items.inputs["image"]
    views = {"low": image[:, :5], "high": image[:, 5:]}
    return dataclasses.replace(items, inputs={**items.inputs, "image": views})


@pytest.mark.parametrize("resident_gigabytes", [1.0, 0.0])
def test_a_modality_may_have_several_views(tmp_path, resident_gigabytes):
    """Trained, resident and streamed, and evaluated."""
    pairs = dict(DATA.training["pairs"])
    pairs["image"] = {"low": pairs["image"][:, :5], "high": pairs["image"][:, 5:]}
    tasks = tuple(
        t._replace(query=with_views(t.query), database=with_views(t.database)) for t in DATA.tasks
    )
    data = dataclasses.replace(DATA, training={"pairs": pairs}, tasks=tasks, validation=())
    spec = schedule.make_spec(data.training, 16)
    assert spec.inputs["pairs"]["image"]["high"] == ((7,), np.float32)
    networks = {"image": Views(), "text": HashMLP(16, (32,))}

    def objective(net, batch):
        S = similarity.signed(batch.labels, batch.labels)
        u, v = net("image"), net("text")
        return updates.Terms(losses.cosine_margin_loss(u, v, S, margin=0.5, where=batch.pairs))

    adam = Optimizer("adam", 1e-2, 1e-3, "geometric", 0.0, 0.0)
    update = updates.descent("joint", networks, objective, adam)
    method = updates.method(networks, (contract.Stage("only", 20, (update,)),), spec)
    made = small.config("dcmh", resident_gigabytes=resident_gigabytes)
    state = engine.train(method, data.training, read_run(made), tmp_path)
    found = retrieval.retrieve(method, state, data.tasks)
    assert all(one.score() > 0.7 for one in found.values())
    with pytest.raises(UserError, match=r"'image\.low': 4"):
        dataclasses.replace(data, training={"pairs": {**pairs, "image": {"low": np.ones((4, 2))}}})


def test_what_is_not_read_is_not_there(tmp_path):
    """Resident or streamed: an update gets what it names."""

    def objective(net, batch):
        return updates.Terms(jnp.sum(net("image")) + jnp.sum(batch.labels))

    update = updates.descent("look", NETWORKS, objective, SGD, trains=["image"], reads=["image"])
    method = updates.method(NETWORKS, (contract.Stage("only", 1, (update,)),), SPEC)
    made = small.config("dcmh")
    with pytest.raises(ValueError, match=r"name them in `reads`"):
        engine.train(method, DATA.training, read_run(made), tmp_path)
