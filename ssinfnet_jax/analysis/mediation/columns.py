"""Numeric columns of a user's table, and errors for the others."""

import re
from collections.abc import Sequence, Set

import numpy as np
import pandas as pd
from absl import logging

# Columns of phenotype tables that count what was measured.
_COUNT = re.compile(r"(^|_)num_(slices|failed|bins)$")
# Words in the names of columns that identify patients or rows.
_IDENTIFIER = {"id", "ids", "uid", "uuid", "guid", "mrn", "no", "nr", "number", "index", "row", "accession", "unnamed"}
_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
_MIN_NUMBERED = 10  # with fewer rows, whole numbers in a row may be chance


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

    Raises: ValueError as numeric(); without an exposure or mediator; for an outcome or covariate without any value
      (exposures and mediators without values are flagged, like others that cannot be fitted).
    """
    if not list(exposures) or not list(mediators):
        raise ValueError("Name at least one exposure and one mediator.")
    data = numeric(table, [*exposures, *mediators, outcome, *covariates])
    for role, names in (("outcome", [outcome]), ("covariate", covariates)):
        for name in names:
            if not data[name].notna().any():
                raise ValueError(
                    f"The {role} {name!r} has no value in any of the {len(data)} rows; fill the column, or choose "
                    "another one."
                )
    return data


def matching(table: pd.DataFrame, expression: str, taken: Set[str]) -> list[str]:
    """The numeric columns whose names a regular expression finds.

    Those of `taken`, counts of slices and bins, columns that number patients or rows (see is_identifier()) and columns
    of words are skipped, the last two with a line in the log.

    Raises: ValueError for an invalid expression, one that matches no numeric column, or a column of numbers with a
      cell that is not a number, such as "1,5", "3 HU" and "<5".
    """
    try:
        wanted = re.compile(expression)
    except re.error as error:
        raise ValueError(
            f"The mediators are not a regular expression: {expression!r} ({error}); '^ggo_', for one, matches all "
            "columns that begin with ggo_."
        ) from error
    names, spoiled, words, identifiers = [], {}, {}, []
    for name in dict.fromkeys(table.columns):
        if name in taken or not wanted.search(str(name)) or _COUNT.search(str(name)):
            continue
        if isinstance(table[name], pd.DataFrame) or is_numeric(table[name]):
            # Several columns of one name are refused by numeric().
            is_id = not isinstance(table[name], pd.DataFrame) and is_identifier(table[name])
            (identifiers if is_id else names).append(name)
            continue
        known = table[name].notna()
        text = known & pd.to_numeric(table[name].astype(str), errors="coerce").isna()
        like_numbers = table[name].astype(str).str.match(r"\W*\d")
        if not text.equals(known) or (known & like_numbers).any():
            names.append(name)  # without text it holds numbers of a dtype that numeric() refuses, with a remedy
            spoiled |= {name: text} if text.any() else {}
        elif known.any():
            words[name] = table[name][known].iloc[0]
    if spoiled:
        raise ValueError(_spoiled(table, expression, spoiled))
    told = f"{_short(list(words))}, as {next(iter(words.values()))!r:.40}" if words else ""
    if identifiers:
        logging.info(
            "Columns that match the mediators %r, but number patients or rows, are left out: %s. Rename one that "
            "measures something.",
            expression,
            _short(identifiers),
        )
    if not names:
        there = f"these match, but hold words: {told}" if words else f"the first columns are {list(table.columns)[:12]}"
        if identifiers and not words:
            there = f"these match, but number patients or rows: {_short(identifiers)}"
        raise ValueError(
            f"No numeric column matches the mediators {expression!r}; {there}. Choose an expression that finds columns "
            "of numbers."
        )
    if words:
        logging.info("Columns that match the mediators %r, but hold words, are left out: %s.", expression, told)
    return names


def _spoiled(table: pd.DataFrame, expression: str, spoiled: dict[str, pd.Series]) -> str:
    """What is wrong with columns of numbers that have cells of text, `spoiled`: column -> which cells."""
    first, text = next(iter(spoiled.items()))
    row = int(text.to_numpy().argmax())
    return (
        f"Columns that match the mediators {expression!r} have cells that are not numbers: "
        f"{_short(list(spoiled))}; the first one is {table[first].iloc[row]!r} in {first!r}, row {row + 2} (the "
        "header is row 1). Numbers have a decimal point and no unit. Correct or empty these cells, or choose an "
        "expression that leaves the columns out."
    )


def is_identifier(column: pd.Series) -> bool:
    """Whether a numeric column identifies patients or rows.

    Its values are whole and differ from one another; and it is called so (`id`, `PatientID`, `case_no`, `Unnamed: 0`),
    or it has at least 10 values that are those of a numbering without gaps, in any order.
    """
    values = column.dropna().astype(float)
    if len(values) < 2 or not values.is_unique or not np.isfinite(values).all() or not (values % 1 == 0).all():
        return False
    words = {word.lower() for word in _WORDS.findall(str(column.name))}
    without_gaps = values.max() - values.min() == len(values) - 1
    return bool(words & _IDENTIFIER) or (len(values) >= _MIN_NUMBERED and bool(without_gaps))


def is_numeric(column: pd.Series) -> bool:
    """Whether the dtype is real or boolean."""
    return pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_complex_dtype(column)


def _short(names: list) -> str:
    return f"{names[:12]}" + (f" and {len(names) - 12} more" if len(names) > 12 else "")
