"""Tables of the mediation analysis for the page."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import pandas as pd

from ssinfnet_jax.analysis.mediation import CUTOFFS
from ssinfnet_jax.analysis.mediation.estimation.intervals import METHODS
from ssinfnet_jax.report.kit import tables


def _text_cell(value: Any) -> tables.Cell:
    return tables.text_cell(None if value == "" else value)


EFFECTS = {  # of univariate.EFFECTS: title, hint
    "indirect": ("Indirect", "a times b"),
    "a": ("a", "exposure to mediator"),
    "b": ("b", "mediator to outcome, given the exposure"),
    "direct": ("Direct", "exposure to outcome, given the mediator"),
    "total": ("Total", "exposure to outcome"),
}
_PAIR = {"exposure": ("Exposure", tables.text_cell), "mediator": ("Mediator", tables.text_cell)}
_NUMBERS = {  # of a model's estimates
    "est": ("Estimate", tables.number_cell),
    "se": ("SE", tables.number_cell),
    "z": ("z", tables.number_cell),
    "t": ("t", tables.number_cell),
    "p": ("p", tables.p_cell),
    "std": ("Standardised", tables.number_cell),
}
_FIT = {
    "chisq": "Chi-square of the model against the data",
    "df": "Its degrees of freedom",
    "pvalue": "Its p (small: the model does not fit)",
    "cfi": f"Comparative fit index (good: {CUTOFFS['cfi']})",
    "tli": f"Tucker-Lewis index (good: {CUTOFFS['cfi']})",
    "rmsea": f"Root mean square error of approximation (good: {CUTOFFS['rmsea']})",
    "rmsea_lower": "Lower bound of its 90 % interval",
    "rmsea_upper": "Upper bound of its 90 % interval",
    "srmr": f"Standardised root mean square residual (good: {CUTOFFS['srmr']})",
    "aic": "Akaike information criterion (to compare models)",
    "bic": "Bayesian information criterion (to compare models)",
    "logl": "Log-likelihood",
    "npar": "Free parameters",
    "ntotal": "Patients",
    "scaling": "What the chi-square is divided by for clusters, weights or unequal variances",
}


def pairs(univariate: pd.DataFrame, caption: str, *, verdict: bool) -> tables.Table:
    """Effects of exposure-mediator pairs with standard errors, smallest adjusted p first.

    Args:
      univariate: of an analysis, or some of its rows.
      caption: above the table.
      verdict: whether to add two columns: significant by the indirect effect (or why the pair was not fitted), and by
        the paper's three regressions.
    """
    heads = [tables.Column("Exposure"), tables.Column("Mediator"), tables.Column("n", True)]
    heads += [tables.Column("p (adj.)", True, "of the indirect effect, adjusted for the number of tests")]
    heads += [tables.Column("Indirect, std.", True, "indirect effect of standardised variables")]
    heads += [tables.Column(head, True, hint) for head, hint in EFFECTS.values()]
    heads += [tables.Column("Significant"), tables.Column("Paper's rule")] if verdict else []
    rows = []
    for _, row in univariate.sort_values("indirect_p_adj").head(tables.MAX_ROWS).iterrows():
        cells = [tables.text_cell(row["exposure"]), tables.text_cell(row["mediator"]), tables.number_cell(row["n"])]
        cells += [tables.p_cell(row["indirect_p_adj"]), tables.number_cell(row["indirect_std"])]
        for name in EFFECTS:
            note = "" if pd.isna(row[f"{name}_se"]) else f"SE {tables.number(row[f'{name}_se'], 2)}"
            cells.append(dataclasses.replace(tables.number_cell(row[f"{name}_est"]), note=note))
        if verdict:
            cell = tables.text_cell(row["flag"] or ("yes" if row["is_mediator"] else "no"))
            cells.append(dataclasses.replace(cell, note=f"mediator: {row['note']}" if row["note"] else ""))
            cells.append(tables.text_cell("yes" if row["is_mediator_paper"] else "no"))
        rows.append(cells)
    return tables.Table(caption, heads, rows, f"SE: standard error. {tables.cut(univariate)}".strip())


def estimates(table: pd.DataFrame) -> tables.Table:
    """Estimates of the model with several mediators, in the order of lavaan's output.

    Args:
      table: of a Multiple.
    """
    columns = {"parameter": ("Parameter", tables.text_cell), "label": ("Label", _text_cell)} | _NUMBERS
    named = table.assign(parameter=table["lhs"] + " " + table["op"] + " " + table["rhs"])
    caption = "Estimates of the model with several mediators (maximum likelihood)."
    foot = (
        "~ regression, ~~ (co)variance, := defined (an indirect or total effect). p: z test of each row, not adjusted "
        "for the number of rows."
    )
    return tables.from_frame(named, caption, columns, foot=foot)


def total_effects(table: pd.DataFrame) -> tables.Table:
    """Effects of the exposures without any mediator.

    Args:
      table: of a Multiple.
    """
    columns = {"exposure": _PAIR["exposure"]} | _NUMBERS
    return tables.from_frame(table, "Total effects: a model of the exposures alone (least squares).", columns)


def fit_measures(fit: Mapping[str, Any], verdict: str) -> tables.Table:
    """Fit measures with their meaning, where known.

    Args:
      fit: of a Multiple.
      verdict: whether the model fits, in words.
    """
    rows = []
    for name, value in fit.items():
        plain = tables.text_cell if isinstance(value, (str, bool)) else tables.number_cell
        write = tables.p_cell if name == "pvalue" else plain
        rows.append([tables.text_cell(name), write(value), tables.text_cell(_FIT.get(name, ""))])
    columns = [tables.Column("Measure"), tables.Column("Value", True), tables.Column("Meaning")]
    return tables.Table("Fit of this model.", columns, rows, verdict)


def intervals(table: pd.DataFrame, caption: str) -> tables.Table:
    """Bootstrap intervals by all three methods.

    Args:
      table: of bootstrap() or bootstrap_multiple().
      caption: above the table.
    """
    shown = table.assign(**{method: _interval(table, method) for method in METHODS})
    columns = _PAIR | {
        "label": ("Effect", tables.text_cell),
        "rhs": ("Is", tables.text_cell),
        "n": ("n", tables.number_cell),
        "est": ("Estimate", tables.number_cell),
        "se": ("Bootstrap SE", tables.number_cell),
    }
    titles = {"percentile": "Percentile", "bc": "Bias-corrected", "bca": "BCa"}
    columns |= {method: (titles[method], tables.text_cell) for method in METHODS}
    columns |= _with_text(shown, "flag", "Not fitted because")
    draws = tables.number(table["draws"].max())
    return tables.from_frame(shown, caption, columns, foot=f"95 % intervals from the same {draws} resamples.")


def natural(table: pd.DataFrame, caption: str) -> tables.Table:
    """Natural effects on the probability of the outcome, in percentage points, smallest adjusted p first.

    Args:
      table: of natural_effects(), or some of its rows.
      caption: above the table.
    """
    shown = table.sort_values("indirect_p_adj")
    titles = {name: EFFECTS[name][0] for name in ("indirect", "direct", "total")}
    shown[[f"{effect}_{number}" for effect in titles for number in ("est", "lower", "upper")]] *= 100
    columns = _PAIR | {
        "n": ("n", tables.number_cell),
        "contrast": ("Exposure from, to", tables.text_cell),
        "indirect_p_adj": ("p (adj.)", tables.p_cell),
    }
    columns |= {effect: (f"{title}, points", tables.text_cell) for effect, title in titles.items()}
    share = shown["proportion_mediated"].map(tables.number)
    if "proportion_mediated_lower" in shown:
        share += " " + _interval(shown, "proportion_mediated").where(shown["proportion_mediated"].notna(), "")
    shown["proportion"] = share
    columns |= {"proportion": ("Proportion mediated", tables.text_cell)}
    columns |= _with_text(shown, "note", "Note on the mediator") | _with_text(shown, "flag", "Not fitted because")
    shown["contrast"] = [
        f"{tables.number(a)}, {tables.number(b)}" for a, b in zip(shown["from"], shown["to"], strict=True)
    ]
    for effect in titles:
        estimate = shown[f"{effect}_est"].map(tables.number)
        shown[effect] = estimate + " " + _interval(shown, effect).where(shown[f"{effect}_est"].notna(), "")
    foot = "Percentage points of the probability of the outcome, with 95 % intervals (delta method)."
    return tables.from_frame(shown, caption, columns, foot=foot)


def ordinal(table: pd.DataFrame, caption: str) -> tables.Table:
    """Natural effects on the probability of each level, in percentage points, pairs with the smallest p first.

    Args:
      table: of ordinal_effects(), or some of its rows.
      caption: the sentence above.
    """
    shown = table.assign(smallest=table.groupby(["exposure", "mediator"])["indirect_p_adj"].transform("min"))
    shown = shown.sort_values("smallest", kind="stable")
    shown["level"] = shown["level"].astype(str) + " " + shown["event"]
    for effect in ("indirect", "direct", "total"):
        shown[effect] = _with_interval(shown, f"{effect}_est", effect, 100)
    columns = _PAIR | {
        "level": ("Level", tables.text_cell),
        "n": ("n", tables.number_cell),
        "indirect_p_adj": ("p (adj.)", tables.p_cell),
        "indirect": ("Indirect, points", tables.text_cell),
        "direct": ("Direct, points", tables.text_cell),
        "total": ("Total, points", tables.text_cell),
        "parallel_p": ("Same at all levels: p", tables.p_cell),
    }
    foot = (
        "Percentage points of the probability of the level, or of it or a higher one, with 95 % intervals (delta "
        "method). The last p is small if the effects differ between levels, which violates the model."
    )
    return tables.from_frame(shown, caption, columns | _flag(shown), foot=foot)


def moderated(table: pd.DataFrame, caption: str) -> tables.Table:
    """Indirect effects at values of the moderator, and the index; pairs with the smallest p of the index first.

    Args:
      table: of moderated_effects(), or some of its rows.
      caption: the sentence above.
    """
    shown = table.assign(smallest=table.groupby(["exposure", "mediator"])["p_adj"].transform("min"))
    shown = shown.sort_values("smallest", kind="stable")
    shown["effect"] = (shown["effect"] + " at " + shown["moderator"] + " = " + shown["at"]).where(
        shown["at"] != "", shown["effect"]
    )
    shown["interval"] = _interval(shown.rename(columns={"lower": "delta_lower", "upper": "delta_upper"}), "delta")
    if "bootstrap_percentile_lower" in shown:
        shown["bootstrap"] = _interval(shown, "bootstrap_percentile")
    columns = _PAIR | {
        "effect": ("Effect", tables.text_cell),
        "n": ("n", tables.number_cell),
        "est": ("Estimate", tables.number_cell),
        "se": ("SE", tables.number_cell),
        "interval": ("95 % interval", tables.text_cell),
        "bootstrap": ("Percentile bootstrap", tables.text_cell),
        "p": ("p", tables.p_cell),
        "p_adj": ("p (adj.)", tables.p_cell),
    }
    foot = (
        "Index: change of the indirect effect per unit of the moderator, or difference from the reference category. "
        "p (adj.): of the index, adjusted for the number of pairs."
    )
    return tables.from_frame(shown, caption, columns | _flag(shown), foot=foot)


def joint(table: pd.DataFrame) -> tables.Table:
    """Joint effects of sets of mediators.

    Args:
      table: of joint_effects().
    """
    shown = table.copy()
    for effect in ("indirect", "direct", "total"):
        shown[effect] = (
            shown[f"{effect}_est"].map(tables.number) + " (SE " + shown[f"{effect}_se"].map(tables.number) + ")"
        )
    if "bootstrap_percentile_lower" in shown:
        shown["bootstrap"] = _interval(shown, "bootstrap_percentile")
    columns = {
        "exposure": ("Exposure", tables.text_cell),
        "mediators": ("Set", tables.text_cell),
        "num_independent": ("Independent mediators", tables.number_cell),
        "n": ("n", tables.number_cell),
        "indirect_p_adj": ("p (adj.)", tables.p_cell),
        "indirect_std": ("Indirect, std.", tables.number_cell),
        "indirect": ("Indirect", tables.text_cell),
        "bootstrap": ("Percentile bootstrap", tables.text_cell),
        "direct": ("Direct", tables.text_cell),
        "total": ("Total", tables.text_cell),
    }
    caption = "Joint indirect effects through all mediators of a set, which may be correlated."
    return tables.from_frame(shown, caption, columns | _flag(shown), foot="SE: standard error (delta method).")


def screening(table: pd.DataFrame) -> tables.Table:
    """Mediators selected among all, smallest q first.

    Args:
      table: of screen().
    """
    shown = table.sort_values("q", kind="stable").assign(
        selected=table["selected"].map({True: "yes", False: "no"}), stability=table["stability"] * 100
    )
    columns = _PAIR | {
        "selected": ("Selected", tables.text_cell),
        "stability": ("Stability, %", tables.number_cell),
        "q": ("q", tables.p_cell),
        "a_est": ("a", tables.number_cell),
        "a_p": ("p of a", tables.p_cell),
        "b_est": ("b given all", tables.number_cell),
        "b_p": ("p of b", tables.p_cell),
        "indirect_std": ("Indirect, std.", tables.number_cell),
    }
    foot = (
        "q: false discovery rate of selecting this mediator and all with a smaller q. Stability: share of random "
        "halves of the patients in which the mediator is selected; trust 60 % or more."
    )
    return tables.from_frame(shown, "Mediators in one model of all of them.", columns | _flag(shown), foot=foot)


def imputed(table: pd.DataFrame, caption: str) -> tables.Table:
    """Indirect effects over imputed tables, smallest adjusted p first.

    Args:
      table: of imputed_effects(), or some of its rows.
      caption: the sentence above.
    """
    shown = table.sort_values("indirect_p_adj", kind="stable")
    shown["indirect"] = _with_interval(shown, "indirect_est", "indirect")
    columns = _PAIR | {
        "n": ("n", tables.number_cell),
        "indirect_p_adj": ("p (adj.)", tables.p_cell),
        "indirect": ("Indirect", tables.text_cell),
        "indirect_fmi": ("Missing information", tables.number_cell),
        "r_hat": ("r-hat", tables.number_cell),
    }
    foot = "95 % intervals by Rubin's rules. If r-hat is above 1.2, the chains have not converged."
    return tables.from_frame(shown, caption, columns | _flag(shown), foot=foot)


def missing(table: pd.DataFrame) -> tables.Table:
    """Missing values in the columns of the analysis, and their reasons.

    Args:
      table: of missing_values().
    """
    shown = table.assign(share=table["share"] * 100)
    columns = {
        "column": ("Column", tables.text_cell),
        "role": ("Role", tables.text_cell),
        "num_missing": ("Missing", tables.number_cell),
        "share": ("%", tables.number_cell),
        "num_empty": ("Region empty", tables.number_cell),
        "num_too_small": ("Region too small", tables.number_cell),
        "num_other": ("Not recorded", tables.number_cell),
        "outcome_missing": ("Outcome if missing", tables.number_cell),
        "outcome_known": ("Outcome if known", tables.number_cell),
        "p": ("p of the difference", tables.p_cell),
    }
    foot = (
        "A small p means that the values are not missing completely at random; an empty region has nothing to measure."
    )
    return tables.from_frame(shown, "Missing values and their reasons.", columns, foot=foot)


def sensitivity(table: pd.DataFrame, caption: str) -> tables.Table:
    """Confounding that would explain the indirect effects away, the most fragile pair first.

    Args:
      table: of sensitivity(), or some of its rows.
      caption: above the table.
    """
    columns = _PAIR | {
        "rho": ("rho", tables.number_cell),
        "rho_squared": ("rho²", tables.number_cell),
        "e_value": ("E-value", tables.number_cell),
        "e_value_limit": ("E-value of the limit", tables.number_cell),
    }
    foot = (
        "rho: the correlation between the errors of mediator and outcome at which the indirect effect is 0. rho²: the "
        "product of the shares of their residual variances that a confounder then explains. E-value: the risk ratio "
        "that a confounder must have with mediator and outcome to explain the effect away; of the limit: to make "
        "the interval include no effect (1: it does already)."
    )
    return tables.from_frame(table.sort_values("rho", key=abs), caption, columns, foot=foot)


def _flag(table: pd.DataFrame) -> dict[str, tuple[str, Any]]:
    """The last column, if a row has no estimates."""
    return _with_text(table, "flag", "Note")


def _with_interval(table: pd.DataFrame, estimate: str, name: str, scale: float = 1.0) -> pd.Series:
    """`0.2 [0.1, 0.3]`, in units of 1 / scale; None where it is NaN."""
    bounds = {f"{name}_{side}": table[f"{name}_{side}"] * scale for side in ("lower", "upper")}
    texts = (table[estimate] * scale).map(tables.number) + " " + _interval(pd.DataFrame(bounds), name)
    return texts.where(table[estimate].notna(), None)


def _with_text(table: pd.DataFrame, name: str, title: str) -> dict[str, tuple]:
    """The column of this name for from_frame(), if it has a text in any row."""
    return {name: (title, _text_cell)} if name in table and (table[name] != "").any() else {}


def _interval(table: pd.DataFrame, name: str) -> pd.Series:
    """`[0.12, 0.34]` from the columns `<name>_lower` and `<name>_upper`; None where they are NaN."""
    bounds = zip(table[f"{name}_lower"], table[f"{name}_upper"], strict=True)
    texts = [None if pd.isna(low) else f"[{tables.number(low)}, {tables.number(high)}]" for low, high in bounds]
    return pd.Series(texts, index=table.index, dtype=object)
