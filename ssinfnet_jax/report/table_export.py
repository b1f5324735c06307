"""Writes a table for readers beside its numbers: CSV, Markdown (GitHub's), LaTeX (booktabs)."""

import dataclasses
import pathlib
import re

import pandas as pd

from ssinfnet_jax import rundir
from ssinfnet_jax.report import tables

_MARKDOWN = str.maketrans({sign: f"\\{sign}" for sign in "\\`*_|[]$~"} | {"&": "&amp;", "<": "&lt;", ">": "&gt;"})
_LATEX = str.maketrans(
    {sign: f"\\{sign}" for sign in "&%$#_{}"}
    | {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "|": r"\textbar{}"}
    | {"<": "$<$", ">": "$>$", "[": "{[}", "]": "{]}", "±": r"$\pm$", "×": r"$\times$", "∞": r"$\infty$"}
    | {"●": r"$\bullet$", "○": r"$\circ$", tables.MINUS: "$-$", tables.MISSING: "--", "…": r"\ldots{}"}
    | {"\N{NARROW NO-BREAK SPACE}": r"\,"}
)


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
    heads = [_line(column.title).translate(_MARKDOWN) for column in table.columns]
    rules = ["---:" if column.numeric else "---" for column in table.columns]
    rows = [[_shown(cell, _MARKDOWN, "**{}**") for cell in row] for row in table.rows]
    lines = [f"| {' | '.join(row)} |" for row in (heads, rules, *rows)]
    texts = [_line(text).translate(_MARKDOWN) for text in (table.caption, table.foot)]
    return "\n".join([texts[0], "", *lines, *(["", texts[1]] if texts[1] else [])]) + "\n"


def latex(table: tables.Table, *, label: str) -> str:
    r"""A table environment that needs `\usepackage{booktabs}` and nothing else; the foot ends the caption."""
    rows = [[_shown(cell, _LATEX, r"\textbf{{{}}}") for cell in row] for row in table.rows]
    frame = pd.DataFrame(rows, columns=[_line(column.title).translate(_LATEX) for column in table.columns])
    return frame.to_latex(
        index=False,
        escape=False,
        column_format="".join("r" if column.numeric else "l" for column in table.columns),
        caption=_line(f"{table.caption} {table.foot}").translate(_LATEX),
        label=f"tab:{re.sub('[^A-Za-z0-9:-]+', '-', label)}",
    )


def _shown(cell: tables.Cell, signs: dict, strong: str) -> str:
    text = _line(cell.text).translate(signs)
    text = strong.format(text) if cell.strong else text
    return f"{text} ({_line(cell.note).translate(signs)})" if cell.note else text


def _line(text: str) -> str:
    """Text on one line; spaces that keep a number together stay."""
    return re.sub(r"[ \t\r\n\f\v]+", " ", str(text)).strip()
