import itertools
import json

import markdown_it
import numpy as np
import pandas as pd
import pytest

from ssinfnet_jax.report.experiment import comparison_tables, read_grid
from ssinfnet_jax.report.kit import table_export, tables
from tests.report.experiment import toy_experiment

HOSTILE = "<script>alert('x')</script> | 50% _a_ $x$ & {b} \\ ~^# *c* `d` [e](f)"
METHODS = {"unet": ("U-Net", 0.5), "sinfnet": ("SInfNet", 0.35), "ssinfnet": ("SSInfNet", 0.2)}


@pytest.fixture(scope="module")
def single(tmp_path_factory):
    return read_grid.read(toy_experiment.build(tmp_path_factory.mktemp("single"), METHODS))


@pytest.fixture(scope="module")
def multi(tmp_path_factory):
    return read_grid.read(toy_experiment.build(tmp_path_factory.mktemp("multi"), METHODS, network="multi", seeds=2))


def texts(table):
    return [[cell.text for cell in row] for row in table.rows]


def rendered(markdown):
    """Cell texts of the first table, as an independent Markdown parser reads it."""
    tokens = markdown_it.MarkdownIt("commonmark").enable("table").parse(markdown)
    rows = []
    for token in tokens:
        if token.type == "tr_open":
            rows.append([])
        if token.type == "inline" and token.level > 3:
            rows[-1].append("".join(child.content for child in token.children if child.type == "text"))
    return rows


def test_metrics_are_means_of_the_slices_and_the_best_is_bold(single):
    made = comparison_tables.metrics(single)
    heads = [column.title for column in made.table.columns]
    assert heads == ["Method", "n", "Patients", "Seeds", "Dice", "IoU", "Recall", "Precision", "AUC"]
    by_hand = single.slices.groupby("method")["dice"].agg(["mean", "sem", "count"])
    for row, (method, title) in zip(made.table.rows, single.methods.items(), strict=True):
        numbers = by_hand.loc[method]
        expected = [title, str(numbers["count"].astype(int)), tables.mean_error(numbers["mean"], 1.96 * numbers["sem"])]
        assert [row[0].text, row[1].text, row[4].text] == expected
        assert row[4].strong == (numbers["mean"] == by_hand["mean"].max())
    read = made.numbers.set_index("method")
    np.testing.assert_allclose(read["dice"], by_hand["mean"][read.index])
    np.testing.assert_allclose(read["dice_error"], 1.96 * by_hand["sem"][read.index])
    assert "of the lesion" in made.table.caption


def test_every_class_has_its_rows_and_overall_is_last(multi):
    made = comparison_tables.metrics(multi)
    kinds = list(dict.fromkeys(row[0] for row in texts(made.table)))
    assert kinds == ["GGO", "Consolidation", "Background", "Overall"]
    assert len(made.table.rows) == 12
    for _, rows in itertools.groupby(made.table.rows, key=lambda row: row[0].text):
        assert [row[6].text for row in rows if row[6].strong]


def test_equal_figures_are_both_bold_and_a_method_alone_is_not(single):
    summary = single.summary.assign(mean=0.5)
    tied = comparison_tables.metrics(_with(single, summary=summary)).table
    assert all(row[4].strong for row in tied.rows)
    alone = comparison_tables.metrics(_with(single, summary=summary[summary["method"] == "unet"]))
    assert [cell.strong for row in alone.table.rows for cell in row] == [False] * 27
    assert texts(alone.table)[1][1:] == [tables.MISSING] * 8
    assert alone.table.foot.endswith("No finished run: SInfNet, SSInfNet.")


def test_excluded_slices_and_other_n_are_shown(single):
    summary = single.summary.copy()
    summary.loc[summary["metric"] == "precision", ["n", "excluded"]] = [5, 1]
    summary.loc[summary["metric"] == "dice", "excluded"] = 2
    made = comparison_tables.metrics(_with(single, summary=summary)).table
    assert made.rows[0][1].note == "2 excluded"
    assert [cell.note for cell in made.rows[0][4:]] == ["", "", "", "n = 5", ""]
    assert "undefined" in made.foot


def test_all_undefined_is_a_dash(single):
    summary = single.summary.assign(mean=np.nan, error=np.nan, n=0)
    made = comparison_tables.metrics(_with(single, summary=summary))
    assert texts(made.table)[0][4:] == [tables.MISSING] * 5
    assert not any(cell.strong for row in made.table.rows for cell in row)


def test_a_mean_that_stands_twice_is_an_error(single):
    twice = _with(single, summary=pd.concat([single.summary, single.summary.head(1)]))
    with pytest.raises(ValueError, match=r"summary.csv has \('default', 'lesion', 'unet', 'dice'\) twice; collect"):
        comparison_tables.metrics(twice)


def test_comparison_shows_differences_and_marks_what_is_significant(single):
    held = single.comparison.assign(p_adj=[0.01] * 5 + [0.2] * 5)
    made = comparison_tables.comparison(_with(single, comparison=held))
    assert made.table.caption == "Paired differences (lesion): method minus SSInfNet."
    first, expected = made.table.rows[0], held[(held["method"] == "unet") & (held["metric"] == "dice")].iloc[0]
    assert [cell.text for cell in first[:2]] == ["U-Net", "Dice"]
    assert first[4].text == f"{expected['difference']:+.3f}".replace("-", "−")
    assert [row[-1].strong for row in made.table.rows] == [True] * 5 + [False] * 5
    assert "p over seeds" not in [column.title for column in made.table.columns]
    seeds = comparison_tables.comparison(_with(single, comparison=held.assign(seed_p=0.3)), only="dice").table
    assert [column.title for column in seeds.columns][-1] == "p over seeds"
    assert len(seeds.rows) == 2
    assert "Folds" not in [column.title for column in seeds.columns]
    folds = held.assign(folds=5, folds_better=[4] * 5 + [2] * 5)
    several = comparison_tables.comparison(_with(single, comparison=folds), only="dice").table
    place = [column.title for column in several.columns].index("Folds")
    assert [row[place].text for row in several.rows] == ["4 of 5", "2 of 5"]


