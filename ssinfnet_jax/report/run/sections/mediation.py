"""Mediation analysis: single pairs, further analyses of them, and the model with several mediators."""

import re

import numpy as np
import pandas as pd

from ssinfnet_jax.analysis import truth as known_truth
from ssinfnet_jax.analysis.mediation import Analysis
from ssinfnet_jax.report.kit import blocks, tables
from ssinfnet_jax.report.mediation import conditional, correlation_heatmap, forest, path_plot
from ssinfnet_jax.report.mediation import tables as mediation_tables
from ssinfnet_jax.report.run import run_files

_PAIR = ["exposure", "mediator"]
_ORDINAL = (
    "Proportional odds of the levels of severity: how the probability of each level, alone and with the higher ones, "
    "changes as the exposure goes from one value to the other."
)
_MODERATED = (
    "The indirect effect at values of {moderator}, which may change these paths: {moderated}. The index is the change "
    "of the indirect effect per unit, or between categories."
)
_NATURAL = (
    "A {link} regression of severity instead of the linear one: how the probability of the outcome changes as the "
    "exposure goes from one value to the other, through the phenotype (indirect) and otherwise (direct)."
)


def build(run: run_files.Run) -> blocks.Section:
    """Section with tables and figures of every part of the analysis."""
    section = blocks.Section("mediation", "Mediation analysis", "Mediation")
    section.add("note", run.stages["mediate"].reason)
    analysis = run.analysis
    if analysis is None:
        return section
    found = analysis.univariate[analysis.significant]
    section.add("caution", analysis.caveat())
    _pairs(run, section, analysis, found)
    _figures(run, section, analysis, found)
    _beside_the_linear_models(run, section, analysis, found)
    _of_many(run, section, analysis)
    if len(analysis.filter_log):
        table = tables.from_frame(
            analysis.filter_log,
            "Mediators that were left out, those kept instead, and why; r with several is the multiple correlation.",
        )
        section.fold(f"Correlation filter and linear relations ({len(analysis.filter_log)} left out)", table)
    _multiple(run, section, analysis)
    return section


def _pairs(run: run_files.Run, section: blocks.Section, analysis: Analysis, found: pd.DataFrame) -> None:
    """What was tested, the significant pairs, the recovery of known effects, all pairs."""
    univariate, options = analysis.univariate, analysis.options
    counts = ", ".join(f"{name}: {count}" for name, count in found["exposure"].value_counts().items())
    rule = {
        "indirect": f"adjusted p of the indirect effect below {options['alpha']:g}",
        "paper": f"all three adjusted p below {options['alpha']:g}, and the direct effect smaller than the total",
    }[options["rule"]]
    section.add(
        "text",
        f"{blocks.count(len(univariate), 'exposure-mediator pair')} tested; {len(found)} significant"
        f"{f' ({counts})' if counts else ''}: {rule}. Family of tests: {univariate.attrs['family'].rstrip('.')}.",
    )
    if len(found):
        table = mediation_tables.pairs(found, "Significant mediators, smallest adjusted p first.", verdict=False)
        section.add("table", table)
    truth = run.csv("mediate/truth.csv", known_truth.COLUMNS)
    if truth is not None:
        section.add("table", _truth_table(truth))
    table = mediation_tables.pairs(univariate, "All pairs, smallest adjusted p first.", verdict=True)
    section.fold(f"All {len(univariate)} pairs", table)


def _figures(run: run_files.Run, section: blocks.Section, analysis: Analysis, found: pd.DataFrame) -> None:
    """A forest plot per exposure; correlations of the significant mediators."""
    for exposure, pairs in analysis.univariate.groupby("exposure", sort=False):
        fitted = int((pairs["flag"] == "").sum())
        if fitted:
            caption = (
                f"Standardised indirect effects of {exposure} with 95 % intervals, n = {fitted} phenotypes "
                "with estimates; only the 40 largest effects if there are more."
            )
            name = f"forest_{re.sub(r'[^0-9A-Za-z-]+', '_', str(exposure))}"
            section.add("figure", run.figure(name, forest.forest(pairs), caption))
    patients = run.csv("mediate/table.csv")
    mediators = list(dict.fromkeys(found["mediator"]))
    mediators = [] if patients is None else [name for name in mediators if name in patients]
    if len(mediators) > 1:
        known = patients[mediators].notna().to_numpy(int)
        of_pairs = (known.T @ known)[np.triu_indices(len(mediators), 1)]
        least, most = tables.number(of_pairs.min()), tables.number(of_pairs.max())
        threshold = analysis.options["threshold"]
        caption = (
            f"Correlations of the {len(mediators)} significant mediators over the patients with both values, "
            f"n = {least if least == most else f'{least} to {most}'}, "
            f"ordered by hierarchical clustering. Bold number or dot: |r| above {threshold:g}."
        )
        figure = correlation_heatmap.correlation_heatmap(patients, mediators, threshold=threshold)
        section.add("figure", run.figure("correlation_heatmap", figure, caption))


