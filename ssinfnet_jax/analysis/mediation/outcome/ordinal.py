"""Natural effects on an outcome in ordered levels: on the probability of each level, and of it or a higher one."""

import itertools
import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from ssinfnet_jax.analysis.mediation import columns, mediator_shape
from ssinfnet_jax.analysis.mediation import pairs as pairing
from ssinfnet_jax.analysis.mediation.estimation.adjust import adjust as adjusted
from ssinfnet_jax.analysis.mediation.estimation.host import double_precision
from ssinfnet_jax.analysis.mediation.estimation.sampling import INDEPENDENT, Sampling
from ssinfnet_jax.analysis.mediation.outcome import binomial, natural, natural_model
from ssinfnet_jax.analysis.mediation.outcome import proportional_odds as odds

EVENTS = ("or higher", "alone")
_EFFECTS = ("indirect", "direct", "total")  # the first of natural_model.EFFECTS


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
    """Effects of the exposure on the probability of each level, and of it or a higher one, by proportional odds.

    m as in natural_effects(), and P(y >= j) = sigmoid(c0_j + c x + b m): one model for all levels, in which only c0
    differs between them. Effects on P(y >= j) are those of natural_effects() with its c0_j, and those on
    P(y = j) = P(y >= j) - P(y >= j + 1) are their differences.

    Args:
      table, exposures, mediators, covariates, sampling, min_n: see univariate().
      outcome: column with the levels.
      levels: see level_codes().
      level: of the intervals.
      adjust: see adjust(); over all pairs, for each level and event by itself.
    Returns: for each pair, in the order of univariate(), rows of the event "or higher" for all levels but the lowest,
      then of the event "alone" for all levels: exposure, mediator, level, event, n, flag, mediator_model, note, from,
      to; b_est, b_se, b_z, b_p (log odds ratio per unit of the mediator), b_std; indirect_, direct_, total_: est, se,
      z, p, lower, upper; indirect_p_adj; parallel_chisq, parallel_p: the test that b and c are the same at all levels,
      see proportional_odds.parallel_test(). `attrs["family"]` states the family of tests in words.
    Raises: ValueError as univariate() and level_codes().
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
    by_level = result.groupby(["event", "level"], sort=False)["indirect_p"]
    place = result.columns.get_loc("indirect_p") + 1
    result.insert(place, "indirect_p_adj", by_level.transform(lambda p: adjusted(p.to_numpy(), adjust)))
    result.attrs["family"] = f"{adjust} over all pairs, for each level by itself"
    return result


def level_codes(values: pd.Series, levels: Sequence[object]) -> pd.Series:
    """Places of values in ordered levels, float64 from 0; NaN where missing.

    Args:
      values: numbers or words; case, blanks and punctuation do not matter.
      levels: two or more, the lowest first; "mild|regular" is one level that two values have.
    Raises: ValueError for fewer than two levels, one named twice, numbers that do not ascend, a value that is no
      level, a level without a patient.
    """
    levels = list(levels)
    joined = [str(level).split("|") for level in levels]
    code_of = {_key(name): code for code, names in enumerate(joined) for name in names}
    if len(levels) < 2 or len(code_of) < sum(map(len, joined)):
        raise ValueError(f"Give two or more levels of {values.name!r}, each once, the lowest first; found {levels}.")
    numbers = [pd.to_numeric(pd.Series(names), errors="coerce") for names in joined]
    ascending = all(low.max() < high.min() for low, high in itertools.pairwise(numbers))
    if all(number.notna().all() for number in numbers) and not ascending:
        raise ValueError(f"The levels of {values.name!r} are out of order: {levels}; give the lowest first.")
    codes = values.map(lambda value: code_of.get(_key(value)), na_action="ignore").astype(float)
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


def _key(value: object) -> str:
    """2, 2.0 and "2" are one value, and "Critically ill" and "critically-ill"."""
    number = pd.to_numeric(str(value), errors="coerce")
    return re.sub(r"[\W_]+", "", str(value).casefold()) if np.isnan(number) else f"{number:g}"


def _of_block(
    names: pd.DataFrame,
    pairs: pairing.Pairs,
    code: np.ndarray,
    levels: Sequence[object],
    values: tuple[float, float],
    sampling: Sampling,
    level: float,
) -> pd.DataFrame:
    """Rows of all levels of the pairs of a block. code: int[N], or int[N, K] where each pair has its own outcome."""
    design, weights = pairs.z[..., :-1], pairs.weights * (pairs.flag == "")
    model, binary = odds.fit(design, code, weights, len(levels)), mediator_shape.is_binary(pairs)
    of_mediator = natural.of_mediators(pairs, binary, "logit")
    flag, df = natural.flags(pairs, model.flag, of_mediator, sampling)
    chisq, p = odds.parallel_test(design, code, weights, len(levels), sampling)
    with np.errstate(all="ignore"), double_precision():
        every = binomial.Binomial(
            np.concatenate([model.thresholds, model.coefficients], axis=1), model.covariance, flag, model.influence
        )
        theta, covariance = natural_model.parameters(pairs, every, of_mediator, binary, flag == "", sampling)
        shared = names.assign(n=pairs.n, flag=flag, mediator_model=np.where(binary, "logit", "linear"))
        shared = shared.assign(**{"note": mediator_shape.notes(pairs), "from": values[0], "to": values[1]})
        b, se, m_sd = theta.outcome[:, -1], np.sqrt(covariance[:, -1, -1]), pairs.sd[:, -2]
        shared = shared.assign(**natural.statistics("b", b / m_sd, se / m_sd, df), b_std=b)
        rows = []
        for place, event, effects in _events(_at_least(pairs, theta, binary, flag == "", values), len(levels)):
            se = np.sqrt(((effects.slopes @ covariance) * effects.slopes).sum(-1))
            numbers = {}
            for i, effect in enumerate(_EFFECTS):
                numbers |= natural.statistics(effect, effects.values[:, i], se[:, i], df, level)
            one = shared.assign(level=levels[place], event=event, **numbers, pair=np.arange(len(names)))
            rows.append(one.assign(parallel_chisq=chisq, parallel_p=p))
    table = pd.concat(rows).sort_values("pair", kind="stable").drop(columns="pair")
    first = ["exposure", "mediator", "level", "event", "n", "flag", "mediator_model", "note", "from", "to"]
    table = table[[*first, *(name for name in table if name not in first)]]
    table.loc[table["flag"] != "", table.columns[len(first) :]] = np.nan
    return table


class _Effects(NamedTuple):
    """values float[K, 3], slopes float[K, 3, T] by all parameters of both regressions."""

    values: np.ndarray
    slopes: np.ndarray

    def minus(self, other: "_Effects") -> "_Effects":
        return _Effects(self.values - other.values, self.slopes - other.slopes)


def _at_least(
    pairs: pairing.Pairs, theta: natural_model.Theta, binary: np.ndarray, usable: np.ndarray, values: tuple
) -> list[_Effects]:
    """Effects on reaching level 1, ..., J - 1.

    Args:
      theta: its `outcome` are the thresholds, then the coefficients, of proportional odds.
    """
    num, total = pairs.z.shape[-1] - 1, theta.outcome.shape[1]
    found = []
    for j in range(total - num):
        # The regression of reaching the level: intercept -t_j, the common coefficients, and 0 for x m.
        pick = np.zeros((num + 2, total))
        pick[0, j] = -1.0
        pick[np.arange(num) + 1, np.arange(total - num, total)] = 1.0
        at_level = theta._replace(outcome=theta.outcome @ pick.T)
        effects, slopes = natural_model.effects(pairs, at_level, binary, usable, values, "logit")
        of_outcome = slopes[..., -len(pick) :] @ pick
        slopes = np.concatenate([slopes[..., : -len(pick)], of_outcome], axis=-1)
        found.append(_Effects(effects[:, : len(_EFFECTS)], slopes[:, : len(_EFFECTS)]))
    return found


def _events(reached: list[_Effects], num_levels: int) -> list[tuple[int, str, _Effects]]:
    """(level, event, effects on its probability)."""
    nothing = _Effects(np.zeros_like(reached[0].values), np.zeros_like(reached[0].slopes))
    bounds = [nothing, *reached, nothing]  # the probability of level 0 or a higher one is always 1
    alone = [(j, EVENTS[1], bounds[j].minus(bounds[j + 1])) for j in range(num_levels)]
    return [(j, EVENTS[0], effects) for j, effects in enumerate(reached, 1)] + alone
