"""Stages of a grid's runs that come out the same are made once."""

import concurrent.futures
import time
from unittest import mock

import pytest

from launch import stages
from ssinfnet_jax import rundir

CONFIG = {"save_every_s": 0.0, "data": 1, "single": {"rate": 0.1}, "multi": {"rate": 0.1}}


class Maker:
    """A stage that counts how often it is begun, and writes whose config it was given."""

    def __init__(self, name, needs):
        self.name, self.needs, self.calls, self.fails = name, needs, [], False

    def __call__(self, config, run_dir):
        self.calls.append(run_dir.path.name)
        for need in self.needs:
            run_dir.require(need)
        with (run_dir.stage(self.name) / "steps").open("a") as file:
            file.write(run_dir.path.name + "\n")
        if self.fails:
            raise KeyboardInterrupt
        time.sleep(0.2)


@pytest.fixture
def makers():
    """The functions of three stages by name, which take the place of the pipeline's."""
    table = {
        "prepare": (("data",), ()),
        "train_single": (("single",), ("prepare",)),
        "train_multi": (("multi",), ("prepare", "train_single")),
    }
    made = {name: Maker(name, needs) for name, (_, needs) in table.items()}
    entries = {name: stages.Stage(made[name], reads, needs) for name, (reads, needs) in table.items()}
    with mock.patch.dict(stages.STAGES, entries, clear=True):
        yield made


def _run(grid, name, changes):
    config = {**CONFIG, **changes}
    stages.run(config, rundir.open_run(grid / "runs" / name, config), tuple(stages.STAGES), (grid,))


def test_runs_that_work_at_the_same_time_make_what_they_share_once(makers, tmp_path):
    changes = {"a": {}, "b": {"multi": {"rate": 0.2}}, "c": {"single": {"rate": 0.2}}}
    with concurrent.futures.ThreadPoolExecutor() as pool:
        list(pool.map(lambda name: _run(tmp_path, name, changes[name]), changes))
    assert [len(maker.calls) for maker in makers.values()] == [1, 2, 3]
    assert "c" in makers["train_single"].calls
    for name in changes:
        run = rundir.RunDir(tmp_path / "runs" / name)
        assert all(run.is_done(stage) for stage in stages.STAGES)
    links = [(tmp_path / "runs" / name / "train_single").resolve() for name in changes]
    assert links[0] == links[1] != links[2]


def test_what_another_run_has_begun_is_gone_on_with(makers, tmp_path):
    makers["train_single"].fails = True
    with pytest.raises(KeyboardInterrupt):
        _run(tmp_path, "a", {})
    makers["train_single"].fails = False
    _run(tmp_path, "b", {"multi": {"rate": 0.2}})
    assert (tmp_path / "runs" / "a" / "train_single" / "steps").read_text() == "a\nb\n"
    _run(tmp_path, "a", {})
    assert makers["train_single"].calls == ["a", "b"]
    assert makers["train_multi"].calls == ["b", "a"]


def test_what_a_run_of_another_grid_has_begun_is_its_own(makers, tmp_path):
    makers["train_single"].fails = True
    with pytest.raises(KeyboardInterrupt):
        _run(tmp_path / "first", "a", {})
    makers["train_single"].fails = False
    config = {**CONFIG}
    run_dir = rundir.open_run(tmp_path / "second" / "runs" / "a", config)
    stages.run(config, run_dir, tuple(stages.STAGES), (tmp_path / "second", tmp_path / "first"))
    assert (run_dir.path / "prepare").is_symlink()
    assert (run_dir.path / "train_single" / "steps").read_text() == "a\n"
    assert not (run_dir.path / "train_single").is_symlink()


def test_a_stage_needs_what_stands_before_it():
    names = list(stages.STAGES)
    for name, stage in stages.STAGES.items():
        assert set(stage.needs) <= set(names[: names.index(name)])


def test_a_stage_is_given_only_what_it_reads():
    config = {"seed": 1, "data": {"x": 2}, "single": {"model": 3, "train": 4}, "multi": None}
    assert stages.part(config, ("seed", "single.model", "multi.model")) == {
        "seed": 1, "single": {"model": 3}, "multi": None,
    }  # fmt: skip
