"""The engine's parts: batches, phases, updates, checkpoints."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import small

from jxhash.methods.contract import Done, Method, Stage, Update
from jxhash.methods.settings import Optimizer
from jxhash.rows import Grouped, in_memory
from jxhash.training import batches, engine, schedule
from jxhash.training.checkpoint import Checkpoints

SOURCES = {
    "pairs": {"image": np.zeros((50, 3)), "labels": np.zeros((50, 2))},
    "query": {"image": np.zeros((7, 3))},
}


@pytest.mark.parametrize("sampling", ["shuffled", "fresh", "in_order"])
def test_plans(sampling):
    plan = batches.epoch_plan(SOURCES, 16, sampling, (1, 2))
    pairs, query = plan["pairs"], plan["query"]
    assert pairs.shape == query.shape == (4, 2, 8)
    if sampling != "fresh":
        # Each row once, padding at the end alone.
        assert sorted(pairs.reshape(-1)[:50]) == list(range(50))
        assert set(pairs.reshape(-1)[50:]) == {50}
    else:
        for step in pairs.reshape(4, 16):
            assert len(set(step)) == 16
            assert step.max() < 50
    # A short source is gone through again and again, never padded.
    counts = np.bincount(query.reshape(-1), minlength=7)
    assert counts.sum() == 64
    assert counts.max() - counts.min() <= 1


def test_plans_depend_on_the_seed_alone():
    one, again, other = (
        batches.epoch_plan(SOURCES, 16, "shuffled", seed)["pairs"] for seed in ((0,), (0,), (1,))
    )
    np.testing.assert_array_equal(one, again)
    assert np.any(one != other)


def test_odd_batches_are_padded_on_each_device():
    plan = batches.epoch_plan(SOURCES, 5, "in_order", (0,))["pairs"]
    assert plan.shape == (10, 2, 3)
    assert plan[0].tolist() == [[0, 1, 2], [3, 4, 50]]
    full = batches.all_rows_plan(SOURCES)["query"]
    assert full.tolist() == [[0, 1, 2, 3], [4, 5, 6, 7]]


@pytest.mark.parametrize("resident", [True, False])
def test_one_of_several_rows_is_drawn(resident):
    counts = np.array([1, 4, 2] * 10)
    owner = np.repeat(np.arange(30), counts)
    flat = np.stack([owner, np.arange(70)], axis=1).astype(np.float32)
    training = {"pairs": {"image": np.arange(30), "text": Grouped(in_memory(flat), counts)}}
    placement = batches.Resident(training) if resident else batches.Streamed(training, 1)
    seen = []
    for epoch in range(20):
        plan = batches.epoch_plan(training, 8, "shuffled", (epoch,))
        for step in range(len(plan["pairs"])):
            arrays = placement.arrays(plan, step)["pairs"]
            for device in range(2):
                index, draws = (plan[name][step, device] for name in ("pairs", batches.DRAWS))
                own = arrays if resident else {n: array[:, device] for n, array in arrays.items()}
                read = placement.read(own, index, 0, draws)
                is_row = index < 30
                # A row of the very item, beside the item's own row of the other array.
                np.testing.assert_array_equal(np.asarray(read["text"])[is_row, 0], index[is_row])
                np.testing.assert_array_equal(np.asarray(read["image"])[is_row], index[is_row])
                seen += np.asarray(read["text"])[is_row, 1].astype(int).tolist()
    times = np.bincount(seen, minlength=70)
    # Each of four rows is drawn about 5 times in 20 epochs, each single row every time.
    assert (times[counts[owner] == 1] == 20).all()
    assert 3.5 < times[counts[owner] == 4].mean() < 6.5
    assert times.min() > 0
    again = batches.epoch_plan(training, 8, "shuffled", (0,))[batches.DRAWS]
    np.testing.assert_array_equal(
        again, batches.epoch_plan(training, 8, "in_order", (0,))[batches.DRAWS]
    )


def test_a_batch_larger_than_the_data():
    plan = batches.epoch_plan(SOURCES, 64, "fresh", (0,))["pairs"]
    assert sorted(plan.reshape(-1)) == [*range(50), *[50] * 14]


def test_phases():
    step = lambda state, batch: Done(state)  # noqa: E731
    image, codes = Update("image", "minibatch", step, repeats=2), Update("codes", "full", step)
    once = image._replace(repeats=1)
    assert schedule.phases_of(Stage("s", 1, (image, codes))) == [(once,), (once,), (codes,)]
    both = (image, Update("text", "minibatch", step))
    assert schedule.phases_of(Stage("s", 1, both, interleaved=True)) == [both]
    for wrong, why in (
        (codes, "only minibatch"),
        (image, "differ in name"),
        (both[1]._replace(sampling="fresh"), "same way"),
    ):
        with pytest.raises(ValueError, match=why):
            schedule.phases_of(Stage("s", 1, (image, wrong), interleaved=True))


def counting_method(data, step, kind="minibatch") -> Method:
    """A method whose one update is `step`, on the state of DCMH."""
    method, _ = small.build(small.config("dcmh"), data)
    return method._replace(stages=(Stage("only", 2, (Update("count", kind, step),)),))


def test_interleaved_updates_see_the_same_batch(tmp_path):
    data = small.dataset()
    method, run = small.build(small.config("dcmh"), data)

    def write(state, batch):
        rows = batch.rows["pairs"]["index"]
        return Done(state.replace(buffers=state.buffers | {"seen": rows}), {"loss": (0.0, 1.0)})

    def compare(state, batch):
        different = jnp.sum(state.buffers["seen"] != batch.rows["pairs"]["index"])
        return Done(state, {"loss": (different, 1.0)})

    def init(key):
        state = method.init(key)
        return state.replace(buffers=state.buffers | {"seen": jnp.zeros((8,), jnp.int32)})

    updates = (Update("write", "minibatch", write), Update("compare", "minibatch", compare))
    both = method._replace(init=init, stages=(Stage("both", 2, updates, interleaved=True),))
    engine.train(both, data.training, run, tmp_path)
    lines = list(engine_metrics(tmp_path))
    assert [line["compare loss"] for line in lines] == [0.0, 0.0]


def engine_metrics(folder):
    from jxhash.training.progress import read_metrics

    return read_metrics(folder / "metrics.jsonl")


def test_host_updates_see_all_rows_in_numpy(tmp_path):
    data = small.dataset()

    def step(state, batch):
        rows = batch.rows["pairs"]
        assert isinstance(rows["image"], np.ndarray)
        assert rows["where"].all()
        mean = rows["image"].mean(axis=0)
        return Done(state.replace(buffers=state.buffers | {"image": mean}), {"loss": (1.0, 1.0)})

    method = counting_method(data, step, "host")
    run = small.build(small.config("dcmh"), data)[1]
    state = engine.train(method, data.training, run, tmp_path)
    expected = data.training["pairs"]["image"].mean(axis=0)
    np.testing.assert_array_equal(np.asarray(state.buffers["image"]), expected)


def test_memory_of_a_state_may_be_reused_once_save_returns(tmp_path):
    data = small.dataset()
    method, _ = small.build(small.config("dcmh"), data)
    state = jax.device_get(method.init(jax.random.key(0)))
    large = np.ones(20_000_000, np.float32)
    saved = Checkpoints(tmp_path, 30)
    saved.save(state.replace(buffers={"large": large}), {})
    large[:] = 2
    saved.wait()
    like = jax.eval_shape(method.init, jax.random.key(0))
    like = like.replace(buffers={"large": jax.ShapeDtypeStruct(large.shape, large.dtype)})
    restored, _ = saved.restore(like)
    assert np.all(restored.buffers["large"] == 1)
    saved.close()


def test_optimizer_reaches_its_last_rate():
    for decay, middle in (("linear", 0.55), ("geometric", 10**-0.5)):
        rate = Optimizer("sgd", 1.0, 0.1, decay, 0.0, 0.0)._schedule(10)
        np.testing.assert_allclose([rate(0), rate(5), rate(10)], [1.0, middle, 0.1], rtol=1e-6)
