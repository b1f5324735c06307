"""Natural effects on an outcome in ordered levels: on the probability of each level or a higher one."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from ssinfnet_jax.analysis.mediation import binomial, columns, natural
from ssinfnet_jax.analysis.mediation import pairs as pairing
from ssinfnet_jax.analysis.mediation import proportional_odds as odds
from ssinfnet_jax.analysis.mediation.adjust import adjust as adjusted
from ssinfnet_jax.analysis.mediation.sampling import INDEPENDENT, Sampling


def ordinal_effects(
    table: pd.DataFrame,
    exposures: Sequence[str],
    mediators: Sequence[str],
    outcome: str = "severity",
    *,
    levels: Sequence[object],
    covariates: Sequence[str] = (),
    sampling: Sampling = INDEPENDENT,
    level: float = 0.95,
    adjust: str = "fdr_bh",
    min_n: int = 10,
) -> pd.DataFrame:
    """Effects of the exposure on the probability of a level or a higher one, by proportional odds.

    m as in natural_effects(), and P(y >= j) = sigmoid(c0_j + c x + b m): one model for all levels, in which only c0
    differs between them. For every level but the lowest the effects are those of natural_effects() with its c0_j.

    Args:
      table, exposures, mediators, covariates, sampling, min_n: see univariate().
      outcome: column with the levels.
      levels: all of them, the lowest first; two or more.
      level: of the intervals.
      adjust: see adjust(); over all pairs, level by level.
    Returns: one row per pair and level, pairs as in univariate(), levels ascending: exposure, mediator, level, n, flag,
      from, to; b_est, b_se, b_z, b_p (log odds ratio per unit of the mediator), b_std; indirect_, direct_, total_: est,
      se, z, p, lower, upper; indirect_p_adj; parallel_chisq, parallel_p: the test that b
      and c are the same at all levels, see proportional_odds.parallel_test().
    Raises: ValueError as univariate(); for fewer than two levels, one named twice, numbers that do not ascend, a value
      of the outcome that is no level, a level without a patient.
    Source: VanderWeele, Zhang and Lim 2016, doi:10.1353/obs.2016.0002; see natural_effects(), proportional_odds.fit().
    """
    codes = level_codes(table[outcome], levels)
    data = columns.of_pairs(table.assign(**{outcome: codes}), exposures, mediators, outcome, covariates)
    sampling, data = sampling.keep(data[outcome].notna().to_numpy()), data.dropna(subset=[outcome])
    contrasts = {name: natural.contrast(data[name]) for name in exposures}
    found = []
    for names, pairs in pairing.blocks(data, exposures, mediators, outcome, covariates, min_n, sampling.weights):
        values = contrasts[names["exposure"].iloc[0]]
        found.append(_of_block(names, pairs, data[outcome].to_numpy(int), levels, values, sampling, level))
    result = pd.concat(found, ignore_index=True)
    place = result.columns.get_loc("indirect_p") + 1
    result.insert(place, "indirect_p_adj", np.nan)
    for _, rows in result.groupby("level", sort=False).groups.items():
        result.loc[rows, "indirect_p_adj"] = adjusted(result.loc[rows, "indirect_p"].to_numpy(), adjust)
    return result


def level_codes(values: pd.Series, levels: Sequence[object]) -> pd.Series:
    """Places of values in ordered levels, float64 from 0; NaN where missing.

    Raises: ValueError, see ordinal_effects().
    """
    levels = list(levels)
    if len(levels) < 2 or len(set(levels)) < len(levels):
        raise ValueError(f"Give two or more levels of {values.name!r}, each once, the lowest first; found {levels}.")
    numbers = pd.to_numeric(pd.Series(levels), errors="coerce")
    if numbers.notna().all() and not numbers.is_monotonic_increasing:
        raise ValueError(f"The levels of {values.name!r} are out of order: {levels}; give the lowest first.")
    codes = values.map({value: code for code, value in enumerate(levels)}).astype(float)
    other = values[codes.isna() & values.notna()]
    if len(other):
        raise ValueError(
            f"{values.name!r} has {len(other)} values that are no level: {other.unique()[:5].tolist()}; the levels are "
            f"{levels}. Add them, or leave these patients out."
        )
    empty = [value for code, value in enumerate(levels) if not (codes == code).any()]
    if empty:
        raise ValueError(f"No patient has the levels {empty} of {values.name!r}; leave them out.")
    return codes


def _of_block(
    names: pd.DataFrame,
    pairs: pairing.Pairs,
    code: np.ndarray,
    levels: Sequence[object],
    values: tuple[float, float],
    sampling: Sampling,
    level: float,
) -> pd.DataFrame:
    """Rows of all levels of the pairs of a block."""
    design, weights = pairs.z[..., :-1], pairs.weights * (pairs.flag == "")
    model = odds.fit(design, code, weights, len(levels))
    flag = np.where(pairs.flag != "", pairs.flag, model.flag).astype(object)
    chisq, p = odds.parallel_test(design, code, weights, len(levels), sampling)
    rows = []
    for j, name in enumerate(levels[1:]):
        one = natural.fit(pairs, values, "logit", level, sampling=sampling, model=_at(model, j, flag))
        one = names.join(one).assign(level=name, pair=np.arange(len(names)), parallel_chisq=chisq, parallel_p=p)
        one.loc[one["flag"] != "", ["parallel_chisq", "parallel_p"]] = np.nan
        rows.append(one)
    table = pd.concat(rows).sort_values("pair", kind="stable").drop(columns="pair")
    effects = [f"{effect}_{number}" for effect in ("indirect", "direct", "total") for number in _NUMBERS]
    first = ["exposure", "mediator", "level", "n", "flag", "mediator_model", "note", "from", "to"]
    return table[[*first, "b_est", "b_se", "b_z", "b_p", "b_std", *effects, "parallel_chisq", "parallel_p"]]


_NUMBERS = ("est", "se", "z", "p", "lower", "upper")


def _at(model: odds.Odds, j: int, flag: np.ndarray) -> binomial.Binomial:
    """The regression of reaching level j + 1: intercept -t_j, the common coefficients, and 0 for x m."""
    num_thresholds, num = model.thresholds.shape[1], model.coefficients.shape[1]
    pick = np.zeros((num + 2, num_thresholds + num))
    pick[0, j] = -1.0
    pick[np.arange(num) + 1, np.arange(num) + num_thresholds] = 1.0
    theta = np.concatenate([model.thresholds, model.coefficients], axis=1)
    return binomial.Binomial(theta @ pick.T, pick @ model.covariance @ pick.T, flag, model.influence @ pick.T)
