import json
import os
import signal

import jax.numpy as jnp
import numpy as np
import pytest

from ssinfnet_jax.training import checkpoint, loop


def _advance(state, step):
    state = {"total": state["total"] + step, "step": state["step"] + 1}
    return state, "train", {"loss": jnp.asarray(float(step))}


def _fit(directory, num_steps=10, advance=_advance, **options):
    settings = {"log_every": 2, "save_every_s": 1e9, **options}
    return loop.fit(
        {"total": np.float32(0), "step": np.int32(0)},
        advance,
        num_steps=num_steps,
        steps_per_epoch=4,
        directory=directory,
        to_host=lambda x: x,
        to_devices=lambda x: x,
        title="test",
        **settings,
    )


def _rows(directory):
    return [json.loads(line) for line in (directory / "metrics.jsonl").read_text().splitlines()]


def test_metrics_are_means_since_the_last_row(tmp_path):
    assert float(_fit(tmp_path)["total"]) == sum(range(10))
    rows = _rows(tmp_path)
    assert [(row["step"], row["loss"]) for row in rows] == [(2, 0.5), (4, 2.5), (6, 4.5), (8, 6.5), (10, 8.5)]
    assert rows[1]["epoch"] == 1.0


def test_interrupted_run_goes_on_where_it_was(tmp_path):
    def stops_at_5(state, step):
        if step == 4:
            os.kill(os.getpid(), signal.SIGTERM)
        return _advance(state, step)

    with pytest.raises(SystemExit) as stopped:
        _fit(tmp_path, advance=stops_at_5)
    assert stopped.value.code == loop.INTERRUPTED
    seen = []

    def watched(state, step):
        seen.append(step)
        return _advance(state, step)

    assert float(_fit(tmp_path, advance=watched)["total"]) == sum(range(10))
    assert seen == [5, 6, 7, 8, 9]
    assert [row["step"] for row in _rows(tmp_path)] == [2, 4, 5, 6, 8, 10]


def test_killed_run_repeats_what_was_not_saved(tmp_path):
    def dies_at_7(state, step):
        if step == 7:
            raise KeyboardInterrupt
        return _advance(state, step)

    with pytest.raises(KeyboardInterrupt):
        _fit(tmp_path, advance=dies_at_7, save_every_s=0.0)
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 99, "loss"')  # a line cut short
    assert float(_fit(tmp_path)["total"]) == sum(range(10))
    steps = [row["step"] for row in _rows(tmp_path)]
    assert steps == sorted(set(steps))
    assert steps[-1] == 10


def test_a_loss_that_is_not_finite_stops_with_step_and_terms(tmp_path):
    def breaks_at_6(state, step):
        state, phase, metrics = _advance(state, step)
        return state, phase, {**metrics, "edge": jnp.asarray(np.nan if step == 5 else 1.0)}

    with pytest.raises(FloatingPointError, match=r"Step 6 \(train\): not finite: {'edge': nan}"):
        _fit(tmp_path, advance=breaks_at_6)


def test_validation_rows(tmp_path):
    _fit(tmp_path, after=lambda state, done: {"dice": 0.5} if done == 10 else None)
    assert _rows(tmp_path)[-1] == {"step": 10, "phase": "val", "epoch": 2.5, "dice": 0.5}


def test_checkpoints_refuse_another_shape(tmp_path):
    saved = checkpoint.Checkpoints(tmp_path)
    saved.save(1, {"kernel": np.zeros(3)})
    saved.close()
    with pytest.raises(ValueError, match=r"another network: \['kernel'\] \(3,\) instead of \(4,\)"):
        checkpoint.Checkpoints(tmp_path).restore({"kernel": np.zeros(4)})


def test_no_trained_network(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"No trained network in .*run the stage that makes it"):
        checkpoint.load_model(tmp_path / "model")
