"""Pairs of exposure and mediator: the rows, columns and moments that all their models use."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from ssinfnet_jax.analysis.mediation import categories
from ssinfnet_jax.analysis.mediation.estimation import elimination

# Relative to the values themselves: below this, what varies is rounding.
_CONSTANT = 1e-10
COLLINEAR = 1e-10
# Bounds of a block, which keep the memory of every model bounded: numbers per column, and pairs.
_MAX_CELLS, _MAX_PAIRS = 2**21, 1024


class Pairs(NamedTuple):
    """K pairs over N rows, each with P columns in this order: Q covariates, exposure x, mediator m, outcome y.

    z: float[N, K, P], (value - mean) / sd over the complete rows of the pair; 0 in other rows, and in pairs
      with a flag.
    mean, sd: float[K, P], over the complete rows (divisor n).
    complete: bool[N, K].  n: int[K], complete rows.
    weights: float[N, K], of the complete rows, which they add up to; 0 in others.
    flag: object[K], "" or why nothing can be fitted to the pair.
    siblings: how many of the last covariates are other categories of the exposure.
    """

    z: np.ndarray
    mean: np.ndarray
    sd: np.ndarray
    complete: np.ndarray
    n: np.ndarray
    weights: np.ndarray
    flag: np.ndarray
    siblings: int = 0

    def correlations(self) -> np.ndarray:
        """float[K, P, P]."""
        columns = self.z.transpose(1, 2, 0)
        return (columns * self.weights.T[:, None]) @ columns.transpose(0, 2, 1) / self.n[:, None, None]


def blocks(
    data: pd.DataFrame,
    exposures: Sequence[str],
    mediators: Sequence[str],
    outcome: str,
    covariates: Sequence[str],
    min_n: int,
    weights: np.ndarray | None = None,
) -> Iterator[tuple[pd.DataFrame, Pairs]]:
    """All pairs, exposures outermost, in blocks of bounded size.

    For a category of an exposure the other categories are covariates, too.

    Args:
      data: numeric columns, see columns.numeric().
      weights: float[N] of its rows.
    Yields: (exposure and mediator of each pair, the pairs).
    """
    size = max(1, min(_MAX_PAIRS, _MAX_CELLS // max(len(data), 1)))
    for exposure in exposures:
        siblings = categories.siblings(exposure, exposures)
        given = data[[*covariates, *siblings]].to_numpy()[:, None]
        for start in range(0, len(mediators), size):
            chosen = list(mediators[start : start + size])
            names = pd.DataFrame({"exposure": exposure, "mediator": chosen})
            x, y = (data[[name]].to_numpy() for name in (exposure, outcome))
            pairs = standardise(x, data[chosen].to_numpy(), y, given, min_n, weights)
            yield names, pairs._replace(siblings=len(siblings))


def standardise(
    x: np.ndarray,
    m: np.ndarray,
    y: np.ndarray,
    covariates: np.ndarray | None = None,
    min_n: int = 10,
    weights: np.ndarray | None = None,
) -> Pairs:
    """Pairs of columns.

    Args:
      x, m, y: float[N, K], or [N, 1] where all pairs share a column; NaN where missing.
      covariates: float[N, K or 1, Q].
      min_n: pairs with fewer complete rows are flagged; with Q covariates at least Q + 4 are needed.
      weights: float[N] > 0; all 1 if None.
    """
    given = np.empty((len(m), 1, 0)) if covariates is None else covariates
    shape = np.broadcast_shapes(x.shape, m.shape, y.shape)
    columns = [*np.moveaxis(given, -1, 0), x, m, y]
    values = np.stack([np.broadcast_to(column, shape) for column in columns], axis=-1)
    complete = ~np.isnan(values).any(-1)
    n = complete.sum(0)
    with np.errstate(all="ignore"):
        w = complete * (np.ones((len(m), 1)) if weights is None else weights[:, None])
        w = w * (n / w.sum(0))
        mean = (np.where(complete[..., None], values, 0.0) * w[..., None]).sum(0) / n[:, None]
        z = np.where(complete[..., None], values - mean, 0.0)
        sd = np.sqrt((z**2 * w[..., None]).sum(0) / n[:, None])
        sd = np.where(sd <= _CONSTANT * np.abs(mean), 0.0, sd)
        sd = np.where((complete[..., None] & np.isinf(values)).any(0), np.inf, sd)
        pairs = Pairs(z / sd, mean, sd, complete, n, np.nan_to_num(w), np.empty(0))
        pairs = pairs._replace(flag=_flags(pairs, max(min_n, values.shape[-1] + 1)))
    pairs.z[:, pairs.flag != ""] = 0.0
    return pairs


def _flags(pairs: Pairs, min_n: int) -> np.ndarray:
    """Reasons against a fit; the first that applies."""
    num_covariates = pairs.sd.shape[1] - 3
    roles = [*num_covariates * ["covariate"], "exposure", "mediator", "outcome"]
    conditions = [pairs.n < min_n]
    reasons = [np.array([f"too few complete rows ({count} < {min_n})" for count in pairs.n], dtype=object)]
    for problem, has_it in (("infinite", np.isinf(pairs.sd)), ("constant", pairs.sd == 0)):
        conditions += list(has_it.T)
        reasons += [f"{problem} {role}" for role in roles]
    moments = pairs.correlations()
    explained = {
        "covariate": "covariates are collinear",
        "exposure": "exposure is a combination of the covariates",
        "mediator": "exposure and mediator are collinear",
        "outcome": "outcome is fitted exactly",
    }
    for role in roles:
        conditions.append(~(moments[:, 0, 0] > COLLINEAR))
        reasons.append(explained[role])
        moments = elimination.sweep(moments, 1)
    reasons = [np.broadcast_to(np.asarray(reason, dtype=object), pairs.n.shape) for reason in reasons]
    return np.select(conditions, reasons, default="")
