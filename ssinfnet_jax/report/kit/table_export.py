"""Writes a table as Markdown (GitHub's) and LaTeX (booktabs), and its numbers as CSV."""

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
    """A table for readers and its numbers.

    Attributes:
      name: of its files, without extension.
      table: for readers.
      numbers: the same, unrounded, for programs.
    """

    name: str
    table: tables.Table
    numbers: pd.DataFrame


def write(folder: pathlib.Path, made: TableFile) -> None:
    """Writes `<folder>/<name>.csv`, `.md` and `.tex`, each atomically."""
    folder.mkdir(parents=True, exist_ok=True)
    rundir.write_text(folder / f"{made.name}.csv", made.numbers.to_csv(index=False))
    rundir.write_text(folder / f"{made.name}.md", markdown(made.table))
    rundir.write_text(folder / f"{made.name}.tex", latex(made.table, label=made.name))


def markdown(table: tables.Table) -> str:
    """Caption, table and foot in GitHub's Markdown; names are escaped."""
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
    text = re.sub(r"[ \t\r\n\f\v]+", " ", str(text)).strip()  # keeps the narrow spaces within numbers
    return text.translate(_MARKDOWN)


def _shown(cell: tables.Cell, escape: Callable[[str], str], strong: str) -> str:
    text = strong.format(escape(cell.text)) if cell.strong else escape(cell.text)
    return f"{text} ({escape(cell.note)})" if cell.note else text
