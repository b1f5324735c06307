"""Formats numbers as in a paper, and makes tables of them; a cell has a text to show and a value to sort by."""

import dataclasses
import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

MINUS = "\N{MINUS SIGN}"
MISSING = "\N{EN DASH}"
MAX_ROWS = 1000  # of one table on the page


@dataclasses.dataclass(frozen=True)
class Cell:
    """A cell of a table."""

    text: str
    sort: float | str | None = None  # None comes last
    note: str = ""  # a smaller line below the text
    href: str = ""
    picture: str = ""  # data URI
    strong: bool = False


@dataclasses.dataclass(frozen=True)
class Column:
    """Head of a column; numeric columns are right-aligned."""

    title: str
    numeric: bool = False
    hint: str = ""


@dataclasses.dataclass(frozen=True)
class Table:
    """Columns and rows of cells, with a caption above and a sentence below them."""

    caption: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[Cell]]
    foot: str = ""


Formatter = Callable[[Any], Cell]


def number(value: Any, digits: int = 3) -> str:
    """Formats a number; None and NaN become an en dash.

    Args:
      value: number; with an exponent outside [1e-4, 1e6).
      digits: significant digits unless it is an integer, >= 1.
    """
    if value is None or pd.isna(value):
        return MISSING
    if isinstance(value, (bool, np.bool_)):
        return "yes" if value else "no"
    value = float(value)
    if math.isinf(value):
        return f"{MINUS if value < 0 else ''}∞"
    if value.is_integer() and abs(value) < 1e15:
        text = f"{value:,.0f}".replace(",", "\N{NARROW NO-BREAK SPACE}")
    elif not 1e-4 <= abs(value) < 1e6:
        mantissa, exponent = f"{value:.{digits - 1}e}".split("e")
        text = f"{mantissa}e{int(exponent)}"
    else:
        text = f"{value:,.{_decimals(value, digits)}f}".replace(",", "\N{NARROW NO-BREAK SPACE}")
    return text.replace("-", MINUS)


def mean_error(mean: Any, error: Any, digits: int = 3) -> str:
    """`0.712 ± 0.043`, both with the decimals that give the mean `digits` significant digits."""
    if mean is None or pd.isna(mean):
        return MISSING
    decimals = max(_decimals(float(mean), digits), 3 if abs(mean) <= 1 else 0)
    text = f"{mean:.{decimals}f}"
    if error is not None and not pd.isna(error):
        text += f" ± {error:.{decimals}f}"
    return text.replace("-", MINUS)


def signed(value: float) -> str:
    """A difference with three decimals: `+0.012`, `−0.003`."""
    if pd.isna(value):
        return MISSING
    return f"{round(value, 3) + 0.0:+.3f}".replace("-", MINUS)  # + 0.0: no negative zero


def p_value(value: Any) -> str:
    """`< 0.001` or three decimals."""
    if value is None or pd.isna(value):
        return MISSING
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def duration(seconds: float | None) -> str:
    """`45.2 s`, `3 min 20 s`, `5 h 07 min`."""
    if seconds is None or pd.isna(seconds):
        return MISSING
    if seconds < 60:
        return f"{number(seconds) if seconds < 1 else f'{seconds:.1f}'} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def text_cell(value: Any) -> Cell:
    """Any value as text; an en dash for None and NaN."""
    text = MISSING if value is None or value is pd.NA or value != value else str(value)
    return Cell(text, text.lower() if text != MISSING else None)


def number_cell(value: Any) -> Cell:
    """A number with three significant digits."""
    return Cell(number(value), None if value is None or pd.isna(value) else float(value))


def p_cell(value: Any) -> Cell:
    """A p-value."""
    return Cell(p_value(value), None if value is None or pd.isna(value) else float(value))


