import gzip
import json
import os
import signal
import subprocess
import sys
import threading
import time

import jax.numpy as jnp
import numpy as np
import pytest
from tensorboardX.proto import event_pb2

from ssinfnet_jax.losses import compose
from ssinfnet_jax.networks import parallel, storage
from ssinfnet_jax.networks.card import NetworkCard
from ssinfnet_jax.training import checkpoint, loop, metrics_log


def _advance(state, batch, step):
    state = {"total": state["total"] + batch["number"].sum(), "step": state["step"] + 1}
    return state, "train", {"loss": jnp.asarray(float(step))}


def _fit(directory, num_steps=10, advance=_advance, *, log_every=2, save_every_s=1e9, profile=None, **options):
    """Sums the step numbers; the batch of a step is its number and a zero, one for each device."""
    training = loop.Training(
        title="test",
        directory=directory,
        num_steps=num_steps,
        steps_per_epoch=4,
        slices_per_step=2,
        advance=advance,
        **{
            "read": lambda step: {"number": np.array([step, 0], np.float32)},
            "learning_rate": lambda step: step / 100,
            **options,
        },
    )
    initial = {"total": np.float32(0), "step": np.int32(0)}
    return loop.fit(initial, training, loop.Options(parallel.Jit(), log_every, save_every_s, profile))


def _rows(directory):
    return [json.loads(line) for line in (directory / "metrics.jsonl").read_text().splitlines()]


def test_metrics_are_means_since_the_last_row(tmp_path):
    assert float(_fit(tmp_path)["total"]) == sum(range(10))
    rows = _rows(tmp_path)
    assert [(row["step"], row["loss"]) for row in rows] == [(2, 0.5), (4, 2.5), (6, 4.5), (8, 6.5), (10, 8.5)]
    assert rows[1]["epoch"] == 1.0
    assert [row["learning_rate"] for row in rows] == [0.01, 0.03, 0.05, 0.07, 0.09]
    assert set(rows[0]) < set(compose.METRICS)


def test_saving_adds_no_row(tmp_path):
    assert float(_fit(tmp_path, save_every_s=0.0)["total"]) == sum(range(10))
    assert [row["step"] for row in _rows(tmp_path)] == [2, 4, 6, 8, 10]


def test_interrupted_run_goes_on_where_it_was(tmp_path):
    def stops_at_5(state, batch, step):
        if step == 4:
            os.kill(os.getpid(), signal.SIGTERM)
        return _advance(state, batch, step)

    with pytest.raises(SystemExit) as stopped:
        _fit(tmp_path, advance=stops_at_5)
    assert stopped.value.code == loop.INTERRUPTED
    seen = []

    def watched(state, batch, step):
        seen.append(step)
        return _advance(state, batch, step)

    assert float(_fit(tmp_path, advance=watched)["total"]) == sum(range(10))
    assert seen == [5, 6, 7, 8, 9]
    assert [row["step"] for row in _rows(tmp_path)] == [2, 4, 5, 6, 8, 10]


def test_killed_run_repeats_what_was_not_saved(tmp_path):
    def dies_at_7(state, batch, step):
        if step == 7:
            raise KeyboardInterrupt
        return _advance(state, batch, step)

    with pytest.raises(KeyboardInterrupt):
        _fit(tmp_path, advance=dies_at_7, save_every_s=0.0)
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 99, "loss"')  # a line cut short
    assert float(_fit(tmp_path)["total"]) == sum(range(10))
    steps = [row["step"] for row in _rows(tmp_path)]
    assert steps == sorted(set(steps))
    assert steps[-1] == 10


def test_a_loss_that_is_not_finite_stops_with_step_and_terms(tmp_path):
    def breaks_at_6(state, batch, step):
        state, phase, metrics = _advance(state, batch, step)
        return state, phase, {**metrics, "edge": jnp.asarray(np.nan if step == 5 else 1.0)}

    with pytest.raises(FloatingPointError, match=r"Step 6 \(train\): not finite: {'edge': nan}. Its slices: slice_5"):
        _fit(tmp_path, advance=breaks_at_6, slice_ids=lambda step: [f"slice_{step}"], log_every=10, save_every_s=0.0)
    assert checkpoint.latest_step(tmp_path / "checkpoints") == 5


_ALWAYS = {"validates_at": lambda done: True, "validate": lambda state, done: {}}


