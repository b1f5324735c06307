"""Multiple imputation of missing values by chained equations, and Rubin's rules."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from absl import logging
from scipy import stats
from statsmodels.imputation import mice

from ssinfnet_jax.analysis.mediation import columns
from ssinfnet_jax.analysis.mediation import sampling as sampled
from ssinfnet_jax.analysis.mediation.adjust import adjust as adjusted
from ssinfnet_jax.analysis.mediation.natural import is_binary, natural_effects
from ssinfnet_jax.analysis.mediation.sampling import INDEPENDENT, Sampling
from ssinfnet_jax.analysis.mediation.univariate import EFFECTS, univariate

_NATURAL = ("indirect", "direct", "total")
_MAX_PREDICTORS = 15  # of a variable's equation, beside exposures, covariates and outcome
_NEAREST = 5  # patients with the nearest prediction, one of whom lends the value
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

    Each column is drawn given others, by predictive mean matching: values of patients with a similar prediction, so
    that counts stay counts. In its equation are the columns of `always` and the 15 that it correlates with most.

    Args:
      names: columns that are filled or used.
      always: those of them that every equation has: exposures, covariates, outcome.
      seed: of the draws.
    Raises: ValueError for count below 2, cycles below 2, a column with fewer than 20 values.
    Source: van Buuren and Groothuis-Oudshoorn 2011, doi:10.18637/jss.v045.i03; statsmodels' MICEData.
    """
    if min(count, cycles) < 2:
        raise ValueError(f"Multiple imputation needs 2 or more imputations and cycles; found {count} and {cycles}.")
    data = columns.numeric(table, names)
    few = [name for name in names if data[name].notna().sum() < _MIN_KNOWN]
    if few:
        raise ValueError(f"Columns with fewer than {_MIN_KNOWN} values, from which none can be drawn: {few[:12]}.")
    short = {name: f"v{i}" for i, name in enumerate(names)}
    equations = _equations(data, always)
    missing = data.isna()
    filled = [name for name in names if missing[name].any()]
    tables, chains = [], []
    for number in range(count):
        chain = mice.MICEData(
            data.rename(columns=short),
            k_pmm=_NEAREST,
            rng=np.random.default_rng([seed, number]),
            history_callback=lambda now: [
                now.data.loc[missing[name].to_numpy(), short[name]].mean() for name in filled
            ],
        )
        for name in filled:
            chain.set_imputer(short[name], formula=" + ".join(short[other] for other in equations[name]) or "1")
        chain.update_all(cycles if filled else 0)
        complete = chain.data[[short[name] for name in names]].set_axis(list(names), axis=1).set_axis(table.index)
        tables.append(table.assign(**complete))
        chains.append(chain.history)
    r_hat = pd.Series(_r_hat(np.array(chains)), filled) if filled else pd.Series(dtype=float)
    for name, value in r_hat[r_hat > _MAX_R_HAT].items():
        logging.warning("The imputation of %s did not converge in %d cycles (r-hat %.2f).", name, cycles, value)
    return Imputed(tables, r_hat)


def _equations(data: pd.DataFrame, always: Sequence[str]) -> dict[str, list[str]]:
    r = data.corr(min_periods=_MIN_KNOWN).abs().fillna(0.0)
    equations = {}
    for name in data:
        needed = [other for other in always if other != name]
        others = r[name].drop([name, *needed])
        equations[name] = [*needed, *others[others > 0].nlargest(_MAX_PREDICTORS).index]
    return equations


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
      never: bool, columns of mediators: values that there are none of, as those of an empty region; patients stay out
        of the pairs of these mediators.
      count, cycles, seed: see impute().
      level: of the intervals.
    Returns: one row per pair: exposure, mediator, n, r_hat (the worst of its columns), for a, b, direct, indirect,
      total and natural_indirect, natural_direct, natural_total `_est, _se, _df, _p, _lower, _upper, _fmi`;
      indirect_p_adj; flag: "", why the models of a pair cannot be fitted, or that the imputation of its columns did not
      converge.
    Raises: ValueError as univariate() and impute().
    """
    names = list(dict.fromkeys([*exposures, *covariates, outcome, *mediators]))
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
    result["r_hat"] = [
        _worst(imputed.r_hat, [*row, *covariates, outcome]) for row in first[["exposure", "mediator"]].to_numpy()
    ]
    for prefix, tables, effects in (("", of_pairs, EFFECTS), ("natural_", natural, _NATURAL)):
        for effect in effects if tables else ():
            found = [np.stack([table[f"{effect}_{number}"] for table in tables]) for number in ("est", "se")]
            result = result.assign(**_columns(prefix + effect, pool(*found, df_complete), level))
    result.insert(result.columns.get_loc("indirect_p") + 1, "indirect_p_adj", adjusted(result["indirect_p"], adjust))
    flags = np.stack([table["flag"] for table in of_pairs])
    found = [next((flag for flag in its if flag), "") for its in flags.T]
    apart = (result["r_hat"] > _MAX_R_HAT).to_numpy()
    result["flag"] = np.where(
        apart & (np.array(found) == ""), "the imputation did not converge; use more cycles", found
    )
    result.attrs["family"] = f"{adjust} over {int((np.array(found) == '').sum())} tests of pairs"
    return result


def _worst(r_hat: pd.Series, names: Sequence[str]) -> float:
    return float(r_hat.reindex(names).fillna(1.0).max())


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
