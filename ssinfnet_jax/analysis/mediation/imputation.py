"""Multiple imputation of missing values by chained equations, and Rubin's rules."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from absl import logging
from scipy import stats

from ssinfnet_jax.analysis.mediation import columns
from ssinfnet_jax.analysis.mediation.estimation import sampling as sampled
from ssinfnet_jax.analysis.mediation.estimation.adjust import adjust as adjusted
from ssinfnet_jax.analysis.mediation.estimation.sampling import INDEPENDENT, Sampling
from ssinfnet_jax.analysis.mediation.outcome.natural import is_binary, natural_effects
from ssinfnet_jax.analysis.mediation.univariate import EFFECTS, univariate

_NATURAL = ("indirect", "direct", "total")
_MAX_PREDICTORS = 15  # of a variable's equation, beside exposures, covariates and outcome
_NEAREST = 5  # patients with the nearest prediction, one of whom lends the value
_MAX_SKEWNESS = 2.0  # of residuals that are drawn from a normal distribution
_MAX_R_HAT = 1.2
_MIN_KNOWN = 20  # values of a column that others are drawn from


class Imputed(NamedTuple):
    """tables: completed ones; r_hat: of each imputed column, how far the chains are apart (1: not at all)."""

    tables: list[pd.DataFrame]
    r_hat: pd.Series


class Pooled(NamedTuple):
    """Estimate, standard error, degrees of freedom, fraction of missing information; arrays of one shape."""

    est: np.ndarray
    se: np.ndarray
    df: np.ndarray
    fmi: np.ndarray


def pool(estimates: np.ndarray, errors: np.ndarray, df_complete: np.ndarray | float = np.inf) -> Pooled:
    """Rubin's rules with the degrees of freedom of Barnard and Rubin, for all effects of all pairs at once.

    (statsmodels' `MICE.combine` pools one model of a formula, with normal tests.)

    With Q_l the estimates, U the mean squared error of one, B the variance between, m imputations:
      T = U + (1 + 1/m) B,   lambda = (1 + 1/m) B / T,   df = 1 / (1 / df_old + 1 / df_obs),
      df_old = (m - 1) / lambda^2,   df_obs = (v + 1) / (v + 3) v (1 - lambda) with v those of complete data.

    Args:
      estimates, errors: float[m, ...].
      df_complete: of the complete data's test.
    Source: Rubin 1987, Multiple Imputation for Nonresponse in Surveys; Barnard and Rubin 1999,
      doi:10.1093/biomet/86.4.948; R's mice::pool.scalar().
    """
    m = len(estimates)
    between, within = estimates.var(0, ddof=1), (errors**2).mean(0)
    with np.errstate(all="ignore"):
        total = within + (1 + 1 / m) * between
        share = np.maximum((1 + 1 / m) * between / total, 1e-10)
        v = np.minimum(df_complete, 1e10)
        of_known = (v + 1) / (v + 3) * v * (1 - share)
        df = 1 / (share**2 / (m - 1) + 1 / of_known)
        growth = (1 + 1 / m) * between / within
        return Pooled(estimates.mean(0), np.sqrt(total), df, (growth + 2 / (df + 3)) / (growth + 1))


def impute(
    table: pd.DataFrame,
    names: Sequence[str],
    always: Sequence[str] = (),
    *,
    count: int = 20,
    cycles: int = 10,
    seed: int = 0,
) -> Imputed:
    """Fills the missing values of columns of numbers `count` times, each time by a chain of `cycles` rounds.

    Each column is drawn given others: those of `always` and the 15 that it correlates with most. Coefficients and
    residual variance are drawn from their posterior, and values from the normal distribution around the prediction
    (mice's `norm`). Columns of whole numbers, and those whose residual skewness is beyond -+2, take the value of one of
    the five patients with the nearest prediction (mice's `pmm`), so that counts stay counts.

    Args:
      names: columns that are filled or used.
      always: those of them that every equation has: exposures, covariates, outcome.
      seed: of the draws.
    Raises: ValueError for count below 2, cycles below 2, and see check_known().
    Source: van Buuren and Groothuis-Oudshoorn 2011, doi:10.18637/jss.v045.i03. Differs from statsmodels' MICEData,
      which matches drawn with drawn predictions: in simulations its indirect effects are too small.
    """
    if min(count, cycles) < 2:
        raise ValueError(f"Multiple imputation needs 2 or more imputations and cycles; found {count} and {cycles}.")
    check_known(table, names)
    data = columns.numeric(table, names)
    place = {name: i for i, name in enumerate(names)}
    missing = data.isna().to_numpy()
    filled = [name for name in names if missing[:, place[name]].any()]
    equations = {place[name]: [place[other] for other in its] for name, its in _equations(data, filled, always).items()}
    tables, chains = [], []
    for number in range(count):
        rng = np.random.default_rng([seed, number])
        values, means = data.to_numpy(float).copy(), []
        for i in equations:
            values[missing[:, i], i] = rng.choice(values[~missing[:, i], i], missing[:, i].sum())
        for _ in range(cycles):
            for i, its in equations.items():
                values[missing[:, i], i] = _draw(values[:, i], values[:, its], missing[:, i], rng)
            means.append([values[missing[:, i], i].mean() for i in equations])
        tables.append(table.assign(**{name: values[:, place[name]] for name in filled}))
        chains.append(means)
    r_hat = pd.Series(_r_hat(np.array(chains)), filled) if filled else pd.Series(dtype=float)
    for name, value in r_hat[r_hat > _MAX_R_HAT].items():
        logging.warning("The imputation of %s did not converge in %d cycles (r-hat %.2f).", name, cycles, value)
    return Imputed(tables, r_hat)


def check_known(table: pd.DataFrame, names: Sequence[str]) -> None:
    """Raises ValueError for columns with fewer than 20 values, too few to draw others from."""
    if few := _with_few(columns.numeric(table, names)):
        raise ValueError(
            f"Columns with fewer than {_MIN_KNOWN} values, from which none can be drawn: {few[:12]}; leave them "
            "out, or do not impute."
        )


def _with_few(data: pd.DataFrame) -> list[str]:
    return data.columns[data.notna().sum() < _MIN_KNOWN].tolist()


def _equations(data: pd.DataFrame, filled: Sequence[str], always: Sequence[str]) -> dict[str, list[str]]:
    """Column -> the columns that it is predicted from."""
    r = data.corr(min_periods=_MIN_KNOWN).abs().fillna(0.0)
    equations = {}
    for name in filled:
        needed = [other for other in always if other != name]
        others = r[name].drop([name, *needed])
        room = min(_MAX_PREDICTORS, int(data[name].notna().sum()) // 3)
        equations[name] = [*needed, *others[others > 0].nlargest(room).index]
    return equations


def _draw(target: np.ndarray, others: np.ndarray, missing: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Values for the missing cells of `target` [N], given other columns [N, P]."""
    spread = others.std(0)
    design = np.column_stack([np.ones(len(others)), (others - others.mean(0)) / np.where(spread > 0, spread, 1.0)])
    known, y = design[~missing], target[~missing]
    inverse = np.linalg.inv(known.T @ known + 1e-6 * len(y) * np.eye(design.shape[1]))  # columns may be collinear
    estimate = inverse @ (known.T @ y)
    residual = y - known @ estimate
    sd = np.sqrt(residual @ residual / rng.chisquare(max(len(y) - design.shape[1], 1)))
    drawn = estimate + sd * np.linalg.cholesky(inverse) @ rng.normal(size=len(estimate))
    predicted = design[missing] @ drawn
    if not (y % 1 == 0).all() and abs(stats.skew(residual)) <= _MAX_SKEWNESS:
        return predicted + sd * rng.normal(size=len(predicted))
    order = np.argsort(known @ estimate)
    of_known = (known @ estimate)[order]
    start = np.clip(np.searchsorted(of_known, predicted) - _NEAREST, 0, len(y) - 2 * _NEAREST)
    window = start[:, None] + np.arange(2 * _NEAREST)
    nearest = np.argsort(np.abs(of_known[window] - predicted[:, None]), axis=1)
    lender = nearest[np.arange(len(predicted)), rng.integers(0, _NEAREST, len(predicted))]
    return y[order[window[np.arange(len(predicted)), lender]]]


def _r_hat(chains: np.ndarray) -> np.ndarray:
    """Gelman and Rubin's potential scale reduction of the second halves of chains: float[m, cycles, K] -> float[K]."""
    kept = chains[:, chains.shape[1] // 2 :]
    length = kept.shape[1]
    within = kept.var(1, ddof=1).mean(0) if length > 1 else np.zeros(kept.shape[2])
    between = kept.mean(1).var(0, ddof=1)
    with np.errstate(all="ignore"):
        return np.where(within > 0, np.sqrt((length - 1) / length + between / within), 1.0)


def imputed_effects(
    table: pd.DataFrame,
    exposures: Sequence[str],
    mediators: Sequence[str],
    outcome: str = "severity",
    *,
    covariates: Sequence[str] = (),
    sampling: Sampling = INDEPENDENT,
    never: pd.DataFrame | None = None,
    link: str = "logit",
    adjust: str = "fdr_bh",
    count: int = 20,
    cycles: int = 10,
    level: float = 0.95,
    seed: int = 0,
) -> pd.DataFrame:
    """The effects of univariate(), and natural ones on an outcome of 0 and 1, over imputed tables, by Rubin's rules.

    Args:
      table, exposures, mediators, outcome, covariates, sampling, link, adjust: see univariate(), natural_effects().
      never: bool, columns of mediators: values that do not exist, as in an empty region; these patients are left out
        of the pairs of these mediators.
      count, cycles, seed: see impute().
      level: of the intervals.
    Returns: one row per pair: exposure, mediator, n, r_hat (the worst of its columns), for a, b, direct, indirect,
      total and natural_indirect, natural_direct, natural_total `_est, _se, _df, _p, _lower, _upper, _fmi`;
      indirect_p_adj; flag: "", why the models of a pair cannot be fitted, that its mediator has fewer than 20 values
      (the row is then empty), or that the imputation of its columns did not converge.
    Raises: ValueError as univariate() and impute().
    """
    few = _with_few(columns.numeric(table, mediators))
    names = list(dict.fromkeys([*exposures, *covariates, outcome, *(name for name in mediators if name not in few)]))
    imputed = impute(table, names, [*exposures, *covariates, outcome], count=count, cycles=cycles, seed=seed)
    of_pairs, natural = [], []
    roles = {"covariates": covariates, "sampling": sampling}
    for complete in imputed.tables:
        if never is not None:
            complete = complete.assign(**{name: complete[name].mask(never[name]) for name in never})
        of_pairs.append(univariate(complete, exposures, mediators, outcome, **roles))
        if is_binary(complete[outcome]):
            natural.append(natural_effects(complete, exposures, mediators, outcome, link=link, **roles))
    first = of_pairs[0]
    df_complete = (first["n"] - len(covariates) - 3).to_numpy(float)
    if sampling.clusters is not None:
        df_complete = sampled.df(sampling, complete[first["mediator"]].notna().to_numpy())
    result = first[["exposure", "mediator", "n"]].copy()
    pairs = first[["exposure", "mediator"]].to_numpy()
    result["r_hat"] = [imputed.r_hat.reindex([*its, *covariates, outcome]).fillna(1.0).max() for its in pairs]
    for prefix, tables, effects in (("", of_pairs, EFFECTS), ("natural_", natural, _NATURAL)):
        for effect in effects if tables else ():
            found = [np.stack([table[f"{effect}_{number}"] for table in tables]) for number in ("est", "se")]
            result = result.assign(**_columns(prefix + effect, pool(*found, df_complete), level))
    cannot = result["mediator"].isin(few).to_numpy()
    result.loc[cannot, result.columns[3:]] = np.nan
    result.insert(result.columns.get_loc("indirect_p") + 1, "indirect_p_adj", adjusted(result["indirect_p"], adjust))
    flags = np.stack([table["flag"] for table in of_pairs])
    found = [next((flag for flag in its if flag), "") for its in flags.T]
    found = np.where(cannot, f"fewer than {_MIN_KNOWN} values of the mediator to draw from", found)
    apart = (result["r_hat"] > _MAX_R_HAT).to_numpy()
    result["flag"] = np.where(apart & (found == ""), "the imputation did not converge; use more cycles", found)
    result.attrs["family"] = f"{adjust} over {int((found == '').sum())} tests of pairs"
    return result


def _columns(name: str, pooled: Pooled, level: float) -> dict[str, np.ndarray]:
    reach = stats.t.ppf((1 + level) / 2, pooled.df) * pooled.se
    with np.errstate(all="ignore"):
        p = 2 * stats.t.sf(np.abs(pooled.est / pooled.se), pooled.df)
    return {
        f"{name}_est": pooled.est,
        f"{name}_se": pooled.se,
        f"{name}_df": pooled.df,
        f"{name}_p": p,
        f"{name}_lower": pooled.est - reach,
        f"{name}_upper": pooled.est + reach,
        f"{name}_fmi": pooled.fmi,
    }
