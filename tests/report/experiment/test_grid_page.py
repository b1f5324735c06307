import json
import re
import shutil

import numpy as np
import pandas as pd
import pytest

from ssinfnet_jax.report.experiment import grid_page, read_grid
from tests.report.experiment import toy_experiment

METHODS = {"unet": ("U-Net", 0.6), "sinfnet": ("SInfNet", 0.3), "ssinfnet": ("SSInfNet", 0.1)}


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    folder = toy_experiment.build(tmp_path_factory.mktemp("multi"), METHODS, network="multi", folds=2)
    return folder, grid_page.write(folder).read_text()


def test_the_page_has_tables_and_pictures_of_all_methods(page):
    folder, text = page
    for title in ("What was run", "Results", "Differences", "Example slices", "Curves", "Limits"):
        assert f"{title}</h2>" in text
    assert {path.stem for path in (folder / "figures").glob("*.svg")} == {
        "metrics", "differences", "examples_multi", "roc_multi", "learning_multi"
    }  # fmt: skip
    assert text.count("data:image/png;base64,") == 5
    assert all(title in text for title, _ in METHODS.values())
    assert not re.search(r"(src|href)=[\"']https?:", text)
    assert (folder / "tables" / "metrics_table.tex").is_file()


def test_one_seed_and_few_slices_are_said(page):
    _, text = page
    assert "with one seed only: differences may be chance of that training" in text
    assert "There are at most 12 test slices" in text
    assert "Networks of different folds share training slices" in text


def test_failed_and_missing_runs_are_said(tmp_path):
    folder = toy_experiment.build(tmp_path, METHODS, failed=("unet",), not_run=("sinfnet",))
    text = grid_page.write(folder).read_text()
    assert "the loss is NaN at step 7" in text
    assert "not run" in text
    assert "1 failed run" in text
    assert "No finished run: U-Net, SInfNet" in text


def test_nothing_finished_is_a_page_too(tmp_path):
    text = grid_page.write(toy_experiment.build(tmp_path, METHODS, not_run=tuple(METHODS))).read_text()
    assert text.count("There are no results to show here yet.") == 4
    assert "0 / 3" in text


def test_one_method_alone(tmp_path):
    text = grid_page.write(toy_experiment.build(tmp_path, {"unet": ("U-Net", 0.3)}, num=1)).read_text()
    assert "U-Net" in text


def test_names_are_escaped(tmp_path):
    methods = {"a": ("<script>alert(1)</script>", 0.4), "b": ("plain", 0.2)}
    text = grid_page.write(toy_experiment.build(tmp_path, methods, title="<b>bold</b>")).read_text()
    assert "<script>alert" not in text
    assert "<b>bold" not in text


def test_published_figures_stand_beside_the_official_test_part(tmp_path):
    folder = toy_experiment.build(tmp_path, METHODS)
    rows = "method,class,metric,mean,n,source\nInf-Net,lesion,dice,0.738,48,Fan et al. 2020\n"
    (folder / "tables" / "published.csv").write_text(rows)
    text = grid_page.write(folder).read_text()
    assert "Published results on the official test part" in text
    assert "0.738" in text


def test_a_folder_of_no_experiment_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"No experiment\.json in .*: this is not the folder of an experiment"):
        grid_page.write(tmp_path)
    (tmp_path / "experiment.json").write_text(json.dumps({"name": "x", "task": "train"}))
    with pytest.raises(ValueError, match=r"experiment\.json needs 'network' \(str\)"):
        grid_page.write(tmp_path)


def test_curves_of_different_data_are_not_one(tmp_path):
    folder = toy_experiment.build(tmp_path, METHODS, data=("near", "far"), num=3)
    text = grid_page.write(folder).read_text()
    curves = {path.stem for path in (folder / "figures").glob("*.svg") if path.stem.startswith(("roc", "learning"))}
    assert curves == {f"{kind}_single_{data}" for kind in ("roc", "learning") for data in ("near", "far")}
    assert re.search(r"SSInfNet, (near|far), n = 3 slices", text)


def test_datasets_have_their_titles(tmp_path):
    folder = toy_experiment.build(tmp_path, METHODS, data=("near", "far"), num=3)
    config = json.loads((folder / "experiment.json").read_text())
    config["data"] = {"near": {"title": "Slices near by"}, "far": {"title": "Slices far off"}}
    (folder / "experiment.json").write_text(json.dumps(config))
    grid_page.write(folder)
    for name in ("metrics_table", "comparison_table"):
        cells = (folder / "tables" / f"{name}.md").read_text().split("|")
        assert {" Slices near by ", " Slices far off "} < set(cells), name
        assert not {" near ", " far "} & set(cells)
    for name in ("metrics", "differences"):
        assert "Slices far off" in (folder / "figures" / f"{name}.svg").read_text(), name


def test_a_tie_has_no_winner(tmp_path):
    folder = toy_experiment.build(tmp_path, {"a": ("A", 0.0), "b": ("B", 0.0)})
    path = folder / "tables" / "summary.csv"
    table = pd.read_csv(path)
    table["mean"], table["error"] = 0.5, 0.123
    table.to_csv(path, index=False)
    strip = grid_page.write(folder).read_text().split('<ul class="strip">')[1].split("</ul>")[0]
    assert "shared by 2 of 2, n = 6 slices" in strip
    assert "0.500" in strip
    assert "0.123" not in strip  # the error of one method does not apply to all
    table.loc[table["method"] == "a", "n"] = 5
    table.to_csv(path, index=False)
    assert "shared by 2 of 2, n = 5 to 6 slices" in grid_page.write(folder).read_text()


def test_a_method_with_settings_is_shown_with_the_chosen_ones(tmp_path):
    folder = toy_experiment.build(tmp_path / "grid", {"ours": ("Ours", 0.1), "unet": ("U-Net", 0.3)}, folds=2)
    config = json.loads((folder / "experiment.json").read_text())
    others = [
        {**run, "name": f"other-{run['name']}", "setting": "rate_4e-3"} for run in config["runs"][:2]
    ]  # of "ours", not chosen
    for run, other in zip(config["runs"], others, strict=False):
        run["setting"] = "rate_2e-3"
        shutil.copytree(folder / "runs" / run["name"], folder / "runs" / other["name"])
    config["runs"] += others
    (folder / "experiment.json").write_text(json.dumps(config))
    rows = [
        {"data": "default", "method": "ours", "fold": fold, "setting": setting, "score": score, "chosen": score > 0.5}
        for fold in (0, 1) for setting, score in (("rate_2e-3", 0.61), ("rate_4e-3", 0.42))
    ]  # fmt: skip
    pd.DataFrame(rows).to_csv(folder / "tables" / "settings.csv", index=False)
    slices = pd.read_csv(folder / "tables" / "slices.csv")
    slices["setting"] = np.where(slices["method"] == "ours", "rate_2e-3", "")
    slices.to_csv(folder / "tables" / "slices.csv", index=False)
    experiment = read_grid.read(folder)
    assert len(experiment.runs) == 6
    assert [run.name for run in experiment.compared_runs] == [run["name"] for run in config["runs"][:4]]
    page = grid_page.write(folder).read_text()
    assert "Settings of the methods." in page
    for text in ("rate_2e-3", "rate_4e-3", "0.610", "0.420", "Detectable"):
        assert text in page
