"""Tables of the report page for what stands beside the linear mediation models."""

import pandas as pd

from ssinfnet_jax.report import tables

_PAIR = {"exposure": ("Exposure", tables.text_cell), "mediator": ("Mediator", tables.text_cell)}


def intervals(table: pd.DataFrame, caption: str) -> tables.Table:
    """Bootstrap intervals, percentile, BC and BCa beside one another.

    Args:
      table: mediate/intervals.csv or mediate/multiple_intervals.csv.
      caption: the sentence above.
    """
    shown = table.assign(
        percentile=_interval(table, "percentile"), bc=_interval(table, "bc"), bca=_interval(table, "bca")
    )
    columns = _PAIR | {
        "label": ("Effect", tables.text_cell),
        "rhs": ("Is", tables.text_cell),
        "n": ("n", tables.number_cell),
        "est": ("Estimate", tables.number_cell),
        "se": ("Bootstrap SE", tables.number_cell),
        "percentile": ("Percentile", tables.text_cell),
        "bc": ("Bias-corrected", tables.text_cell),
        "bca": ("BCa", tables.text_cell),
        "flag": ("Not fitted because", tables.text_cell),
    }
    if "flag" in shown and shown["flag"].isna().all():
        del columns["flag"]
    draws = tables.number(table["draws"].max())
    return tables.from_frame(shown, caption, columns, foot=f"95 % intervals from the same {draws} resamples.")


def natural(table: pd.DataFrame, caption: str) -> tables.Table:
    """Natural effects on the probability of the outcome, in percentage points, smallest adjusted p first.

    Args:
      table: mediate/natural.csv, or some of its rows.
      caption: the sentence above.
    """
    shown = table.sort_values("indirect_p_adj")
    numbers = [
        f"{effect}_{number}" for effect in ("indirect", "direct", "total") for number in ("est", "lower", "upper")
    ]
    shown[numbers] *= 100
    titles = {"indirect": "Indirect", "direct": "Direct", "total": "Total"}
    columns = _PAIR | {
        "n": ("n", tables.number_cell),
        "contrast": ("Exposure from, to", tables.text_cell),
        "indirect_p_adj": ("p (adj.)", tables.p_cell),
    }
    columns |= {effect: (f"{title}, points", tables.text_cell) for effect, title in titles.items()}
    columns |= {"proportion_mediated": ("Proportion mediated", tables.number_cell)}
    columns |= {"flag": ("Not fitted because", tables.text_cell)} if shown["flag"].notna().any() else {}
    shown["contrast"] = [
        f"{tables.number(a)}, {tables.number(b)}" for a, b in zip(shown["from"], shown["to"], strict=True)
    ]
    for effect in titles:
        estimate = shown[f"{effect}_est"].map(tables.number)
        shown[effect] = estimate + " " + _interval(shown, effect).where(shown[f"{effect}_est"].notna(), "")
    foot = "Percentage points of the probability of the outcome, with 95 % intervals (delta method)."
    return tables.from_frame(shown, caption, columns, foot=foot)


def sensitivity(table: pd.DataFrame, caption: str) -> tables.Table:
    """What it takes to explain the indirect effects away, the most fragile pair first.

    Args:
      table: mediate/sensitivity.csv, or some of its rows.
      caption: the sentence above.
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
        "that a confounder must have with mediator and outcome to explain the effect away; of the limit: to bring "
        "the interval to no effect (1: it holds no effect already)."
    )
    return tables.from_frame(table.sort_values("rho", key=abs), caption, columns, foot=foot)


def _interval(table: pd.DataFrame, name: str) -> pd.Series:
    """`[0.12, 0.34]` of the columns `<name>_lower`, `<name>_upper`; None where there is none."""
    bounds = zip(table[f"{name}_lower"], table[f"{name}_upper"], strict=True)
    texts = [None if pd.isna(low) else f"[{tables.number(low)}, {tables.number(high)}]" for low, high in bounds]
    return pd.Series(texts, index=table.index, dtype=object)
