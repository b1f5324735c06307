"""The parts of a page: sections made of blocks, which the templates lay out."""

import dataclasses
from typing import Any

from ssinfnet_jax.report.kit import tables

NOT_DIAGNOSIS = "For research, not for diagnosis: not approved or tested for the care of patients."


@dataclasses.dataclass(frozen=True)
class Block:
    """One piece of a section; `kind` selects the branch of the template's macro `block` that draws it."""

    kind: str
    content: Any


@dataclasses.dataclass
class Section:
    """A heading with an anchor, and the blocks below it."""

    anchor: str
    title: str
    short: str  # title in the navigation bar
    blocks: list[Block] = dataclasses.field(default_factory=list)

    def add(self, kind: str, content: Any) -> None:
        """Appends a block unless its content is None or an empty text."""
        if content is not None and content != "":
            self.blocks.append(Block(kind, content))

    def fold(self, title: str, table: tables.Table) -> None:
        """Appends a table that is hidden until the reader opens it."""
        self.add("details", (title, [Block("table", table)]))


@dataclasses.dataclass(frozen=True)
class Figure:
    """A figure of a page."""

    name: str
    png: str  # base64
    caption: str
    width: int  # CSS pixels


def count(number: int, noun: str, plural: str = "") -> str:
    """`1 patient`, `2 patients`."""
    return f"{tables.number(number)} {noun if number == 1 else plural or f'{noun}s'}"
