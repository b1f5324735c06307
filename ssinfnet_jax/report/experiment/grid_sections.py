"""Sections of an experiment's page: results, differences, example slices, curves, cost."""

import itertools
from collections.abc import Mapping
from typing import Any

import pandas as pd
from matplotlib import figure as mpl_figure

from ssinfnet_jax.report.experiment import (
    comparison_tables,
    example_slices,
    grid_curves,
    metric_figures,
    read_grid,
    slice_sets,
)
from ssinfnet_jax.report.kit import blocks, table_files, tables
from ssinfnet_jax.report.run import run_files

Experiment = read_grid.Experiment
NUM_EXAMPLES = 5


def results(experiment: Experiment, shown: Mapping[str, tables.Table]) -> blocks.Section:
    """Means of every method, and published results on the official test part."""
    section = blocks.Section("results", "Results", "Results")
    section.add("table", shown.get("metrics_table"))
    section.add("table", shown.get("published_table"))
    section.add("table", shown.get("settings_table"))
    if experiment.summary is not None and experiment.summary["mean"].notna().any():
        figure = metric_figures.dot_plot(experiment.data_titles(experiment.summary), experiment.methods)
        caption = "Mean over test slices (dot) ± 1.96 standard errors, by class, metric and method."
        section.add("figure", _picture(experiment, "metrics", figure, caption))
    return section


def differences(experiment: Experiment, shown: Mapping[str, tables.Table]) -> blocks.Section:
    """Every method against the reference, and the factors of an ablation."""
    section = blocks.Section("differences", "Differences", "Differences")
    section.add("table", shown.get("factors_table"))
    dice = comparison_tables.comparison(experiment, only="dice")
    if dice is None:
        return section
    section.add("table", dice.table)
    if not experiment.comparison.query("metric == 'dice'")["difference"].notna().any():
        return section
    figure = metric_figures.forest(experiment.data_titles(experiment.comparison), experiment.methods)
    caption = "Difference of the mean Dice from the reference on the same slices, with its 95 % bootstrap interval."
    section.add("figure", _picture(experiment, "differences", figure, caption))
    section.fold("All metrics", shown["comparison_table"])
    return section


def examples(experiment: Experiment) -> blocks.Section:
    """Test slices with the predictions of every method."""
    section = blocks.Section("examples", "Example slices", "Examples")
    for network in experiment.networks:
        chosen = slice_sets.choose(experiment, network, NUM_EXAMPLES)
        if chosen:
            section.add("heading", run_files.NETWORKS[network])
            figure = example_slices.examples(chosen, experiment.methods, lesion_only=network == "single")
            reference = experiment.methods[experiment.reference]
            caption = f"Test slices: best, median and worst of {reference}, and those on which the methods differ most."
            if network == "multi":
                caption += " Dice: mean of GGO and consolidation, as far as they are in the ground truth."
            section.add("figure", _picture(experiment, f"examples_{network}", figure, caption))
    return section


def curves(experiment: Experiment) -> blocks.Section:
    """ROC and learning curves."""
    section = blocks.Section("curves", "Curves", "Curves")
    all_data = list(dict.fromkeys(run.data for run in experiment.runs))
    for network, data in itertools.product(experiment.networks, all_data):
        of, ending = run_files.NETWORKS[network], network
        if len(all_data) > 1:
            of, ending = f"{of}, {experiment.data.get(data, data)}", f"{network}_{data}"
        rocs = _by_method(experiment, data, f"evaluate/{network}_roc.csv", table_files.read_csv)
        if rocs:
            figure = grid_curves.roc(rocs, experiment.methods)
            caption = (
                f"{of}: ROC curves over the pixels of all test slices, with their areas; marker: the "
                "threshold with the largest recall minus false positive rate (Youden). Several runs: their mean and, "
                "thin, each run; the threshold is their median. Dotted line: chance."
            )
            section.add("figure", _picture(experiment, f"roc_{ending}", figure, caption))
        metrics = _by_method(experiment, data, f"train_{network}/metrics.jsonl", table_files.read_metrics)
        if metrics:
            figure = grid_curves.learning_curves(metrics, experiment.methods)
            caption = (
                f"{of}: learning curves, a running mean over augmented training slices. Several runs: "
                "their mean up to the end of the shortest and, thin, each run."
            )
            section.add("figure", _picture(experiment, f"learning_{ending}", figure, caption))
    return section


def cost(experiment: Experiment, shown: Mapping[str, tables.Table]) -> blocks.Section:
    """The cost of every network."""
    section = blocks.Section("cost", "Cost", "Cost")
    section.add("table", shown.get("cost_table"))
    if experiment.cost is not None:
        figure = metric_figures.cost(experiment.cost, experiment.methods)
        caption = "Cost per network, each measured in a separate process."
        section.add("figure", _picture(experiment, "cost", figure, caption))
    return section


def _picture(experiment: Experiment, name: str, figure: mpl_figure.Figure, caption: str) -> blocks.Figure:
    return run_files.save_figure(experiment.folder, name, figure, caption)


def _by_method(experiment: Experiment, data: str, name: str, read: Any) -> dict[str, list[pd.DataFrame]]:
    """Reads a file of each finished run that is compared on a dataset: method -> tables."""
    found: dict[str, list[pd.DataFrame]] = {}
    for run in experiment.compared_runs:
        table = read(run.folder / name) if run.state == "finished" and run.data == data else None
        if table is not None and not table.empty:
            found.setdefault(run.method, []).append(table)
    return found
