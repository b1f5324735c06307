"""Clinical tables: each patient's age, gender, number of underlying diseases and severity, from CSV or XLSX.

All problems of a table are collected and raised in one error that lists the rows.
"""

import math
import os
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Literal, get_args

import pandas as pd
from absl import logging

from ssinfnet_jax.data import text_table
from ssinfnet_jax.data.clinical import diseases, vocabulary

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

# Our column -> the names it may have in a table. Case, accents, blanks, punctuation and text in brackets are ignored,
# except for a unit other than years.
COLUMN_NAMES = {
    "patient": (
        *("patient", "patient id", "patient no", "patient number", "patient code", "patient name", "id", "case id"),
        *(
            "case no",
            "subject",
            "subject id",
            "participant id",
            "record id",
            "mrn",
            "患者",
            "患者编号",
            "病人",
            "病人编号",
        ),
        *("编号", "病例号", "住院号", "序号", "patienten id", "patientennummer"),
    ),
    "age": (
        *("age", "age years", "age in years", "age y", "age yr", "age yrs", "patient age", "age of patient"),
        *("age at admission", "age at diagnosis", "age at scan", "age at ct", "age at onset", "age at enrolment"),
        *("alter", "alter jahre", "alter in jahren", "âge", "eta", "edad", "idade", "年龄", "年龄岁"),
    ),
    "gender": (
        "gender",
        "sex",
        "patient sex",
        "sex at birth",
        "biological sex",
        "geschlecht",
        "sexe",
        "genre",
        "sesso",
        "sexo",
        "genero",
        "性别",
    ),
    "underlying": (
        *("underlying", "underlying disease", "underlying diseases", "underlying condition", "underlying conditions"),
        *("comorbidity", "comorbidities", "comorbid conditions", "comorbid diseases", "chronic disease"),
        *("chronic diseases", "chronic conditions", "preexisting conditions", "preexisting diseases", "diseases"),
        *("number of underlying diseases", "num underlying diseases", "number of comorbidities", "num comorbidities"),
        *(
            "no of underlying diseases",
            "no of comorbidities",
            "comorbidity count",
            "chronic illnesses",
            "chronic illness",
        ),
        *("underlying illness", "underlying illnesses", "disease history", "past history", "number of diseases"),
        *("medical history", "past medical history", "pmh", "vorerkrankungen", "grunderkrankungen"),
        *("begleiterkrankungen", "komorbiditäten", "comorbidités", "antécédents", "comorbilidades", "comorbilità"),
        *("enfermedades de base", "antecedentes", "基础疾病", "基础病", "合并症", "既往史", "既往病史", "慢性病"),
    ),
    "severity_level": (
        *("severity", "severity level", "morbidity outcome", "morbidity", "morbidity level", "disease severity"),
        *(
            "clinical severity",
            "covid severity",
            "covid 19 severity",
            "severity of disease",
            "schweregrad",
            "gravité",
            "gravità",
            "gravedad",
            "病情",
            "严重程度",
        ),
        *("病情程度", "临床分型"),
    ),
}

Exposure = Literal["age", "gender", "underlying"]  # a table may be said to lack some of these
EXPOSURES = get_args(Exposure)
_CODED = ("gender", "sex", "geschlecht", "性别")  # columns whose names may explain their codes
MAX_AGE_YEARS = 120
_GENDERS = {
    0: "female f woman girl w weiblich frau femme feminin feminine femmina donna femenino mujer hembra 女 女性 女士",
    1: "male m man boy mannlich maennlich herr homme masculin maschio uomo masculino hombre varon h 男 男性 男士",
}
_GENDER = {word: code for code, words in _GENDERS.items() for word in words.split()}
_YEARS = r"(?:y|yr|yrs|year|years|y/?o|y\.o|years?[ -]old|year-old|岁|周岁|年|jahre?|j|ans?|anos?|anni|anno|a)"
_MONTHS = r"(?:mo|mos|mon|mth|mths|months?|months?[ -]old|个?月|月龄|monate?|mois|mes|meses|mesi|mese)"
_WEEKS = r"(?:w|wk|wks|weeks?|weeks?[ -]old|周|wochen?|semaines?|semanas?|settiman[ae])"
_DAYS = r"(?:d|days?|days?[ -]old|天|日|tage?|jours?|dias?|giorn[oi])"
_PER_YEAR = {_YEARS: 1.0, _MONTHS: 12.0, _WEEKS: 365.25 / 7, _DAYS: 365.25}
_MAX_LISTED = 10

Problem = tuple[list[int], str]  # rows of the file, and what is wrong with them


