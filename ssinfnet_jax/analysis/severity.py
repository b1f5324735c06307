"""COVID-19 severity: the nine levels of the ICTCF cohort, and the paper's two groups of them."""

from collections.abc import Iterable, Sequence

import pandas as pd

from ssinfnet_jax.data.clinical import clinical_table, vocabulary

LEVELS = {
    "Control (Healthy)": 0,
    "Control": 0,
    "Control (Community-acquired pneumonia)": 0,
    "Suspected": 0,
    "Suspected (COVID-19-confirmed later)": 1,
    "Mild": 1,
    "Regular": 1,
    "Severe": 1,
    "Critically ill": 1,
}

_GRADES = {"Suspected (COVID-19-confirmed later)": 1, "Mild": 1, "Regular": 2, "Severe": 3, "Critically ill": 4}


def check_levels(levels: Sequence[str]) -> None:
    """Refuses levels out of LEVELS in the wrong order: the most severe last; `Mild|Regular` is one level.

    Controls and suspected cases may have any order. Other words pass: their order is not known.
    """
    named = [name for level in levels for name in str(level).split("|")]
    known = [_level(name) for name in named]
    grades = [_GRADES.get(name, 0) for name in known]
    if all(known) and grades != sorted(grades):
        raise ValueError(f"The levels {list(levels)} are out of order; give the lowest first, as in {list(LEVELS)}.")


def binarize(levels: Iterable[str | None]) -> pd.Series:
    """Maps severity levels to 0 (controls and suspected cases) and 1 (confirmed COVID-19 of any degree).

    Case, spaces, brackets and hyphens are ignored.

    Args:
      levels: names of LEVELS; None, NaN, "unknown" or "-" if unknown.
    Returns: float64 Series `severity` of 0.0, 1.0 or NaN (unknown), with the index of `levels`.
    Raises: ValueError that lists all names that are not in LEVELS, with their counts.
    Source: the paper, "Mediation analysis".
    """
    levels = levels if isinstance(levels, pd.Series) else pd.Series(list(levels), dtype=object)
    known = levels.notna()
    found_levels = levels[known].map(_level)
    unknown = levels[known][found_levels.isna()]
    if len(unknown):
        found = ", ".join(f"{name!r} ({count}x)" for name, count in unknown.astype(str).value_counts().items())
        raise ValueError(f"Unknown severity: {found}; the nine levels are: {', '.join(LEVELS)}.")
    severity = pd.Series(float("nan"), index=levels.index, name="severity")
    severity[known] = found_levels.map(LEVELS).astype(float)
    return severity


def outcome(texts: pd.Series) -> pd.Series:
    """Parses an outcome: numbers, yes and no (1 and 0), severity levels (see binarize()).

    A word and its negation (`severe`, `non-severe`) are 1 and 0.

    Args:
      texts: cells; empty ones and words for "unknown" are NaN.
    Returns: float64, with the index of `texts`.
    Raises: ValueError for anything else, see binarize().
    """
    known = texts[~texts.map(clinical_table.is_missing)]
    numbers = pd.to_numeric(known, errors="coerce")
    if numbers.notna().all():
        return numbers.reindex(texts.index).astype(float)
    answers = {text: vocabulary.answer(text) for text in known.unique()}
    if None not in answers.values():
        return known.map(answers).astype(float).reindex(texts.index)
    pair = {text: vocabulary.key(text) for text in known.unique()}
    denied = [word for word in pair.values() for other in pair.values() if word in _opposites(other)]
    if len(set(pair.values())) == 2 and len(set(denied)) == 1:
        return (known.map(pair) != denied[0]).astype(float).reindex(texts.index)
    try:
        return binarize(texts)
    except ValueError as error:
        raise ValueError(f"{error} Or write 0 and 1, or no and yes, in all of its cells.") from None


def _opposites(word: str) -> tuple[str, ...]:
    """Negations of a word, in the form of vocabulary.key()."""
    return (f"non{word}", f"non {word}", f"not {word}", f"no {word}", f"nicht {word}", f"非{word}")


def _level(name: object) -> str | None:
    """A name of LEVELS, "" for words for "unknown", None for others."""
    try:
        return clinical_table.parse_severity(str(name))
    except ValueError:
        return None
