import importlib.util
import json
import os
import shutil
import subprocess
import threading
import time

import pytest

from ssinfnet_jax import rundir

CONFIG = {"name": "test", "train": {"epochs": 2, "scale": (0.8, 1.0)}}


def test_a_finished_stage_is_not_run_again(tmp_path):
    run, calls = rundir.open_run(tmp_path / "run", CONFIG), []
    for _ in range(2):
        rundir.run_stage(run, "prepare", lambda run: calls.append(1))
    assert calls == [1]
    note = json.loads((tmp_path / "run" / "prepare" / "done.json").read_text())
    assert note["stage"] == "prepare"
    assert note["skipped"] is None
    assert note["versions"]["jax"]
    assert run.is_done("prepare")
    assert not run.was_skipped("prepare")


def test_a_stage_that_failed_is_not_finished(tmp_path):
    run = rundir.open_run(tmp_path, CONFIG)

    def fails(run):
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        rundir.run_stage(run, "prepare", fails)
    assert not run.is_done("prepare")


def test_a_skipped_stage_says_why(tmp_path):
    run = rundir.open_run(tmp_path, CONFIG)
    rundir.run_stage(run, "mediate", lambda run: "no cohort")
    assert run.was_skipped("mediate")
    assert json.loads((tmp_path / "mediate" / "done.json").read_text())["skipped"] == "no cohort"


def test_the_same_config_opens_the_same_run(tmp_path):
    rundir.open_run(tmp_path, CONFIG)
    rundir.open_run(tmp_path, {"train": {"scale": [0.8, 1.0], "epochs": 2}, "name": "test"})


def test_another_config_is_refused_with_the_differences(tmp_path):
    rundir.open_run(tmp_path, CONFIG).stage("prepare")
    with pytest.raises(ValueError, match=r"another config; use a new folder.*\n  train.epochs: 2 -> 3"):
        rundir.open_run(tmp_path, {**CONFIG, "train": {"epochs": 3, "scale": (0.8, 1.0)}})


@pytest.mark.parametrize("key", rundir.EXECUTION)
def test_how_a_run_is_computed_may_change(key, tmp_path):
    """Folders of runs from before the key existed can be opened, too."""
    rundir.open_run(tmp_path, CONFIG).stage("prepare")
    for config in ({**CONFIG, key: 1}, {**CONFIG, key: 2}, CONFIG):
        rundir.open_run(tmp_path, config)
        assert json.loads((tmp_path / "config.json").read_text()).get(key) == config.get(key)
        rundir.join_run(tmp_path, config)


def test_a_required_stage_must_have_finished(tmp_path):
    run = rundir.open_run(tmp_path, CONFIG)
    with pytest.raises(FileNotFoundError, match=r"Stage 'prepare' has not finished in .*--stages=prepare"):
        run.require("prepare")


def test_a_config_without_any_stage_is_replaced(tmp_path):
    rundir.open_run(tmp_path, CONFIG)
    rundir.open_run(tmp_path, {**CONFIG, "name": "other"})
    assert json.loads((tmp_path / "config.json").read_text())["name"] == "other"


def test_two_processes_in_one_folder_are_refused(tmp_path):
    run = rundir.open_run(tmp_path, CONFIG)
    with pytest.raises(ValueError, match=rf"Another process works in {tmp_path} \(process {os.getpid()} on "):
        rundir.open_run(tmp_path, CONFIG)
    run.lock.close()
    rundir.open_run(tmp_path, CONFIG)


@pytest.mark.parametrize("name", ["there", "there/below"])
def test_a_run_folder_cannot_be_a_file(tmp_path, name):
    (tmp_path / "there").write_text("mine")
    with (
        pytest.raises(ValueError, match=rf"{name} must be a folder, new or .*, but {tmp_path}/there is a file; choose"),
        rundir.holding(tmp_path / name),
    ):
        pass


