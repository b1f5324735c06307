"""Several exposures and mediators in one path model."""

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import statsmodels.api as sm
from scipy import stats

from ssinfnet_jax.analysis.mediation import columns
from ssinfnet_jax.analysis.mediation.estimation import sampling as sampled
from ssinfnet_jax.analysis.mediation.estimation.sampling import INDEPENDENT, Sampling
from ssinfnet_jax.analysis.mediation.several import dependence, full_information, model_fit
from ssinfnet_jax.analysis.mediation.several.path_model import PathModel, fit_measures
from ssinfnet_jax.config import Mediation, choices

_ESTIMATES = ["lhs", "op", "rhs", "label", "est", "se", "z", "p", "std"]


@dataclasses.dataclass(frozen=True)
class Multiple:
    """A fitted path model.

    Attributes:
      estimates: rows as lavaan lists them, with columns lhs, op, rhs, label, est, se, z, p, std (std.all):
        "~" paths, labelled a<mediator><exposure>, c<exposure>, b<mediator> by numbers from 1 (with "_"
        between them if there are more than nine), those of covariates without a label; "~~" variances and
        covariances, where those of exposures and covariates are fixed at the sample's (se 0, no test) and std
        of a residual covariance is the correlation; ":=" defined effects, i<mediator><exposure> = ab,
        ind_<exposure> their sum, tot_<exposure> = c + ind.
      fit: chisq, df, pvalue, cfi, tli, rmsea and its 90 % interval (rmsea_lower, rmsea_upper), srmr, aic, bic,
        logl, npar, ntotal; with clusters, weights or robust errors scaling, by which the chi-square is divided.
      total_effects: the regression of the outcome on exposures and covariates without mediators, a model of
        its own (ordinary least squares, t tests): exposure, est, se, t, p, std.
      exposures: exposure -> its mediators.  outcome: name.  num_dropped: rows left out for a missing value.
      covariates: names.  residual_covariances: whether residuals of mediators may correlate.
      removed: variables that were left out for a linear relation, with the columns of correlation_filter()'s log.
    """

    estimates: pd.DataFrame
    fit: dict[str, float]
    total_effects: pd.DataFrame
    exposures: dict[str, list[str]]
    outcome: str
    num_dropped: int
    covariates: Sequence[str] = ()
    residual_covariances: bool = False
    removed: pd.DataFrame = dataclasses.field(default_factory=lambda: dependence.log([]))

    @property
    def names(self) -> list[str]:
        """All variables: exposures, covariates, mediators, outcome."""
        return [*self.exposures, *self.covariates, *self.mediators, self.outcome]

    @property
    def mediators(self) -> dict[str, list[str]]:
        """mediator -> its exposures, in order of first mention."""
        every = dict.fromkeys(itertools.chain.from_iterable(self.exposures.values()))
        return {m: [exposure for exposure, its in self.exposures.items() if m in its] for m in every}

    def description(self) -> dict[str, Any]:
        """What no table holds, as plain values."""
        return {
            "exposures": self.exposures,
            "outcome": self.outcome,
            "covariates": list(self.covariates),
            "residual_covariances": self.residual_covariances,
            "num_removed": len(self.removed),
        }

    @property
    def verdict(self) -> model_fit.Verdict:
        """Whether the model fits, in words."""
        return model_fit.judge(
            self.fit, num_mediators=len(self.mediators), residual_covariances=self.residual_covariances
        )