def test_an_ablation_marks_its_factors_and_says_which_pairs_are_missing(tmp_path):
    factors = {name: dict(zip(("focal", "lookahead"), held, strict=True)) for name, held in
               {"none": (False, False), "focal": (True, False), "both": (True, True)}.items()}  # fmt: skip
    methods = {"none": ("None", 0.5), "focal": ("Focal", 0.3), "both": ("Both", 0.3)}
    experiment = read_grid.read(toy_experiment.build(tmp_path, methods, factors=factors))
    made = comparison_tables.metrics(experiment).table
    assert [column.title for column in made.columns][:3] == ["Method", "Focal", "Lookahead"]
    assert [row[1:3] for row in texts(made)] == [["○", "○"], ["●", "○"], ["●", "●"]]
    effects = comparison_tables.factors(experiment)
    assert set(effects.numbers["pairs"]) == {1}
    assert effects.table.foot.endswith("A full design has 2 pairs; some are missing.")


def test_hostile_names_stay_text_in_every_format(tmp_path):
    methods = {"a": (HOSTILE, 0.4), "b": ("plain", 0.2)}
    experiment = read_grid.read(toy_experiment.build(tmp_path, methods))
    held = comparison_tables.write_all(experiment)
    assert [table.name for table in held] == ["metrics_table", "comparison_table"]
    markdown = (tmp_path / "tables" / "metrics_table.md").read_text()
    assert rendered(markdown)[1][0] == HOSTILE
    assert "<script>" not in markdown
    latex = (tmp_path / "tables" / "metrics_table.tex").read_text()
    assert r"50\% \_a\_ \$x\$ \& \{b\} \textbackslash{} \textasciitilde{}\textasciicircum{}\#" in latex
    assert "script$>$" in latex
    assert latex.isascii()
    assert "\\toprule" in latex
    read = pd.read_csv(tmp_path / "tables" / "metrics_table.csv")
    assert list(read["title"]) == [HOSTILE, "plain"]


def test_latex_of_hostile_names_compiles(tmp_path, pdflatex):
    experiment = toy_experiment.build(tmp_path, {"a": (HOSTILE, 0.4), "b": ("方法 β", 0.2)})
    comparison_tables.write_all(read_grid.read(experiment))
    pdflatex([path.read_text() for path in sorted((tmp_path / "tables").glob("*.tex"))])


def test_written_tables_show_what_the_page_shows(multi):
    made = comparison_tables.metrics(multi)
    rows = rendered(table_export.markdown(made.table))
    assert rows[0] == [column.title for column in made.table.columns]
    for row, cells in zip(rows[1:], made.table.rows, strict=True):
        assert row == [f"{cell.text} ({cell.note})" if cell.note else cell.text for cell in cells]
    latex = table_export.latex(made.table, label="metrics_table")
    assert latex.count(r" \\") == 13
    assert latex.count(r"\textbf{") == sum(cell.strong for row in made.table.rows for cell in row)


def test_cost_keeps_unknown_columns(tmp_path):
    (tmp_path / "tables").mkdir()
    (tmp_path / "experiment.json").write_text(json.dumps({"name": "cost", "task": "cost"}))
    cost = pd.DataFrame(
        {"network": ["unet"], "training_peak_gib": [812.5], "joules_per_slice": [3.0], "training_s_per_slice": [np.nan]}
    )
    cost.to_csv(tmp_path / "tables" / "cost.csv", index=False)
    (made,) = comparison_tables.write_all(read_grid.read(tmp_path))
    assert [column.title for column in made.table.columns] == [
        "Network",
        "Peak memory, training (GiB)",
        "Joules per slice",
    ]
    assert texts(made.table) == [["unet", tables.number(812.5), "3"]]


def test_the_cost_of_networks_by_their_titles_and_what_is_the_same_below(tmp_path):
    (tmp_path / "tables").mkdir()
    described = {"name": "cost", "task": "cost", "methods": {"a": {"title": "Net A"}, "b": {"title": "Net B"}}}
    (tmp_path / "experiment.json").write_text(json.dumps(described))
    cost = pd.DataFrame({"network": ["a", "b"], "device": "cpu", "image_size": 352, "cpus": [1, 2], "parameters": 5})
    cost.to_csv(tmp_path / "tables" / "cost.csv", index=False)
    (made,) = comparison_tables.write_all(read_grid.read(tmp_path))
    assert [column.title for column in made.table.columns] == ["Network", "Cores", "Parameters (all)"]
    assert texts(made.table) == [["Net A", "1", "5"], ["Net B", "2", "5"]]
    assert made.table.foot == "Image size (px): 352; Device: cpu."


def _with(experiment, **held):
    """The experiment with other tables."""
    other = read_grid.read(experiment.folder)
    for name, table in held.items():
        other.__dict__[name] = table
    return other