def test_stages_made_from_an_earlier_run_of_a_stage_are_outdated(tmp_path):
    run = rundir.open_run(tmp_path, CONFIG)
    chain = {"prepare": None, "train": "prepare", "evaluate": "train"}

    def run_all(*names):
        for name in names:
            rundir.run_stage(run, name, lambda run, name=name: chain[name] and run.require(chain[name]) and None)

    run_all(*chain)
    run_all(*chain)
    shutil.rmtree(tmp_path / "prepare")
    run_all("prepare")
    with pytest.raises(
        ValueError, match=r"'train' was made from an earlier run of 'prepare'.*rm -r \S+/evaluate \S+/train$"
    ):
        run_all("train")
    (tmp_path / "train" / "done.json").unlink()  # as if it had been stopped midway
    with pytest.raises(ValueError, match="'train' was made from an earlier run of 'prepare'"):
        run_all("train")
    for name in ("train", "evaluate"):
        shutil.rmtree(tmp_path / name)
    run_all(*chain)


def test_a_file_is_written_completely_or_not_at_all(tmp_path):
    def stopped():
        with rundir.writing(tmp_path / "table.csv") as path:
            path.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stopped()
    assert not (tmp_path / "table.csv").exists()


def test_other_processes_join_the_folder_that_the_first_has_opened(tmp_path):
    with pytest.raises(ValueError, match="with several processes, --workdir must be on a file system that all"):
        rundir.join_run(tmp_path, CONFIG)
    rundir.open_run(tmp_path, CONFIG)
    assert rundir.join_run(tmp_path, CONFIG).path == tmp_path
    with pytest.raises(ValueError, match="is not the folder that process 0 has opened"):
        rundir.join_run(tmp_path, {**CONFIG, "name": "other"})


def _two_stages(folder):
    """Makes a run whose stage `train` was made from `prepare`, which also wrote `data`."""
    run = rundir.open_run(folder, CONFIG)

    def prepare(run):
        (run.path / "data").mkdir()

    def train(run):
        run.require("prepare")
        (run.stage("train") / "model").write_text(folder.name)

    rundir.run_stage(run, "prepare", prepare)
    rundir.run_stage(run, "train", train)
    return run


def test_a_stage_is_taken_over_with_what_it_was_made_from(tmp_path):
    first, second = _two_stages(tmp_path / "first"), rundir.open_run(tmp_path / "second", CONFIG)
    assert not second.take_over("train", first)  # its `prepare` is not here
    assert second.take_over("prepare", first, ["data"])
    assert second.take_over("train", first)
    assert (second.path / "train" / "model").read_text() == "first"
    assert (second.path / "data").resolve() == first.path / "data"
    second.check_current("train")
    rundir.run_stage(second, "train", lambda run: pytest.fail("run again"))
    # A third run may take over a stage that the second has taken over.
    third = rundir.open_run(tmp_path / "third", CONFIG)
    assert third.take_over("prepare", second, ["data"])
    assert (third.path / "prepare").resolve() == first.path / "prepare"


def test_a_stage_made_from_another_one_is_not_taken_over(tmp_path):
    first, second = _two_stages(tmp_path / "first"), _two_stages(tmp_path / "second")
    shutil.rmtree(second.path / "train")
    assert not second.take_over("train", first)
    assert not second.take_over("missing", first)


def test_a_stage_that_was_started_is_not_taken_over(tmp_path):
    first, second = _two_stages(tmp_path / "first"), rundir.open_run(tmp_path / "second", CONFIG)
    assert second.take_over("prepare", first, ["data"])
    (second.stage("train") / "checkpoint").write_text("half")
    assert not second.take_over("train", first)


def test_a_stage_taken_over_from_a_deleted_run_is_run_again(tmp_path):
    first, second = _two_stages(tmp_path / "first"), rundir.open_run(tmp_path / "second", CONFIG)
    second.take_over("prepare", first, ["data"])
    second.take_over("train", first)
    shutil.rmtree(first.path)
    assert not second.is_done("train")
    rundir.run_stage(second, "train", lambda run: (run.stage("train") / "model").write_text("own") and None)
    assert (second.path / "train" / "model").read_text() == "own"