def test_stops_when_it_is_enough(tmp_path):
    assert float(_fit(tmp_path, **_ALWAYS, is_enough=lambda done: done == 5)["total"]) == sum(range(5))
    assert _rows(tmp_path)[-1]["step"] == 5


def _with_checkpoints(directory, *steps):
    saved = checkpoint.Checkpoints(directory / "checkpoints")
    for step in steps:
        saved.save(step, {"total": np.float32(sum(range(step))), "step": np.int32(step)})
    saved.close()


def test_a_corrupt_newest_checkpoint_is_reported_and_the_one_before_is_used(tmp_path, caplog):
    _with_checkpoints(tmp_path, 3, 6)
    for path in (tmp_path / "checkpoints" / "6").rglob("*"):
        if path.is_file():
            path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    seen = []

    def watched(state, batch, step):
        seen.append(step)
        return _advance(state, batch, step)

    assert float(_fit(tmp_path, advance=watched)["total"]) == sum(range(10))
    assert seen[0] == 3
    assert "cannot be read; trying the one before it" in caplog.text
    assert (tmp_path / "unreadable_6").is_dir()


def test_no_readable_checkpoint_is_an_error(tmp_path):
    _with_checkpoints(tmp_path, 3)
    for path in (tmp_path / "checkpoints" / "3").rglob("*"):
        if path.is_file():
            path.write_bytes(b"")
    with pytest.raises(ValueError, match=r"No checkpoint in \S+ can be read: step 3 .* To restart this stage, delete"):
        _fit(tmp_path)


FULL_DISK = """
import pathlib, resource, signal, sys
import numpy as np
from ssinfnet_jax.training import checkpoint
saved = checkpoint.Checkpoints(pathlib.Path(sys.argv[1]))
saved.save(1, {"x": np.zeros(10, np.float32)})
saved.wait()
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))  # no file can grow further, as on a full disk
try:
    saved.save(2, {"x": np.random.default_rng(0).normal(size=1_000_000).astype(np.float32)})
    saved.wait()
except OSError as error:
    print(error)
"""


def test_a_full_disk_keeps_the_checkpoint_before(tmp_path):
    result = subprocess.run([sys.executable, "-c", FULL_DISK, tmp_path], capture_output=True, text=True, check=False)
    assert "The checkpoint of step 2 could not be written" in result.stdout, result.stderr[-2000:]
    step, state = checkpoint.Checkpoints(tmp_path).restore({"x": np.ones(10, np.float32)})
    assert step == 1
    np.testing.assert_array_equal(state["x"], 0)


def _kept(directory):
    return sorted(int(path.name.removeprefix("step_")) for path in directory.glob("step_*"))


def test_the_best_follows_the_checkpoints(tmp_path):
    best = checkpoint.Best(tmp_path, keep_variables=True)
    best.resume(0)
    for step, value in ((10, 0.5), (20, 0.7), (30, float("nan")), (40, 0.6), (50, 0.8), (60, 0.9)):
        best.offer(value, step, {"x": np.float32(step)})
        if step in (10, 40):
            best.hold(step + 5)
    assert (best.step, best.value) == (60, 0.9)
    assert _kept(tmp_path) == [10, 20, 60]
    for resumed, step, value in ((65, 60, 0.9), (45, 20, 0.7), (15, 10, 0.5)):
        again = checkpoint.Best(tmp_path, keep_variables=True)
        again.resume(resumed)
        assert (again.step, again.value) == (step, value)
        assert again.variables({"x": np.float32(0)})["x"] == step
    again.resume(5)
    assert again.step == 0
    again.resume(0)
    assert again.step == 0


def test_the_best_of_a_long_training_does_not_fill_the_disk(tmp_path):
    best = checkpoint.Best(tmp_path, keep_variables=True)
    for step in range(1, 21):
        best.offer(step, step, {"x": np.float32(step)})
        best.hold(step)
        assert len(_kept(tmp_path)) <= checkpoint.KEEP + 1
    assert _kept(tmp_path)[-1] == 20


def test_the_value_alone_takes_no_place(tmp_path):
    best = checkpoint.Best(tmp_path, keep_variables=False)
    best.offer(0.5, 10, None)
    best.hold(15)
    assert [path.name for path in tmp_path.iterdir()] == ["best.json"]
    again = checkpoint.Best(tmp_path, keep_variables=False)
    again.resume(15)
    assert (again.step, again.value) == (10, 0.5)


