"""Clinical tables: age, gender, number of underlying diseases and severity of patients, from CSV or XLSX.

Everything that is wrong with a table is collected and raised at once, with the rows.
"""

import csv
import math
import os
import re
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

SEVERITY_LEVELS = (
    "Control (Healthy)",
    "Control",
    "Control (Community-acquired pneumonia)",
    "Suspected",
    "Suspected (COVID-19-confirmed later)",
    "Mild",
    "Regular",
    "Severe",
    "Critically ill",
)

# Our column -> names it may have in a table; case, spaces, punctuation and units in brackets do not matter.
COLUMN_NAMES = {
    "patient": ("patient", "patient id", "patient no", "patient number", "id"),
    "age": ("age", "age years", "age in years"),
    "gender": ("gender", "sex"),
    "underlying": (
        "underlying diseases",
        "underlying disease",
        "comorbidities",
        "comorbidity",
        "chronic diseases",
    ),
    "severity_level": ("morbidity outcome", "morbidity", "morbidity level", "severity", "severity level"),
}

MAX_AGE_YEARS = 120
_GENDERS = {"female": 0, "f": 0, "woman": 0, "male": 1, "m": 1, "man": 1}
_NO_DISEASE = re.compile(
    r"-|n|nil|false|negative|absent|(?:(?:previously|otherwise) )?healthy|无|否认|无基础疾病|无基础病|"
    r"(?:no|none|without|denie[sd])"
    r"(?: (?:any|known|other|significant|relevant|underlying|chronic|past|previous|prior|medical|basic))*"
    r"(?: (?:diseases?|comorbidit(?:y|ies)|conditions?|illness(?:es)?|disorders?|history))?"
    r"(?: (?:known|reported|recorded|noted))?"
)
_NOT_A_DISEASE = re.compile(r"[+-]?\d|(?:no|none|not|without|denie[sd])\b|无|否认|没有")
_SEPARATORS = r"[,;/+&、，；\n]|\band\b"
_BRACKETS = r"\([^()]*\)|\[[^\[\]]*\]|（[^（）]*）"
_UNKNOWN = {"", "/", "nan", "na", "n/a", "unknown", "not available", "missing"}
_MAX_LISTED = 10


def read_clinical(path: str | os.PathLike) -> pd.DataFrame:
    """Reads a clinical table.

    Args:
      path: .csv (UTF-8, comma) or .xlsx (first sheet); columns as in COLUMN_NAMES, others are ignored.

    Returns: indexed by patient (str, the number in the patient's name where there is one), with columns age
      (float64 years), gender (float64, 0 female, 1 male), underlying (float64, count) and severity_level
      (str); missing is NaN or "".
    Raises:
      FileNotFoundError: no such file.
      ValueError: unreadable, a column is missing or there twice, a patient occurs twice, an age is
        impossible, or a gender or level is unknown; lists the rows.
    """
    table = _read_text(Path(path))
    columns = _find_columns(table, path)
    problems: list[str] = []
    rows = []
    for position, row in enumerate(table[list(columns.values())].itertuples(index=False)):
        values = dict(zip(columns, row, strict=True))
        where = f"row {position + 2}"  # as a spreadsheet counts, with the header in row 1
        if not values["patient"].strip():
            problems.append(f"{where}: no patient")
            continue
        parsed = {"patient": patient_key(values["patient"])}
        for name, parse in _PARSERS.items():
            try:
                parsed[name] = parse(values[name])
            except ValueError as error:
                problems.append(f"{where} (patient {values['patient'].strip()}): {error}")
        rows.append((where, parsed))
    problems += _repeated(rows)
    if problems:
        listed = "\n  ".join(problems[:_MAX_LISTED])
        more = f"\n  and {len(problems) - _MAX_LISTED} more" if len(problems) > _MAX_LISTED else ""
        raise ValueError(
            f"Clinical table {os.fspath(path)} has {len(problems)} problems; correct them:\n  {listed}{more}"
        )
    if not rows:
        raise ValueError(f"Clinical table {os.fspath(path)} has no rows.")
    return pd.DataFrame([parsed for _, parsed in rows]).set_index("patient")


