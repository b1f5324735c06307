"""The tables of the analysis as LaTeX, with captions and notes."""

import math
from collections.abc import Mapping
from typing import Any

import pandas as pd

from ssinfnet_jax import latex

_PAIR = ["exposure", "mediator", "n"]
_COLUMNS = {  # the CSV files have all columns
    "univariate": [
        *(*_PAIR, "a_std", "b_std", "direct_std", "indirect_std", "total_std"),
        *("indirect_est", "indirect_se", "indirect_z", "indirect_p_adj", "is_mediator", "is_mediator_paper"),
    ],
    "intervals": [
        *(*_PAIR, "est", "se", "percentile_lower", "percentile_upper", "bc_lower", "bc_upper"),
        *("bca_lower", "bca_upper"),
    ],
    "ordinal": [
        *(*_PAIR, "level", "event", "indirect_est", "indirect_lower", "indirect_upper", "indirect_p_adj"),
        *("direct_est", "total_est", "parallel_p", "flag"),
    ],
    "moderated": [
        *(*_PAIR, "moderator", "effect", "at", "est", "se", "lower", "upper", "p", "p_adj", "flag"),
    ],
    "joint": [
        *("exposure", "mediators", "num_independent", "n", "indirect_std", "indirect_est", "indirect_se"),
        *("indirect_p", "indirect_p_adj", "direct_std", "total_std", "flag"),
    ],
    "imputed": [
        *(*_PAIR, "indirect_est", "indirect_se", "indirect_lower", "indirect_upper", "indirect_p", "indirect_p_adj"),
        *("indirect_fmi", "r_hat", "flag"),
    ],
    "screening": [
        *(*_PAIR, "screened", "a_est", "a_p", "b_est", "b_p", "indirect_std", "joint_p", "q", "selected", "stability"),
    ],
    "natural": [
        *(*_PAIR, "b_std", "indirect_est", "indirect_lower", "indirect_upper", "indirect_p_adj"),
        *("direct_est", "direct_lower", "direct_upper", "total_est", "proportion_mediated"),
    ],
}
_UNADJUSTED = "p values are not adjusted for the number of tests."
_TEXTS = {  # caption, notes
    "univariate": (
        "Mediators one at a time, by maximum likelihood.",
        "a: exposure to mediator; b: mediator to outcome, given the exposure; indirect: a times b; std: both variables "
        "standardised; p adj: of the indirect effect, adjusted; is mediator: p adj below the level; is mediator paper: "
        "the paper's three regressions.",
    ),
    "intervals": (
        "Bootstrap intervals of the indirect effects (95 %).",
        "Percentile, bias-corrected (bc) and accelerated (bca) intervals from the same resamples of patients; not "
        "adjusted for the number of pairs.",
    ),
    "natural": (
        "Natural effects on the probability of the outcome.",
        "Differences of probability with 95 % intervals (delta method, not adjusted); p adj: of the indirect effect, "
        "adjusted; b std: of the mediator in the outcome's regression.",
    ),
    "ordinal": (
        "Natural effects on the probability of each level of the outcome, by proportional odds.",
        "Differences of probability with 95 % intervals (delta method, not adjusted); event: of the level or a higher "
        "one, or of it alone; p adj: of the indirect effect, adjusted; parallel p: a small one says that the effects "
        "differ between the levels, so that the model does not hold.",
    ),
    "moderated": (
        "Moderated mediation: indirect effects at values of the moderator, and the index.",
        "Index: change of the indirect effect per unit of the moderator, or its difference to the reference category; "
        "95 % intervals (delta method; the CSV file has those of the bootstrap); p adj: of the index, adjusted.",
    ),
    "joint": (
        "Joint indirect effects of sets of mediators.",
        "Through any mediator of a set, however they correlate; p adj: adjusted over all sets.",
    ),
    "screening": (
        "Mediators chosen among all: screening, de-biased Lasso, tests of both paths together.",
        "b: of the mediator given all others; joint p: the larger p of both paths; q: false discovery rate of "
        "selecting all with a smaller one; stability: share of random halves of the patients in which the mediator is "
        "selected.",
    ),
    "imputed": (
        "Indirect effects with missing values filled in many times by chained equations.",
        "Pooled by Rubin's rules, 95 % intervals; fmi: fraction of missing information; r hat: above 1.2 the chains "
        "have not converged.",
    ),
    "missing": (
        "What is missing, and why.",
        "Empty: the region is not in the patient, so that there is nothing to measure; too small: for texture; "
        "other: not recorded; p: of the difference between the mean outcomes of patients without and with a value.",
    ),
    "sensitivity": (
        "Sensitivity of the indirect effects to unmeasured confounding.",
        "rho: correlation of the errors of mediator and outcome at which the indirect effect is 0; E-value: risk ratio "
        "that a confounder must have with both to explain the effect away; of the limit: to bring the interval to no "
        "effect.",
    ),
    "filter_log": ("What was left out: mediators close to others, and linear combinations of others.", ""),
    "multiple_estimates": (
        "Estimates of the model with several mediators, by maximum likelihood.",
        f"~ regression, ~~ (co)variance, := defined effect; std: all variables standardised. {_UNADJUSTED}",
    ),
    "multiple_total_effects": (
        "Total effects: the outcome on the exposures alone, by least squares.",
        _UNADJUSTED,
    ),
    "multiple_intervals": (
        "Bootstrap intervals of the effects that the model with several mediators defines (95 %).",
        "Percentile, bias-corrected (bc) and accelerated (bca) intervals; not adjusted for the number of effects.",
    ),
}


def write(name: str, table: pd.DataFrame, fit: Mapping[str, Any] | None = None, verdict: str = "") -> str:
    """One of the tables that Analysis.write() writes, as LaTeX.

    Args:
      name: of its file.
      table: all its columns; `attrs["family"]`, the family of tests, is stated below it.
      fit: of the path model, stated below its estimates.
      verdict: whether it fits, in words, stated there too.
    """
    caption, notes = _TEXTS[name]
    if family := table.attrs.get("family"):
        notes += f" Family of tests: {family}."
    if fit and name == "multiple_estimates":
        notes += f" {_fit_line(fit)} {verdict}"
    shown = table[_COLUMNS.get(name, list(table))]
    if name == "multiple_estimates":  # formulas that can be set in lines
        shown = shown.assign(rhs=shown["rhs"].where(shown["op"] != ":=", shown["rhs"].str.replace("+", " + ")))
    return latex.table(
        [latex.escape(str(column).replace("_", " ")) for column in shown],
        [[latex.escape(_cell(value)) for value in row] for row in shown.itertuples(index=False)],
        numeric=[
            pd.api.types.is_numeric_dtype(dtype) and not pd.api.types.is_bool_dtype(dtype) for dtype in shown.dtypes
        ],
        caption=caption,
        label=name,
        notes=notes.strip(),
    )


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:.3g}".replace("-", "\N{MINUS SIGN}")
    return "" if value is None or value is pd.NA else {True: "yes", False: "no"}.get(value, str(value))


def _fit_line(fit: Mapping[str, Any]) -> str:
    return (
        f"n = {fit['ntotal']}, chi-square({fit['df']}) = {fit['chisq']:.1f}, CFI = {fit['cfi']:.3f}, RMSEA = "
        f"{fit['rmsea']:.3f} (90 % interval {fit['rmsea_lower']:.3f} to {fit['rmsea_upper']:.3f}), SRMR = "
        f"{fit['srmr']:.3f}."
    )
