"""Mediators that are far from normal: two values, strong skewness, mostly one value."""

import itertools

import numpy as np

from ssinfnet_jax.analysis.mediation import pairs as pairing

MAX_SKEWNESS = 2.0
MAX_SHARE = 0.5


def is_binary(pairs: pairing.Pairs) -> np.ndarray:
    """Which of K pairs have a mediator with exactly two values in their complete rows: bool[K]; flagged pairs: no."""
    m = pairs.z[..., -2]
    extreme = (m == m.min(0)) | (m == m.max(0)) | ~pairs.complete
    return extreme.all(0) & (pairs.flag == "")


def notes(pairs: pairing.Pairs) -> np.ndarray:
    """Warnings about the mediator of each of K pairs: object[K], "" for none.

    - It has two values.
    - Its residual, given exposure and covariates, has a skewness beyond -+2: standard errors and natural effects take
      this residual for normal.
    - One value, such as an area of 0, is that of more than half of the patients.

    Source: Curran, West and Finch 1996, doi:10.1037/1082-989X.1.1.16 (the cut-off of 2).
    """
    skewness, share, binary = _skewness(pairs), _largest_share(pairs), is_binary(pairs)
    found = np.full(len(pairs.n), "", dtype=object)
    for pair in np.flatnonzero(pairs.flag == ""):
        if binary[pair]:
            found[pair] = "two values"
            continue
        parts = []
        if abs(skewness[pair]) > MAX_SKEWNESS:
            parts.append(f"strongly skewed ({skewness[pair]:.1f}; cut-off {MAX_SKEWNESS:g})")
        if share[pair] > MAX_SHARE:
            parts.append(f"one value in {share[pair]:.0%} of the patients (cut-off {MAX_SHARE:.0%})")
        found[pair] = ", ".join(parts)
    return found


def _skewness(pairs: pairing.Pairs) -> np.ndarray:
    """Of the residuals of the mediators given covariates and exposure: float[K]."""
    left = pairs.sd.shape[1] - 2
    with np.errstate(all="ignore"):
        r = np.where((pairs.flag == "")[:, None, None], pairs.correlations(), np.eye(left + 2))
        slopes = np.linalg.solve(r[:, :left, :left], r[:, :left, left, None])[..., 0]
        residual, w = pairs.z[..., left] - (pairs.z[..., :left] * slopes).sum(-1), pairs.weights / pairs.n
        return (w * residual**3).sum(0) / (w * residual**2).sum(0) ** 1.5


def _largest_share(pairs: pairing.Pairs) -> np.ndarray:
    """Share of the complete rows that have the mediator's most frequent value: float[K]."""
    m = np.sort(np.where(pairs.complete, pairs.z[..., -2], np.nan), axis=0)  # NaN, which equals nothing, goes last
    run, longest = np.ones(m.shape[1], int), np.ones(m.shape[1], int)
    for before, row in itertools.pairwise(m):
        run = np.where(row == before, run + 1, 1)
        longest = np.maximum(longest, run)
    return longest / np.maximum(pairs.n, 1)
