"""Runs of a grid share stages with equal results."""

import concurrent.futures
import time
from unittest import mock

import pytest

from launch import stages
from ssinfnet_jax import rundir
from ssinfnet_jax.config import read_config
from tests import trees


class Maker:
    """A stage that counts its starts and writes the config that it was given."""

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
    """The functions of three stages by name, which replace the pipeline's."""
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
    tree = trees.tree(changes)
    stages.run(read_config(tree), rundir.open_run(grid / "runs" / name, tree), tuple(stages.STAGES), (grid,))


def test_runs_that_work_at_the_same_time_make_what_they_share_once(makers, tmp_path):
    changes = {"a": {}, "b": {"multi.train.epochs": 9}, "c": {"single.train.epochs": 9}}
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
    _run(tmp_path, "b", {"multi.train.epochs": 9})
    assert (tmp_path / "runs" / "a" / "train_single" / "steps").read_text() == "a\nb\n"
    _run(tmp_path, "a", {})
    assert makers["train_single"].calls == ["a", "b"]
    assert makers["train_multi"].calls == ["b", "a"]


def test_what_a_run_of_another_grid_has_begun_is_its_own(makers, tmp_path):
    makers["train_single"].fails = True
    with pytest.raises(KeyboardInterrupt):
        _run(tmp_path / "first", "a", {})
    makers["train_single"].fails = False
    run_dir = rundir.open_run(tmp_path / "second" / "runs" / "a", trees.tree())
    stages.run(trees.config(), run_dir, tuple(stages.STAGES), (tmp_path / "second", tmp_path / "first"))
    assert (run_dir.path / "prepare").is_symlink()
    assert (run_dir.path / "train_single" / "steps").read_text() == "a\n"
    assert not (run_dir.path / "train_single").is_symlink()


def test_a_run_that_agrees_in_more_stages_is_preferred(makers, tmp_path):
    """Each grid has data of its own; what was made from one grid's is of no use beside the other's."""
    _run(tmp_path / "second", "a", {"single.train.epochs": 9})
    _run(tmp_path / "first", "b", {})
    tree = trees.tree()
    run_dir = rundir.open_run(tmp_path / "second" / "runs" / "b", tree)
    stages.run(read_config(tree), run_dir, tuple(stages.STAGES), (tmp_path / "second", tmp_path / "first"))
    assert [maker.calls for maker in makers.values()] == [["a", "b"]] * 3
    assert all((run_dir.path / name).resolve().is_relative_to(tmp_path / "first") for name in stages.STAGES)


def test_the_run_folder_knows_the_stages_in_order():
    assert list(stages.STAGES) == list(rundir.STAGES)


def test_a_stage_needs_what_stands_before_it():
    names = list(stages.STAGES)
    for name, stage in stages.STAGES.items():
        assert set(stage.needs) <= set(names[: names.index(name)])


def test_a_stage_is_given_only_what_it_reads(monkeypatch, tmp_path):
    given = []
    stage = stages.Stage(lambda config, run_dir: given.append(config), reads=("seed", "single.model", "multi.model"))
    monkeypatch.setattr(stages, "STAGES", {"prepare": stage})
    tree = trees.tree({"multi": None})
    stages.run(read_config(tree), rundir.open_run(tmp_path, tree), ["prepare"])
    (config,) = given
    assert vars(config).keys() == {"seed", "single", "multi", *rundir.EXECUTION}
    assert vars(config.single).keys() == {"model"}
    assert (config.seed, config.multi) == (0, None)


# Only requires the stages that it needs, as the real one does.
def _stub(name, ran):
    def run(config, run_dir):
        for need in stages.STAGES[name].needs:
            run_dir.require(need)
        ran.append(name)

    return run


@pytest.fixture
def ran(monkeypatch):
    """Names of the stages that ran; the pipeline's own are replaced by stubs."""
    names = []
    for name, stage in stages.STAGES.items():
        monkeypatch.setitem(stages.STAGES, name, stage._replace(run=_stub(name, names)))
    return names


WITHOUT_PRETRAINING = {"single.pretrain": None, "multi.pretrain": None}


def test_a_profile_where_no_stage_trains(ran, tmp_path):
    with pytest.raises(ValueError, match="--profile_steps: none of prepare, evaluate trains a network; leave it out"):
        stages.run(trees.config(), rundir.open_run(tmp_path, trees.tree()), ["evaluate", "prepare"], profile=(1, 2))
    assert not ran


@pytest.mark.parametrize(
    ("changes", "names", "skipped"),
    [
        ({}, "prepare,train_single", {"pretrain_single"}),
        ({}, "prepare,train_single,predict_priors,train_multi,evaluate", {"pretrain_single", "pretrain_multi"}),
        ({"multi": None}, "prepare,train_single,evaluate", {"pretrain_single", "train_multi"}),
        ({"multi": None}, "prepare,train_single,segment_cohort", {"pretrain_single", "segment_cohort"}),
        ({"multi": None}, "prepare,mediate", {"mediate"}),
        ({"single.pretrain": trees.tree()["single"]["pretrain"]}, "prepare,pretrain_single,train_single", set()),
    ],
)
def test_what_the_config_leaves_out_counts_as_finished(changes, names, skipped, ran, tmp_path):
    tree, names = trees.tree({**WITHOUT_PRETRAINING, **changes}), names.split(",")
    run_dir = rundir.open_run(tmp_path, tree)
    stages.run(read_config(tree), run_dir, names)
    assert ran == [name for name in names if name not in skipped]
    done = {name for name in stages.STAGES if run_dir.is_done(name)}
    assert {name for name in done if run_dir.was_skipped(name)} >= skipped
    assert done - {name for name in done if run_dir.was_skipped(name)} == set(ran)


def test_a_stage_that_the_config_has_is_asked_for_with_all_that_it_needs(ran, tmp_path):
    """Following the error's remedy to the letter works."""
    run_dir, config = rundir.open_run(tmp_path, trees.tree(WITHOUT_PRETRAINING)), trees.config(WITHOUT_PRETRAINING)
    stages.run(config, run_dir, ["prepare", "train_single"])
    with pytest.raises(FileNotFoundError, match=r"Stage 'evaluate' needs .* not finished in .*: run launch") as raised:
        stages.run(config, run_dir, ["evaluate"])
    remedy = str(raised.value).rpartition("--stages=")[2].split(",")
    assert remedy == ["predict_priors", "train_multi", "evaluate"]
    stages.run(config, run_dir, remedy)
    assert ran == ["prepare", "train_single", *remedy]
