"""The joint indirect effect through a set of mediators that may correlate."""

import dataclasses
import re
from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from scipy import stats

from ssinfnet_jax.analysis.mediation import columns
from ssinfnet_jax.analysis.mediation import pairs as pairing
from ssinfnet_jax.analysis.mediation.estimation import elimination, intervals
from ssinfnet_jax.analysis.mediation.estimation import sampling as sampled
from ssinfnet_jax.analysis.mediation.estimation.adjust import adjust as adjusted
from ssinfnet_jax.analysis.mediation.estimation.resample import Resamples, cross_products, products, resample
from ssinfnet_jax.analysis.mediation.estimation.sampling import INDEPENDENT, Sampling
from ssinfnet_jax.analysis.mediation.several import dependence

# Of any region, so that tables of other programs have sets, too.
_CLASSES = ("firstorder", "glcm", "glrlm", "glszm", "gldm", "ngtdm", "shape2D", "shape")
_EFFECTS = ("indirect", "direct", "total")


def sets_by_name(mediators: Sequence[str], sets: Sequence[str] = ("all", "region", "class")) -> dict[str, list[str]]:
    """Sets of phenotypes: all; those of a region (`ggo_...`); of a class of features (`..._glcm_...`); by expression.

    Args:
      mediators: names such as `ggo_glcm_Contrast`.
      sets: "all", "region", "class", or `name=expression`, with a regular expression that is searched in the names.
    Returns: name -> its mediators; sets without a mediator, and those equal to an earlier one, are left out.
    Raises: ValueError for a set of another form, an invalid expression, or one that finds no mediator.
    """
    found: dict[str, list[str]] = {}
    group_of = {"region": lambda name: name.partition("_")[0], "class": _class_of}
    for wanted in sets:
        if wanted == "all":
            found["all"] = list(mediators)
        elif wanted in group_of:
            for name in filter(_class_of, mediators):
                found.setdefault(group_of[wanted](name), []).append(name)
        else:
            name, its = _by_expression(wanted, mediators)
            found[name] = its
    distinct = {tuple(its): name for name, its in reversed(found.items())}
    return {name: its for name, its in found.items() if distinct[tuple(its)] == name}


def _class_of(name: str) -> str:
    return next((part for part in str(name).split("_")[1:] if part in _CLASSES), "")


def _by_expression(wanted: str, mediators: Sequence[str]) -> tuple[str, list[str]]:
    name, equals, expression = wanted.partition("=")
    if not (name and equals and expression):
        raise ValueError(
            f"Unknown set of mediators {wanted!r}; choose all, region, class, or name=expression, such as "
            "texture=_(glcm|gldm)_."
        )
    try:
        its = [mediator for mediator in mediators if re.search(expression, mediator)]
    except re.error as error:
        raise ValueError(
            f"The set of mediators {name!r} is not a regular expression: {expression!r} ({error})."
        ) from None
    if not its:
        raise ValueError(
            f"The set of mediators {name!r} has none: {expression!r} matches none of the {len(mediators)} mediators, "
            f"such as {mediators[0]}; correct the expression."
        )
    return name, its