def multiple(
    table: pd.DataFrame,
    exposures: Mapping[str, Sequence[str]],
    outcome: str = "severity",
    *,
    covariates: Sequence[str] = (),
    residual_covariances: bool = False,
    sampling: Sampling = INDEPENDENT,
    missing: str = "listwise",
) -> Multiple:
    """Fits m_k = sum_j a_kj x_j + e_k, y = sum_j c_j x_j + sum_k b_k m_k + e by maximum likelihood.

    Residuals are uncorrelated, also between mediators unless `residual_covariances`; exposures are fixed and may
    correlate. ML estimates are those of ordinary regression, equation by equation (of seemingly unrelated regressions
    with covariances between mediators). Standard errors are those of the expected information: cov = s^2 / n
    inv(Sigma_zz) for an equation with regressors z and residual variance s^2, where Sigma is the implied covariance,
    and cov(s_ij, s_kl) = (s_ik s_jl + s_il s_jk) / n; those of defined effects follow by the delta method. See
    path_model.fit_measures() for the fit.

    Args:
      table: one row per patient; rows with a missing value in any of the model's columns are left out.
      exposures: {exposure: [its mediators]}, in the order of the paths; an exposure with an empty list has a
        direct path only (a covariate of the outcome). A mediator may belong to several exposures.
      outcome: name of the outcome.
      covariates: columns in every equation, without indirect effects of their own.
      residual_covariances: residuals of mediators may correlate. In the paper's model they may not; if they do in the
        data, its tests of b find too much, its intervals are too short, and the verdict is that it fits poorly.
      sampling: of the rows of `table`. With clusters, weights or `robust` standard errors are sandwiches, see
        sampling.covariance(), with t tests of clusters - 1 degrees of freedom where there are clusters; chi-square,
        CFI, TLI and RMSEA are scaled, see PathModel.scalings().
      missing: "listwise" leaves out patients without a value in any of the columns, "fiml" uses what they have, see
        full_information.fit(); it takes no `sampling`.
    Returns: Multiple. Covariates, exposures and mediators, in this order, that are linear combinations of earlier
      ones in the complete rows (dependence.first_relation()) are left out, with a warning and a row of `removed`;
      mediators of such an exposure become those of the exposures that it is made of.
    Raises: ValueError as full_information.fit(), and for no mediator, missing, non-numeric or infinite columns, a
      constant exposure or outcome, an exposure that the covariates determine, an outcome that the others determine,
      no independent mediator, or not more complete rows than variables.
    Source: the paper, eq. 15; Bollen 1989, Structural Equations with Latent Variables, chapter 4; lavaan's `sem()`.
    """
    exposures = _checked(exposures, sampling, missing)
    empty = Multiple(pd.DataFrame(), {}, pd.DataFrame(), exposures, outcome, 0, list(covariates), residual_covariances)
    if not empty.mediators:
        raise ValueError("No exposure has a mediator; a path model needs at least one.")
    data = columns.numeric(table, empty.names)
    empty = _without_relations(data, empty)
    equations, fixed, correlated = _equations(empty)
    how = {"equations": equations, "fixed": fixed, "correlated": correlated}
    used = data[empty.names]
    there = used[empty.names if missing == "listwise" else [*fixed, outcome]].notna().all(axis=1).to_numpy()
    if missing == "listwise":
        model, sd, errors, fit = _complete(used, sampling, how)
    else:
        _check_independent(used.loc[there, [*fixed, outcome]])
        model, sd, errors, fit = _incomplete(used, how)
    of_total = (list(empty.exposures), list(empty.covariates), outcome, sampling.keep(there))
    return dataclasses.replace(
        empty,
        estimates=_estimates(model, errors, sd, empty.exposures, outcome),
        fit=fit,
        total_effects=_total_effects(data[there], *of_total),
        num_dropped=len(data) - model.n,
    )


def _checked(exposures: Mapping[str, Sequence[str]], sampling: Sampling, missing: str) -> dict[str, list[str]]:
    if missing not in (known := choices(Mediation, "missing")):
        raise ValueError(f"Unknown missing {missing!r}; choose one of {', '.join(known)}.")
    if missing == "fiml" and not sampling.is_plain:
        raise ValueError("Models of incomplete data (fiml) take neither clusters nor weights nor robust errors.")
    exposures = {exposure: list(mediators) for exposure, mediators in exposures.items()}
    for exposure, mediators in exposures.items():
        if len(set(mediators)) < len(mediators):
            raise ValueError(f"A mediator of {exposure!r} is named twice: {mediators}.")
    return exposures


