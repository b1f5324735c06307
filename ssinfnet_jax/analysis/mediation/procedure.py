"""The paper's whole mediation analysis: one mediator at a time, correlation filter, path model."""

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import pandas as pd

from ssinfnet_jax.analysis.mediation import categories, columns
from ssinfnet_jax.analysis.mediation.bootstrap import bootstrap, bootstrap_multiple
from ssinfnet_jax.analysis.mediation.estimation import sampling
from ssinfnet_jax.analysis.mediation.estimation.sampling import Sampling
from ssinfnet_jax.analysis.mediation.imputation import check_known, imputed_effects
from ssinfnet_jax.analysis.mediation.missing import missing_values, of_region
from ssinfnet_jax.analysis.mediation.moderated import check_moderator, moderated_effects
from ssinfnet_jax.analysis.mediation.options import Options
from ssinfnet_jax.analysis.mediation.outcome.natural import is_binary, natural_effects
from ssinfnet_jax.analysis.mediation.outcome.ordinal import level_codes, ordinal_effects
from ssinfnet_jax.analysis.mediation.result import RULES, Analysis
from ssinfnet_jax.analysis.mediation.sensitivity import sensitivity
from ssinfnet_jax.analysis.mediation.several import dependence
from ssinfnet_jax.analysis.mediation.several.correlation_filter import correlation_filter
from ssinfnet_jax.analysis.mediation.several.joint import joint_effects, sets_by_name
from ssinfnet_jax.analysis.mediation.several.multiple import Multiple, multiple
from ssinfnet_jax.analysis.mediation.several.screening import screen, usable_columns
from ssinfnet_jax.analysis.mediation.univariate import univariate


def analyse(table: pd.DataFrame, options: Options) -> Analysis:
    """Runs univariate(), correlation_filter() on all significant mediators, and multiple() on what is left.

    Beside them: bootstrap intervals of all indirect effects, natural effects if the outcome is binary, and
    the sensitivity of every pair to unmeasured confounding.

    Args:
      table: one row per patient: phenotypes (by_patient()), exposures, outcome.
      options: see Options.
    Returns: Analysis, with a `reason` if there is no path model.
    Raises: ValueError as univariate(); for an invalid expression, one that matches no numeric column, or a column of
      numbers with a cell that is not a number.
    Source: the paper, "Mediation analysis".
    """
    terms = [*options.exposures, *options.covariates]
    taken = {*terms, *map(categories.column, terms), options.outcome, options.cluster, options.weights}
    taken |= {_level_column(table, options), options.moderator, categories.column(options.moderator)}
    table, options = _with_categories(table, options)
    options, relations = _without_dependent_covariates(table, options)
    of_patients = sampling.read(table, options.cluster, options.weights, options.robust)
    chosen = options.mediators
    names = columns.matching(table, chosen, taken) if isinstance(chosen, str) else list(chosen)
    _check(table, names, options)
    of_pairs = (table, options.exposures, names, options.outcome)
    models = options.models | {"sampling": of_patients}
    pairs = univariate(*of_pairs, alpha=options.alpha, **options.tests, **models)
    selected = _select(table, pairs, options)
    model, reason = _path_model(table, selected.acts_on, options, of_patients)
    removed = [] if model is None else model.removed["removed"].tolist()
    if (pairs["flag"] != "").all():
        reason = _why_nothing_fits(pairs["flag"])
    natural, no_natural = None, _no_natural(table[options.outcome])
    if not no_natural:
        chosen = {"link": options.link, "interaction": options.interaction}
        natural = natural_effects(*of_pairs, **chosen, **options.tests, **models)
    intervals, of_model = None, None
    if options.bootstrap_draws:
        intervals = bootstrap(*of_pairs, **options.draws, **models)
        if model and options.missing == "listwise":
            of_model = bootstrap_multiple(table, model, sampling=of_patients, **options.draws)
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
        ordinal=_ordinal(table, names, options, of_patients),
        moderated=_moderated(table, names, options, of_patients),
        no_natural=no_natural,
        sensitivity=sensitivity(pairs, natural),
        missing=_missing(table, names, options),
        imputed=_imputed(table, names, options, of_patients),
        **_of_many(table, names, options, of_patients),
    )


def _check(table: pd.DataFrame, names: Sequence[str], options: Options) -> None:
    """Raises what the later steps would raise after minutes of computing."""
    columns_of = (options.exposures, names, options.outcome, options.covariates)
    if options.levels:
        level_codes(table[_level_column(table, options)], options.levels)
    if options.sets:
        sets_by_name(names, options.sets)
    if options.moderator:
        check_moderator(table, options.moderator, *columns_of)
    if options.imputations:
        check_known(table, [*options.exposures, *options.covariates, options.outcome])
    if options.screening:
        usable_columns(table, *columns_of)


