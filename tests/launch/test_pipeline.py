"""The whole pipeline at its smallest, as a user runs it: killed in the middle, then run again to the end."""

import json
import os
import pathlib
import subprocess
import sys
import time

import jax
import numpy as np
import pandas as pd
import pytest

from benchmarks import last_features
from launch import stages
from tests import programs

pytestmark = pytest.mark.long

ROOT = pathlib.Path(__file__).parents[2]
COMMAND = [
    "launch.pipeline", "--config=configs/ct_phantom.py:tiny",
    "--config.single.model.options.backbone=vgg16",  # compiles fastest
]  # fmt: skip


def _wait_for(path, process, timeout_s=600):
    deadline = time.monotonic() + timeout_s
    while not path.exists():
        assert process.poll() is None, "the pipeline ended before it was killed"
        assert time.monotonic() < deadline, f"{path} did not appear"
        time.sleep(0.1)


# Files that appear while a stage runs; each call is killed when the next one appears.
# tests/training/test_resume.py kills the stages that train.
KILLED_AT = ("data", "segment_cohort/masks")


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """(run folder, output of the last call): killed in one stage after another, then run to the end by `python -m`."""
    workdir = tmp_path_factory.mktemp("run")
    command = [*COMMAND, f"--workdir={workdir}", f"--compilation_cache_dir={jax.config.jax_compilation_cache_dir}"]
    for sign in KILLED_AT:
        process = programs.start(*command)
        try:
            _wait_for(workdir / sign, process)
        finally:
            process.kill()
            process.wait()
        assert not (workdir / sign.split("/")[0] / "done.json").exists()
    result = subprocess.run(
        [sys.executable, "-m", *command],
        cwd=ROOT, env={**os.environ, **programs.ENVIRONMENT}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr[-3000:]
    return workdir, result.stdout + result.stderr


def test_killed_run_goes_on_and_finished_stages_are_not_repeated(finished):
    workdir, output = finished
    assert "evaluate: already finished, skipping." in output
    assert "segment_cohort: starting." in output
    skipped = {name for name in stages.STAGES if json.loads((workdir / name / "done.json").read_text())["skipped"]}
    assert skipped == {"crossfit_single"}  # the config's priors are not cross-fitted


def test_what_the_stages_say_they_need_is_what_they_read(finished):
    found = {}
    for name in stages.STAGES:
        path = finished[0] / name / "made_from.json"
        found[name] = set(json.loads(path.read_text())) if path.is_file() else set()
    for name, stage in stages.STAGES.items():
        assert found[name] <= set(stage.needs)
        if name == "crossfit_single":  # skipped here; tests/inference/test_priors.py runs it
            continue
        assert set(stage.needs) - {"crossfit_single"} <= found[name].union(*(found[need] for need in found[name]))


def test_report(finished):
    workdir, output = finished
    page = (workdir / "report.html").read_text()
    assert f"Report: {workdir / 'report.html'}" in output
    for word in ("Inpainting", "Dice", "ROC", "Mediation"):
        assert word.lower() in page.lower()
    assert "data:image/png;base64," in page
    assert page.count('<div class="viewer"') == 4  # test slices, and three patients of the cohort


def test_pretraining_went_through_its_phases(finished):
    rows = [json.loads(line) for line in (finished[0] / "pretrain_single" / "metrics.jsonl").read_text().splitlines()]
    assert [row["phase"] for row in rows if row["phase"] != "val"][:1] == ["inpaint_random"]
    assert {row["phase"] for row in rows} == {"inpaint_random", "coach", "inpaint_coach", "val"}
    examples = np.load(finished[0] / "pretrain_single" / "examples.npz")
    assert examples["image"].shape == examples["inpainting"].shape
    assert set(np.unique(examples["keep"])) == {0, 1}


def test_features_of_the_networks_of_a_run(finished):
    table = last_features.rows(finished[0]).set_index("network")
    assert list(table.index) == ["fresh", "pretrained", "trained"]
    assert table["effective_rank"].between(1, table["channels"]).all()
    assert table["auc"].between(0.5, 1).all()


def test_tables(finished):
    workdir, _ = finished
    splits = pd.read_csv(workdir / "prepare" / "slices.csv")
    tested = pd.read_csv(workdir / "evaluate" / "multi_slices.csv")
    assert set(tested["slice_id"]) == set(splits.loc[splits["split"] == "test", "slice_id"])
    assert set(tested["class"]) == {"background", "ggo", "consolidation"}
    summary = pd.read_csv(workdir / "evaluate" / "multi_summary.csv")
    assert set(summary["class"]) == {"background", "ggo", "consolidation", "overall"}
    cohort = pd.read_csv(workdir / "segment_cohort" / "summary.csv")
    assert len(cohort) == (splits["split"] == "cohort").sum()
    assert len(list((workdir / "segment_cohort" / "masks").glob("*.png"))) == len(cohort)
    kept = np.load(workdir / "segment_cohort" / "examples.npz")
    assert len(set(kept["patient_id"])) == 3
    assert set(kept["slice_id"]) <= set(cohort["slice_id"])
    assert kept["image"].shape == kept["pred"].shape == (len(kept["slice_id"]), 64, 64)
    patients = pd.read_csv(workdir / "phenotypes" / "patients.csv")
    assert set(patients["patient_id"]) == set(cohort["patient_id"])
    univariate = pd.read_csv(workdir / "mediate" / "univariate.csv")
    assert {"exposure", "mediator", "indirect_p_adj"} <= set(univariate.columns)
    truth = pd.read_csv(workdir / "mediate" / "truth.csv", keep_default_na=False)
    assert set(truth["expected"]) == {"mediator", "null"}


def test_another_config_in_the_same_folder_is_refused(finished):
    workdir, _ = finished
    result = programs.run(*COMMAND, f"--workdir={workdir}", "--config.seed=1")
    assert result.returncode == 1
    assert "holds a run of another config" in result.stderr
    assert "seed: 0 -> 1" in result.stderr