def joint_effects(
    table: pd.DataFrame,
    exposures: Sequence[str],
    sets: Mapping[str, Sequence[str]],
    outcome: str = "severity",
    *,
    covariates: Sequence[str] = (),
    sampling: Sampling = INDEPENDENT,
    adjust: str = "fdr_bh",
    draws: int = 5000,
    level: float = 0.95,
    seed: int = 0,
) -> pd.DataFrame:
    """Estimates the indirect effect of each exposure through a whole set of mediators, however they correlate.

    m_k = a_k x + e_k and y = c x + sum_k b_k m_k + e', covariates in all equations, residuals free to correlate. Then
      indirect = sum_k a_k b_k = total - c,   total that of y on x alone,
      var(indirect) = b' cov(a) b + a' cov(b) a,   cov(a) = Sigma_m.x / (n s_x^2),   cov(b) = s^2 / n inv(Sigma_m.x)
    by the delta method, or the sandwich of sampling.variance(). Mediators that are linear combinations of others in
    the set add nothing to it and are left out.

    Args:
      table, exposures, outcome, covariates: see univariate(); a set uses the patients who have all of its
        mediators.
      sets: name -> mediators, see sets_by_name().
      sampling: of the rows of `table`; clusters are resampled whole.
      adjust: see adjust(); over all rows.
      draws, level, seed: see bootstrap(); 0 draws make no bootstrap intervals.
    Returns: one row per exposure and set, exposures outermost: exposure, mediators (the set's name), num_mediators,
      num_independent, n, for indirect, direct, total `_est, _se, _z, _p, _std`, indirect_p_adj, proportion_mediated,
      the columns of intervals() of the indirect effect, flag.
    Raises: ValueError as univariate(); for a set without mediators.
    Source: VanderWeele and Vansteelandt 2014, doi:10.1515/em-2012-0010; Preacher and Hayes 2008,
      doi:10.3758/BRM.40.3.879.
    """
    empty = [name for name, its in sets.items() if not list(its)]
    if empty or not sets:
        raise ValueError(f"Sets of mediators without a mediator: {empty or 'no set'}; name one or more in each.")
    every = list(dict.fromkeys(name for its in sets.values() for name in its))
    data = columns.of_pairs(table, exposures, every, outcome, covariates)
    rows = []
    for exposure in exposures:
        for name, its in sets.items():
            chosen = data[[*covariates, exposure, *its, outcome]]
            row = _of_set(chosen, exposure, list(covariates), sampling, (draws, level, seed))
            rows.append({"exposure": exposure, "mediators": name, "num_mediators": len(its)} | row)
    result = pd.DataFrame(rows)
    result.insert(
        result.columns.get_loc("indirect_p") + 1, "indirect_p_adj", adjusted(result["indirect_p"].to_numpy(), adjust)
    )
    result["flag"] = result.pop("flag")
    tested = int((result["flag"] == "").sum())
    result.attrs["family"] = f"{adjust} over {tested} sets of mediators ({len(result) - tested} flagged and not tested)"
    return result


def _of_set(data: pd.DataFrame, exposure: str, covariates: list[str], sampling: Sampling, how: tuple) -> dict:
    """One row; `data` has the columns covariates, exposure, mediators, outcome."""
    nothing = {f"{effect}_{number}": np.nan for effect in _EFFECTS for number in ("est", "se", "z", "p", "std")}
    nothing = {"num_independent": 0, "n": 0} | nothing | {"proportion_mediated": np.nan, "flag": ""}
    complete = data.notna().all(axis=1).to_numpy()
    data, sampling = data[complete], sampling.keep(complete)
    nothing["n"] = len(data)
    if len(data) <= len(data.columns) + 1:
        return nothing | {"flag": f"too few complete rows ({len(data)}) for {len(data.columns)} variables"}
    if np.isinf(data.to_numpy()).any():
        return nothing | {"flag": "infinite value"}
    if sampling.clusters is not None and sampling.clusters.max() < 1:
        return nothing | {"flag": sampled.ONE_CLUSTER}
    kept, _ = dependence.independent(data.iloc[:, :-1])
    outcome, mediators = data.columns[-1], [name for name in kept if name not in (*covariates, exposure)]
    nothing["num_independent"] = len(mediators)
    flags = {
        "exposure is constant or a combination of the covariates": exposure not in kept,
        "mediators are constant or combinations of the exposure and the covariates": not mediators,
        "constant outcome": data[outcome].std() == 0,
    }
    for flag, holds in flags.items():
        if holds:
            return nothing | {"flag": flag}
    names = [*(name for name in covariates if name in kept), exposure, *mediators, outcome]
    found = _estimate(data[names].to_numpy(), len(names) - 2 - len(mediators), sampling)
    row = nothing | _row(found)
    draws, level, seed = how
    if not draws:
        return row
    bounds = intervals.intervals(found.resamples(draws, seed), level).iloc[0]
    usable = int(bounds["draws"])
    few = f"only {usable} of {draws} resamples can be fitted" if usable < intervals.MIN_USABLE * draws else ""
    return row | {"draws": usable} | (bounds.iloc[1:] * found.scale).add_prefix("bootstrap_").to_dict() | {"flag": few}


