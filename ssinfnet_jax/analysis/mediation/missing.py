"""What is missing in a table of patients, and why."""

import warnings
from collections.abc import Mapping

import numpy as np
import pandas as pd
from scipy import stats

_MIN_N = 3  # patients on both sides of a comparison


def missing_values(table: pd.DataFrame, roles: Mapping[str, str], outcome: str) -> pd.DataFrame:
    """Lists columns with missing values, how many have which reason, and whether the outcome differs there.

    A phenotype of a region that is empty was not lost: there is nothing to measure, and patients without it differ from
    others in the lesion itself (missing not at random). The area of a region (`ggo_shape2D_PixelSurface`) is 0 there; a
    region that is too small for texture in all slices has an area, and `ggo_num_slices` is 0.

    Args:
      table: one row per patient, phenotypes as in phenotypes.by_patient().
      roles: column -> exposure, mediator, covariate or outcome.
      outcome: column of numbers.
    Returns: one row per column with missing values: column, role, num_missing, share, num_empty (the region is empty),
      num_too_small, num_other (not recorded), outcome_missing and outcome_known (mean outcome of patients without and
      with a value), p (Welch's t test of both: a small one says that they are not missing completely at random; NaN for
      the outcome itself, and where either side has fewer than three patients).
    """
    rows = []
    for name, role in roles.items():
        lost = table[name].isna()
        if not lost.any():
            continue
        empty, small = of_region(table, name)
        counts = {
            "num_missing": int(lost.sum()),
            "share": float(lost.mean()),
            "num_empty": int((lost & empty).sum()),
            "num_too_small": int((lost & small).sum()),
            "num_other": int((lost & ~empty & ~small).sum()),
        }
        rows.append({"column": name, "role": role} | counts | _compared(table[outcome], lost))
    names = ["column", "role", "num_missing", "share", "num_empty", "num_too_small", "num_other"]
    return pd.DataFrame(rows, columns=[*names, "outcome_missing", "outcome_known", "p"])


def of_region(table: pd.DataFrame, name: str) -> tuple[pd.Series, pd.Series]:
    """Patients whose region of a phenotype is empty, and those where it is too small for texture."""
    region, nowhere = name.partition("_")[0], pd.Series(False, table.index)
    area, used = (table.get(f"{region}_{ending}") for ending in ("shape2D_PixelSurface", "num_slices"))
    empty = nowhere if area is None else area == 0
    return empty, nowhere if used is None or area is None else (used == 0) & (area > 0)


def _compared(outcome: pd.Series, lost: pd.Series) -> dict[str, float]:
    without, known = outcome[lost].dropna(), outcome[~lost].dropna()
    p = np.nan
    if min(len(without), len(known)) >= _MIN_N:
        with warnings.catch_warnings(action="ignore", category=RuntimeWarning):  # one side may be constant
            p = float(stats.ttest_ind(without, known, equal_var=False).pvalue)
    return {"outcome_missing": without.mean(), "outcome_known": known.mean(), "p": p}
