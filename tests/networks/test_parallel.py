import threading

import jax
import numpy as np
import pytest

from ssinfnet_jax.networks import parallel


def _make_step(strategy, traces=None):
    """Adds the sum over the batch and a number that depends only on the key."""

    def step(state, batch, key):
        if traces is not None:
            traces.append(1)
        total = batch["x"].sum() + batch["other"]["x"].sum()
        if strategy.axis_name:
            total = jax.lax.psum(total, strategy.axis_name)
        drawn = jax.random.uniform(jax.random.fold_in(key, state["step"]))
        return {"step": state["step"] + 1, "w": state["w"] + total}, {"total": total, "drawn": drawn}

    return strategy.map_step(step, jax.random.key(5))


def _initial():
    return {"step": np.int32(0), "w": np.arange(12, dtype=np.float32).reshape(3, 4)}


def _batch():
    x = np.arange(8, dtype=np.float32).reshape(4, 2)
    return {"x": x, "id": np.array(list("abcd")), "other": {"x": np.ones(2, np.float32), "id": np.array(["e", "f"])}}


def test_a_step_over_all_devices(strategy):
    """Compiles once and donates the state; sums are over the whole batch, the key is the same everywhere."""
    traces, host = [], _initial()
    run, state = _make_step(strategy, traces), strategy.place(host)
    for number in range(3):
        before = state
        state, metrics = run(state, strategy.place_batch(_batch()))
        assert float(jax.device_get(metrics["total"])) == 28 + 2
        expected = jax.random.uniform(jax.random.fold_in(jax.random.key(5), number))
        assert float(jax.device_get(metrics["drawn"])) == float(expected)
        assert before["w"].is_deleted()
    assert len(traces) == 1
    found = strategy.fetch(state)
    assert found["step"] == 3
    np.testing.assert_array_equal(found["w"], _initial()["w"] + 3 * 30)
    np.testing.assert_array_equal(host["w"], _initial()["w"])  # what was placed is a copy
    run(state, strategy.place_batch(_batch()))
    np.testing.assert_array_equal(found["w"], _initial()["w"] + 3 * 30)  # and so is what was fetched


def test_a_step_moves_nothing_silently_between_host_and_devices(strategy):
    run, state = _make_step(strategy), strategy.place(_initial())
    with jax.transfer_guard("disallow"):
        for _ in range(2):
            state, metrics = run(state, strategy.place_batch(_batch()))
        strategy.fetch(state)
        jax.device_get(metrics)
        with pytest.raises(RuntimeError, match="Disallowed host-to-device transfer"):
            run(state, jax.tree.map(np.asarray, strategy.place_batch(_batch())))


@pytest.mark.parametrize(
    ("shape", "min_size", "held"),
    [
        ((6, 4), 24, (3, 4)),  # along the longest axis
        ((3, 3, 4, 8), 1, (3, 3, 4, 4)),
        ((7, 4), 1, (7, 2)),  # that two devices divide
        ((6, 4), 25, (6, 4)),  # too small
        ((7, 5), 1, (7, 5)),  # not divisible
        ((), 1, ()),
        ((6, 4), None, (6, 4)),
    ],
)
def test_large_arrays_of_a_state_are_split(shape, min_size, held):
    strategy, x = parallel.Jit(min_size), np.arange(np.prod(shape, dtype=int), dtype=np.float32).reshape(shape)
    placed = strategy.place({"x": x})
    assert {shard.data.shape for shard in placed["x"].addressable_shards} == {held}
    np.testing.assert_array_equal(strategy.fetch(placed)["x"], x)


def test_a_split_state_stays_split():
    strategy = parallel.Jit(fsdp_min_size=8)
    state, _ = _make_step(strategy)(strategy.place(_initial()), strategy.place_batch(_batch()))
    assert {shard.data.shape for shard in state["w"].addressable_shards} == {(3, 2)}


def test_strategies_of_a_config():
    assert isinstance(parallel.strategy("pmap", None), parallel.Pmap)
    assert isinstance(parallel.strategy("jit", 1000), parallel.Jit)


def test_predictions_come_back_in_order_without_padding():
    run = parallel.map_predict(lambda variables, batch: variables * batch["x"])(np.float32(2))
    batch = {"x": np.arange(4, dtype=np.float32), "valid": np.array([1, 1, 1, 0]), "id": np.array(list("abcd"))}
    ((real, found),) = parallel.predict_all(run, [batch])
    assert real["id"].tolist() == ["a", "b", "c"]
    assert found.tolist() == [0, 2, 4]


def test_the_next_batch_is_read_while_one_is_computed():
    events, reading = [], threading.Event()

    def batches():
        for number in range(3):
            events.append(f"read {number}")
            if number:
                reading.set()
            yield {"x": np.array([number]), "valid": np.array([1])}

    def run(batch):
        if batch["x"] == 0:
            assert reading.wait(60)  # only another thread can end this
        return batch["x"]

    for _, found in parallel.predict_all(run, batches()):
        events.append(f"got {found[0]}")
    assert events == ["read 0", "read 1", "got 0", "read 2", "got 1", "got 2"]


def test_an_error_of_a_prediction_is_raised():
    def run(batch):
        raise ValueError("no result")

    with pytest.raises(ValueError, match="no result"):
        list(parallel.predict_all(run, [{"valid": np.array([1])}]))


def test_batch_sizes():
    assert parallel.num_local_devices() == 2
    assert parallel.local_batch_size(8, "batch_size") == 8
    assert parallel.eval_batch_size(5) == 6
    with pytest.raises(
        ValueError, match=r"config\.single\.train\.batch_size is 7 .* a multiple of their number, 2; the nearest is "
    ):
        parallel.local_batch_size(7, "config.single.train.batch_size")
