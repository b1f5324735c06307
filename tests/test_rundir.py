import json

import pytest

from ssinfnet_jax import rundir

CONFIG = {"name": "test", "train": {"epochs": 2, "scale": (0.8, 1.0)}}


def test_a_finished_stage_is_not_run_again(tmp_path):
    run, calls = rundir.open_run(tmp_path / "run", CONFIG), []
    for _ in range(2):
        rundir.run_stage(run, "prepare", lambda: calls.append(1))
    assert calls == [1]
    note = json.loads((tmp_path / "run" / "prepare" / "done.json").read_text())
    assert note["stage"] == "prepare"
    assert note["skipped"] is None
    assert note["versions"]["jax"]
    assert run.is_done("prepare")
    assert not run.was_skipped("prepare")


def test_a_stage_that_failed_is_not_finished(tmp_path):
    run = rundir.open_run(tmp_path, CONFIG)

    def fails():
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        rundir.run_stage(run, "prepare", fails)
    assert not run.is_done("prepare")


def test_a_skipped_stage_says_why(tmp_path):
    run = rundir.open_run(tmp_path, CONFIG)
    rundir.run_stage(run, "mediate", lambda: "no cohort")
    assert run.was_skipped("mediate")
    assert json.loads((tmp_path / "mediate" / "done.json").read_text())["skipped"] == "no cohort"


def test_the_same_config_opens_the_same_run(tmp_path):
    rundir.open_run(tmp_path, CONFIG)
    rundir.open_run(tmp_path, {"train": {"scale": [0.8, 1.0], "epochs": 2}, "name": "test"})


def test_another_config_is_refused_with_the_differences(tmp_path):
    rundir.open_run(tmp_path, CONFIG)
    with pytest.raises(ValueError, match=r"another config; take a new --workdir.*\n  train.epochs: 2 -> 3"):
        rundir.open_run(tmp_path, {**CONFIG, "train": {"epochs": 3, "scale": (0.8, 1.0)}})


def test_a_stage_that_is_needed_first(tmp_path):
    run = rundir.open_run(tmp_path, CONFIG)
    with pytest.raises(FileNotFoundError, match=r"Stage 'prepare' has not finished in .*--stages=prepare"):
        run.require("prepare")
