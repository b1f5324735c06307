import dataclasses
import json
import math

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from docs import claims, fill_results
from ssinfnet_jax.report.experiment import read_grid
from ssinfnet_jax.report.kit import tables
from tests import programs
from tests.report.experiment import toy_experiment

METHODS = {"sinfnet": ("SInfNet", 0.3), "broken": ("Broken", 0.4), "ssinfnet": ("SSInfNet", 0.1)}
COMMAND = "python -m launch.experiment --config=configs/a.py:small --workdir=/somewhere/of/mine/toy"
TEXT = "before\n<!-- begin experiment toy:small -->\nold\n<!-- end experiment toy:small -->\nafter\n"
FIGURES = {"examples_single": ".jpg", "metrics": ".png"}  # formats in docs/figures


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Writes two finished runs and a failed one, a figure of noise (too large for a PNG) and a plain figure."""
    made = toy_experiment.build(tmp_path_factory.mktemp("toy"), METHODS, failed=("broken",), command=COMMAND)
    (made / "figures").mkdir()
    noise = np.random.default_rng(0).integers(0, 256, (900, 1800, 3), np.uint8)
    Image.fromarray(noise).save(made / "figures" / "examples_single.png")
    Image.fromarray(np.full((60, 90, 3), 200, np.uint8)).save(made / "figures" / "metrics.png")
    machine = {"device": "NVIDIA H200", "num_devices": 2, "cpus": 16, "machine": "Xeon", "jax": "0.10.2"}
    (made / "runs" / "run0-fold0-seed0" / "machine.json").write_text(json.dumps(machine))
    return made


@pytest.fixture
def results(tmp_path):
    path = tmp_path / "results.md"
    path.write_text(TEXT)
    return path


def test_a_block_is_written_from_the_folder(folder, results):
    fill_results.write(results, [folder])
    text = results.read_text()
    assert text.startswith("before\n<!-- begin experiment toy:small -->\n```\npython -m launch.experiment")
    assert text.endswith("<!-- end experiment toy:small -->\nafter\n")
    assert "\nold\n" not in text
    assert "--config=configs/a.py:small --workdir=.../toy\n" in text
    assert "/somewhere" not in text
    dice = read_grid.read(folder).summary.query("method == 'ssinfnet' and metric == 'dice'").iloc[0]
    assert f"{dice['mean']:.3f} ± {dice['error']:.3f}" in text
    assert "Commit abc1234; " in text
    # Two finished runs of 65 s, and the 60 s of training before the third failed.
    assert "; 2 of 3 runs; 3 min 10 s of stages; 2 x NVIDIA H200, jax 0.10.2.\n" in text
    assert "\n- run1-fold0-seed0: failed, train_single: the loss is NaN at step 7\n" in text


def test_claims_are_judged_from_the_comparisons_that_the_page_has_had(folder, results, tmp_path, monkeypatch):
    row = dict.fromkeys(claims.COLUMNS, np.nan) | {
        "experiment": "old:folds", "data": "default", "class": "lesion", "method": "a", "reference": "b", "n": 50,
        "difference": 0.031, "low": 0.01, "high": 0.05, "detectable": 0.03, "folds": 5, "folds_better": 4,
        "p_adj": 0.01,
    }  # fmt: skip
    rows = [row, {**row, "method": "c", "seed_p": 0.02, "difference": -0.031}, {**row, "method": "d", "p_adj": 0.3},
            {**row, "method": "e", "seed_p": 0.4}, {**row, "method": "g", "seed_p": 0.02},
            {**row, "method": "h", "seed_p": 0.02}]  # fmt: skip
    pd.DataFrame(rows).to_csv(tmp_path / "comparisons.csv", index=False)
    names = [*("acdegh"), "f"]
    signs = [-1, -1, 1, 1, -1, 0, 1]
    claimed = [
        claims.Claim("S1", name, "old:folds", name, "b", sign, "lesion")
        for name, sign in zip(names, signs, strict=True)
    ]
    claimed.append(claims.Claim("S2", "toy", "toy:small", "sinfnet", "ssinfnet", 0, "lesion"))
    monkeypatch.setattr(claims, "CLAIMS", claimed)
    results.write_text(TEXT + "<!-- begin claims -->\n<!-- end claims -->\n")
    for _ in range(2):
        fill_results.write(results, [folder])
        lines = dict(zip([*names, "toy"], results.read_text().splitlines()[-len(claimed) - 1 : -1], strict=True))
        assert "| +0.031 (+0.010, +0.050) | 4 of 5 | 0.010 | – | these networks are higher; one seed" in lines["a"]
        assert lines["a"].endswith("| – |")
        assert lines["c"].endswith(f"| {math.ceil(50 * 1.5**2)} |")
        assert "| 0.020 | shown |" in lines["c"]
        assert "| 0.020 | the opposite is shown |" in lines["g"]
        assert "| 0.020 | a difference is shown |" in lines["h"]
        assert "| no difference seen; 0.030 is found four times in five (without the noise of training) |" in lines["d"]
        assert "| these networks are higher; the method's seeds do not differ |" in lines["e"]
        assert "| not run |" in lines["f"]
        found = read_grid.read(folder).comparison.query("method == 'sinfnet' and metric == 'dice'").iloc[0]
        assert f"| {tables.signed(found['difference'])} (" in lines["toy"]
    assert len(pd.read_csv(tmp_path / "comparisons.csv").query("experiment == 'old:folds'")) == len(rows)


def test_runs_that_were_not_run_are_one_line(folder):
    experiment = read_grid.read(folder)
    lacking = [
        dataclasses.replace(experiment.runs[0], data=data, setting=setting, state="not run")
        for data, setting in (("few", "rate_1"), ("few", "rate_1"), ("few", "rate_2"), ("all", ""))
    ]
    text = fill_results._how(dataclasses.replace(experiment, runs=[*experiment.runs, *lacking]))
    assert text.endswith("\n- not run: 2 of few at rate_1, 1 of few at rate_2, 1 of all")


def test_figures_are_small(folder, results):
    fill_results.write(results, [folder])
    names = {f"experiment_toy_small_{name}{ending}" for name, ending in FIGURES.items()}
    assert {path.name for path in (results.parent / "figures").iterdir()} == names
    for name in names:
        assert f"](figures/{name})" in results.read_text()
        assert (results.parent / "figures" / name).stat().st_size <= fill_results.MAX_BYTES
    with Image.open(results.parent / "figures" / "experiment_toy_small_examples_single.jpg") as picture:
        assert picture.width / picture.height == pytest.approx(2, abs=0.01)


def test_filling_again_changes_nothing(folder, results):
    fill_results.write(results, [folder])
    before = {path: path.read_bytes() for path in results.parent.rglob("*.*") if path.is_file()}
    fill_results.write(results, [folder])
    assert {path: path.read_bytes() for path in results.parent.rglob("*.*") if path.is_file()} == before


@pytest.mark.parametrize("text", ["nothing", TEXT + TEXT, TEXT.replace("end", "finish")])
def test_a_missing_or_duplicate_block_is_an_error(text, folder, results):
    results.write_text(text)
    with pytest.raises(ValueError, match="must have one block of toy:small"):
        fill_results.write(results, [folder])


def test_nothing_is_written_if_one_of_several_has_no_block(folder, results, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    described = json.loads((folder / "experiment.json").read_text()) | {"name": "other:small"}
    (other / "experiment.json").write_text(json.dumps(described))
    with pytest.raises(ValueError, match=r"one block of other:small.*They have blocks of: toy:small"):
        fill_results.write(results, [folder, other])
    assert results.read_text() == TEXT
    assert not (results.parent / "figures").exists()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("--config=configs/a.py:cpu --workdir=/x/y/z", "--config=configs/a.py:cpu --workdir=.../z"),
        ("--share /x/y --data_dir=a=/data/z", "--share .../y --data_dir=a=.../z"),
        ("'--data_dir=/home/my data/z' --workdir='/a b/c'", "'--data_dir=.../z' --workdir='.../c'"),
        ("--workdir=~/runs/exp", "--workdir=.../exp"),
        ("No file /a/b/c.npz, run it", "No file .../c.npz, run it"),
        ("--workdir=runs/exp and/or 3/4", "--workdir=runs/exp and/or 3/4"),
    ],
)
def test_paths_are_shortened(text, shown):
    assert fill_results._public(text) == shown


@pytest.mark.long
def test_the_program_reports_a_mistake_in_one_line(tmp_path):
    result = programs.run("docs.fill_results", str(tmp_path))
    assert (result.returncode, result.stderr.count("\n")) == (1, 1)
    assert result.stderr.startswith("Error: No experiment.json in")


def test_the_page_says_of_the_networks_in_the_package_what_their_card_says():
    text = (fill_results.DOCS / "results.md").read_text()
    held_out = json.loads(fill_results.HELD_OUT.read_text())
    assert fill_results.networks(held_out) in text
    lesion = next(row for row in held_out["figures"] if row["class"] == "lesion")
    assert f"| Lesion | {lesion['mean']:.3f} ± {lesion['error']:.3f} | {lesion['n']} | 0.75 |" in text


def test_the_page_has_the_claims_beside_the_kept_comparisons():
    comparisons = pd.read_csv(fill_results.DOCS / "comparisons.csv")
    assert claims.block(comparisons) in (fill_results.DOCS / "results.md").read_text(encoding="utf-8")


def test_the_block_of_a_null_grid_says_how_often_equal_names_differ():
    rng = np.random.default_rng(0)
    rows = [
        {"data": "d", "method": method, "seed": seed, "fold": number % 5, "slice_id": f"s{number}",
         "patient_id": f"p{number}", "class": "lesion", "dice": 0.5 + rng.normal(0, 0.1) + 0.3 * (seed == 1 > method)}
        for method in (0, 1) for seed in (0, 1) for number in range(20)
    ]  # fmt: skip
    both_seeds, each_seed = fill_results.of_no_difference(pd.DataFrame(rows)).splitlines()[-2:]
    assert both_seeds.startswith("| Lesion | 2 | 1 | 100% | ")
    assert each_seed.startswith("| Lesion | 1 | 2 | 50% | – | – | 50% | ")
