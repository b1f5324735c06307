"""Columns of categories by name, `C(scanner)`: a column of 0 and 1 for each category but the reference."""

import re
from collections.abc import Sequence

import pandas as pd

MIN_PATIENTS = 2
_TERM = re.compile(r"C\((.+)\)")
_INDICATOR = re.compile(r"(C\(.+\))\[T\..*\]")


def column(term: str) -> str:
    """The column of a term: that of `C(scanner)` and `C(scanner)[T.B]` is `scanner`; others are their own."""
    indicator = _INDICATOR.fullmatch(term)
    found = _TERM.fullmatch(indicator[1] if indicator else term)
    return found[1] if found else term


def is_term(term: str) -> bool:
    """Whether it names a column of categories."""
    return _TERM.fullmatch(term) is not None


def siblings(exposure: str, exposures: Sequence[str]) -> list[str]:
    """The other categories of the column that a category's exposure comes from; none for other exposures."""
    found = _INDICATOR.fullmatch(exposure)
    return [name for name in exposures if found and name != exposure and name.startswith(f"{found[1]}[T.")]


def expand(table: pd.DataFrame, terms: Sequence[str]) -> tuple[pd.DataFrame, list[str]]:
    """Adds indicator columns for the terms of categories.

    The most frequent category is the reference (of equally frequent ones the first by name); every other one has a
    column `C(scanner)[T.B]`, which is 1 for its patients, and missing where the category is.

    Args:
      terms: columns, and `C(column)`.
    Returns: the table with the new columns; the terms with these in place of `C(column)`.
    Raises: ValueError for a missing column, fewer than two categories, a category with one patient.
    """
    names: list[str] = []
    for term in terms:
        if not is_term(term):
            names.append(term)
            continue
        name = column(term)
        if name not in table.columns:
            raise ValueError(f"Columns not in the table: [{name!r}] of {term}; it has {list(table.columns)[:12]}.")
        text = table[name].map(_label, na_action="ignore")
        counts = text.value_counts().sort_index()
        if len(counts) < 2:
            raise ValueError(f"{term} has the categories {list(counts.index)}; it takes two or more. Leave it out.")
        few = counts[counts < MIN_PATIENTS]
        if len(few):
            raise ValueError(
                f"{term}: one patient alone is in {'the category' if len(few) == 1 else 'each of the categories'} "
                f"{', '.join(map(repr, few.index))}, too few to estimate an effect. Join it to another category, or "
                "leave the patient out."
            )
        others = [label for label in counts.index if label != counts.idxmax()]
        added = {f"{term}[T.{label}]": (text == label).where(text.notna()).astype(float) for label in others}
        table = table.assign(**added)
        names += added
    return table, names


def labels(table: pd.DataFrame, term: str, indicators: Sequence[str]) -> list[str]:
    """The categories of a term in words: the reference, then those of its indicator columns, see expand()."""
    others = [name.removeprefix(f"{term}[T.").removesuffix("]") for name in indicators]
    every = table[column(term)].dropna().map(_label).unique()
    return [next(label for label in every if label not in others), *others]


def _label(value: object) -> str:
    """A category in words: 2.0 is "2"."""
    return f"{value:g}" if isinstance(value, float) else str(value)
