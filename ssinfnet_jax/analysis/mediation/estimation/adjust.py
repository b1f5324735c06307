"""p values adjusted for the number of tests."""

import numpy as np
import pandas as pd
from statsmodels.stats import multitest

METHODS = ("fdr_bh", "fdr_by", "holm", "bonferroni", "none")
FAMILIES = ("all", "exposure")
_SAME = 1e-9  # relative; closer statistics differ by rounding


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


def within_family(result: pd.DataFrame, name: str, method: str, family: str) -> pd.Series:
    """Adjusts `<name>_p` over all rows ("all") or over the rows of each exposure ("exposure"), each test counted once.

    Rows of one exposure with the same n and statistic are one test: y~x is in the rows of all mediators, and a mediator
    that is a multiple of another one gives the same p.

    Args:
      result: with columns exposure, n, `<name>_p` and the statistic: `<name>_z`, or `<name>_est` and `<name>_se`.
    Raises: ValueError for an unknown method or family.
    """
    if family not in FAMILIES:
        raise ValueError(f"Unknown family {family!r}; choose one of {', '.join(FAMILIES)}.")
    test = _distinct(result, name)
    groups = result["exposure"] if family == "exposure" else pd.Series(0, result.index)
    adjusted = pd.Series(np.nan, result.index)
    for _, rows in result.groupby(groups, sort=False).groups.items():
        first = ~test[rows].duplicated()
        of_test = pd.Series(adjust(result.loc[rows, f"{name}_p"][first].to_numpy(), method), test[rows][first])
        adjusted[rows] = of_test[test[rows]].to_numpy()
    return adjusted


def _distinct(result: pd.DataFrame, name: str) -> pd.Series:
    """The number of the test that each row holds."""
    if f"{name}_z" in result:
        statistic = result[f"{name}_z"].abs()
    else:
        statistic = (result[f"{name}_est"] / result[f"{name}_se"]).abs()
    order = pd.DataFrame({"exposure": pd.factorize(result["exposure"])[0], "n": result["n"], "statistic": statistic})
    order = order.sort_values(["exposure", "n", "statistic"], kind="stable")
    step = order.diff()
    same = (step["exposure"] == 0) & (step["n"] == 0) & (step["statistic"] <= _SAME * order["statistic"])
    return (~same).cumsum().reindex(result.index)


def describe_family(result: pd.DataFrame, method: str, family: str) -> str:
    """The family of tests of the indirect effects in words."""
    tested = result["flag"] == ""
    number = _distinct(result[tested], "indirect").nunique()
    repeated = int(tested.sum()) - number
    scope = "all pairs together" if family == "all" else "the pairs of each exposure by themselves"
    again = f", {repeated} of them the same test as another one and counted once" if repeated else ""
    return (
        f"{method} over {scope}: {number} tests of {result['exposure'].nunique()} exposures x "
        f"{result['mediator'].nunique()} mediators ({len(result) - int(tested.sum())} flagged and not tested{again})"
    )