def patient_key(name: str) -> str:
    """The number in names such as `Patient 12`, `12`, `12.0`, `P-012`; any other name in lower case."""
    match = re.fullmatch(r"\s*(?:patient|pat|p)?[\s_.#-]*0*(\d+)(?:\.0)?\s*", name, flags=re.IGNORECASE)
    return match[1] if match else " ".join(name.lower().split())


def parse_age(text: str) -> float:
    """Years; NaN if missing. Raises ValueError if not a number in [0, 120]."""
    if text.strip().lower() in _UNKNOWN | {"-"}:
        return math.nan
    match = re.fullmatch(r"\s*(-?\d+(?:\.\d+)?)\s*(?:y|yr|yrs|years?|years? old)?\s*", text, flags=re.IGNORECASE)
    age = float(match[1]) if match else math.nan
    if not 0 <= age <= MAX_AGE_YEARS:
        raise ValueError(f"age {text.strip()!r} is not a number of years from 0 to {MAX_AGE_YEARS}")
    return age


def parse_gender(text: str) -> float:
    """0 female, 1 male, NaN if missing. Numbers are refused: tables disagree on what 0 and 1 mean."""
    key = text.strip().lower()
    if key in _UNKNOWN | {"-"}:
        return math.nan
    if key not in _GENDERS:
        raise ValueError(f"gender {text.strip()!r} is unknown; use one of {', '.join(_GENDERS)}")
    return float(_GENDERS[key])


def count_diseases(text: str) -> float:
    """Number of different diseases in a free text, or the number itself; 0 for none or "-", NaN if missing.

    Diseases are separated by `,` `;` `/` `+` `&` (and the Chinese marks), line breaks or the word "and":
    "diabetes and hypertension; COPD" has 3. What stands in brackets does not count.

    Raises: ValueError for numbers that are not whole, and for text that begins with a number or denies something
      in words that are not understood, such as "2 diseases" or "no diabetes".
    """
    key = " ".join(text.lower().split()).rstrip(".。")
    if key in _UNKNOWN:
        return math.nan
    if re.fullmatch(r"\d+(\.0+)?", key):
        return float(key)
    pieces = {" ".join(piece.split()).rstrip(".。") for piece in re.split(_SEPARATORS, _without_brackets(text.lower()))}
    diseases = {piece for piece in pieces - {""} if not _NO_DISEASE.fullmatch(piece)}
    unclear = [piece for piece in sorted(diseases) if _NOT_A_DISEASE.match(piece) or re.search(r"[()\[\]（）]", piece)]
    if unclear or not pieces - {""}:
        raise ValueError(
            f"diseases {text.strip()!r} cannot be counted{f' ({unclear[0]!r} is not understood)' if unclear else ''}; "
            "write their number alone, as 2, their names with commas between them, or none"
        )
    return float(len(diseases))


def parse_severity(text: str) -> str:
    """One of SEVERITY_LEVELS, whatever the case, spaces and hyphens; "" if missing."""
    key = _letters(text)
    if text.strip().lower() in _UNKNOWN | {"-"}:
        return ""
    for level in SEVERITY_LEVELS:
        if key == _letters(level):
            return level
    raise ValueError(f"severity {text.strip()!r} is unknown; use one of {', '.join(SEVERITY_LEVELS)}")


_PARSERS = {
    "age": parse_age,
    "gender": parse_gender,
    "underlying": count_diseases,
    "severity_level": parse_severity,
}


def _letters(text: str) -> str:
    return re.sub(r"[^a-z0-9]", "", text.lower())


