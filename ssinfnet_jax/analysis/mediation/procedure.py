"""The paper's whole mediation analysis: one mediator at a time, correlation filter, path model."""

import dataclasses
import json
import math
import os
import pathlib
from collections.abc import Sequence
from typing import Any

import pandas as pd

from ssinfnet_jax.analysis.mediation import columns, dependence, latex_tables
from ssinfnet_jax.analysis.mediation.bootstrap import bootstrap, bootstrap_multiple
from ssinfnet_jax.analysis.mediation.correlation_filter import PREFER, correlation_filter
from ssinfnet_jax.analysis.mediation.multiple import Multiple, multiple
from ssinfnet_jax.analysis.mediation.natural import is_binary, natural_effects
from ssinfnet_jax.analysis.mediation.sensitivity import sensitivity
from ssinfnet_jax.analysis.mediation.univariate import univariate

PATHS = ("selected", "all")
RULES = {"indirect": "is_mediator", "paper": "is_mediator_paper"}
CAVEAT = (
    "Exposure, phenotype and severity were observed at one time. The models describe associations that agree "
    "with mediation; they do not show that it takes place: severity may shape the image, another cause may "
    "shape both, and phenotypes of predicted masks carry the errors of the segmentation. Where the outcome is "
    "binary, its model is linear as in the paper, so that effects are differences of probability and standard "
    "errors are approximate."
)
_NATURAL = "The natural effects beside them come from a regression for binary outcomes."