def _equations(model: Multiple) -> tuple[dict[str, list[str]], list[str], list[str]]:
    """Left side -> regressors; variables that no equation explains; mediators whose residuals may correlate."""
    fixed, parents = [*model.exposures, *model.covariates], model.mediators
    equations = {m: [*its, *model.covariates] for m, its in parents.items()} | {model.outcome: [*fixed, *parents]}
    return equations, fixed, list(parents) if model.residual_covariances and len(parents) > 1 else []


class _Errors(NamedTuple):
    """covariance: of the paths, by (left, right); of_covariances: (left, right) -> standard error; df: of the tests."""

    covariance: pd.DataFrame
    of_covariances: dict[tuple[str, str], float]
    df: float = np.inf


def _complete(data: pd.DataFrame, sampling: Sampling, how: dict) -> tuple[PathModel, pd.Series, _Errors, dict]:
    """The model of the complete rows, standard deviations of the variables, errors and fit measures."""
    complete = data.notna().all(axis=1).to_numpy()
    data, sampling = data[complete], sampling.keep(complete)
    z, sd = _standardised(data, list(data), sampling)
    if sampling.clusters is not None and sampling.clusters.max() < 1:
        raise ValueError("The complete rows come from one cluster only; use mediators with fewer gaps.")
    weights = np.ones(len(z)) if sampling.weights is None else sampling.weights
    model = PathModel((z * weights[:, None]).T @ z / len(z), len(z), **how)
    own = [(left, left) for left in model.equations]
    rest = pd.DataFrame(z.to_numpy() @ (np.eye(len(model.r)) - model.paths.to_numpy()).T, columns=model.r.index)
    of_covariances = {}
    for left, right in own + list(itertools.combinations(model.correlated, 2)):
        value = model.residual.loc[left, right]
        variance = (model.residual.loc[left, left] * model.residual.loc[right, right] + value**2) / model.n
        if not sampling.is_plain:
            moved = (rest[left] * rest[right] - value).to_numpy() * weights / model.n
            variance = sampled.variance(moved[:, None], sampling)[0]
        of_covariances[left, right] = np.sqrt(variance)
    covariance = model.covariance() if sampling.is_plain else model.sandwich(z.to_numpy(), sampling)
    df = sampled.df(sampling, np.ones((len(z), 1), bool))[0]
    if sampling.is_plain:
        return model, sd, _Errors(covariance, of_covariances, df), fit_measures(model, sd)
    scalings = model.scalings(z.to_numpy(), sampling)
    fit = fit_measures(model, sd, scalings) | {"scaling": scalings[0]}
    return model, sd, _Errors(covariance, of_covariances, df), fit


def _check_independent(data: pd.DataFrame) -> None:
    """Raises ValueError unless exposures, covariates and outcome vary, and none is a combination of others."""
    if relation := dependence.first_relation(data, tolerance=dependence.EXACT):
        raise ValueError(
            f"In the {len(data)} rows with outcome, exposures and covariates, {relation}. Leave one of these columns "
            "out, or use those with fewer gaps."
        )


def _incomplete(data: pd.DataFrame, how: dict) -> tuple[PathModel, pd.Series, _Errors, dict]:
    """The same of all rows, by full information."""
    found = full_information.fit(data, **how)
    return found.model, found.sd, _Errors(found.covariance, found.se_of_covariances), found.fit


def _without_relations(data: pd.DataFrame, model: Multiple) -> Multiple:
    """Removes, one by one, variables that depend on others in the complete rows."""
    relations = []
    while True:
        names = [*model.covariates, *model.exposures, *model.mediators]
        complete = data[[*names, model.outcome]].dropna()
        infinite = [name for name in complete if np.isinf(complete[name]).any()]
        if infinite:
            raise ValueError(f"Infinite values in {infinite}; drop or correct them.")
        relation = dependence.first_relation(complete[names])
        needed = [*model.exposures, *(model.mediators if len(model.mediators) == 1 else [])]
        if not relation or (not relation.others and relation.name in needed):
            break  # _standardised() refuses constant columns that the model cannot do without
        relations.append(relation)
        model = _without(model, relation)
    # The outcome may be predicted very well, but not without error.
    of_outcome = dependence.first_relation(complete, given=names, tolerance=dependence.EXACT)
    if of_outcome and of_outcome.others:
        raise ValueError(
            f"The outcome is an exact linear combination of others, {of_outcome}: nothing is left to estimate. Leave "
            "out the variable that is made from the outcome."
        )
    return dataclasses.replace(model, removed=dependence.log(relations))


