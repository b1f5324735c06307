"""p values adjusted for the number of tests."""

import numpy as np
import pandas as pd
from statsmodels.stats import multitest

METHODS = ("fdr_bh", "fdr_by", "holm", "bonferroni", "none")
FAMILIES = ("all", "exposure")


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


def within_family(result: pd.DataFrame, column: str, method: str, family: str) -> pd.Series:
    """Adjusts a column of p values over all rows ("all") or over the rows of each exposure ("exposure").

    Raises: ValueError for an unknown method or family.
    """
    if family not in FAMILIES:
        raise ValueError(f"Unknown family {family!r}; choose one of {', '.join(FAMILIES)}.")
    groups = result["exposure"] if family == "exposure" else np.zeros(len(result))
    return result.groupby(groups, sort=False)[column].transform(lambda p: adjust(p.to_numpy(), method))


def describe_family(result: pd.DataFrame, method: str, family: str) -> str:
    """The family of tests in words."""
    tested = int((result["flag"] == "").sum())
    scope = "all pairs together" if family == "all" else "the pairs of each exposure by themselves"
    return (
        f"{method} over {scope}: {tested} tests of {result['exposure'].nunique()} exposures x "
        f"{result['mediator'].nunique()} mediators ({len(result) - tested} flagged and not tested)"
    )