def read_clinical(path: str | os.PathLike, without: Sequence[str] = ()) -> pd.DataFrame:
    """Reads a clinical table.

    Args:
      path: .csv (UTF-8, comma) or .xlsx with the columns of COLUMN_NAMES; other columns are ignored.
      without: those of EXPOSURES that the table does not have, or that are not to be read.

    Returns: a table indexed by patient (str; the number in the patient's name if it has one), with columns age
      (float64 years), gender (float64, 0 female, 1 male), underlying (float64, count) and severity_level
      (str), but for those in `without`; missing values are NaN or "". `attrs["doubts"]` lists doubtful disease texts,
      see diseases.read_all().
    Raises:
      FileNotFoundError: no such file.
      ValueError: the file is unreadable, a column is missing or duplicated, a patient occurs twice, an age is
        impossible, or a gender or level is unknown; lists the rows.
    """
    needed = [name for name in COLUMN_NAMES if name not in without]
    table = text_table.read(path, "Clinical table", lambda cells: {*map(kind_of, cells)} >= {*needed})
    columns = _find_columns(table, path, needed)
    table = table[list(columns.values())].set_axis(list(columns), axis=1)
    names = table.pop("patient")
    problems: list[Problem] = [([row], "no patient") for row in names.index[names == ""]]
    parsed, doubts = {"patient": names.map(patient_key)}, no_doubts()
    for kind, column in table.items():
        parsed[kind], wrong, found = parse_column(kind, column[names != ""], columns[kind], trust_codes=False)
        doubts = found if kind == "underlying" else doubts
        problems += wrong
    for patient, rows in parsed["patient"][names != ""].groupby(parsed["patient"]):
        if len(rows) > 1:
            problems.append(([], f"patient {patient} occurs in {' and '.join(f'row {row}' for row in rows.index)}"))
    if problems:
        lines = problem_lines(problems, lambda row: f" (patient {names[row]})" if names[row] else "")
        raise ValueError(
            f"Clinical table {os.fspath(path)} has {num_problems(problems)} problems; fix them:\n  {lines}"
        )
    if table.empty:
        raise ValueError(f"Clinical table {os.fspath(path)} has no rows; add one per patient.")
    warn_of(doubts, path)
    result = pd.DataFrame(parsed).set_index("patient")
    result.attrs["doubts"] = doubts.to_dict("records")
    return result


def no_doubts() -> pd.DataFrame:
    """An empty list of doubtful texts, see diseases.read_all()."""
    return diseases.read_all([])[1]


def warn_of(doubts: pd.DataFrame, path: str | os.PathLike) -> None:
    """Logs each doubtful disease text once, before anything is computed from it."""
    if len(doubts):
        logging.warning(
            "%s: %d disease texts are doubtful; check how they were counted. Where a count is wrong, write the number, "
            "or the names separated by commas:\n%s",
            os.fspath(path),
            len(doubts),
            doubts.to_string(index=False),
        )


def parse_column(
    kind: str, texts: pd.Series, header: str, *, trust_codes: bool
) -> tuple[pd.Series, list[Problem], pd.DataFrame]:
    """Reads the cells of one column.

    Args:
      kind: key of COLUMN_NAMES.
      texts: cells, indexed by their row in the file.
      header: the column's name in the file, which may explain its codes: `Sex (1=male, 2=female)`.
      trust_codes: whether to read 0 and 1 as female and male, on which tables disagree, and to accept fractional
        numbers of diseases.
    Returns: values (NaN or "" if missing), problems, and doubtful texts, see diseases.read_all().
    """
    if kind == "gender":
        return *_parse_genders(texts, header, trust_codes), no_doubts()
    if kind == "underlying":
        return _parse_diseases(texts, whole=not trust_codes)
    return *_parse_each(texts, parse_age if kind == "age" else parse_severity), no_doubts()


def _parse_each(texts: pd.Series, parse: Callable[[str], object]) -> tuple[pd.Series, list[Problem]]:
    values, problems = {}, []
    for text in texts.unique():
        try:
            values[text] = parse(text)
        except ValueError as error:
            problems.append((texts.index[texts == text].tolist(), str(error)))
    return texts.map(lambda text: values.get(text, math.nan)), problems