def _without(model: Multiple, relation: dependence.Relation) -> Multiple:
    """The model without the dependent variable of a relation.

    Raises: ValueError if the covariates determine an exposure, or no mediator is left.
    """
    if relation.name in model.covariates:
        return dataclasses.replace(model, covariates=[name for name in model.covariates if name != relation.name])
    exposures = {x: [m for m in its if m != relation.name] for x, its in model.exposures.items()}
    if relation.name in exposures:
        heirs = [name for name in relation.others if name in exposures]
        if not heirs:
            raise ValueError(
                f"The covariates determine the exposure {relation.name!r}: {relation}. Given them it does not "
                "vary; leave one of these columns out."
            )
        its = exposures.pop(relation.name)
        exposures |= {heir: list(dict.fromkeys([*exposures[heir], *its])) for heir in heirs}
    if not any(exposures.values()):
        raise ValueError(
            f"No mediator is left without {relation.name!r}, a linear combination of others: {relation}. Leave one of "
            "these columns out."
        )
    return dataclasses.replace(model, exposures=exposures)


def _standardised(data: pd.DataFrame, names: list[str], sampling: Sampling) -> tuple[pd.DataFrame, pd.Series]:
    """Standardised variables and their standard deviations (divisor n); checks that a model can be fitted to them."""
    if len(data) <= len(names):
        raise ValueError(
            f"{len(data)} complete rows for {len(names)} variables; use fewer mediators, or mediators with fewer gaps."
        )
    mean = pd.Series(np.average(data, axis=0, weights=sampling.weights), names)
    sd = np.sqrt(pd.Series(np.average((data - mean) ** 2, axis=0, weights=sampling.weights), names))
    constant = [name for name in names if sd[name] <= 1e-10 * abs(mean[name])]
    if constant:
        raise ValueError(f"Constant in the complete rows: {constant}; leave them out.")
    return (data - mean) / sd, sd


def _estimates(
    model: PathModel, errors: _Errors, sd: pd.Series, exposures: dict[str, list[str]], outcome: str
) -> pd.DataFrame:
    labels, covariance = _labels(model, exposures, outcome), errors.covariance
    implied_sd = pd.Series(np.sqrt(np.diag(model.implied)), model.implied.index)
    rows = []
    for (left, right), label in labels.items():
        scale = sd[left] / sd[right]
        path, key = model.paths.loc[left, right], (left, right)
        se = np.sqrt(covariance.loc[key, key])
        rows.append((left, "~", right, label, path * scale, se * scale, path * implied_sd[right] / implied_sd[left]))
    rows += _covariances(model, errors, sd)
    rows += _defined(model, labels, covariance, sd, exposures, outcome, implied_sd[outcome])
    estimates = pd.DataFrame(rows, columns=["lhs", "op", "rhs", "label", "est", "se", "std"])
    with np.errstate(divide="ignore", invalid="ignore"):
        estimates["z"] = np.where(estimates["se"] > 0, estimates["est"] / estimates["se"], np.nan)
    estimates["p"] = 2 * stats.t.sf(estimates["z"].abs(), errors.df)
    return estimates[_ESTIMATES]


def _covariances(model: PathModel, errors: _Errors, sd: pd.Series) -> list[tuple]:
    """(Co)variances of residuals, then the fixed ones of the exposures."""
    rows = []
    for left, right in [(left, left) for left in model.equations] + list(itertools.combinations(model.correlated, 2)):
        value = model.residual.loc[left, right]
        variances = model.residual.loc[left, left] * model.residual.loc[right, right]
        se, scale = errors.of_covariances[left, right], sd[left] * sd[right]
        std = value / (model.implied.loc[left, left] if left == right else np.sqrt(variances))
        rows.append((left, "~~", right, "", value * scale, se * scale, std))
    for left, right in itertools.combinations_with_replacement(model.fixed, 2):
        r = model.r.loc[left, right]
        rows.append((left, "~~", right, "", r * sd[left] * sd[right], 0.0, r))
    return rows


