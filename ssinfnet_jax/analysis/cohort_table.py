"""Reads and checks a user's table of patients with clinical columns and phenotypes."""

import os
import pathlib
import re
from collections.abc import Sequence

import pandas as pd
from absl import logging

from ssinfnet_jax.analysis import severity, table_codes
from ssinfnet_jax.analysis.mediation.outcome.ordinal import level_codes
from ssinfnet_jax.data import text_table
from ssinfnet_jax.data.clinical import clinical_table, vocabulary

PATIENT = "patient_id"
_WORDS = ("age", "gender", "underlying")  # kinds of columns whose words become numbers
_SUMMARY = (  # names of summary rows in the column of patients
    "means?|average|total|sum|sd|std|median|mean sd|iqr|range|min|max|all|overall|mittelwert|summe|合计|总计|平均值?|"
    "均值|标准差"
)
_MAX_LISTED = 10


def read(
    path: str | os.PathLike,
    exposures: Sequence[str],
    outcome: str,
    covariates: Sequence[str] = (),
    *,
    levels: Sequence[str] = (),
    mediators: str = "",
    groups: Sequence[str] = (),
    numbers: Sequence[str] = (),
    missing_codes: Sequence[str] = (),
) -> pd.DataFrame:
    """Reads a cohort.

    Args:
      path: CSV (UTF-8, comma) or XLSX, one row per patient, with numeric phenotypes. The optional column of patients is
        called `patient_id` or as in clinical_table.COLUMN_NAMES.
      exposures, covariates: columns; case and blanks are ignored. `age`, `gender` and `underlying` may have another
        name of clinical_table.COLUMN_NAMES, and their words are parsed as in data.clinical.clinical_table (gender:
        0 female, 1 male). In other columns yes and no become 1 and 0.
      outcome: column of numbers, yes and no, or severity levels, see severity.outcome().
      levels: of the outcome, lowest first, see level_codes(). The table then has a column `<outcome>_level` of the
        cells as they are, and an outcome that severity.outcome() cannot parse becomes the index of its level, from 0.
      groups: columns of categories, such as hospitals and scanners, whose cells stay as they are.
      numbers: other numeric columns, such as weights.
      mediators: regular expression for the mediators, which are checked for codes.
      missing_codes: further codes of missing values: `-9999` in any column, `bmi=-9` in one; `none` states that no
        other number is a code.
    Returns: these columns as numbers under the requested names, missing values NaN, and `patient_id`.
      `attrs["doubts"]` lists doubtful words for diseases, see diseases.read_all().
    Raises: FileNotFoundError; ValueError for an unreadable or empty file, rows with more cells than the header,
      another separator, a repeated name, missing or ambiguous columns, a repeated patient, ages outside [0, 120] years,
      unknown words or severity levels, numbers that look like codes for "missing", and exposures and covariates that
      look like codes of groups.
    """
    path = pathlib.Path(path)
    wanted = [*exposures, outcome, *covariates, *numbers]
    groups = [name for name in dict.fromkeys(groups) if name not in wanted]
    texts = text_table.read(
        path, "The cohort table", lambda cells: all(clinical_table.find(name, cells) for name in wanted)
    )
    texts, header = _named(path, texts, [*wanted, *groups])
    texts = _without_notes(path, texts)
    if texts.empty:
        raise ValueError(f"The cohort table {path} has no rows.")
    texts = table_codes.without(path, texts, missing_codes, keep=PATIENT)
    columns, doubts = {}, clinical_table.no_doubts()
    for name, column in texts.items():
        if name == PATIENT:
            columns[name] = column.where(column != "")
        elif name == outcome:
            if levels:
                columns[f"{name}_level"] = column.where(~column.map(clinical_table.is_missing))
            columns[name] = _outcome(path, column, levels)
        elif name in groups:
            columns[name] = column.where(~column.map(clinical_table.is_missing))
        elif name in wanted:
            columns[name], found = _role(path, column, header[name])
            doubts = found if len(found) else doubts  # only one column has diseases
        else:
            columns[name] = _other(column)
    table = pd.DataFrame(columns).reset_index(drop=True)
    analysed = [name for name in texts if name in wanted or (mediators and _found(mediators, name))]
    analysed = [name for name in analysed if name not in groups]
    table_codes.check_missing(path, table[[name for name in analysed if name != PATIENT]], missing_codes)
    table_codes.check_groups(path, table[list(dict.fromkeys([*exposures, *covariates]))])
    clinical_table.warn_of(doubts, path)
    table.attrs["doubts"] = doubts.to_dict("records")
    return table


