"""Picks numeric columns from a user's table, or says what is wrong with them."""

from collections.abc import Sequence

import numpy as np
import pandas as pd


def numeric(table: pd.DataFrame, names: Sequence[str]) -> pd.DataFrame:
    """The columns as float64, missing values as NaN.

    Raises: ValueError that lists names given twice, missing columns and columns that are not numbers.
    """
    names = list(names)
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"Each column can have one role and be named once, but these are named twice: {twice}.")
    missing = [name for name in names if name not in table.columns]
    if missing:
        raise ValueError(f"Columns not in the table: {missing}; it has {_short(list(table.columns))}.")
    repeated = [name for name in names if isinstance(table[name], pd.DataFrame)]
    if repeated:
        raise ValueError(f"The table has several columns of the same name: {repeated}; rename or drop them.")
    other = {name: str(table[name].dtype) for name in names if not is_numeric(table[name])}
    if other:
        raise ValueError(f"Columns that are not numbers: {other}; code them as numbers first (gender as 0 and 1, say).")
    return pd.DataFrame({name: table[name].to_numpy(np.float64, na_value=np.nan) for name in names}, index=table.index)


def of_pairs(
    table: pd.DataFrame, exposures: Sequence[str], mediators: Sequence[str], outcome: str, covariates: Sequence[str]
) -> pd.DataFrame:
    """The columns of exposures, mediators, outcome and covariates; see numeric().

    Raises: ValueError as numeric(), or without an exposure or mediator.
    """
    if not list(exposures) or not list(mediators):
        raise ValueError("Name at least one exposure and one mediator.")
    return numeric(table, [*exposures, *mediators, outcome, *covariates])


def is_numeric(column: pd.Series) -> bool:
    """Whether the dtype is real or boolean."""
    return pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_complex_dtype(column)


def _short(names: list) -> str:
    return f"{names[:12]}" + (f" and {len(names) - 12} more" if len(names) > 12 else "")
