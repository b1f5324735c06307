"""Numbers as readers of a paper expect them, and tables of them.

`Table` is what the page draws: text to show and a value to sort by, cell by cell.
"""

import dataclasses
import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

# Who writes a table often reads a file for it: the two readers go by this name, too.
from ssinfnet_jax.report.kit.table_files import read_csv as read_csv
from ssinfnet_jax.report.kit.table_files import read_json as read_json

MINUS = "\N{MINUS SIGN}"
MISSING = "\N{EN DASH}"
MAX_ROWS = 1000  # of one table on the page


@dataclasses.dataclass(frozen=True)
class Cell:
    """Text shown, the value it is sorted by (None: last), a smaller line, a link, a picture (data URI), emphasis."""

    text: str
    sort: float | str | None = None
    note: str = ""
    href: str = ""
    picture: str = ""
    strong: bool = False


@dataclasses.dataclass(frozen=True)
class Column:
    """Head of a column; numbers stand on the right."""

    title: str
    numeric: bool = False
    hint: str = ""


@dataclasses.dataclass(frozen=True)
class Table:
    """Columns and rows of cells, with the sentence above them."""

    caption: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[Cell]]
    foot: str = ""


Formatter = Callable[[Any], Cell]


def number(value: Any, digits: int = 3) -> str:
    """A number with so many significant digits; whole numbers whole; powers of ten outside [1e-4, 1e6).

    Args:
      value: number, or None / NaN (an en dash).
      digits: significant digits of what is not whole, >= 1.
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
    """`0.712 ± 0.043`: both with the decimals that give the mean its significant digits (three at least)."""
    if mean is None or pd.isna(mean):
        return MISSING
    decimals = max(_decimals(float(mean), digits), 3 if abs(mean) <= 1 else 0)
    text = f"{mean:.{decimals}f}"
    if error is not None and not pd.isna(error):
        text += f" ± {error:.{decimals}f}"
    return text.replace("-", MINUS)


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
    """Any value as text; nothing for None and NaN."""
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
    columns: Mapping[str, tuple[str, Formatter]] | None = None,
    *,
    foot: str = "",
    max_rows: int = MAX_ROWS,
) -> Table:
    """Table of a data frame.

    Args:
      frame: rows to show, in their order.
      caption: the sentence above.
      columns: by column of the frame, its head and how a cell is written; columns that the frame does not
        have are left out. None: all columns as they are.
      foot: the sentence below.
      max_rows: the rest is left out, and the foot says so.
    """
    if columns is None:
        columns = {str(name): (str(name).replace("_", " "), formatter(frame[name])) for name in frame}
    held = {name: pair for name, pair in columns.items() if name in frame}
    heads = [Column(head, write is not text_cell) for head, write in held.values()]
    rows = [
        [write(value) for (_, write), value in zip(held.values(), values, strict=True)]
        for values in frame[list(held)].head(max_rows).itertuples(index=False, name=None)
    ]
    if len(frame) > max_rows:
        foot = f"{foot} The first {max_rows} of {len(frame)} rows; the file has them all.".strip()
    return Table(caption, heads, rows, foot)


def formatter(column: pd.Series) -> Formatter:
    """How a column is written whose meaning is not known: p-values, numbers, text."""
    if pd.api.types.is_bool_dtype(column) or not pd.api.types.is_numeric_dtype(column):
        return text_cell
    return p_cell if re.search(r"(^|_)p(_adj|value)?$", str(column.name)) else number_cell


def summary(table: pd.DataFrame, titles: Mapping[str, str], caption: str) -> Table:
    """Mean ± 1.96 standard errors of each class (rows) and metric (columns), with n and the excluded.

    Args:
      table: evaluate/*_summary.csv.
      titles: how classes and metrics are written.
      caption: the sentence above.
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
    """Every slice with its metrics, worst Dice first.

    Args:
      table: evaluate/*_slices.csv.
      titles: how classes and metrics are written.
      caption: the sentence above.
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
      caption: the sentence above.
      names: how each column is written; those the frame does not have are left out.
    """
    heads = ["Quantity", "n", "Missing", "Mean", "SD", "Min", "1st quartile", "Median", "3rd quartile", "Max"]
    rows = []
    for name in (name for name in names if name in frame):
        held = frame[name].dropna()
        numbers = [
            len(held),
            len(frame) - len(held),
            held.mean(),
            held.std(),
            *held.quantile([0, 0.25, 0.5, 0.75, 1]),
        ]
        rows.append([text_cell(names[name]), *(number_cell(value) for value in numbers)])
    return Table(caption, [Column(head, index > 0) for index, head in enumerate(heads)], rows)


def _decimals(value: float, digits: int) -> int:
    if value == 0:
        return digits
    return max(digits - 1 - math.floor(math.log10(abs(value))), 0)
