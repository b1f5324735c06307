"""Clusters (hospitals, scanners) and weights of patients, and the standard errors that account for them."""

from typing import NamedTuple

import numpy as np
import pandas as pd


class Sampling(NamedTuple):
    """Weights, clusters and the kind of standard errors of N patients; the default: independent, equal, model-based.

    weights: float[N] > 0 with mean 1, or None.  clusters: int[N], numbers from 0, or None.
    robust: standard errors that hold where the variance of the residuals differs between patients.
    """

    weights: np.ndarray | None = None
    clusters: np.ndarray | None = None
    robust: bool = False

    @property
    def is_plain(self) -> bool:
        """Whether model-based standard errors apply."""
        return self.weights is None and self.clusters is None and not self.robust

    def keep(self, rows: np.ndarray) -> "Sampling":
        """The sampling of some patients, bool[N]; weights are rescaled to mean 1."""
        weights = None if self.weights is None else self.weights[rows]
        if weights is not None:
            weights = weights * len(weights) / weights.sum()
        clusters = None if self.clusters is None else np.unique(self.clusters[rows], return_inverse=True)[1]
        return Sampling(weights, clusters, self.robust)


INDEPENDENT = Sampling()
ONE_CLUSTER = "complete rows come from one cluster only"  # flag: the variance between clusters is unknown


def read(table: pd.DataFrame, cluster: str = "", weights: str = "", robust: bool = False) -> Sampling:
    """Reads clusters and weights from columns of a table.

    Args:
      cluster: column that names the hospital or scanner of a patient; "" for none.
      weights: column of weights, such as inverse probabilities of being sampled; "" for none. They make standard
        errors robust.
      robust: see Sampling.
    Raises: ValueError for a missing column or cell, fewer than two clusters, weights that are not above 0.
    """
    for option, name in (("cluster", cluster), ("weights", weights)):
        if name and name not in table.columns:
            raise ValueError(f"No column {name!r} for {option}; the table has {list(table.columns)[:12]}.")
    clusters, values = None, None
    if cluster:
        empty = int(table[cluster].isna().sum())
        if empty:
            raise ValueError(
                f"{empty} of {len(table)} patients have no {cluster!r}; fill these cells, or leave the patients out."
            )
        clusters, found = pd.factorize(table[cluster])
        if len(found) < 2:
            raise ValueError(
                f"All patients have the same {cluster!r} ({found[0]!r}): one cluster cannot "
                "show how clusters differ. Leave cluster out, or name a column with several."
            )
    if weights:
        values = pd.to_numeric(table[weights], errors="coerce").to_numpy(float)
        bad = ~(np.isfinite(values) & (values > 0))
        if bad.any():
            shown = table[weights][bad].head(3).tolist()
            raise ValueError(
                f"Weights must be numbers above 0, but {int(bad.sum())} cells of {weights!r} are not, such as {shown}; "
                "correct them, or leave these patients out."
            )
        values = values / values.mean()
    return Sampling(values, clusters, robust)


def variance(influence: np.ndarray, sampling: Sampling, complete: np.ndarray | None = None) -> np.ndarray:
    """Sandwich variance of K estimates: sum over patients of influence^2, or over clusters of summed influence.

    With G clusters the sum is multiplied by G / (G - 1), as R's sandwich::vcovCL(type = "HC0") does; without clusters
    it is HC0, as in lavaan's MLR.

    Args:
      influence: float[N, K], what each patient adds to the estimate, weights included.
      complete: bool[N, K], patients to count; all if None.
    Returns: float[K]; NaN with fewer than two clusters.
    Source: White 1980, doi:10.2307/1912934; Liang and Zeger 1986, doi:10.1093/biomet/73.1.13.
    """
    if sampling.clusters is None:
        return (influence**2).sum(0)
    count = num_clusters(sampling, np.ones(influence.shape, bool) if complete is None else complete)
    with np.errstate(all="ignore"):
        return np.where(count > 1, (by_cluster(influence, sampling.clusters) ** 2).sum(0) * count / (count - 1), np.nan)


def covariance(influence: np.ndarray, sampling: Sampling, complete: np.ndarray) -> np.ndarray:
    """The sandwich of T estimates of each of K models, as variance(): float[N, K, T] -> float[K, T, T]."""
    factor = np.ones(influence.shape[1])
    if sampling.clusters is not None:
        influence, count = by_cluster(influence, sampling.clusters), num_clusters(sampling, complete)
        with np.errstate(all="ignore"):
            factor = np.where(count > 1, count / (count - 1), np.nan)
    by_model = np.moveaxis(influence, 1, 0)
    return by_model.swapaxes(1, 2) @ by_model * factor[:, None, None]


def num_clusters(sampling: Sampling, complete: np.ndarray) -> np.ndarray:
    """Clusters that have a complete row: bool[N, K] -> int[K]."""
    return (by_cluster(complete.astype(float), sampling.clusters) > 0).sum(0)


def df(sampling: Sampling, complete: np.ndarray) -> np.ndarray:
    """Degrees of freedom of the tests: clusters - 1; infinite (normal tests) without clusters. float[K]."""
    if sampling.clusters is None:
        return np.full(complete.shape[1], np.inf)
    return num_clusters(sampling, complete) - 1.0


def by_cluster(values: np.ndarray, clusters: np.ndarray) -> np.ndarray:
    """Sums over the patients of each cluster: [N, ...] -> [G, ...]."""
    order = np.argsort(clusters, kind="stable")
    starts = np.searchsorted(clusters[order], np.arange(clusters.max() + 1))
    return np.add.reduceat(values[order], starts, axis=0)