@dataclasses.dataclass(frozen=True)
class Analysis:
    """Everything analyse() found.

    Attributes:
      univariate: all pairs, see univariate().
      filter_log: what was left out and why, see correlation_filter(): covariates that depend on others, what the
        filter removed, what multiple() left out.
      selected: exposure -> mediators that are significant for it and survive the filter; empty lists are
        kept.
      multiple: the path model of the selected mediators, or None.
      reason: "" or why there is no path model.
      options: how it was made, for the record.
      intervals: bootstrap intervals of all pairs, see bootstrap(); None without draws.
      multiple_intervals: the same for the path model, see bootstrap_multiple().
      natural: effects on a binary outcome, see natural_effects(); None where the outcome is not 0 and 1.
      no_natural: "" or why there are no natural effects, and no E-values with them.
      sensitivity: see sensitivity().
    """

    univariate: pd.DataFrame
    filter_log: pd.DataFrame
    selected: dict[str, list[str]]
    multiple: Multiple | None
    reason: str
    options: dict[str, Any]
    intervals: pd.DataFrame | None
    multiple_intervals: pd.DataFrame | None
    natural: pd.DataFrame | None
    no_natural: str
    sensitivity: pd.DataFrame

    def write(self, out_dir: str | os.PathLike) -> list[pathlib.Path]:
        """Writes tables as CSV and LaTeX and a summary as JSON; returns their paths.

        Tables with adjusted p values state the family of tests: in the CSV's column `family`, below the LaTeX table.

        Tables that an earlier analysis wrote to the folder, and this one does not have, are removed.
        """
        out_dir = pathlib.Path(out_dir)
        out_dir.mkdir(parents=True, exist_ok=True)
        tables = {
            "univariate": self.univariate,
            "intervals": self.intervals,
            "natural": self.natural,
            "sensitivity": self.sensitivity,
            "filter_log": self.filter_log,
            "multiple_estimates": self.multiple.estimates if self.multiple else None,
            "multiple_total_effects": self.multiple.total_effects if self.multiple else None,
            "multiple_intervals": self.multiple_intervals,
        }
        plain = {"summary": self.summary(), "multiple_fit": self.multiple.fit if self.multiple else None}
        paths = []
        for name, table in tables.items():
            if table is None:
                for ending in ("csv", "tex"):
                    (out_dir / f"{name}.{ending}").unlink(missing_ok=True)
                continue
            family = table.attrs.get("family")
            (table.assign(family=family) if family else table).to_csv(out_dir / f"{name}.csv", index=False)
            fit, verdict = (self.multiple.fit, self.multiple.verdict.text) if self.multiple else (None, "")
            (out_dir / f"{name}.tex").write_text(latex_tables.write(name, table, fit, verdict))
            paths += [out_dir / f"{name}.csv", out_dir / f"{name}.tex"]
        for name, values in plain.items():
            path = out_dir / f"{name}.json"
            if values is None:
                path.unlink(missing_ok=True)
                continue
            path.write_text(json.dumps(_no_nan(values), indent=2, allow_nan=False) + "\n")
            paths.append(path)
        return paths

    def caveat(self) -> str:
        """What a reader must know: CAVEAT, and where the natural effects come from or why there are none."""
        return f"{CAVEAT} {self.no_natural or _NATURAL}"

    def summary(self) -> dict[str, Any]:
        """The result in plain values: options, family of tests, selected mediators, fit and its verdict, caveat."""
        return {
            "options": self.options,
            "family": self.univariate.attrs["family"],
            "num_significant": int(self.univariate[RULES[self.options["rule"]]].sum()),
            "selected": self.selected,
            "fit": self.multiple.fit if self.multiple else None,
            "fit_verdict": self.multiple.verdict.text if self.multiple else None,
            "num_dropped": self.multiple.num_dropped if self.multiple else None,
            "no_path_model_because": self.reason,
            "no_natural_effects_because": self.no_natural,
            "caveat": self.caveat(),
        }


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
    covariates: Sequence[str] = (),
    paths: str = "selected",
    residual_covariances: bool = True,
    link: str = "logit",
    bootstrap_draws: int = 1000,
    seed: int = 0,
) -> Analysis:
    """Runs univariate(), correlation_filter() on all significant mediators, and multiple() on what is left.

    Beside them: bootstrap intervals of all indirect effects, natural effects if the outcome is binary, and
    the sensitivity of every pair to unmeasured confounding.

    Args:
      table: one row per patient: phenotypes (by_patient()), exposures, outcome.
      exposures: columns; those without a selected mediator are not in the path model.
      mediators: columns, or a regular expression searched in the names of numeric columns, e.g.
        "^ggo_(firstorder|glcm)_"; columns of text, and the counts of by_patient() and table() (num_slices,
        num_failed, num_bins), are passed over.
      outcome: column, 0 or 1.
      threshold, prefer: see correlation_filter().
      alpha, adjust, family, min_n: see univariate().
      rule: a mediator is significant by its indirect effect ("indirect") or by the paper's three regressions
        ("paper").
      covariates, link: see univariate(), natural_effects().
      paths: in the path model an exposure acts on the mediators "selected" for it, as in the paper, or on "all" that
        were selected for any exposure of the model.
      residual_covariances: whether the residuals of mediators may correlate in the path model, see multiple(); the
        paper's may not.
      bootstrap_draws, seed: see bootstrap(); 0 draws make no intervals.
    Returns: Analysis; without significant mediators, or when no path model can be fitted, its `reason` says
      so.
    Raises: ValueError as univariate(); for an unknown rule or unknown paths; for an expression that is none, that
      matches no numeric column, or a column of numbers with a cell that is not a number.
    Source: the paper, "Mediation analysis".
    """
    if rule not in RULES:
        raise ValueError(f"Unknown rule {rule!r}; choose one of {', '.join(RULES)}.")
    if paths not in PATHS:
        raise ValueError(f"Unknown paths {paths!r}; choose one of {', '.join(PATHS)}.")
    exposures = list(exposures)
    taken = {*exposures, *covariates, outcome}
    covariates, relations = _independent_covariates(table, exposures, covariates)
    filter_logs = [dependence.log(relations)]
    names = columns.matching(table, mediators, taken) if isinstance(mediators, str) else list(mediators)
    models = {"covariates": list(covariates), "min_n": min_n}
    tests = {"adjust": adjust, "family": family}
    pairs = univariate(table, exposures, names, outcome, alpha=alpha, **tests, **models)
    significant = pairs[pairs[RULES[rule]]]
    filtered = correlation_filter(table, significant, threshold, prefer)
    selected = {
        exposure: [m for m in significant.loc[significant["exposure"] == exposure, "mediator"] if m in filtered.kept]
        for exposure in exposures
    }
    acts_on = {exposure: mediators for exposure, mediators in selected.items() if mediators}
    if paths == "all":
        acts_on = {
            exposure: [m for m in dict.fromkeys(significant["mediator"]) if m in filtered.kept] for exposure in acts_on
        }
    filter_logs.append(filtered.log)
    model, reason = _path_model(table, acts_on, outcome, covariates, residual_covariances)
    if model:
        filter_logs.append(model.removed)
        removed = set(model.removed["removed"])
        selected = {exposure: [m for m in its if m not in removed] for exposure, its in selected.items()}
    if (pairs["flag"] != "").all():
        counts = pairs["flag"].value_counts()
        more = f" and {len(counts) - 5} other reasons" if len(counts) > 5 else ""
        shown = ", ".join(f"{flag} ({count}x)" for flag, count in counts.head(5).items())
        reason = f"no pair could be fitted: {shown}{more}"
    draws = {"draws": bootstrap_draws, "seed": seed}
    natural, no_natural = None, _no_natural(table[outcome])
    if not no_natural:
        natural = natural_effects(table, exposures, names, outcome, link=link, **tests, **models)
    options = {"exposures": exposures, "outcome": outcome, "num_mediators": len(names), "mediators": names}
    options |= {
        "rule": rule,
        "alpha": alpha,
        "threshold": threshold,
        "prefer": list(prefer),
        "num_patients": len(table),
        "link": link,
    }
    options |= {
        "paths": paths,
        "residual_covariances": residual_covariances,
        "bootstrap_draws": bootstrap_draws,
        "seed": seed,
    }
    return Analysis(
        univariate=pairs,
        filter_log=_joined(filter_logs),
        selected=selected,
        multiple=model,
        reason=reason,
        options=options | tests | models,
        intervals=bootstrap(table, exposures, names, outcome, **draws, **models) if bootstrap_draws else None,
        multiple_intervals=bootstrap_multiple(table, model, **draws) if bootstrap_draws and model else None,
        natural=natural,
        no_natural=no_natural,
        sensitivity=sensitivity(pairs, natural),
    )