def write_doubts(table: pd.DataFrame, path: pathlib.Path) -> None:
    """Writes the doubtful words for diseases of a table from read(); if there are none, removes an earlier list."""
    if table.attrs["doubts"]:
        pd.DataFrame(table.attrs["doubts"]).to_csv(path, index=False)
    else:
        path.unlink(missing_ok=True)


def _named(path: pathlib.Path, texts: pd.DataFrame, wanted: Sequence[str]) -> tuple[pd.DataFrame, dict[str, str]]:
    """Renames columns to the wanted names and PATIENT; also returns the names of these columns in the file."""
    found = {name: clinical_table.find(name, texts.columns) for name in wanted}
    missing = [name for name, matches in found.items() if not matches]
    if missing:
        raise ValueError(f"{path} has no columns {missing}; it has {list(texts.columns)[:12]}. Rename or add them.")
    for name, matches in found.items():
        if len(matches) > 1:
            raise ValueError(f"{path}: the columns {matches} are all called {name!r}; rename or delete all but one.")
    header = {name: matches[0] for name, matches in found.items()}
    for name, column in header.items():
        kind = clinical_table.kind_of(column)
        others = [
            other for other in texts if kind and clinical_table.kind_of(other) == kind and other not in header.values()
        ]
        if others:
            logging.warning("%s: uses column %r as %r, and ignores the similar %s.", path, column, name, others)
    twice = [(a, b) for a in header for b in header if a < b and header[a] == header[b]]
    if twice:
        raise ValueError(
            f"{path}: {' and '.join(map(repr, twice[0]))} are the same column, {header[twice[0][0]]!r}; name it once."
        )
    patients = _patients(path, texts, list(header.values()))
    names = {column: name for name, column in header.items()} | dict.fromkeys(patients, PATIENT)
    table = texts.rename(columns=names)
    if PATIENT not in table:
        logging.warning("%s has no column %r: each row counts as a different patient.", path, PATIENT)
    else:
        column = table[PATIENT]
        twice = column[column.duplicated() & (column != "")].unique().tolist()
        if twice:
            raise ValueError(f"{path}: each patient must have one row, but these have several: {twice[:_MAX_LISTED]}.")
    return table, header


def _without_notes(path: pathlib.Path, texts: pd.DataFrame) -> pd.DataFrame:
    """Drops rows that are empty except for their first cell, such as notes below a table.

    Raises: ValueError for rows of sums or means among the patients.
    """
    notes = (texts.iloc[:, 1:] == "").all(axis=1) & (len(texts.columns) > 2)
    if notes.any():
        rows = texts.index[notes].tolist()[:_MAX_LISTED]
        logging.warning("%s: leaves out rows %s, which are empty except for their first cell.", path, rows)
    texts = texts[~notes]
    summaries = (
        texts[PATIENT].map(vocabulary.key).str.fullmatch(_SUMMARY) if PATIENT in texts else pd.Series(dtype=bool)
    )
    if summaries.any():
        row = summaries.idxmax()
        raise ValueError(
            f"{path}: row {row} ({texts[PATIENT][row]!r}) is not a patient; delete rows of sums and means."
        )
    return texts


