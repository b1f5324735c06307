"""A user's table of patients with clinical columns and phenotypes, checked before anything is computed."""

import csv
import os
import pathlib
from collections.abc import Callable, Sequence

import pandas as pd
from absl import logging

from ssinfnet_jax.analysis import severity
from ssinfnet_jax.analysis.mediation import columns
from ssinfnet_jax.data import clinical

PATIENT = "patient_id"
# How words in these columns become numbers; other columns must hold numbers.
_PARSERS: dict[str, Callable[[str], float]] = {
    "age": clinical.parse_age,
    "gender": clinical.parse_gender,
    "underlying": clinical.count_diseases,
}
# Of columns of words. Not "None", which pandas takes for missing: a patient with no disease is one that is known.
_MISSING = ("", "#N/A", "<NA>", "N/A", "NA", "NULL", "NaN", "n/a", "nan", "null")
_MAX_LISTED = 10


def read(
    path: str | os.PathLike, exposures: Sequence[str], outcome: str, covariates: Sequence[str] = ()
) -> pd.DataFrame:
    """Reads a cohort.

    Args:
      path: CSV (UTF-8, comma), one row per patient, with phenotypes as numbers. The column of patients, which may
        be missing, is called `patient_id` or as in clinical.COLUMN_NAMES.
      exposures, covariates: columns. Words in age, gender and underlying are understood as in
        data.clinical (gender becomes 0 female, 1 male); numbers stay what they are.
      outcome: column; the names of severity levels become 0 or 1 as severity.binarize() says.
    Returns: the table, these columns numeric, missing values NaN, the column of patients called `patient_id`.
    Raises: FileNotFoundError; ValueError for an unreadable or empty file, rows with more cells than the header,
      another separator, a name twice, missing columns, several columns of patients, a patient who occurs twice, ages
      outside [0, 120] years, words that are not understood, an unknown severity level.
    """
    path = pathlib.Path(path)
    wanted = [*exposures, outcome, *covariates]
    table, texts = _read_csv(path, wanted)
    missing = [name for name in wanted if name not in table]
    if missing:
        raise ValueError(f"{path} has no columns {missing}; it has {list(table.columns)[:12]}. Rename or add them.")
    if PATIENT in table:
        patients = table[PATIENT].str.strip()
        twice = patients[patients.duplicated()].dropna().unique().tolist()
        if twice:
            raise ValueError(f"{path}: each patient must have one row, but these have several: {twice[:_MAX_LISTED]}.")
    else:
        logging.warning("%s has no column %r: each row is taken for a patient of its own.", path, PATIENT)
    for name in texts:
        if name == "age" or not columns.is_numeric(table[name]) or (table[name].isna() & texts[name].notna()).any():
            table[name] = _parse(path, texts[name], _PARSERS[name])
    if not columns.is_numeric(table[outcome]):
        try:
            table[outcome] = severity.binarize(table[outcome])
        except ValueError as error:
            raise ValueError(f"{path}, column {outcome!r}: {error}") from None
    return table


def _read_csv(path: pathlib.Path, wanted: Sequence[str]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The table, its column of patients called PATIENT, and the wanted columns that may hold words, as text."""
    if not path.is_file():
        raise FileNotFoundError(f"The cohort table {path} does not exist.")
    try:
        header = clinical.csv_header(path)
        named = [name for name in header if clinical.is_named(name, "patient")]
        patients = [name for name in named if name == PATIENT or name not in wanted]
        table = pd.read_csv(path, dtype=dict.fromkeys(patients, str), encoding="utf-8-sig")
        words = [name for name in _PARSERS if name in wanted and name in table]
        texts = pd.read_csv(
            path, usecols=words, dtype=str, keep_default_na=False, na_values=list(_MISSING), encoding="utf-8-sig"
        )
    except (ValueError, UnicodeError, csv.Error) as error:  # pandas' own errors are ValueErrors
        raise ValueError(f"The cohort table {path} cannot be read ({error}); save it as CSV (UTF-8).") from error
    if table.empty:
        raise ValueError(f"The cohort table {path} has no rows.")
    if PATIENT not in table and len(patients) > 1:
        raise ValueError(f"{path}: the columns {patients} may all be of patients; call the right one {PATIENT}.")
    return table if PATIENT in table else table.rename(columns=dict.fromkeys(patients, PATIENT)), texts


def _parse(path: pathlib.Path, column: pd.Series, parse: Callable[[str], float]) -> pd.Series:
    numbers, problems = [], []
    for position, value in enumerate(column):
        try:
            numbers.append(parse("" if pd.isna(value) else str(value)))
        except ValueError as error:
            problems.append(f"row {position + 2}: {error}")  # as a spreadsheet counts, with the header in row 1
    if problems:
        more = f"\n  and {len(problems) - _MAX_LISTED} more" if len(problems) > _MAX_LISTED else ""
        listed = "\n  ".join(problems[:_MAX_LISTED])
        raise ValueError(f"{path}: {len(problems)} values of {column.name!r} must be corrected:\n  {listed}{more}")
    return pd.Series(numbers, index=column.index, dtype=float)
