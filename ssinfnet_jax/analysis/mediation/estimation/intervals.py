"""Confidence intervals from bootstrap draws: percentile, bias-corrected, and accelerated (BCa)."""

import numpy as np
import pandas as pd
from scipy import stats

from ssinfnet_jax.analysis.mediation.estimation.resample import Resamples

METHODS = ("percentile", "bc", "bca")
MIN_USABLE = 0.95  # share of the draws that must allow an estimate


def intervals(resamples: Resamples, level: float = 0.95) -> pd.DataFrame:
    """All three intervals of K statistics from the same draws.

    With G the share of draws below a value, z0 = Phi^-1(G(estimate)) and z = Phi^-1((1 -+ level) / 2), the
    bounds are the quantiles of the draws at
      percentile:  Phi(z)
      bc:          Phi(2 z0 + z)
      bca:         Phi(z0 + (z0 + z) / (1 - acc (z0 + z))),
      acc = sum d^3 / (6 (sum d^2)^(3/2)),   d = mean of the jackknife values - each of them.
    Draws equal to the estimate count half in G.

    Args:
      resamples: see resample(); draws that are NaN are left out.
      level: in (0, 1).
    Returns: K rows with `draws` (usable ones), `se` (their standard deviation), and `<method>_lower`,
      `<method>_upper` for percentile, bc, bca. NaN where less than 95 % of the draws are usable.
    Raises: ValueError for a level outside (0, 1).
    Source: Efron 1987, doi:10.1080/01621459.1987.10478410; Davison and Hinkley 1997, Bootstrap Methods and
      their Application, chapter 5.
    """
    if not 0 < level < 1:
        raise ValueError(f"level must be in (0, 1), got {level}.")
    draws = np.sort(resamples.draws, axis=0)  # NaN goes last
    usable = np.isfinite(draws).sum(0)
    with np.errstate(all="ignore"):
        below = ((draws < resamples.estimate).sum(0) + (draws <= resamples.estimate).sum(0)) / 2
        # An estimate beyond all draws would have z0 = +-inf; half a draw is the least that they resolve.
        z0 = stats.norm.ppf(np.clip(below, 0.5, usable - 0.5) / usable)
        acceleration = _acceleration(resamples.jackknife)
        variance = np.nansum((draws - np.nansum(draws, axis=0) / usable) ** 2, axis=0) / (usable - 1)
        result = {"draws": usable, "se": np.sqrt(variance)}
        for side, z in (("lower", stats.norm.ppf((1 - level) / 2)), ("upper", stats.norm.ppf((1 + level) / 2))):
            shares = {
                "percentile": np.full_like(z0, stats.norm.cdf(z)),
                "bc": stats.norm.cdf(2 * z0 + z),
                "bca": stats.norm.cdf(z0 + (z0 + z) / (1 - acceleration * (z0 + z))),
            }
            result |= {f"{method}_{side}": _quantile(draws, usable, share) for method, share in shares.items()}
    names = ["draws", "se", *(f"{method}_{side}" for method in METHODS for side in ("lower", "upper"))]
    table = pd.DataFrame(result)[names]
    table.loc[usable < MIN_USABLE * len(draws), names[1:]] = np.nan
    return table


def _acceleration(jackknife: np.ndarray) -> np.ndarray:
    deviation = jackknife.mean(0) - jackknife
    return (deviation**3).sum(0) / (6 * (deviation**2).sum(0) ** 1.5)


def _quantile(ordered: np.ndarray, usable: np.ndarray, share: np.ndarray) -> np.ndarray:
    """Quantiles [K] at `share` of the first `usable` rows, with linear interpolation as NumPy's."""
    place = np.nan_to_num(share) * np.maximum(usable - 1, 0)
    low = np.floor(place).astype(int)
    high = np.minimum(low + 1, np.maximum(usable - 1, 0))
    first, second = (np.take_along_axis(ordered, rows[None], axis=0)[0] for rows in (low, high))
    return np.where(np.isnan(share), np.nan, first + (place - low) * (second - first))