def test_what_is_kept_beside_an_unreadable_checkpoint_goes_back_with_the_training(tmp_path):
    """Best weights, metrics and the early-stopping count are those of the restored step."""
    values = {2: 0.5, 4: 0.6, 6: 0.9, 8: 0.55, 10: 0.1}
    best = checkpoint.Best(tmp_path / "best", keep_variables=True)

    def validate(state, done):
        best.offer(values[done], done, {"total": state["total"]})
        return {"dice": values[done]}

    def dies_at_6(state, batch, step):
        if step == 6:
            raise KeyboardInterrupt
        return _advance(state, batch, step)

    options = {"validates_at": lambda done: done in values, "validate": validate, "save_every_s": 0.0}
    with pytest.raises(KeyboardInterrupt):
        _fit(tmp_path, advance=dies_at_6, followers=(best,), **options)
    for path in (tmp_path / "checkpoints" / "6").rglob("*"):
        if path.is_file():
            path.write_bytes(b"")
    values |= {6: 0.3}  # repeated steps give other results, so that lost steps cannot contribute
    best = checkpoint.Best(tmp_path / "best", keep_variables=True)
    stops = _fit(tmp_path, is_enough=lambda done: done - best.step >= 5, followers=(best,), **options)
    assert (best.step, best.value) == (4, 0.6)
    assert float(best.variables({"total": np.float32(0)})["total"]) == sum(range(4))
    assert int(stops["step"]) == 10
    assert [row["dice"] for row in _rows(tmp_path) if row["phase"] == "val"] == [0.5, 0.6, 0.3, 0.55, 0.1]


def test_the_first_error_is_raised_even_where_closing_fails(tmp_path, monkeypatch, caplog):
    def fails(self):
        raise OSError("nothing can be closed")

    def dies(state, batch, step):
        raise ValueError("the first error")

    monkeypatch.setattr(checkpoint.Checkpoints, "close", fails)
    monkeypatch.setattr(metrics_log.MetricsWriter, "close", fails)
    with pytest.raises(ValueError, match=r"^the first error$"):
        _fit(tmp_path, advance=dies)
    assert caplog.text.count("Closing failed too: nothing can be closed") == 2
    with pytest.raises(OSError, match="nothing can be closed"):
        _fit(tmp_path)


@pytest.mark.parametrize("close_fails", [False, True])
def test_a_last_write_that_fails_is_told_with_its_remedy(close_fails, tmp_path):
    class Lost:
        def result(self):
            raise RuntimeError("RESOURCE_EXHAUSTED")

    class Checkpointer:
        def save_async(self, *args, **kwargs):
            return Lost()

        def close(self):
            if close_fails:
                raise ValueError("something that follows")

    saved = checkpoint.Checkpoints(tmp_path)
    saved._checkpointer = Checkpointer()
    saved.save(7, {"x": np.zeros(3)})
    with pytest.raises(OSError, match=r"^The checkpoint of step 7 could not be .* free space and run the same command"):
        saved.close()


def test_tensorboard_has_what_the_metrics_have(tmp_path):
    _fit(tmp_path)
    (path,) = (tmp_path / "tensorboard").glob("events.out.tfevents.*")
    data, events = path.read_bytes(), []
    while data:  # a record: its length in 8 bytes, a checksum in 4, itself, a checksum
        end = 12 + int.from_bytes(data[:8], "little")
        events.append(event_pb2.Event.FromString(data[12:end]))
        data = data[end + 4 :]
    assert events[0].file_version == "brain.Event:2"
    assert (events[1].session_log.status, events[1].step) == (event_pb2.SessionLog.START, 1)
    found = [(event.step, {value.tag: value.simple_value for value in event.summary.value}) for event in events[2:]]
    expected = [(row["step"], row["loss"], row["learning_rate"]) for row in _rows(tmp_path)]
    assert [(step, row["train/loss"], pytest.approx(row["train/learning_rate"])) for step, row in found] == expected


def _speeds(directory, read_s=0.0, step_s=0.0, **options):
    """(slices per second, share of the time waiting for data) of rows of two steps, without the first."""

    def read(step):
        time.sleep(read_s)
        return {"number": np.array([step, 0], np.float32)}

    def advance(state, batch, step):
        time.sleep(step_s)
        return _advance(state, batch, step)

    _fit(directory, read=read, advance=advance, **options)
    return [(row["slices_per_second"], row["time_waiting_for_data"]) for row in _rows(directory) if "loss" in row][1:]


