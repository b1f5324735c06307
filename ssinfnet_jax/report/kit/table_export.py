"""Writes a table for readers beside its numbers: CSV, Markdown (GitHub's), LaTeX (booktabs)."""

import dataclasses
import pathlib
import re
from collections.abc import Callable

import pandas as pd

from ssinfnet_jax import latex as tex
from ssinfnet_jax import rundir
from ssinfnet_jax.report.kit import tables

_MARKDOWN = str.maketrans({sign: f"\\{sign}" for sign in "\\`*_|[]$~"} | {"&": "&amp;", "<": "&lt;", ">": "&gt;"})


@dataclasses.dataclass(frozen=True)
class TableFile:
    """A table to read and the numbers behind it.

    Attributes:
      name: of its files, without ending.
      table: what is shown.
      numbers: the same, unrounded, for programs.
    """

    name: str
    table: tables.Table
    numbers: pd.DataFrame


def write(folder: pathlib.Path, held: TableFile) -> None:
    """Writes `<folder>/<name>.csv`, `.md` and `.tex`, each whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    rundir.write_text(folder / f"{held.name}.csv", held.numbers.to_csv(index=False))
    rundir.write_text(folder / f"{held.name}.md", markdown(held.table))
    rundir.write_text(folder / f"{held.name}.tex", latex(held.table, label=held.name))


def markdown(table: tables.Table) -> str:
    """Caption, table and foot in GitHub's Markdown; no name can end a cell or become mark-up."""
    heads = [_markdown(column.title) for column in table.columns]
    rules = ["---:" if column.numeric else "---" for column in table.columns]
    rows = [[_shown(cell, _markdown, "**{}**") for cell in row] for row in table.rows]
    lines = [f"| {' | '.join(row)} |" for row in (heads, rules, *rows)]
    texts = [_markdown(text) for text in (table.caption, table.foot)]
    return "\n".join([texts[0], "", *lines, *(["", texts[1]] if texts[1] else [])]) + "\n"


def latex(table: tables.Table, *, label: str) -> str:
    """The table with its caption, and its foot as notes; see ssinfnet_jax.latex.table()."""
    return tex.table(
        [tex.escape(column.title) for column in table.columns],
        [[_shown(cell, tex.escape, r"\textbf{{{}}}") for cell in row] for row in table.rows],
        numeric=[column.numeric for column in table.columns],
        caption=table.caption,
        label=label,
        notes=table.foot,
    )


def _markdown(text: str) -> str:
    return _line(text).translate(_MARKDOWN)


def _shown(cell: tables.Cell, escape: Callable[[str], str], strong: str) -> str:
    text = strong.format(escape(cell.text)) if cell.strong else escape(cell.text)
    return f"{text} ({escape(cell.note)})" if cell.note else text


def _line(text: str) -> str:
    """Text on one line; spaces that keep a number together stay."""
    return re.sub(r"[ \t\r\n\f\v]+", " ", str(text)).strip()