def _patients(path: pathlib.Path, texts: pd.DataFrame, taken: Sequence[str]) -> list[str]:
    """The column of patients, if any, as a list."""
    columns = [name for name in clinical_table.find(PATIENT, texts.columns) if name not in taken]
    if len(columns) > 1:
        raise ValueError(f"{path}: any of the columns {columns} may identify patients; rename the right one {PATIENT}.")
    return columns


def _outcome(path: pathlib.Path, texts: pd.Series, levels: Sequence[str]) -> pd.Series:
    try:
        if not levels:
            return severity.outcome(texts)
        severity.check_levels(levels)
        codes = level_codes(texts.where(~texts.map(clinical_table.is_missing)), levels)
    except ValueError as error:
        raise ValueError(f"{path}, column {texts.name!r}: {error}") from None
    try:
        return severity.outcome(texts)
    except ValueError:
        logging.info("Column %r: models of one number take the levels as 0 to %d.", texts.name, len(levels) - 1)
        return codes


def _role(path: pathlib.Path, texts: pd.Series, header: str) -> tuple[pd.Series, pd.DataFrame]:
    """Parses an exposure or covariate to numbers; also returns its doubtful words."""
    kind = clinical_table.kind_of(texts.name) or clinical_table.kind_of(header)
    if kind in _WORDS:
        numbers, problems, doubts = clinical_table.parse_column(kind, texts, header, trust_codes=True)
    else:
        (numbers, problems), doubts = _numbers(texts), clinical_table.no_doubts()
    if problems:
        called = repr(texts.name) if header == texts.name else f"{texts.name!r} (column {header!r})"
        codes = table_codes.like_missing(texts[texts.index.isin([row for rows, _ in problems for row in rows])])
        told = f". If {codes[0]} means missing, give --missing_codes={texts.name}={codes[0]}." if codes else ""
        raise ValueError(
            f"{path}: {clinical_table.num_problems(problems)} values of {called} must be corrected:\n  "
            f"{clinical_table.problem_lines(problems)}{told}"
        )
    return numbers, doubts


def _numbers(texts: pd.Series) -> tuple[pd.Series, list[clinical_table.Problem]]:
    """Parses cells to numbers, yes and no to 1 and 0 if there is nothing else, words for "unknown" to NaN."""
    known = texts[~texts.map(clinical_table.is_missing)]
    numbers = pd.to_numeric(known, errors="coerce")
    words = known[numbers.isna()]
    if len(words) == len(known) and len(known) and not words.str.match(r"\W*\d").any():
        answers = {text: vocabulary.answer(text) for text in known.unique()}
        if None not in answers.values():
            logging.info("Column %r: yes is 1, no is 0.", texts.name)
            return known.map(answers).astype(float).reindex(texts.index), []
        some = ", ".join(map(repr, list(answers)[:5]))
        what = f"the column contains words, such as {some}; {table_codes.remedy(texts.name)}"
        return texts, [(known.index.tolist(), what)]
    why = "is not a number; write it with a point (1.5) and without a unit, or empty the cell"
    problems = [(words.index[words == text].tolist(), f"{text!r} {why}") for text in words.unique()]
    return numbers.reindex(texts.index).astype(float), problems


def _other(texts: pd.Series) -> pd.Series:
    """Parses a column without a role: to numbers if all known cells are numbers, else it keeps its words."""
    numbers = pd.to_numeric(texts, errors="coerce")
    words = texts[numbers.isna() & (texts != "")]
    missing = {text: clinical_table.is_missing(text) for text in words.unique()}
    if all(missing.values()):
        if missing:
            logging.info("Column %r: %s counts as missing.", texts.name, ", ".join(map(repr, missing)))
        return numbers.astype(float)
    if set(words.str.lower()) <= {"true", "false"} and len(words) == len(texts):
        return texts.str.lower() == "true"
    return texts.where((texts != "") & ~texts.map(lambda text: missing.get(text, False)))


def _found(expression: str, name: str) -> bool:
    try:
        return bool(re.search(expression, name))
    except re.error:  # mediation.analyse() raises for it
        return False
