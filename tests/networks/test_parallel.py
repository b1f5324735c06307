import threading

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssinfnet_jax.networks import parallel


def test_a_step_is_compiled_once():
    traces = []

    def step(state, batch, key):
        traces.append(1)
        return state + jax.lax.psum(batch["x"].sum(), parallel.AXIS), {"sum": batch["x"].sum()}

    run = parallel.map_step(step)
    state, key = parallel.replicate(jnp.float32(0)), jax.random.key(0)
    for _ in range(3):
        state, metrics = run(state, parallel.shard({"x": np.ones((4, 3), np.float32), "id": np.array(["a"] * 4)}), key)
    assert len(traces) == 1
    assert float(parallel.unreplicate(state)) == 36
    assert float(metrics["sum"]) == 6


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
        ValueError, match=r"config\.single\.train\.batch_size is 7, .* a multiple of their number, 2; the nearest is "
    ):
        parallel.local_batch_size(7, "config.single.train.batch_size")