def _without_brackets(text: str) -> str:
    count = 1
    while count:  # brackets in brackets
        text, count = re.subn(_BRACKETS, " ", text)
    return text


def csv_header(path: str | os.PathLike) -> list[str]:
    """The names in the first line of a CSV file (UTF-8, comma), each its own, whose rows have no more cells than these.

    pandas would take the first cell of longer rows for a label, and read every column one place off; and call the
    second column of a name NAME.1.

    Raises: ValueError for another separator, a name that occurs twice, longer rows, with the first of them, or text
      that is not UTF-8; csv.Error.
    """
    with open(path, encoding="utf-8-sig", newline="") as file:
        rows = csv.reader(file)
        header: list[str] = []
        for position, row in enumerate(rows):
            if not header:
                header = row
                _check_header(header)
            if len(row) > len(header):
                raise ValueError(
                    f"rows have more cells than the header: row {position + 1} has {len(row)}, the header "
                    f"{len(header)}; delete commas at the ends of rows, name each column, or put text with commas in "
                    "quotes"
                )
    return header


def _check_header(header: Sequence[str]) -> None:
    """Raises ValueError for a first line that is separated by something else than commas, or has a name twice."""
    line = ",".join(header)
    if line.lower().startswith("sep="):
        raise ValueError(f"its first line is {line!r}; delete that line, and separate the columns by commas")
    for separator, called in ((";", "semicolons"), ("\t", "tabs")):
        if line.count(separator) > line.count(","):
            raise ValueError(
                f"its columns are separated by {called}; export it with commas between the columns and points in the "
                "numbers (1.5, not 1,5)"
            )
    twice = sorted({name for name in header if name and header.count(name) > 1})
    if twice:
        places = {name: [place + 1 for place, other in enumerate(header) if other == name] for name in twice}
        listed = ", ".join(f"{name!r} (columns {', '.join(map(str, at))})" for name, at in places.items())
        raise ValueError(f"its header has names twice: {listed}; rename or delete one of each")


def _read_text(path: Path) -> pd.DataFrame:
    """All cells as text, empty ones as ""."""
    if not path.exists():
        raise FileNotFoundError(f"Clinical table {path} does not exist.")
    try:
        if path.suffix.lower() == ".csv":
            csv_header(path)
            return pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig")
        return pd.read_excel(path, dtype=str, keep_default_na=False).fillna("")
    except Exception as error:
        raise ValueError(f"Clinical table {path} cannot be read ({error}); save it as CSV (UTF-8) or XLSX.") from error


def is_named(column: object, name: str) -> bool:
    """Whether a table's column has one of the names in COLUMN_NAMES[name]."""
    words = re.sub(r"[^a-z0-9]+", " ", re.sub(r"\(.*?\)", "", str(column).lower())).split()
    return " ".join(words) in COLUMN_NAMES[name]


def _find_columns(table: pd.DataFrame, path: str | os.PathLike) -> dict[str, str]:
    found = {ours: [c for c in table.columns if is_named(c, ours)] for ours in COLUMN_NAMES}
    wrong = {ours: matches for ours, matches in found.items() if len(matches) != 1}
    if wrong:
        listed = "; ".join(
            f"{ours}, found {' and '.join(map(repr, matches)) or 'none'} of {', '.join(COLUMN_NAMES[ours])}"
            for ours, matches in wrong.items()
        )
        raise ValueError(
            f"Clinical table {os.fspath(path)} must have one column for each of these: {listed}. "
            f"It has the columns {', '.join(map(repr, table.columns))}; rename them."
        )
    return {ours: matches[0] for ours, matches in found.items()}


def _repeated(rows: list[tuple[str, dict]]) -> list[str]:
    where: dict[str, list[str]] = {}
    for row, parsed in rows:
        where.setdefault(parsed["patient"], []).append(row)
    return [f"patient {patient} occurs in {' and '.join(r)}" for patient, r in where.items() if len(r) > 1]
