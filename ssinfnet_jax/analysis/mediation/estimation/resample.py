"""Bootstrap and jackknife of statistics that are functions of cross-products, in bounded memory.

A resample of patients is a vector of weights (how often each was drawn). Whatever a model needs is a sum over
patients, so that a matrix product of weights and features gives the sums of many resamples at once, and the
sums without one patient are the total less that patient's features.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ssinfnet_jax.analysis.mediation.estimation.host import double_precision
from ssinfnet_jax.analysis.mediation.estimation.sampling import by_cluster

_CHUNK = 250  # resamples that are in memory at once


class Resamples(NamedTuple):
    """Statistics of the sample float64[K], of resamples [draws, K], without each patient [N, K]."""

    estimate: np.ndarray
    draws: np.ndarray
    jackknife: np.ndarray


def resample(
    features: np.ndarray, statistic: Callable, draws: int, seed: int, clusters: np.ndarray | None = None
) -> Resamples:
    """Applies a statistic to multinomial resamples of the rows, and to all rows but one; or of clusters of rows.

    The resamples depend on the number of rows, `draws` and `seed` only: models of the same patients see the
    same ones, whatever they are called with.

    Args:
      features: float64[N, F], what each patient adds to the sums.
      statistic: sums float64[B, F] -> float64[B, K] in JAX; NaN where a resample allows no estimate. It must
        be hashable (a frozen dataclass): it is compiled once for each.
      draws: number of resamples, >= 1.
      seed: >= 0.
      clusters: int[N], numbers from 0 of the clusters that are resampled, and left out, whole.
    Returns: Resamples.
    """
    if clusters is not None:
        features = by_cluster(features, clusters)
    with double_precision():
        features = jnp.asarray(features, jnp.float64)
        total = features.sum(0, keepdims=True)
        key = jax.random.key(seed)
        drawn = [_draw(features, jax.random.fold_in(key, i), statistic) for i in range(-(-draws // _CHUNK))]
        starts = range(0, len(features), _CHUNK)
        without = [_apply(total - features[start : start + _CHUNK], statistic) for start in starts]
        return Resamples(
            estimate=np.asarray(_apply(total, statistic)[0]),
            draws=np.concatenate([np.asarray(chunk) for chunk in drawn])[:draws],
            jackknife=np.concatenate([np.asarray(chunk) for chunk in without]),
        )


@jax.jit(static_argnums=2)
def _draw(features: jax.Array, key: jax.Array, statistic: Callable) -> jax.Array:
    num_rows = len(features)
    drawn = jax.random.randint(key, (_CHUNK, num_rows), 0, num_rows)
    weights = jnp.zeros((_CHUNK, num_rows)).at[jnp.arange(_CHUNK)[:, None], drawn].add(1.0)
    return statistic(weights @ features)


@jax.jit(static_argnums=1)
def _apply(sums: jax.Array, statistic: Callable) -> jax.Array:
    return statistic(sums)


def identity(sums: jax.Array) -> jax.Array:
    """The statistic of a small model, which is computed from the sums later."""
    return sums


def products(columns: np.ndarray) -> np.ndarray:
    """Features whose sums are the cross-products of columns: [..., P] -> [..., P (P + 1) / 2]."""
    rows, cols = np.triu_indices(columns.shape[-1])
    return columns[..., rows] * columns[..., cols]


def cross_products(sums, num_columns: int):
    """The inverse of products() after summing, NumPy or JAX: [..., P (P + 1) / 2] -> symmetric [..., P, P]."""
    rows, cols = np.triu_indices(num_columns)
    place = np.zeros((num_columns, num_columns), int)
    place[rows, cols] = place[cols, rows] = np.arange(len(rows))
    return sums[..., place]