def _independent_covariates(
    table: pd.DataFrame, exposures: Sequence[str], covariates: Sequence[str]
) -> tuple[list[str], list[dependence.Relation]]:
    """Covariates without those that are constant or depend on others, which change no model; what depends on them.

    Exposures that the covariates determine are among the relations: all of their pairs have a flag.
    """
    data = columns.numeric(table, [*covariates, *exposures])
    kept, relations = dependence.independent(data[list(covariates)])
    for exposure in exposures:
        relation = dependence.first_relation(data[[*kept, exposure]], given=kept, tolerance=dependence.EXACT)
        relations += [relation] if relation and relation.others else []
    return kept, relations


def _joined(logs: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """One filter's log of several, with the attributes of the filter's own."""
    joined = pd.concat([log for log in logs if len(log)] or logs[:1], ignore_index=True)
    joined.attrs = {key: value for log in logs for key, value in log.attrs.items()}
    return joined


def _no_natural(outcome: pd.Series) -> str:
    """Why there are no natural effects on this outcome; "" if there are."""
    if is_binary(outcome):
        return ""
    values = sorted(outcome.dropna().unique().tolist())
    shown = f"{', '.join(f'{value:g}' for value in values[:5])}{', ...' if len(values) > 5 else ''}"
    return (
        "There are no natural effects and no E-values: they need an outcome of 0 and 1, both present, and "
        f"{outcome.name!r} has {shown or 'no values'}."
    )


def _path_model(
    table: pd.DataFrame,
    exposures: dict[str, list[str]],
    outcome: str,
    covariates: Sequence[str],
    residual_covariances: bool,
) -> tuple[Multiple | None, str]:
    if not exposures:
        return None, "no significant mediator of any exposure"
    options = {"covariates": covariates, "residual_covariances": residual_covariances}
    try:
        return multiple(table, exposures, outcome, **options), ""
    except ValueError as error:  # the univariate results stand by themselves
        return None, str(error)


def _no_nan(value):
    """JSON knows no NaN."""
    if isinstance(value, dict):
        return {key: _no_nan(item) for key, item in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value
