"""A grid as a user runs it: stopped, killed, resumed; a failed run does not stop the others."""

import json
import pathlib
import signal
import time

import jax
import pandas as pd
import pytest

from ssinfnet_jax.training import loop
from tests import programs

pytestmark = pytest.mark.long

ROOT = pathlib.Path(__file__).parents[2]


def _flags(workdir, *more):
    config, cache = "tests/launch/toy_experiment.py", jax.config.jax_compilation_cache_dir
    return [f"--config={config}", f"--workdir={workdir}", f"--compilation_cache_dir={cache}", *more]


def _start(workdir, *more):
    return programs.start("launch.experiment", *_flags(workdir, *more))


def _run(workdir, *more):
    result = programs.run("launch.experiment", *_flags(workdir, *more))
    return result.returncode, result.stdout + result.stderr


def _end(process):
    try:
        output, _ = process.communicate(timeout=900)
    finally:
        process.kill()
    return process.returncode, output


def _wait_for(path, process, timeout_s=600):
    deadline = time.monotonic() + timeout_s
    while not path.exists():
        assert process.poll() is None, process.communicate()[0][-3000:]
        assert time.monotonic() < deadline, f"{path} did not appear"
        time.sleep(0.05)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """(folder, exit code and output of the last call): killed, then run to the end."""
    workdir = tmp_path_factory.mktemp("experiment")
    process = _start(workdir)
    _wait_for(workdir / "runs" / "fast-fold0-seed0" / "train_single", process)
    process.kill()
    _end(process)
    lock = workdir / "runs" / "fast-fold0-seed0" / ".lock"
    orphan = int(lock.read_text().split()[1])
    deadline = time.monotonic() + 60
    while pathlib.Path(f"/proc/{orphan}").exists() and time.monotonic() < deadline:
        time.sleep(0.2)  # a run exits when the grid's program is gone
    assert not pathlib.Path(f"/proc/{orphan}").exists()
    return workdir, *_run(workdir)


def test_a_failed_run_is_noted_and_stops_no_other(finished):
    workdir, code, output = finished
    assert code == 1
    assert "Runs: 2 done, 1 failed" in output
    failures = pd.read_csv(workdir / "failures.csv")
    assert failures["run"].tolist() == ["broken-fold0-seed0"]
    assert failures["stage"].tolist() == ["train_single"]
    assert "not finite" in failures["reason"][0]
    assert (workdir / "logs" / "broken-fold0-seed0.log").read_text().count("Error: ") == 2  # tried by both calls


def test_finished_runs_are_not_repeated_and_share_their_stages(finished):
    workdir, _, output = finished
    assert "1 of 3 runs are done." in output
    first, last = workdir / "runs" / "slow-fold0-seed0", workdir / "runs" / "fast-fold0-seed0"
    for shared in ("data", "prepare", "pretrain_single"):
        assert (last / shared).resolve() == (first / shared).resolve()
    assert (last / "train_single").resolve() != (first / "train_single").resolve()
    assert json.loads((first / "train_multi" / "done.json").read_text())["skipped"] == "the config has no such network"


def test_tables_and_page(finished):
    workdir, _, _ = finished
    slices = pd.read_csv(workdir / "tables" / "slices.csv")
    assert slices.groupby("method").size().to_dict() == {"fast": 4, "slow": 4}
    comparison = pd.read_csv(workdir / "tables" / "comparison.csv")
    assert set(comparison["method"]) == {"fast"}
    page = (workdir / "report.html").read_text()
    assert "broken-fold0-seed0" in page


def test_collect_runs_nothing(finished):
    workdir, *_ = finished
    (workdir / "report.html").unlink()
    code, output = _run(workdir, "--collect")
    assert code == 0
    assert "Runs: 2 done, 1 failed" in output
    assert (workdir / "report.html").is_file()


def test_another_experiment_than_the_folders_is_not_collected(finished):
    code, output = _run(finished[0], "--collect", "--config.name=other")
    assert code == 1
    assert "holds the experiment 'toy', not 'other'; give the config or the folder of" in output


def test_one_run_alone(finished, tmp_path):
    workdir, *_ = finished
    code, output = _run(tmp_path, "--index=0", f"--share={workdir}")
    assert code == 0, output
    (run,) = (tmp_path / "runs").iterdir()
    assert run.name == "slow-fold0-seed0"
    # The other experiment has equal results for all stages.
    assert all((run / stage).is_symlink() for stage in ("prepare", "train_single", "evaluate"))
    code, output = _run(tmp_path, "--index=3")
    assert code == 1
    assert "--index=3: the grid has runs 0 to 2." in output
    code, output = _run(tmp_path, "--collect")
    assert code == 0, output
    assert "Runs: 2 missing, 1 done" in output
    assert "--collect" not in json.loads((tmp_path / "experiment.json").read_text())["command"]
    code, output = _run(tmp_path, "--index=1", "--config.base.single.train.epochs=9")
    assert code == 1
    assert "holds another experiment (base differ)" in output


def test_nothing_is_collected_of_a_folder_that_holds_none(tmp_path):
    code, output = _run(tmp_path / "typo", "--collect")
    assert code == 1
    assert "typo holds no experiment: there is nothing to collect." in output
    assert not (tmp_path / "typo").exists()


def test_another_grid_is_refused(finished):
    workdir, *_ = finished
    code, output = _run(workdir, "--config.seeds=(1,)")
    assert code == 1
    assert "holds another experiment (seeds differ)" in output


@pytest.mark.parametrize(
    ("flags", "error"),
    [
        (["--config.base.single.train.keep=beste"], "Run slow-fold0-seed0: Unknown config.single.train.keep 'beste'"),
        (["--config.reference=quick"], "The experiment's reference 'quick' is not one of its methods: slow, broken, "),
        (["--share=nowhere"], "--share=nowhere is not the folder of an experiment: it has no experiment.json."),
        (["--profile_steps=1:2", "--collect"], "--profile_steps: nothing is trained; leave it out."),
    ],
)
def test_a_mistake_is_found_before_anything_is_run(flags, error, tmp_path):
    code, output = _run(tmp_path, *flags)
    assert code == 1
    assert f"Error: {error}" in output
    assert not (tmp_path / "runs").exists()


def test_runs_at_the_same_time(finished, tmp_path):
    process = _start(tmp_path, "--num_parallel=3")
    slow = tmp_path / "runs" / "slow-fold0-seed0"
    _wait_for(slow / "train_single" / "metrics.jsonl", process)
    process.send_signal(signal.SIGTERM)
    code, output = _end(process)
    assert code == loop.INTERRUPTED, output
    assert "SIGTERM: stopped in run slow-fold0-seed0, " in output
    assert "; run the same command again to resume." in output
    assert not (slow / "train_single" / "done.json").exists()
    code, output = _run(tmp_path, "--num_parallel=3")
    assert code == 1
    assert "Runs: 2 done, 1 failed" in output
    runs = sorted((tmp_path / "runs").iterdir())
    for stage in ("data", "prepare", "pretrain_single"):
        assert sum(not (run / stage).is_symlink() for run in runs) == 1
    for table in ("slices.csv", "comparison.csv"):
        assert (tmp_path / "tables" / table).read_bytes() == (finished[0] / "tables" / table).read_bytes()