def test_a_stage_that_another_run_has_started_is_resumed_there(tmp_path):
    first, second = _two_stages(tmp_path / "first"), rundir.open_run(tmp_path / "second", CONFIG)
    assert not second.take_up("train", first, ["prepare"])  # finished
    (first.path / "train" / "done.json").unlink()
    assert not second.take_up("train", first, ["prepare"])  # its `prepare` is not here
    assert second.take_over("prepare", first, ["data"])
    assert not second.take_up("train", first, ["prepare"], ["more"])  # a folder of it is missing
    assert not second.take_up("missing", first, [])
    assert second.take_up("train", first, ["prepare"])
    rundir.run_stage(second, "train", lambda run: (run.stage("train") / "model").write_text("second") and None)
    assert (first.path / "train" / "model").read_text() == "second"
    assert first.is_done("train")


def test_a_file_is_locked_by_one_process_at_a_time(tmp_path, caplog):
    caplog.set_level("INFO", logger="absl")
    path, order = tmp_path / "locks" / "train", []

    def second():
        with rundir.in_turn(path, "waiting for the first"):
            order.append("second")

    with rundir.in_turn(path, "waiting for nobody"):
        thread = threading.Thread(target=second)
        thread.start()
        deadline = time.monotonic() + 60
        while "waiting for the first" not in caplog.text:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        order.append("first")
    thread.join()
    assert order == ["first", "second"]
    assert "waiting for nobody" not in caplog.text


def _git(folder, *arguments):
    who = ("-c", "user.name=somebody", "-c", "user.email=somebody@example.org")
    command = ["git", "-C", str(folder), *who, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


@pytest.fixture
def repository(tmp_path):
    """Creates another repository with one commit."""
    _git(tmp_path, "init", "-q")
    (tmp_path / "theirs.txt").write_text("theirs")
    _git(tmp_path, "add", ".")
    _git(tmp_path, "commit", "-q", "-m", "theirs")
    return tmp_path


def _copy(folder):
    """Copies `rundir` to a package in that folder and imports it."""
    path = folder / "ssinfnet_jax" / "rundir.py"
    path.parent.mkdir(parents=True)
    shutil.copy(rundir.__file__, path)
    spec = importlib.util.spec_from_file_location("rundir_copy", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_commit_is_that_of_the_package(repository):
    own = _copy(repository)
    assert own.provenance()["commit"] == "unknown"  # not yet part of it
    _git(repository, "add", ".")
    _git(repository, "commit", "-q", "-m", "the package")
    commit = own.provenance()["commit"]
    assert len(commit) >= 7
    assert _git(repository, "rev-parse", "HEAD").startswith(commit)
    (repository / "theirs.txt").write_text("changed")
    assert own.provenance()["commit"] == commit + "+"


@pytest.mark.parametrize("place", ["venv/lib/site-packages", "third_party/theirs"])
@pytest.mark.parametrize("is_committed", [False, True])
def test_the_commit_of_a_repository_that_merely_contains_the_package_is_not_recorded(place, is_committed, repository):
    installed = _copy(repository / place)
    if is_committed:
        _git(repository, "add", "--force", ".")
        _git(repository, "commit", "-q", "-m", "all of it")
    assert installed.provenance()["commit"] == "unknown"


def test_a_hooks_repository_is_not_mistaken_for_the_packages(repository, tmp_path_factory, monkeypatch):
    installed = _copy(tmp_path_factory.mktemp("elsewhere"))
    monkeypatch.setenv("GIT_DIR", str(repository / ".git"))
    monkeypatch.setenv("GIT_WORK_TREE", str(repository))
    assert installed.provenance()["commit"] == "unknown"


def test_a_machine_without_git(monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    assert rundir.provenance()["commit"] == "unknown"