@dataclasses.dataclass(frozen=True)
class _Fit:
    """Standardised columns (covariates, x, mediators, y), effects and their standard errors [3], influence [N, 3]."""

    z: np.ndarray
    num_covariates: int
    scale: float  # of the effects in the units of the table
    effects: np.ndarray
    se: np.ndarray
    df: float
    sampling: Sampling

    def resamples(self, draws: int, seed: int) -> Resamples:
        weights = np.ones(len(self.z)) if self.sampling.weights is None else self.sampling.weights
        features = products(np.column_stack([np.ones(len(self.z)), self.z])) * weights[:, None]
        statistic = _JointEffect(self.num_covariates, self.z.shape[1] + 1)
        return resample(features, statistic, draws, seed, clusters=self.sampling.clusters)


def _estimate(values: np.ndarray, num_covariates: int, sampling: Sampling) -> _Fit:
    w = np.ones(len(values)) if sampling.weights is None else sampling.weights
    n = len(values)
    z = values - np.average(values, axis=0, weights=w)
    sd = np.sqrt(np.average(z**2, axis=0, weights=w))
    z = z / sd
    root = np.sqrt(w)[:, None]
    q, _ = np.linalg.qr(root * z[:, :num_covariates])
    rest = root * z[:, num_covariates:]
    rest = rest - q @ (q.T @ rest)  # given the covariates; weighted by the roots
    x, m, y = rest[:, 0], rest[:, 1:-1], rest[:, -1]
    xx = x @ x
    a, total = x @ m / xx, x @ y / xx
    m_given_x, y_given_x = m - np.outer(x, a), y - total * x
    among = m_given_x.T @ m_given_x
    b = np.linalg.solve(among, m_given_x.T @ y_given_x)
    indirect = a @ b
    residual = y_given_x - m_given_x @ b
    s2 = residual @ residual / n
    if sampling.is_plain:
        of_a, of_b = b @ among @ b / (n * xx), s2 * (a @ np.linalg.solve(among, a))
        # direct = total - indirect; its variance is that of the coefficient of x in y ~ x + m
        variance = np.array([of_a + of_b, s2 / xx + of_b, of_a + s2 / xx])
    else:
        given_m = x - m @ np.linalg.lstsq(m, x, rcond=None)[0]
        of_direct = given_m * residual / (given_m @ given_m)
        of_total = x * y_given_x / xx
        variance = sampled.variance(np.column_stack([of_total - of_direct, of_direct, of_total]), sampling)
    df, scale = sampled.df(sampling, np.ones((n, 1), bool))[0], sd[-1] / sd[num_covariates]
    effects = np.array([indirect, total - indirect, total])
    return _Fit(z, num_covariates, scale, effects, np.sqrt(variance), df, sampling)


def _row(fit: _Fit) -> dict:
    row = {}
    for effect, value, se in zip(_EFFECTS, fit.effects, fit.se, strict=True):
        z = value / se
        row |= {f"{effect}_est": value * fit.scale, f"{effect}_se": se * fit.scale, f"{effect}_z": z}
        row |= {f"{effect}_p": 2 * stats.t.sf(abs(z), fit.df), f"{effect}_std": value}
    return row | {"proportion_mediated": fit.effects[0] / fit.effects[2]}


@dataclasses.dataclass(frozen=True)
class _JointEffect:
    """Sums of cross-products of intercept, covariates, x, mediators, y -> joint indirect effect float64[B, 1]."""

    num_covariates: int
    num_columns: int

    def __call__(self, sums: jax.Array) -> jax.Array:
        moments = elimination.sweep(cross_products(sums, self.num_columns), 1 + self.num_covariates)
        spread = jnp.sqrt(jnp.diagonal(moments, axis1=1, axis2=2))
        r = moments / (spread[:, :, None] * spread[:, None, :])
        solved, pivots = elimination.solve(r[:, :-1, :-1], r[:, :-1, -1:])
        independent = (pivots > pairing.COLLINEAR).all(1)  # False where a resample has a linear relation
        effect = (r[:, 0, -1] - solved[:, 0, 0]) * spread[:, -1] / spread[:, 0]
        return jnp.where(independent, effect, jnp.nan)[:, None]