def from_frame(
    frame: pd.DataFrame,
    caption: str,
    columns: Mapping[str, tuple] | None = None,
    *,
    foot: str = "",
    max_rows: int = MAX_ROWS,
) -> Table:
    """Makes a table of a data frame.

    Args:
      frame: the rows.
      caption: above the table.
      columns: column of the frame -> (its head, its formatter[, a hint]); columns that the frame lacks are skipped.
        None: all columns, headed by their names.
      foot: below the table.
      max_rows: further rows are left out, and the foot says so.
    """
    if columns is None:
        columns = {str(name): (str(name).replace("_", " "), formatter(frame[name])) for name in frame}
    shown = {name: pair for name, pair in columns.items() if name in frame}
    heads = [Column(head, write is not text_cell, *hint) for head, write, *hint in shown.values()]
    rows = [
        [write(value) for (_, write, *_), value in zip(shown.values(), values, strict=True)]
        for values in frame[list(shown)].head(max_rows).itertuples(index=False, name=None)
    ]
    return Table(caption, heads, rows, f"{foot} {cut(frame, max_rows)}".strip())


def cut(frame: pd.DataFrame, max_rows: int = MAX_ROWS) -> str:
    """The sentence for a table that shows the first rows only; "" if it shows them all."""
    return f"The first {max_rows} of {len(frame)} rows; the file has them all." if len(frame) > max_rows else ""


def formatter(column: pd.Series) -> Formatter:
    """The formatter of a column, by its name and dtype: p-values, numbers or text."""
    if pd.api.types.is_bool_dtype(column) or not pd.api.types.is_numeric_dtype(column):
        return text_cell
    return p_cell if re.search(r"(^|_)p(_adj|value)?$", str(column.name)) else number_cell


def summary(table: pd.DataFrame, titles: Mapping[str, str], caption: str) -> Table:
    """Mean ± 1.96 standard errors of each class (rows) and metric (columns), with n and the number of excluded slices.

    Args:
      table: evaluate/*_summary.csv.
      titles: of classes and metrics.
      caption: above the table.
    """
    metrics = list(dict.fromkeys(table["metric"]))
    rows = []
    for kind in dict.fromkeys(table["class"]):
        part = table[table["class"] == kind].set_index("metric")
        cells = [text_cell(titles.get(kind, str(kind)))]
        for metric in metrics:
            if metric not in part.index:
                cells.append(Cell(MISSING))
                continue
            row = part.loc[metric]
            excluded = "" if pd.isna(row["excluded"]) else f", {number(row['excluded'])} excl."
            note = "" if pd.isna(row["n"]) else f"n = {number(row['n'])}{excluded}"
            cells.append(Cell(mean_error(row["mean"], row["error"]), number_cell(row["mean"]).sort, note))
        rows.append(cells)
    heads = [Column("Class"), *(Column(titles.get(name, name.capitalize()), True) for name in metrics)]
    return Table(caption, heads, rows)


def per_slice(table: pd.DataFrame, titles: Mapping[str, str], caption: str) -> Table:
    """Metrics of every slice, lowest Dice first.

    Args:
      table: evaluate/*_slices.csv.
      titles: of classes and metrics.
      caption: above the table.
    """
    known = {"slice_id": "Slice", "patient_id": "Patient", "class": "Class"}
    shown = table.assign(**{"class": table["class"].map(lambda kind: titles.get(kind, kind))})
    columns = {name: (head, text_cell) for name, head in known.items()}
    for name in table.columns.difference(list(known), sort=False):
        write = formatter(table[name])
        columns[name] = (titles.get(name, str(name).capitalize()), write)
    return from_frame(shown.sort_values("dice", na_position="last"), caption, columns)


def describe(frame: pd.DataFrame, caption: str, names: Mapping[str, str]) -> Table:
    """Count, mean, SD, quartiles and range of columns.

    Args:
      frame: one row per observation.
      caption: above the table.
      names: column -> its title; columns that the frame lacks are skipped.
    """
    statistics = {
        "count": "n", "missing": "Missing", "mean": "Mean", "std": "SD", "min": "Min", "25%": "1st quartile",
        "50%": "Median", "75%": "3rd quartile", "max": "Max",
    }  # fmt: skip
    titles = {name: title for name, title in names.items() if name in frame}
    rows = frame[list(titles)].astype(float).describe().T if titles else pd.DataFrame()
    rows = rows.assign(quantity=list(titles.values()))
    rows["missing"] = len(frame) - rows["count"] if titles else []
    columns = {"quantity": ("Quantity", text_cell)} | {key: (head, number_cell) for key, head in statistics.items()}
    return from_frame(rows, caption, columns)


def _decimals(value: float, digits: int) -> int:
    if value == 0:
        return digits
    return max(digits - 1 - math.floor(math.log10(abs(value))), 0)
