"""Training results do not depend on the number of devices and processes: real processes, toy networks."""

import contextlib
import json
import signal
import socket
import time

import numpy as np
import pytest

from ssinfnet_jax.training import checkpoint, loop
from tests.training import toy_run

pytestmark = pytest.mark.long

# The threshold of the coach's mask follows its scores, so their bias has no effect and its gradient is rounding.
WITHOUT_EFFECT = "['score']['conv']['bias']"


def _free_port():
    with contextlib.closing(socket.socket()) as one:
        one.bind(("localhost", 0))
        return one.getsockname()[1]


def _start_two(workdir, *flags, **options):
    """Two processes of two devices each."""
    common = [f"--coordinator_address=localhost:{_free_port()}", "--num_processes=2"]
    return [
        toy_run.start(workdir, *flags, *common, f"--process_id={index}", devices=2, **options) for index in range(2)
    ]


@pytest.fixture(scope="module")
def one_device(tmp_path_factory):
    """The results of all four training stages on one device, with some padded batches and profiles."""
    workdir = tmp_path_factory.mktemp("one")
    toy_run.end(toy_run.start(workdir, "--profile_steps=2:3", padding=True, saving=False))
    for stage in ("pretrain_single", "train_single", "pretrain_multi", "train_multi"):
        assert len([*workdir.glob(f"{stage}/profile/plugins/profile/*/*.xplane.pb")]) == 1
    return toy_run.results(workdir)


def _check_equal(found, expected):
    assert found.keys() == expected.keys()
    for name in expected:
        if not name.endswith(WITHOUT_EFFECT):
            largest = np.abs(expected[name]).max()
            np.testing.assert_allclose(found[name], expected[name], rtol=0, atol=1e-5 * largest, err_msg=name)


@pytest.mark.parametrize(("devices", "way"), [(8, "pmap"), (2, "jit")])
def test_devices_of_one_process(devices, way, one_device, tmp_path):
    toy_run.end(toy_run.start(tmp_path, *toy_run.WAYS[way], devices=devices, padding=True, saving=False))
    _check_equal(toy_run.results(tmp_path), one_device)


def test_checkpoints_are_resumed_by_another_strategy_on_other_devices(one_device, tmp_path):
    turns = [("fsdp", 2, "pretrain single:8"), ("pmap", 1, "train single:5")]
    for way, devices, at in turns:
        options = {"devices": devices, "padding": True, "saving": False, "signal_at": f"{at}:SIGTERM"}
        process = toy_run.start(tmp_path, *toy_run.WAYS[way], **options)
        toy_run.end(process, loop.INTERRUPTED)
        title, step = at.split(":")
        assert checkpoint.latest_step(tmp_path / title.replace(" ", "_") / "checkpoints") == int(step) + 1
    toy_run.end(toy_run.start(tmp_path, *toy_run.WAYS["jit"], devices=8, padding=True, saving=False))
    _check_equal(toy_run.results(tmp_path), one_device)


@pytest.mark.parametrize("way", ["pmap", "fsdp"])
def test_two_processes_one_of_which_is_told_to_stop(way, one_device, tmp_path):
    """SIGTERM to the second process; both stop at the same step, and resume there when restarted."""
    flags = toy_run.WAYS[way]
    for process in _start_two(tmp_path, *flags, padding=True, signal_at="pretrain multi:12:SIGTERM", signal_to=1):
        output = toy_run.end(process, loop.INTERRUPTED)
        if process.args[-1] == "--process_id=0":
            assert "a signal to another process at step 20; state saved" in output
    assert checkpoint.latest_step(tmp_path / "pretrain_multi" / "checkpoints") == 20
    for process in _start_two(tmp_path, *flags, padding=True, saving=False):
        toy_run.end(process)
    _check_equal(toy_run.results(tmp_path), one_device)


KEEP_BEST = [f"--config.single.{flag}" for flag in ("train.keep=best", "pretrain.keep=best", "train.patience_epochs=3")]
# What processes must agree on is the same for both networks.
ALONE = {"variant": "single"}


@pytest.fixture(scope="module")
def one_process(tmp_path_factory):
    """The run folder of a single process with the best weights kept."""
    workdir = tmp_path_factory.mktemp("best")
    toy_run.end(toy_run.start(workdir, *KEEP_BEST, **ALONE))
    return workdir


@pytest.mark.parametrize("way", ["pmap", "fsdp"])
def test_processes_that_disagree_do_what_the_first_says(way, one_process, tmp_path):
    """The second process finds every validation better, saves at other times, stops early, sees no checkpoints, ..."""
    flags = [*toy_run.WAYS[way], *KEEP_BEST]
    for process in _start_two(tmp_path, *flags, **ALONE, disagrees=1, signal_at="train single:12:SIGTERM"):
        toy_run.end(process, loop.INTERRUPTED)
    for process in _start_two(tmp_path, *flags, **ALONE, disagrees=1):
        toy_run.end(process)
    # Not the coach: in so few steps, only rounding moves some of its biases.
    one, two = (
        {name: value for name, value in toy_run.results(run).items() if "/model" in name}
        for run in (one_process, tmp_path)
    )
    _check_equal(two, one)
    for stage in toy_run.STAGES:
        for name in ("model/model.json", "best/best.json"):
            if (one_process / stage / name).exists():
                one, two = (json.loads((run / stage / name).read_text()) for run in (one_process, tmp_path))
                assert two.get("step") == one.get("step")
                assert two.get("weights") == one.get("weights")


def test_an_error_in_one_process_ends_all(tmp_path):
    """The first process finds another run in the run folder; the second, which waits for it, exits too."""
    (tmp_path / "prepare").mkdir()
    (tmp_path / "config.json").write_text("{}")
    first, second = _start_two(tmp_path)
    assert "Process 0: Error: " in toy_run.end(first, 1)
    second.wait(timeout=60)
    assert second.returncode not in (0, None)


def test_a_lost_process_does_not_leave_results(tmp_path):
    """SIGKILL to the second process halfway: no stage counts as finished."""
    first, second = _start_two(tmp_path, signal_at="pretrain single:3:SIGKILL", signal_to=1)
    toy_run.end(second, -signal.SIGKILL)
    time.sleep(1)
    first.kill()
    first.wait()
    assert not (tmp_path / "pretrain_single" / "done.json").exists()
