"""Reads a user's CSV or XLSX table as text: no types are guessed, and rows keep their spreadsheet numbers."""

import csv
import datetime
import os
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

import openpyxl
import pandas as pd
from absl import logging

Row = tuple[int, list[str]]  # number in the file, and cells

_EXCEL = (".xlsx", ".xlsm")
_MAX_ABOVE = 10  # rows to search for the header
_SHOWN = 40  # characters of a title


def read(
    path: str | os.PathLike, what: str, is_header: Callable[[Sequence[str]], bool] = lambda cells: True
) -> pd.DataFrame:
    """Reads all cells of a table as stripped text; empty cells are "".

    Args:
      path: CSV (UTF-8, comma) or XLSX, of which the first sheet with a header is read.
      what: the file's name in errors, such as "The cohort table".
      is_header: whether a row has the required names. Rows above the first such row, such as a title, are
        skipped with a line in the log.
    Returns: one column per name in the header; the index is the row's number in the file, starting at 1. Empty
      rows, and columns with neither name nor cells, are dropped.
    Raises: FileNotFoundError; ValueError, naming the file, if it cannot be read, uses another separator, repeats a
      name, has rows with more cells than the header, a title but no header, or formulas without saved values.
    """
    path = pathlib.Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{what} {path} does not exist.")
    try:
        rows = _excel_rows(path, is_header) if path.suffix.lower() in _EXCEL else _csv_rows(path)
        return _table(path, rows, is_header)
    except Exception as error:  # openpyxl raises many kinds for damaged files
        raise ValueError(f"{what} {path} cannot be read ({error}); save it as CSV (UTF-8) or XLSX.") from error


def _csv_rows(path: pathlib.Path) -> list[Row]:
    with open(path, "rb") as file:
        start = file.read(4)
    if start in (b"PK\x03\x04", b"\xd0\xcf\x11\xe0"):
        raise ValueError("it is a spreadsheet despite its name; save it as XLSX, with that ending")
    with open(path, encoding="utf-8-sig", newline="") as file:
        rows = [(number, [cell.strip() for cell in cells]) for number, cells in enumerate(csv.reader(file), 1)]
    return [(number, cells) for number, cells in rows if any(cells)]


def _excel_rows(path: pathlib.Path, is_header: Callable[[Sequence[str]], bool]) -> list[Row]:
    """Reads the rows of the first sheet with a header, or else of the first sheet with cells."""
    values, formulas = (openpyxl.load_workbook(path, data_only=only) for only in (True, False))
    sheets = {sheet.title: _sheet_rows(sheet, formulas[sheet.title]) for sheet in values.worksheets}
    filled = {title: rows for title, rows in sheets.items() if rows}
    if not filled:
        return []
    fitting = [title for title, rows in filled.items() if _header_at(rows, is_header) is not None]
    title = (fitting or list(filled))[0]
    if len(filled) > 1:
        logging.warning("%s has the sheets %s; reading %r.", path, list(filled), title)
    return filled[title]


def _sheet_rows(values: Any, formulas: Any) -> list[Row]:
    rows = []
    for number, (cells, written) in enumerate(
        zip(values.iter_rows(values_only=True), formulas.iter_rows(values_only=True), strict=True), values.min_row
    ):
        unsaved = [was for cell, was in zip(cells, written, strict=True) if cell is None and str(was).startswith("=")]
        if unsaved:
            raise ValueError(
                f"row {number} has formulas whose values were not saved; open the file in a spreadsheet program and "
                "save it, or copy the values"
            )
        texts = [_text(cell) for cell in cells]
        while texts and not texts[-1]:
            texts.pop()
        if texts:
            rows.append((number, texts))
    return rows


def _text(cell: Any) -> str:
    if cell is None:
        return ""
    if isinstance(cell, float) and cell.is_integer():
        return str(int(cell))
    if isinstance(cell, datetime.datetime) and cell.time() == datetime.time():
        return cell.date().isoformat()
    return str(cell).strip()


def _header_at(rows: Sequence[Row], is_header: Callable[[Sequence[str]], bool]) -> int | None:
    return next((at for at, (_, cells) in enumerate(rows[:_MAX_ABOVE]) if is_header(cells)), None)


def _table(path: pathlib.Path, rows: list[Row], is_header: Callable[[Sequence[str]], bool]) -> pd.DataFrame:
    if not rows:
        raise ValueError("No columns to parse from file")
    at = _header_at(rows, is_header)
    if at is None or rows[0][1][0].lower().startswith("sep="):
        for _, cells in rows[:3]:
            _check_separator(cells)
        _check_title(rows)
        at = 0
    if at:
        above = ", ".join(f"row {number} ({_shown(cells)})" for number, cells in rows[:at])
        logging.warning("%s: the header is row %d; skipping the rows above it: %s.", path, rows[at][0], above)
    header = rows[at][1]
    _check_names(header)
    body = rows[at + 1 :]
    longer = next(((number, cells) for number, cells in body if len(cells) > len(header)), None)
    if longer:
        raise ValueError(
            f"rows have more cells than the header: row {longer[0]} has {len(longer[1])}, the header {len(header)}; "
            "delete commas at the ends of rows, name every column, or put text with commas in quotes"
        )
    table = pd.DataFrame(
        [cells + [""] * (len(header) - len(cells)) for _, cells in body],
        columns=[name or f"Unnamed: {place}" for place, name in enumerate(header)],
        index=pd.Index([number for number, _ in body], name="row"),
        dtype=object,
    )
    nothing = [f"Unnamed: {place}" for place, name in enumerate(header) if not name]
    return table.drop(columns=[name for name in nothing if not table[name].any()])


def _check_separator(header: Sequence[str]) -> None:
    """Raises ValueError if the first line uses another separator than commas."""
    line = ",".join(header)
    if line.lower().startswith("sep="):
        raise ValueError(f"its first line is {line!r}; delete that line, and separate the columns with commas")
    for separator, called in ((";", "semicolons"), ("\t", "tabs")):
        if line.count(separator) > line.count(","):
            raise ValueError(
                f"its columns are separated by {called}; export it with commas between columns and decimal points in "
                "numbers (1.5, not 1,5)"
            )


def _check_title(rows: Sequence[Row]) -> None:
    """Raises ValueError if the first row has one cell and a later row has more."""
    (number, first), *others = rows[:_MAX_ABOVE]
    wider = next((row for row in others if sum(map(bool, row[1])) > 1), None)
    if sum(map(bool, first)) == 1 and wider:
        raise ValueError(
            f"row {number} ({_shown(first)}) looks like a title, and no row below it has the required names; "
            f"row {wider[0]} begins with {', '.join(map(repr, wider[1][:6]))}. Delete the rows above the "
            "header, and name the columns"
        )


def _check_names(header: Sequence[str]) -> None:
    twice = sorted({name for name in header if name and header.count(name) > 1})
    if twice:
        places = {name: [place + 1 for place, other in enumerate(header) if other == name] for name in twice}
        listed = ", ".join(f"{name!r} (columns {', '.join(map(str, at))})" for name, at in places.items())
        raise ValueError(f"its header repeats names: {listed}; rename or delete one of each")


def _shown(cells: Sequence[str]) -> str:
    text = ", ".join(filter(None, cells))
    return repr(text if len(text) <= _SHOWN else f"{text[:_SHOWN]}...")