def _beside_the_linear_models(
    run: run_files.Run, section: blocks.Section, analysis: Analysis, found: pd.DataFrame
) -> None:
    """Bootstrap intervals, natural effects and other analyses: of the significant pairs, then of all."""
    options = analysis.options
    texts = {"natural": _NATURAL.format(link=options["link"]), "ordinal": _ORDINAL}
    texts |= {"moderated": _MODERATED.format_map(options)} if analysis.moderated is not None else {}
    figures = {"ordinal": conditional.by_level, "moderated": conditional.by_moderator}
    if analysis.missing is not None:
        section.fold("Missing values", mediation_tables.missing(analysis.missing))
    for name, heading, caption, make in (
        ("intervals", "", "Bootstrap intervals of the indirect effects", mediation_tables.intervals),
        ("natural", "Severity as a binary outcome", "Natural effects", mediation_tables.natural),
        ("ordinal", "Severity in levels", "Natural effects on each level", mediation_tables.ordinal),
        ("moderated", "Moderated mediation", "Indirect effects at values of the moderator", mediation_tables.moderated),
        ("imputed", "Missing values imputed", "Indirect effects over imputed tables", mediation_tables.imputed),
        ("sensitivity", "Sensitivity to unmeasured confounding", "Sensitivity", mediation_tables.sensitivity),
    ):
        table = getattr(analysis, name)
        if table is None:
            continue
        section.add("heading", heading)
        section.add("text", texts.get(name, ""))
        if name in figures and (table["flag"] == "").any():
            title = (
                f"{caption}, with 95 % intervals; at most {conditional.MAX_PANELS} pairs, smallest adjusted p first."
            )
            section.add("figure", run.figure(name, figures[name](table, options["alpha"]), title))
        significant = table.merge(found[_PAIR], on=_PAIR)
        if len(significant):
            section.add("table", make(significant, f"{caption} of the significant pairs."))
        section.fold(f"{caption} of all {len(analysis.univariate)} pairs", make(table, f"{caption} of all pairs."))


def _of_many(run: run_files.Run, section: blocks.Section, analysis: Analysis) -> None:
    """Joint effects of sets of mediators, and the screening."""
    if analysis.joint is not None:
        section.add("heading", "Sets of mediators")
        if (analysis.joint["flag"] == "").any():
            figure = forest.forest(forest.sets(analysis.joint, analysis.options["alpha"]))
            caption = "Standardised joint indirect effects of sets of mediators (their number in brackets)."
            section.add("figure", run.figure("joint", figure, caption))
        section.add("table", mediation_tables.joint(analysis.joint))
    if analysis.screening is not None:
        section.add("heading", "Screening of all mediators")
        chosen, table = analysis.screening[analysis.screening["selected"]], mediation_tables.screening
        section.add("text", f"{len(chosen)} of {len(analysis.screening)} pairs selected.")
        if len(chosen):
            section.add("table", table(chosen))
        section.fold("All pairs of the screening", table(analysis.screening))


def _multiple(run: run_files.Run, section: blocks.Section, analysis: Analysis) -> None:
    """The model with several mediators: path plots, estimates, total effects, fit."""
    section.add("heading", "Several mediators in one model")
    model = analysis.multiple
    if model is None:
        section.add("note", f"This run has no such model: {analysis.reason}.")
        return
    caption = (
        f"Path model of {blocks.count(len(model.exposures), 'exposure')} and "
        f"{blocks.count(len(model.mediators), 'mediator')}, standardised estimates, n = "
        f"{tables.number(model.fit['ntotal'])} patients. Small number in a box: residual variance; dashed arc: "
        "correlation of exposures; grey dashed arrow: not significant (z test of the path, not adjusted)."
    )
    section.add("caution" if model.verdict.word == "poor" else "text", model.verdict.text)
    for name, plot in path_plot.named(model).items():
        section.add("figure", run.figure(name, plot, caption))
    section.add("table", mediation_tables.estimates(model.estimates))
    if analysis.multiple_intervals is not None:
        caption = "Bootstrap intervals of the effects defined in this model."
        section.add("table", mediation_tables.intervals(analysis.multiple_intervals, caption))
    section.add("table", mediation_tables.total_effects(model.total_effects))
    section.add("table", mediation_tables.fit_measures(model.fit, model.verdict.text))


def _truth_table(truth: pd.DataFrame) -> tables.Table:
    right = known_truth.as_expected(truth)
    shown = truth.assign(found=np.where(truth["found"], "mediator", "null"), right=np.where(right, "yes", "no"))
    heads = ("Exposure", "Mediator", "Generated as", "Found to be", "As expected")
    names = (*known_truth.COLUMNS, "right")
    columns = {name: (head, tables.text_cell) for name, head in zip(names, heads, strict=True)}
    recovered = f"{int(right.sum())} of {len(truth)} recovered"
    return tables.from_frame(shown, f"The data were generated with known effects; {recovered}.", columns)
