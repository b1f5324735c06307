"""The paper's whole mediation analysis: one mediator at a time, correlation filter, path model."""

import dataclasses
import json
import math
import os
import pathlib
import re
from collections.abc import Sequence
from typing import Any

import pandas as pd

from ssinfnet_jax.analysis.mediation import columns
from ssinfnet_jax.analysis.mediation.correlation_filter import PREFER, correlation_filter
from ssinfnet_jax.analysis.mediation.multiple import Multiple, multiple
from ssinfnet_jax.analysis.mediation.univariate import univariate

RULES = {"indirect": "is_mediator", "paper": "is_mediator_paper"}
CAVEAT = (
    "Exposure, phenotype and severity were observed at one time. The models describe associations that agree "
    "with mediation; they do not show that it takes place: severity may shape the image, another cause may "
    "shape both, and phenotypes of predicted masks carry the errors of the segmentation. Severity is binary "
    "and its model here is linear, so that effects are differences of probability and standard errors are "
    "approximate."
)


@dataclasses.dataclass(frozen=True)
class Analysis:
    """Everything analyse() found.

    Attributes:
      univariate: all pairs, see univariate().
      filter_log: what the correlation filter removed, see correlation_filter().
      selected: exposure -> mediators that are significant for it and survive the filter; empty lists are
        kept.
      multiple: the path model of the selected mediators, or None.
      reason: "" or why there is no path model.
      options: how it was made, for the record.
    """

    univariate: pd.DataFrame
    filter_log: pd.DataFrame
    selected: dict[str, list[str]]
    multiple: Multiple | None
    reason: str
    options: dict[str, Any]

    def write(self, out_dir: str | os.PathLike) -> list[pathlib.Path]:
        """Writes tables as CSV and LaTeX and a summary as JSON; returns their paths."""
        out_dir = pathlib.Path(out_dir)
        out_dir.mkdir(parents=True, exist_ok=True)
        tables = {"univariate": (self.univariate, _LATEX_COLUMNS), "filter_log": (self.filter_log, None)}
        if self.multiple:
            tables["multiple_estimates"] = (self.multiple.estimates, None)
            tables["multiple_total_effects"] = (self.multiple.total_effects, None)
        paths = []
        for name, (table, latex_columns) in tables.items():
            table.to_csv(out_dir / f"{name}.csv", index=False)
            short = table[latex_columns] if latex_columns else table
            latex = short.to_latex(index=False, escape=True, float_format="%.4g", na_rep="", longtable=len(short) > 40)
            (out_dir / f"{name}.tex").write_text(latex)
            paths += [out_dir / f"{name}.csv", out_dir / f"{name}.tex"]
        plain = {"summary": self.summary()} | ({"multiple_fit": self.multiple.fit} if self.multiple else {})
        for name, values in plain.items():
            paths.append(out_dir / f"{name}.json")
            paths[-1].write_text(json.dumps(_no_nan(values), indent=2, allow_nan=False) + "\n")
        return paths

    def summary(self) -> dict[str, Any]:
        """The result in plain values: options, family of tests, selected mediators, fit, caveat."""
        return {
            "options": self.options,
            "family": self.univariate.attrs["family"],
            "num_significant": int(self.univariate[RULES[self.options["rule"]]].sum()),
            "selected": self.selected,
            "fit": self.multiple.fit if self.multiple else None,
            "num_dropped": self.multiple.num_dropped if self.multiple else None,
            "no_path_model_because": self.reason,
            "caveat": CAVEAT,
        }


_LATEX_COLUMNS = ["exposure", "mediator", "n", "a_std", "b_std", "direct_std", "indirect_std", "total_std"]
_LATEX_COLUMNS += ["indirect_est", "indirect_se", "indirect_z", "indirect_p_adj"]


def analyse(
    table: pd.DataFrame,
    *,
    exposures: Sequence[str],
    mediators: str | Sequence[str],
    outcome: str = "severity",
    threshold: float = 0.8,
    prefer: Sequence[str] = PREFER,
    alpha: float = 0.05,
    adjust: str = "fdr_bh",
    family: str = "all",
    rule: str = "indirect",
    min_n: int = 10,
) -> Analysis:
    """Runs univariate(), correlation_filter() on all significant mediators, and multiple() on what is left.

    Args:
      table: one row per patient: phenotypes (by_patient()), exposures, outcome.
      exposures: columns; those without a selected mediator are not in the path model.
      mediators: columns, or a regular expression searched in the names of numeric columns, e.g.
        "^ggo_(firstorder|glcm)_".
      outcome: column, 0 or 1.
      threshold, prefer: see correlation_filter().
      alpha, adjust, family, min_n: see univariate().
      rule: a mediator is significant by its indirect effect ("indirect") or by the paper's three regressions
        ("paper").
    Returns: Analysis; without significant mediators, or when no path model can be fitted, its `reason` says
      so.
    Raises: ValueError as univariate(); for an unknown rule, or an expression that matches no numeric column.
    Source: the paper, "Mediation analysis".
    """
    if rule not in RULES:
        raise ValueError(f"Unknown rule {rule!r}; choose one of {', '.join(RULES)}.")
    exposures = list(exposures)
    names = _matching(table, mediators, {*exposures, outcome}) if isinstance(mediators, str) else list(mediators)
    options = {"alpha": alpha, "adjust": adjust, "family": family, "min_n": min_n}
    pairs = univariate(table, exposures, names, outcome, **options)
    significant = pairs[pairs[RULES[rule]]]
    filtered = correlation_filter(table, significant, threshold, prefer)
    selected = {
        exposure: [m for m in significant.loc[significant["exposure"] == exposure, "mediator"] if m in filtered.kept]
        for exposure in exposures
    }
    model, reason = _path_model(table, selected, outcome)
    options |= {"exposures": exposures, "outcome": outcome, "num_mediators": len(names), "rule": rule}
    options |= {"threshold": threshold, "prefer": list(prefer), "num_patients": len(table)}
    return Analysis(pairs, filtered.log, selected, model, reason, options)


def _matching(table: pd.DataFrame, expression: str, taken: set[str]) -> list[str]:
    names = [
        name
        for name in table.columns
        if name not in taken and re.search(expression, str(name)) and columns.is_numeric(table[name])
    ]
    if not names:
        raise ValueError(
            f"No numeric column matches the mediators {expression!r}; the first columns are {list(table.columns)[:12]}."
        )
    return names


def _path_model(table: pd.DataFrame, selected: dict[str, list[str]], outcome: str) -> tuple[Multiple | None, str]:
    chosen = {exposure: mediators for exposure, mediators in selected.items() if mediators}
    if not chosen:
        return None, "no significant mediator of any exposure"
    try:
        return multiple(table, chosen, outcome), ""
    except ValueError as error:  # the univariate results stand by themselves
        return None, str(error)


def _no_nan(value):
    """JSON knows no NaN."""
    if isinstance(value, dict):
        return {key: _no_nan(item) for key, item in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value