def test_speed_and_the_time_waiting_for_data(tmp_path):
    """Bounds that hold on a busy machine: sleeping takes at least its time, everything else less than half a second."""
    for speed, waiting in _speeds(tmp_path / "reading", read_s=0.5, num_steps=4):
        assert 2 < speed < 5  # two slices in half a second plus the time of a step
        assert 0.5 < waiting <= 1
    for speed, waiting in _speeds(tmp_path / "computing", step_s=0.5, read_s=0.1, num_steps=4):
        assert 2 < speed < 5
        assert waiting < 0.1  # a batch is read while the previous step runs


def test_the_time_of_validating_and_saving_is_not_that_of_a_step(tmp_path):
    validate = {"validates_at": lambda done: True, "validate": lambda state, done: time.sleep(0.8)}
    for speed, _ in _speeds(tmp_path, num_steps=4, save_every_s=0.0, **validate):
        assert speed > 2 / 0.8


def test_the_next_batch_is_read_while_a_step_runs_and_none_beyond_the_last(tmp_path):
    reading = {step: threading.Event() for step in range(10)}

    def read(step):
        reading[step].set()
        return {"number": np.array([step, 0], np.float32)}

    def advance(state, batch, step):
        assert step == 9 or reading[step + 1].wait(60)  # only another thread can end this
        return _advance(state, batch, step)

    assert float(_fit(tmp_path, advance=advance, read=read)["total"]) == sum(range(10))


def test_an_error_of_reading_is_raised_at_its_step(tmp_path):
    def read(step):
        if step == 5:
            raise OSError("slice lost")
        return {"number": np.array([step, 0], np.float32)}

    with pytest.raises(OSError, match="slice lost"):
        _fit(tmp_path, read=read, log_every=1)
    assert _rows(tmp_path)[-1]["step"] == 5


def test_a_profile_of_some_steps(tmp_path):
    _fit(tmp_path, profile=(3, 4))
    (trace,) = tmp_path.glob("profile/plugins/profile/*/*.trace.json.gz")
    events = json.loads(gzip.decompress(trace.read_bytes()))["traceEvents"]
    assert [event["args"]["step_num"] for event in events if event.get("name") == "step"] == ["3", "4"]


@pytest.mark.parametrize(("steps", "num_steps"), [((3, 11), 10), ((1, 2), 1)])
def test_a_profile_beyond_the_last_step(steps, num_steps, tmp_path):
    with pytest.raises(ValueError, match=rf"--profile_steps={steps[0]}:{steps[1]}: .* has {num_steps} steps; choose"):
        _fit(tmp_path, num_steps=num_steps, profile=steps)


def test_steps_that_were_done_before_are_not_profiled(tmp_path, caplog):
    _with_checkpoints(tmp_path, 3)
    _fit(tmp_path, profile=(3, 5))
    assert "Steps 3:5 are not profiled: training resumes at step 4" in caplog.text
    assert not (tmp_path / "profile").exists()


def test_validation_rows(tmp_path):
    _fit(tmp_path, validates_at=lambda done: done == 10, validate=lambda state, done: {"dice": 0.5})
    assert _rows(tmp_path)[-1] == {"step": 10, "phase": "val", "epoch": 2.5, "dice": 0.5}


def test_checkpoints_refuse_another_shape(tmp_path):
    saved = checkpoint.Checkpoints(tmp_path)
    saved.save(1, {"kernel": np.zeros(3)})
    saved.close()
    with pytest.raises(ValueError, match=r"another network: \['kernel'\] \(3,\) instead of \(4,\)"):
        checkpoint.Checkpoints(tmp_path).restore({"kernel": np.zeros(4)})


def test_no_trained_network(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"No trained network in .*run the stage that trains it"):
        storage.load(tmp_path / "model")
    storage.save(tmp_path / "model", {"kernel": np.zeros(3)}, NetworkCard.from_json({"model": "unet", "options": {}}))
    with pytest.raises(FileNotFoundError, match=rf"No trained network in {tmp_path}: give {tmp_path}/model, which"):
        storage.load(tmp_path)
