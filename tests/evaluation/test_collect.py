import json

import numpy as np
import pandas as pd
import pytest

from ssinfnet_jax.data.datasets import registry
from ssinfnet_jax.evaluation import collect, columns, grid, run_state
from ssinfnet_jax.metrics import overlap

EXPERIMENT = {
    "task": "train",
    "network": "both",
    "reference": "a",
    "compare": {"num_draws": 100},
    "methods": {"a": {}, "b": {}},
}
CONFIG = {"data": {"datasets": [("covid_semiseg", "default")]}}
RUNS = [grid.Run(f"{method}-fold{fold}", method, "d", fold, 0, CONFIG) for method in "ab" for fold in (0, 1)]
CLASSES = {"single": ("lesion",), "multi": ("background", "ggo", "consolidation")}


def _make(folder, run, part="test"):
    """Writes the files of a finished run on four slices of its fold."""
    path = folder / "runs" / run.name
    rng = np.random.default_rng(len(run.name) + run.fold)
    for network, classes in CLASSES.items():
        rows = [
            {"slice_id": f"s{run.fold}{index}", "patient_id": f"p{run.fold}{index}", "class": name,
             **{metric: rng.uniform() for metric in overlap.METRICS}}
            for index in range(4) for name in classes
        ]  # fmt: skip
        (path / "evaluate").mkdir(parents=True, exist_ok=True)
        pd.DataFrame(rows).to_csv(path / "evaluate" / f"{network}_slices.csv", index=False)
    (path / "evaluate" / "done.json").write_text(json.dumps({"skipped": None}))
    (path / "prepare").mkdir(exist_ok=True)
    pd.DataFrame({"part": ["labeled", part], "split": ["train", "test"]}).to_csv(path / "prepare" / "slices.csv")
    (path / "config.json").write_text(json.dumps(run.config))


def test_finished_runs_are_collected_and_failures_listed(tmp_path):
    for run in RUNS[:3]:
        _make(tmp_path, run)
    (tmp_path / "runs" / "b-fold1").mkdir()
    run_state.write_failure(tmp_path / "runs" / "b-fold1" / run_state.FAILED, "train_multi", "FloatingPointError: no")
    states = collect.write(EXPERIMENT, RUNS, tmp_path)
    assert states["state"].tolist() == ["done", "done", "done", "failed"]
    assert pd.read_csv(tmp_path / "failures.csv").to_dict("records") == [
        {"run": "b-fold1", "stage": "train_multi", "reason": "FloatingPointError: no"}
    ]
    slices = pd.read_csv(tmp_path / "tables" / "slices.csv")
    assert slices.groupby(["method", "fold"])["slice_id"].nunique().to_dict() == {("a", 0): 4, ("a", 1): 4, ("b", 0): 4}
    summary = pd.read_csv(tmp_path / "tables" / "summary.csv")
    row = summary[(summary["method"] == "a") & (summary["class"] == "ggo") & (summary["metric"] == "dice")].iloc[0]
    own = slices.loc[(slices["method"] == "a") & (slices["class"] == "ggo"), "dice"]
    assert row["mean"] == pytest.approx(own.mean())
    assert row["n"] == 8
    comparison = pd.read_csv(tmp_path / "tables" / "comparison.csv")
    for table in ("slices", "summary", "comparison", "published"):  # what a page needs of each
        assert set(columns.GRID[table]) <= set(pd.read_csv(tmp_path / "tables" / f"{table}.csv")), table
    assert set(comparison["class"]) == {"lesion", "background", "ggo", "consolidation", "overall"}
    assert set(comparison["n"]) == {4}  # slices that both methods have


def test_a_method_with_settings_has_one_row_per_slice(tmp_path):
    settings = ("slow", "fast")
    runs = [grid.Run(f"a@{it}-fold{fold}", "a", "d", fold, 0, CONFIG, it) for it in settings for fold in (0, 1)]
    for run in [*runs, *RUNS[2:]]:
        _make(tmp_path, run)
    collect.write(EXPERIMENT, [*runs, *RUNS[2:]], tmp_path)
    slices, found = (pd.read_csv(tmp_path / "tables" / f"{name}.csv") for name in ("slices", "settings"))
    assert slices.groupby(["method", "class"])["slice_id"].count().eq(8).all()
    assert found["fold"].tolist() == [0, 0, 1, 1]
    assert found.groupby("fold")["chosen"].sum().tolist() == [1, 1]
    assert set(columns.GRID["settings"]) <= set(found)


def test_tables_of_deleted_runs_are_removed(tmp_path):
    for run in RUNS:
        _make(tmp_path, run)
    collect.write(EXPERIMENT, RUNS, tmp_path)
    assert (tmp_path / "tables" / "comparison.csv").is_file()
    collect.write(EXPERIMENT, RUNS[:2], tmp_path)
    assert (tmp_path / "tables" / "slices.csv").is_file()
    assert not (tmp_path / "tables" / "comparison.csv").exists()


@pytest.mark.parametrize(
    ("part", "dataset", "there"),
    [("test", "covid_semiseg", True), ("labeled", "covid_semiseg", False), ("test", "medseg", False)],
)
def test_published_results_are_only_shown_for_the_official_split(part, dataset, there, tmp_path):
    run = RUNS[0]._replace(config={"data": {"datasets": [(dataset, "default")]}})
    _make(tmp_path, run, part)
    collect.write(EXPERIMENT, [run], tmp_path)
    path = tmp_path / "tables" / "published.csv"
    assert path.is_file() == there
    if there:
        table = pd.read_csv(path)
        assert len(table) == len(registry.published("covid_semiseg")) == 10
        lesion = table[table["class"] == "lesion"].set_index("method")["mean"]
        assert lesion["Semi-Inf-Net"] == 0.770


def test_without_the_table_of_slices_no_published_results_are_shown(tmp_path):
    """The table may have been shared with a run that was deleted."""
    _make(tmp_path, RUNS[0])
    (tmp_path / "runs" / RUNS[0].name / "prepare" / "slices.csv").unlink()
    assert collect.write(EXPERIMENT, RUNS[:1], tmp_path)["state"].tolist() == ["done"]
    assert (tmp_path / "tables" / "summary.csv").is_file()
    assert not (tmp_path / "tables" / "published.csv").exists()


def test_a_run_of_another_config_is_not_compared(tmp_path):
    for run in RUNS[:2]:
        _make(tmp_path, run)
    path = tmp_path / "runs" / RUNS[1].name
    (path / "config.json").write_text(json.dumps({**CONFIG, "seed": 7}))
    states = collect.write(EXPERIMENT, RUNS[:2], tmp_path)
    assert states["state"].tolist() == ["done", "failed"]
    assert "another config (seed: 7 -> 'absent'): delete " in states["reason"][1]
    assert set(pd.read_csv(tmp_path / "tables" / "slices.csv")["fold"]) == {0}


def test_a_run_without_its_results_is_not_done(tmp_path):
    _make(tmp_path, RUNS[0])
    (tmp_path / "runs" / RUNS[0].name / "evaluate" / "multi_slices.csv").unlink()
    assert run_state.missing_results(tmp_path / "runs" / RUNS[0].name, EXPERIMENT) == ["evaluate/multi_slices.csv"]
    single = {**EXPERIMENT, "network": "single"}
    assert not run_state.missing_results(tmp_path / "runs" / RUNS[0].name, single)
