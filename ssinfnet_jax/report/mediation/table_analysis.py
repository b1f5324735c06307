"""The mediation analysis of a user's table, outside of a run: tables, figures, and the result in words."""

import pathlib
import re
from collections.abc import Sequence

import pandas as pd

from ssinfnet_jax import rundir
from ssinfnet_jax.analysis import cohort_table, mediation
from ssinfnet_jax.analysis.mediation import categories
from ssinfnet_jax.report.kit import figure_style
from ssinfnet_jax.report.mediation import conditional, correlation_heatmap, forest, path_plot

_PAIR = ["exposure", "mediator"]
_FIGURE = re.compile(
    r"(forest_\d+|joint_\d+|ordinal|moderated|correlation_heatmap|path_plot(_\d+)?)\.(png|svg)"
)  # files that _draw() may write


def run(
    cohort: str,
    out_dir: pathlib.Path,
    options: mediation.Options,
    *,
    missing_codes: Sequence[str] = (),
    interval: str = "delta",
) -> mediation.Analysis:
    """Analyses a table and writes tables, figures and `doubtful_words.csv`, replacing those of an earlier call.

    Args:
      cohort: CSV or XLSX file, one row per patient.
      out_dir: folder to write to.
      options: of the analysis.
      missing_codes: see cohort_table.read().
      interval: for the forest plots: "delta", or a bootstrap interval ("percentile", "bc", "bca").
    Raises: ValueError for a table that cannot be analysed, see cohort_table.read() and mediation.analyse().
    """
    rundir.check_folder(out_dir)
    table = _read(cohort, options, missing_codes)
    found = mediation.analyse(table, options)
    found.write(out_dir)
    cohort_table.write_doubts(table, out_dir / "doubtful_words.csv")
    _draw(found, table, out_dir / "figures", interval)
    return found


def _read(cohort: str, options: mediation.Options, missing_codes: Sequence[str]) -> pd.DataFrame:
    """Reads the columns that the options name; categories and clusters stay as they are."""
    covariates = [*options.covariates, *filter(None, [options.moderator])]
    terms = [name for name in (*options.exposures, *covariates) if categories.is_term(name)]
    return cohort_table.read(
        cohort,
        [name for name in options.exposures if name not in terms],
        options.outcome,
        [name for name in covariates if name not in terms],
        levels=options.levels,
        mediators=options.mediators,
        groups=[*map(categories.column, terms), *filter(None, [options.cluster])],
        numbers=list(filter(None, [options.weights])),
        missing_codes=missing_codes,
    )


def words(found: mediation.Analysis) -> list[str]:
    """The result in words, a line each."""
    pairs = found.univariate
    fit = [f"Path model: {found.multiple.verdict.text}"] if found.multiple else []
    selected = [f"{exposure} by {', '.join(its) or 'none'}" for exposure, its in found.selected.items()]
    return [
        f"{len(pairs)} pairs, {int(pairs['is_mediator'].sum())} significant; {pairs.attrs['family']}.",
        f"Several mediators: {found.reason.rstrip('.') or '; '.join(selected)}.",
        *fit,
        *_of_many(found),
    ]


def _of_many(found: mediation.Analysis) -> list[str]:
    """Lines on joint effects, the screening, levels, the moderator and missing values, if there are any."""
    lines = []
    if found.joint is not None:
        small = found.joint[found.joint["indirect_p_adj"] < found.options["alpha"]]
        names = ", ".join(f"{row.exposure} by {row.mediators}" for row in small.itertuples()) or "none"
        lines.append(f"Joint effects of {len(found.joint)} sets of mediators; significant: {names}.")
    if found.screening is not None:
        chosen = found.screening[found.screening["selected"]]
        names = ", ".join(f"{row.mediator} of {row.exposure} ({row.stability:.0%})" for row in chosen.itertuples())
        lines.append(f"Screening (stability in brackets): {names or 'none selected'}.")
    if found.ordinal is not None:
        small = found.ordinal[(found.ordinal["indirect_p_adj"] < found.options["alpha"])]
        names = ", ".join(f"{exposure} by {mediator}" for exposure, mediator in small.groupby(_PAIR, sort=False).groups)
        apart = found.ordinal.drop_duplicates(_PAIR)["parallel_p"].lt(found.options["alpha"]).sum()
        lines.append(
            f"Severity in levels: indirect effects on some level of {names or 'no pair'}; the assumption of "
            f"proportional odds is rejected for {apart} pairs (see parallel_p)."
        )
    if found.moderated is not None:
        small = found.moderated[found.moderated["p_adj"] < found.options["alpha"]]
        names = ", ".join(f"{row.exposure} by {row.mediator}" for row in small.itertuples()) or "none"
        lines.append(f"Moderated mediation by {found.options['moderator']}; significant: {names}.")
    return lines + _of_missing(found)


def _of_missing(found: mediation.Analysis) -> list[str]:
    """Lines on missing values and on the effects over imputed tables, if there are any."""
    lines = []
    if found.missing is not None:
        lines.append(f"Columns with missing values: {len(found.missing)} (missing.csv).")
    if found.imputed is not None:
        imputed = found.imputed
        small = imputed[imputed["indirect_p_adj"] < found.options["alpha"]]
        names = ", ".join(f"{row.exposure} by {row.mediator}" for row in small.itertuples()) or "none"
        flagged = int((imputed["flag"] != "").sum())
        lines.append(f"Missing values imputed; {flagged} of {len(imputed)} pairs flagged; significant: {names}.")
    return lines


def _draw(found: mediation.Analysis, table: pd.DataFrame, out_dir: pathlib.Path, interval: str) -> None:
    """Draws forest plots, heat map and path plots of what was found; removes other figures of an earlier analysis."""
    figures = {}
    fitted = found.univariate[found.univariate["flag"] == ""]
    drawn = {} if interval == "delta" or found.intervals is None else {"intervals": found.intervals, "method": interval}
    pages = forest.forest_pages(found.univariate, **drawn) if len(fitted) else []
    figures |= {f"forest_{number}": page for number, page in enumerate(pages, 1)}
    mediators = list(dict.fromkeys(fitted.loc[fitted["is_mediator"], "mediator"]))
    if len(mediators) > 1:
        threshold = found.options["threshold"]
        heatmap = correlation_heatmap.correlation_heatmap(table, mediators, threshold=threshold)
        figures["correlation_heatmap"] = heatmap
    if found.joint is not None and (found.joint["flag"] == "").any():
        pages = forest.forest_pages(forest.sets(found.joint, found.options["alpha"]))
        figures |= {f"joint_{number}": page for number, page in enumerate(pages, 1)}
    for name, draw in (("ordinal", conditional.by_level), ("moderated", conditional.by_moderator)):
        effects = getattr(found, name)
        if effects is not None and (effects["flag"] == "").any():
            figures[name] = draw(effects, found.options["alpha"])
    figures |= path_plot.named(found.multiple) if found.multiple else {}
    for path in out_dir.glob("*"):
        if _FIGURE.fullmatch(path.name) and path.stem not in figures:
            path.unlink()
    for name, figure in figures.items():
        figure_style.save(figure, out_dir, name)
