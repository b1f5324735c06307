"""p values adjusted for the number of tests."""

import numpy as np
from statsmodels.stats import multitest

METHODS = ("fdr_bh", "fdr_by", "holm", "bonferroni", "none")


def adjust(p: np.ndarray, method: str = "fdr_bh") -> np.ndarray:
    """Adjusts p values; NaN stays NaN and does not count as a test.

    Args:
      p: float[N], any family of tests.
      method: "fdr_bh" (Benjamini-Hochberg, the paper's), "fdr_by", "holm", "bonferroni" or "none".
    Returns: float[N] in [0, 1].
    Raises: ValueError for an unknown method.
    Source: Benjamini and Hochberg 1995, doi:10.1111/j.2517-6161.1995.tb02031.x; computed by statsmodels.
    """
    if method not in METHODS:
        raise ValueError(f"Unknown adjustment {method!r}; choose one of {', '.join(METHODS)}.")
    p = np.asarray(p, float)
    adjusted = p.copy()
    known = ~np.isnan(p)
    if method != "none" and known.any():
        adjusted[known] = multitest.multipletests(p[known], method=method)[1]
    return adjusted