def _of_many(
    table: pd.DataFrame, names: Sequence[str], options: Options, of_patients: Sampling
) -> dict[str, pd.DataFrame | None]:
    """What is asked of all mediators together: joint effects of sets, screening."""
    chosen = {"covariates": options.covariates, "sampling": of_patients}
    joint, screening = None, None
    if options.sets:
        sets = sets_by_name(names, options.sets)
        of_sets = (table, options.exposures, sets, options.outcome)
        joint = joint_effects(*of_sets, adjust=options.adjust, **options.draws, **chosen)
    if options.screening:
        of_pairs = (table, options.exposures, names, options.outcome)
        screening = screen(*of_pairs, fdr=options.fdr, seed=options.seed, **chosen)
    return {"joint": joint, "screening": screening}


def _level_column(table: pd.DataFrame, options: Options) -> str:
    """The column of the levels, in words where the outcome is not."""
    column = f"{options.outcome}_level"
    return column if column in table else options.outcome


def _ordinal(table: pd.DataFrame, names: Sequence[str], options: Options, of_patients: Sampling) -> pd.DataFrame | None:
    """Effects on each of the outcome's levels."""
    if not options.levels:
        return None
    of_pairs = (table, options.exposures, names, _level_column(table, options))
    chosen = {"levels": options.levels, "adjust": options.adjust, "sampling": of_patients}
    return ordinal_effects(*of_pairs, **chosen, **options.models)


def _moderated(
    table: pd.DataFrame, names: Sequence[str], options: Options, of_patients: Sampling
) -> pd.DataFrame | None:
    """Indirect effects at values of the moderator, and their index."""
    if not options.moderator:
        return None
    of_pairs = (table, options.exposures, names, options.moderator, options.outcome)
    chosen = {"moderated": options.moderated, "adjust": options.adjust, "sampling": of_patients}
    return moderated_effects(*of_pairs, **chosen, **options.draws, **options.models)


def _missing(table: pd.DataFrame, names: Sequence[str], options: Options) -> pd.DataFrame | None:
    """What is missing in the columns of the analysis; None where nothing is."""
    roles = dict.fromkeys(options.exposures, "exposure") | dict.fromkeys(options.covariates, "covariate")
    roles |= {options.outcome: "outcome"} | dict.fromkeys(names, "mediator")
    roles |= {categories.column(options.moderator): "moderator"} if options.moderator else {}
    found = missing_values(table, roles, options.outcome)
    return found if len(found) else None


def _imputed(table: pd.DataFrame, names: Sequence[str], options: Options, of_patients: Sampling) -> pd.DataFrame | None:
    """Effects over imputed tables; phenotypes of regions without texture stay missing."""
    if not options.imputations:
        return None
    never = {name: pd.concat(of_region(table, name), axis=1).any(axis=1) for name in names}
    return imputed_effects(
        *(table, options.exposures, names, options.outcome),
        covariates=options.covariates,
        sampling=of_patients,
        never=pd.DataFrame(never),
        link=options.link,
        adjust=options.adjust,
        count=options.imputations,
        cycles=options.imputation_cycles,
        seed=options.seed,
    )


def _with_categories(table: pd.DataFrame, options: Options) -> tuple[pd.DataFrame, Options]:
    """The table with indicators of categories, and the options that name these."""
    table, exposures = categories.expand(table, options.exposures)
    table, covariates = categories.expand(table, options.covariates)
    return table, dataclasses.replace(options, exposures=exposures, covariates=covariates)


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
    # Categories are compared with the reference only if the model has all of them.
    together = {exposure: [exposure, *categories.siblings(exposure, options.exposures)] for exposure in acts_on}
    acts_on = {
        name: list(dict.fromkeys(m for other in names for m in acts_on.get(other, [])))
        for names in together.values()
        for name in names
    }
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


def _path_model(
    table: pd.DataFrame, acts_on: dict[str, list[str]], options: Options, of_patients: Sampling
) -> tuple[Multiple | None, str]:
    """The model, or why there is none."""
    if not acts_on:
        return None, "no significant mediator of any exposure"
    chosen = {"covariates": options.covariates, "residual_covariances": options.residual_covariances}
    chosen |= {"sampling": of_patients, "missing": options.missing}
    try:
        return multiple(table, acts_on, options.outcome, **chosen), ""
    except ValueError as error:  # the univariate results remain valid
        return None, str(error)