def _parse_diseases(texts: pd.Series, *, whole: bool) -> tuple[pd.Series, list[Problem], pd.DataFrame]:
    known = texts[~texts.map(diseases.is_unknown)]
    numbers = pd.to_numeric(known, errors="coerce")
    if not whole and len(known) and numbers.notna().all():  # fractional numbers stay as they are
        wrong = numbers[(numbers < 0) | (numbers > diseases.MAX_DISEASES)]
        why = f"is not a number of diseases from 0 to {diseases.MAX_DISEASES}"
        rows = wrong.groupby(known[wrong.index]).groups
        problems = [(list(at), f"diseases {text!r} {why}") for text, at in rows.items()]
        return numbers.reindex(texts.index).astype(float), problems, no_doubts()
    counts, doubts, refused = diseases.read_all(texts.tolist())
    problems = [(texts.index[texts == text].tolist(), why) for text, why in refused.items()]
    return pd.Series(counts, index=texts.index, dtype=float), problems, doubts


def _parse_genders(texts: pd.Series, header: str, trust_codes: bool) -> tuple[pd.Series, list[Problem]]:
    known = texts[~texts.map(vocabulary.is_unknown)]
    numbers = pd.to_numeric(known, errors="coerce")
    meaning = gender_codes(header)
    if meaning:
        texts = texts.where(~texts.index.isin(numbers.dropna().index), numbers.map(meaning).reindex(texts.index))
        lost = numbers[numbers.notna() & ~numbers.isin(list(meaning))]
        why = f"gender is a number that {header!r} does not explain"
        problems = [(lost.index.tolist(), why)] if len(lost) else []
        values, wrong = _parse_each(texts.fillna(""), parse_gender)
        return values, problems + wrong
    if len(known) and numbers.notna().all():
        if trust_codes and numbers.isin([0, 1]).all():
            return numbers.reindex(texts.index).astype(float), []
        counts = ", ".join(f"{value:g} ({count}x)" for value, count in numbers.value_counts().sort_index().items())
        return texts, [
            (
                known.index.tolist(),
                f"gender is unknown: it is coded as {counts}, and nothing explains the codes; write female and male, "
                f"or explain your codes in the column's name, such as 'gender (1=male, 2=female)'",
            )
        ]
    keys = set(known.map(vocabulary.key))
    if {"h", "m"} <= keys and "f" not in keys:
        return texts, [
            (known.index.tolist(), "gender has both 'h' and 'm', which may be hombre and mujer; write out the words")
        ]
    return _parse_each(texts, parse_gender)


def gender_codes(header: str) -> dict[float, str]:
    """Reads gender codes from a column's name: `Sex (1=male, 2=female)`, `gender_0f_1m` -> {1.0: "male", ...}."""
    folded = vocabulary.fold(header)
    after = [(code, word) for word, code in re.findall(r"([^\W\d_]+)\s*[=:]\s*(\d)", folded) if word in _GENDER]
    before = re.findall(r"(?<!\d)(\d)\s*[=:-]?\s*([^\W\d_]+)", folded)
    return {float(code): word for code, word in after or before if word in _GENDER}


def patient_key(name: str) -> str:
    """Returns the number in names such as `Patient 12`, `12`, `12.0`, `P-012`; any other name in lower case."""
    match = re.fullmatch(r"\s*(?:patient|pat|p)?[\s_.#-]*0*(\d+)(?:\.0)?\s*", name, flags=re.IGNORECASE)
    return match[1] if match else " ".join(name.lower().split())


def parse_age(text: str) -> float:
    """Returns years from texts such as `63`, `63 years`, `45岁`, `45 y/o`, `4 months`, `2 y 3 mo`; NaN if missing.

    Raises: ValueError unless the text is a number of years in [0, 120], with or without a unit.
    """
    plain = re.sub(
        r"^aged?:? ?|(?<=[a-z])[ -]?old$| of age$| alt$", "", " ".join(vocabulary.fold(text).split()).rstrip(".")
    )
    if is_missing(text):
        return math.nan
    number = r"(\d+(?:\.\d+)?)"
    years = math.nan
    if match := re.fullmatch(r"(-?\d+(?:\.\d+)?)", plain):
        years = float(match[1])
    elif match := re.fullmatch(rf"{number}[ -]*{_YEARS}[, ]*{number} ?(?:{_MONTHS}|m)", plain):
        years = float(match[1]) + float(match[2]) / 12
    for unit, per_year in _PER_YEAR.items():
        if match := re.fullmatch(rf"{number}[ -]*{unit}", plain):
            years = float(match[1]) / per_year
    if not 0 <= years <= MAX_AGE_YEARS:
        raise ValueError(f"age {text.strip()!r} is not a number of years from 0 to {MAX_AGE_YEARS}")
    return years


