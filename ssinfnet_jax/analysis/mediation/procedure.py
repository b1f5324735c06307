"""The paper's whole mediation analysis: one mediator at a time, correlation filter, path model."""

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import pandas as pd

from ssinfnet_jax.analysis.mediation import columns
from ssinfnet_jax.analysis.mediation.bootstrap import bootstrap, bootstrap_multiple
from ssinfnet_jax.analysis.mediation.natural import is_binary, natural_effects
from ssinfnet_jax.analysis.mediation.options import Options
from ssinfnet_jax.analysis.mediation.result import RULES, Analysis
from ssinfnet_jax.analysis.mediation.sensitivity import sensitivity
from ssinfnet_jax.analysis.mediation.several import dependence
from ssinfnet_jax.analysis.mediation.several.correlation_filter import correlation_filter
from ssinfnet_jax.analysis.mediation.several.multiple import Multiple, multiple
from ssinfnet_jax.analysis.mediation.univariate import univariate


def analyse(table: pd.DataFrame, options: Options) -> Analysis:
    """Runs univariate(), correlation_filter() on all significant mediators, and multiple() on what is left.

    Beside them: bootstrap intervals of all indirect effects, natural effects if the outcome is binary, and
    the sensitivity of every pair to unmeasured confounding.

    Args:
      table: one row per patient: phenotypes (by_patient()), exposures, outcome.
      options: see Options.
    Returns: Analysis; without significant mediators, or when no path model can be fitted, its `reason` says
      so.
    Raises: ValueError as univariate(); for an expression that is none, that matches no numeric column, or a column of
      numbers with a cell that is not a number.
    Source: the paper, "Mediation analysis".
    """
    taken = {*options.exposures, *options.covariates, options.outcome}
    options, relations = _without_dependent_covariates(table, options)
    chosen = options.mediators
    names = columns.matching(table, chosen, taken) if isinstance(chosen, str) else list(chosen)
    of_pairs = (table, options.exposures, names, options.outcome)
    pairs = univariate(*of_pairs, alpha=options.alpha, **options.tests, **options.models)
    selected = _select(table, pairs, options)
    model, reason = _path_model(table, selected.acts_on, options)
    removed = [] if model is None else model.removed["removed"].tolist()
    if (pairs["flag"] != "").all():
        reason = _why_nothing_fits(pairs["flag"])
    natural, no_natural = None, _no_natural(table[options.outcome])
    if not no_natural:
        natural = natural_effects(*of_pairs, link=options.link, **options.tests, **options.models)
    intervals, of_model = None, None
    if options.bootstrap_draws:
        intervals = bootstrap(*of_pairs, **options.draws, **options.models)
        of_model = bootstrap_multiple(table, model, **options.draws) if model else None
    return Analysis(
        univariate=pairs,
        filter_log=_joined([dependence.log(relations), selected.log, *([model.removed] if model else [])]),
        selected={exposure: [m for m in its if m not in removed] for exposure, its in selected.by_exposure.items()},
        multiple=model,
        reason=reason,
        options=options.record(names, len(table)),
        intervals=intervals,
        multiple_intervals=of_model,
        natural=natural,
        no_natural=no_natural,
        sensitivity=sensitivity(pairs, natural),
    )


class _Selection(NamedTuple):
    """by_exposure: exposure -> its mediators; acts_on: the same in the path model; log: see correlation_filter()."""

    by_exposure: dict[str, list[str]]
    acts_on: dict[str, list[str]]
    log: pd.DataFrame


def _select(table: pd.DataFrame, pairs: pd.DataFrame, options: Options) -> _Selection:
    """The significant mediators that the correlation filter keeps."""
    significant = pairs[pairs[RULES[options.rule]]]
    filtered = correlation_filter(table, significant, options.max_correlation, options.prefer)
    kept = significant[significant["mediator"].isin(filtered.kept)]
    found = {name: kept.loc[kept["exposure"] == name, "mediator"].tolist() for name in options.exposures}
    acts_on = {exposure: mediators for exposure, mediators in found.items() if mediators}
    if options.paths == "all":
        acts_on = {exposure: list(dict.fromkeys(kept["mediator"])) for exposure in acts_on}
    return _Selection(found, acts_on, filtered.log)


def _why_nothing_fits(flags: pd.Series) -> str:
    counts = flags.value_counts()
    more = f" and {len(counts) - 5} other reasons" if len(counts) > 5 else ""
    shown = ", ".join(f"{flag} ({count}x)" for flag, count in counts.head(5).items())
    return f"no pair could be fitted: {shown}{more}"


def _without_dependent_covariates(table: pd.DataFrame, options: Options) -> tuple[Options, list[dependence.Relation]]:
    """Options without covariates that are constant or depend on others, which change no model; what depends on them.

    Exposures that the covariates determine are among the relations: all of their pairs have a flag.
    """
    data = columns.numeric(table, [*options.covariates, *options.exposures])
    kept, relations = dependence.independent(data[list(options.covariates)])
    for exposure in options.exposures:
        relation = dependence.first_relation(data[[*kept, exposure]], given=kept, tolerance=dependence.EXACT)
        relations += [relation] if relation and relation.others else []
    return dataclasses.replace(options, covariates=kept), relations


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


def _path_model(table: pd.DataFrame, acts_on: dict[str, list[str]], options: Options) -> tuple[Multiple | None, str]:
    """The model, or why there is none."""
    if not acts_on:
        return None, "no significant mediator of any exposure"
    chosen = {"covariates": options.covariates, "residual_covariances": options.residual_covariances}
    try:
        return multiple(table, acts_on, options.outcome, **chosen), ""
    except ValueError as error:  # the univariate results stand by themselves
        return None, str(error)
