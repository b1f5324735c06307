"""Mediation analysis: pairs one by one, what stands beside the linear models, several mediators in one."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from ssinfnet_jax.analysis import mediation
from ssinfnet_jax.report.kit import blocks, table_files, tables
from ssinfnet_jax.report.run import mediation_figures, mediation_tables, run_files

TRUTH = ("exposure", "mediator", "expected", "found")  # columns of mediate/truth.csv


def build(run: run_files.Run) -> blocks.Section:
    """Section with tables and figures of every part of the analysis."""
    section = blocks.Section("mediation", "Mediation analysis", "Mediation")
    section.add("note", run.stages["mediate"].reason)
    univariate = read_univariate(run)
    if univariate is None:
        return section
    summary = table_files.read_json(run.path("mediate", "summary.json")) or {}
    section.add("caution", str(summary.get("caveat") or mediation.CAVEAT))
    options, family = _mediation_options(run)
    found = univariate[univariate["found"]]
    counts = ", ".join(f"{name}: {count}" for name, count in found["exposure"].value_counts().items())
    level = f"{options['alpha']:g}" if "alpha" in options else "the level of the configuration"
    rule = {
        "indirect": f"adjusted p of the indirect effect below {level}",
        "paper": f"all three adjusted p below {level}, and the direct effect smaller than the total",
    }[options.get("rule", "indirect")]
    section.add(
        "text",
        f"{blocks.count(len(univariate), 'exposure-mediator pair')} tested one by one; {len(found)} significant"
        f"{f' ({counts})' if counts else ''}: {rule}. {family}",
    )
    if len(found):
        table = mediation_tables.pairs(found, "Significant mediators, smallest adjusted p first.", verdict=False)
        section.add("table", table)
    truth = run.csv("mediate/truth.csv", TRUTH)
    if truth is not None:
        section.add("table", _truth_table(truth))
    table = mediation_tables.pairs(univariate, "All pairs, smallest adjusted p first.", verdict=True)
    section.add("details", (f"All {len(univariate)} pairs", [blocks.Block("table", table)]))
    for exposure, pairs in univariate.groupby("exposure", sort=False):
        fitted = int((pairs["flag"] == "").sum())
        if fitted:
            caption = (
                f"Standardised indirect effects of {exposure} with 95 % intervals, n = {fitted} phenotypes "
                "with estimates; the largest effects where there are more than 40."
            )
            name = f"forest_{re.sub(r'[^0-9A-Za-z-]+', '_', str(exposure))}"
            section.add("figure", run.figure(name, mediation_figures.forest(pairs), caption))
    patients = run.csv("mediate/table.csv")
    mediators = list(dict.fromkeys(found["mediator"]))
    held = [] if patients is None else [name for name in mediators if name in patients]
    if len(held) > 1:
        known = patients[held].notna().to_numpy(int)
        of_pairs = (known.T @ known)[np.triu_indices(len(held), 1)]
        least, most = tables.number(of_pairs.min()), tables.number(of_pairs.max())
        caption = (
            f"Correlations of the {len(held)} significant mediators over the patients that have both values, "
            f"n = {least if least == most else f'{least} to {most}'}, "
            "ordered by hierarchical clustering. Bold number or dot: |r| above 0.8."
        )
        figure = mediation_figures.correlation_heatmap(patients, held)
        section.add("figure", run.figure("correlation_heatmap", figure, caption))
    _beside_the_linear_models(run, section, found)
    log = run.csv("mediate/filter_log.csv")
    if log is not None:
        table = tables.from_frame(
            log, "What was left out, what was kept instead, and why; r with several is the multiple correlation."
        )
        section.add(
            "details",
            (f"Correlation filter and linear relations ({len(log)} left out)", [blocks.Block("table", table)]),
        )
    _multiple(run, section)
    return section


def _beside_the_linear_models(run: run_files.Run, section: blocks.Section, found: pd.DataFrame) -> None:
    """Bootstrap intervals, natural effects on a binary outcome, sensitivity: significant pairs, then all."""
    keys = ["exposure", "mediator"]
    for name, heading, caption, make in (
        ("intervals", "", "Bootstrap intervals of the indirect effects", mediation_tables.intervals),
        ("natural", "Severity as a binary outcome", "Natural effects", mediation_tables.natural),
        ("sensitivity", "Sensitivity to unmeasured confounding", "Sensitivity", mediation_tables.sensitivity),
    ):
        table = run.csv(f"mediate/{name}.csv", keys)
        if table is None:
            continue
        section.add("heading", heading)
        if name == "natural":
            section.add("text", _NATURAL.format(link=_mediation_options(run)[0].get("link", "logit")))
        significant = table.merge(found[keys], on=keys)
        if len(significant):
            section.add("table", make(significant, f"{caption} of the significant pairs."))
        block = blocks.Block("table", make(table, f"{caption} of all pairs."))
        section.add("details", (f"{caption} of all {len(table)} pairs", [block]))


_NATURAL = (
    "A {link} regression of severity in place of the linear one: how much the probability of the outcome changes "
    "when the exposure goes from one value to the other, through the phenotype (indirect) and otherwise (direct)."
)


def read_univariate(run: run_files.Run) -> pd.DataFrame | None:
    """mediate/univariate.csv with `flag` as text and a column `found`: significant by the rule of the run."""
    univariate = run.csv("mediate/univariate.csv", ("exposure", "mediator", "is_mediator"))
    if univariate is None:
        return None
    flag = univariate.get("flag", pd.Series(index=univariate.index, dtype=object)).astype(object)
    univariate["flag"] = flag.where(flag.notna(), "")
    for name in ("is_mediator", "is_mediator_paper"):
        if name in univariate:
            univariate[name] = table_files.as_bool(univariate[name])
    paper = _mediation_options(run)[0].get("rule") == "paper" and "is_mediator_paper" in univariate
    return univariate.assign(found=univariate["is_mediator_paper" if paper else "is_mediator"])


def _mediation_options(run: run_files.Run) -> tuple[Mapping[str, Any], str]:
    """Options of the analysis and its family of tests in words; empty without mediate/summary.json."""
    summary = table_files.read_json(run.path("mediate", "summary.json")) or {}
    family = str(summary.get("family") or "")
    return summary.get("options") or {}, f"Family of tests: {family.rstrip('.')}." if family else ""


def _multiple(run: run_files.Run, section: blocks.Section) -> None:
    """The model with several mediators: path plot, estimates, total effects, fit."""
    section.add("heading", "Several mediators in one model")
    summary = table_files.read_json(run.path("mediate", "summary.json")) or {}
    estimates = run.csv("mediate/multiple_estimates.csv", ("lhs", "op", "rhs", "label", "est", "se", "p", "std"))
    if estimates is None:
        reason = summary.get("no_path_model_because") or "it needs a mediator that passes the filter"
        section.add("note", f"There is no such model in this run: {reason}.")
        return
    totals = run.csv("mediate/multiple_total_effects.csv")
    fit = table_files.read_json(run.path("mediate", "multiple_fit.json")) or summary.get("fit") or {}
    if fit:
        model = _path_model(estimates, fit, totals, (summary.get("options") or {}).get("covariates") or [])
        mediators = len({name for names in model.exposures.values() for name in names})
        caption = (
            f"Path model of {blocks.count(len(model.exposures), 'exposure')} and "
            f"{blocks.count(mediators, 'mediator')}, standardised estimates, n = "
            f"{tables.number(fit.get('ntotal'))} patients. Small number in a box: residual variance; dashed bow: "
            "correlation of exposures; grey dashed arrow: not significant by the path's own z test, not adjusted."
        )
        section.add("caution" if model.verdict.word == "poor" else "text", model.verdict.text)
        plots = mediation_figures.path_plots(model)
        for number, plot in enumerate(plots, 1):
            name = "path_plot" if len(plots) == 1 else f"path_plot_{number}"
            section.add("figure", run.figure(name, plot, caption))
    section.add("table", mediation_tables.estimates(estimates))
    intervals = run.csv("mediate/multiple_intervals.csv")
    if intervals is not None:
        table = mediation_tables.intervals(intervals, "Bootstrap intervals of the effects that this model defines.")
        section.add("table", table)
    if totals is not None:
        section.add("table", mediation_tables.total_effects(totals))
    if fit:
        section.add("table", mediation_tables.fit_measures(fit, model.verdict.text))


def _path_model(
    estimates: pd.DataFrame, fit: Mapping[str, Any], totals: pd.DataFrame | None, covariates: Sequence[str]
) -> mediation.Multiple:
    """The fitted model from its files: the outcome explains nothing, and nothing explains an exposure."""
    paths = estimates[estimates["op"] == "~"]
    explained = list(dict.fromkeys(paths["lhs"]))
    outcome = next(name for name in explained if name not in set(paths["rhs"]))
    exposures = {
        name: list(paths.loc[(paths["rhs"] == name) & (paths["lhs"] != outcome), "lhs"])
        for name in dict.fromkeys(paths["rhs"])
        if name not in explained and name not in covariates
    }
    known = {name: np.nan if value is None else value for name, value in fit.items()}  # JSON has no NaN
    left, right = estimates["lhs"], estimates["rhs"]
    free = (estimates["op"] == "~~") & (left != right) & left.isin(explained) & right.isin(explained)
    return mediation.Multiple(
        estimates=estimates,
        fit=known,
        total_effects=pd.DataFrame() if totals is None else totals,
        exposures=exposures,
        outcome=outcome,
        num_dropped=0,
        covariates=covariates,
        residual_covariances=bool(free.any()),
    )


def as_expected(truth: pd.DataFrame) -> pd.Series:
    """Whether each pair of mediate/truth.csv was found to be what it was generated as."""
    return (truth["expected"] == "mediator") == table_files.as_bool(truth["found"])


def _truth_table(truth: pd.DataFrame) -> tables.Table:
    right = as_expected(truth)
    shown = truth.assign(found=np.where(table_files.as_bool(truth["found"]), "mediator", "null"))
    shown["as_expected"] = np.where(right, "yes", "no")
    columns = {
        "exposure": ("Exposure", tables.text_cell),
        "mediator": ("Mediator", tables.text_cell),
        "expected": ("Generated as", tables.text_cell),
        "found": ("Found to be", tables.text_cell),
        "as_expected": ("As expected", tables.text_cell),
    }
    recovered = f"{int(right.sum())} of {len(truth)} recovered"
    caption = f"Truth check: the data were generated with known effects; {recovered}."
    return tables.from_frame(shown, caption, columns)