def parse_gender(text: str) -> float:
    """Returns 0 for female, 1 for male, NaN if missing. Refuses numbers: tables disagree on what 0 and 1 mean."""
    if is_missing(text):
        return math.nan
    words = re.sub(r"\d|\s", " ", vocabulary.key(text)).strip()
    if words not in _GENDER:
        known = ", ".join(word for words in _GENDERS.values() for word in words.split()[:3])
        raise ValueError(f"gender {text.strip()!r} is unknown; use one of {known}, or leave the cell empty")
    return float(_GENDER[words])


def parse_severity(text: str) -> str:
    """Returns one of SEVERITY_LEVELS, ignoring case, spaces and hyphens; "" if missing."""
    key = _letters(text)
    if is_missing(text):
        return ""
    for level in SEVERITY_LEVELS:
        if key == _letters(level):
            return level
    raise ValueError(f"severity {text.strip()!r} is unknown; use one of {', '.join(SEVERITY_LEVELS)}")


def is_missing(text: str) -> bool:
    """Whether a cell is empty or says that its value is unknown; "none" counts as unknown (except for diseases)."""
    return vocabulary.is_unknown(text) or vocabulary.key(text) == "none"


def _letters(text: str) -> str:
    return re.sub(r"[^a-z0-9]", "", vocabulary.fold(text))


def kind_of(column: object) -> str | None:
    """Returns the key of COLUMN_NAMES that lists this column's name; None for other columns."""
    return _KINDS.get(plain_name(str(column)))


def find(name: str, header: Iterable[str]) -> list[str]:
    """Finds the columns that a name refers to: those of this name, ignoring case, blanks and brackets, else synonyms.

    The caller must refuse more than one. A name outside COLUMN_NAMES refers to the column of exactly that spelling, if
    there is one.
    """
    header = list(header)
    same = [column for column in header if plain_name(column) == plain_name(name)]
    kind = kind_of(name)
    if kind is None:
        return [name] if name in header else same
    return same or [column for column in header if kind_of(column) == kind]


def plain_name(name: str) -> str:
    """Strips case, accents, blanks, punctuation and brackets from a column's name; keeps a unit other than years."""
    folded = vocabulary.fold(name)
    inside = re.sub(r"\W", "", " ".join(re.findall(r"\(.*?\)|\[.*?\]", folded)))
    bare = re.sub(r"[\W_]", "", re.sub(r"\(.*?\)|\[.*?\]", "", folded))
    other_unit = re.fullmatch(rf"{_MONTHS}|{_WEEKS}|{_DAYS}", inside)
    coded = bare if not re.search(r"\d", bare) else re.sub(r"\d[a-z]+", "", bare)
    return f"{bare}{inside}" if other_unit else coded if coded in _CODED else bare


_KINDS = {plain_name(name): kind for kind, names in COLUMN_NAMES.items() for name in names}


def _find_columns(table: pd.DataFrame, path: str | os.PathLike, needed: Sequence[str]) -> dict[str, str]:
    found = {ours: [column for column in table.columns if kind_of(column) == ours] for ours in needed}
    wrong = {ours: matches for ours, matches in found.items() if len(matches) != 1}
    if wrong:
        listed = "; ".join(
            f"{ours}, found {' and '.join(map(repr, matches)) or 'none'} of {', '.join(COLUMN_NAMES[ours][:5])}, ..."
            for ours, matches in wrong.items()
        )
        absent = [ours for ours, matches in wrong.items() if not matches and ours in EXPOSURES]
        without = f", or say that the table does not have them (table_without: [{', '.join(absent)}])" if absent else ""
        raise ValueError(
            f"Clinical table {os.fspath(path)} must have one column for each of these: {listed}. "
            f"It has the columns {', '.join(map(repr, table.columns))}; rename them{without}."
        )
    return {ours: matches[0] for ours, matches in found.items()}


def num_problems(problems: Sequence[Problem]) -> int:
    """Counts the cells that are wrong."""
    return sum(max(1, len(rows)) for rows, _ in problems)


def problem_lines(problems: Sequence[Problem], told: Callable[[int], str] = lambda row: "") -> str:
    """Writes a line per problem: the rows, with `told(row)` after the first one, and what is wrong."""
    lines = []
    for rows, what in problems[:_MAX_LISTED]:
        more = f" and {len(rows) - 1} more rows" if len(rows) > 2 else f" and row {rows[1]}" if len(rows) == 2 else ""
        lines.append(f"row {rows[0]}{told(rows[0])}{more}: {what}" if rows else what)
    if len(problems) > _MAX_LISTED:
        lines.append(f"and {len(problems) - _MAX_LISTED} more")
    return "\n  ".join(lines)