def _labels(model: PathModel, exposures: dict[str, list[str]], outcome: str) -> dict[tuple[str, str], str]:
    """(left, right) -> label ("" of a covariate), in lavaan's order: the mediators' equations, then the outcome's."""
    mediators = [left for left in model.equations if left != outcome]
    joint = "_" if max(len(mediators), len(exposures)) > 9 else ""
    x = {name: j for j, name in enumerate(exposures, 1)}
    labels = {}
    for k, mediator in enumerate(mediators, 1):
        labels |= {(mediator, name): f"a{k}{joint}{x[name]}" if name in x else "" for name in model.equations[mediator]}
    labels |= {(outcome, name): f"c{x[name]}" if name in x else "" for name in model.fixed}
    return labels | {(outcome, mediator): f"b{k}" for k, mediator in enumerate(mediators, 1)}


def _defined(model, labels, covariance, sd, exposures, outcome, outcome_sd) -> list[tuple]:
    """Specific, total indirect and total effects: value, gradient with respect to the paths, delta method."""
    rows, totals = [], []
    sums = {exposure: (0.0, pd.Series(0.0, covariance.index), []) for exposure in exposures}
    for (mediator, exposure), a_label in labels.items():
        if mediator == outcome or not a_label:
            continue
        a, b = model.paths.loc[mediator, exposure], model.paths.loc[outcome, mediator]
        gradient = pd.Series(0.0, covariance.index)
        gradient[(mediator, exposure)], gradient[(outcome, mediator)] = b, a
        label = f"i{a_label[1:]}"
        formula = f"{a_label}*{labels[outcome, mediator]}"
        rows.append((label, formula, exposure, a * b, gradient))
        value, total_gradient, terms = sums[exposure]
        sums[exposure] = (value + a * b, total_gradient + gradient, [*terms, formula])
    for exposure, (value, gradient, terms) in sums.items():
        if terms:
            rows.append((f"ind_{exposure}", "+".join(terms), exposure, value, gradient))
        direct = pd.Series(0.0, covariance.index)
        direct[(outcome, exposure)] = 1.0
        c_label = labels[outcome, exposure]
        formula = f"{c_label}+ind_{exposure}" if terms else c_label
        total = model.paths.loc[outcome, exposure] + value
        totals.append((f"tot_{exposure}", formula, exposure, total, gradient + direct))
    result = []
    for label, formula, exposure, value, gradient in rows + totals:
        se = np.sqrt(gradient @ covariance @ gradient)
        scale = sd[outcome] / sd[exposure]
        result.append((label, ":=", formula, label, value * scale, se * scale, value / outcome_sd))
    return result


def _total_effects(
    data: pd.DataFrame, exposures: list[str], covariates: list[str], outcome: str, sampling: Sampling
) -> pd.DataFrame:
    weights = np.ones(len(data)) if sampling.weights is None else sampling.weights
    design = sm.add_constant(data[[*exposures, *covariates]], has_constant="add")
    fit = sm.WLS(data[outcome], design, weights=weights).fit()
    table = pd.DataFrame({"est": fit.params, "se": fit.bse})
    df = fit.df_resid
    if not sampling.is_plain:
        weighted = design.to_numpy() * weights[:, None]
        moved = weighted * fit.resid.to_numpy()[:, None] @ np.linalg.inv(weighted.T @ design.to_numpy())
        table["se"] = np.sqrt(sampled.variance(moved, sampling))
        df = df if sampling.clusters is None else sampling.clusters.max()
    table["t"] = table["est"] / table["se"]
    table["p"] = 2 * stats.t.sf(table["t"].abs(), df)
    table = table.loc[exposures]
    table["std"] = table["est"] * data[exposures].std() / data[outcome].std()
    return table.rename_axis("exposure").reset_index()
