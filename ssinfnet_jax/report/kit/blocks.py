"""What a page is made of: sections of blocks, which the templates only lay out."""

import dataclasses
from typing import Any

from ssinfnet_jax.report.kit import tables


@dataclasses.dataclass(frozen=True)
class Block:
    """One piece of a section; `kind` names the macro of the template that draws it."""

    kind: str
    content: Any


@dataclasses.dataclass
class Section:
    """Heading with an anchor, and its blocks."""

    anchor: str
    title: str
    short: str  # in the bar of links
    blocks: list[Block] = dataclasses.field(default_factory=list)

    def add(self, kind: str, content: Any) -> None:
        """Appends a block; None and empty text are left out."""
        if content is not None and not (isinstance(content, str) and not content):
            self.blocks.append(Block(kind, content))


@dataclasses.dataclass(frozen=True)
class Figure:
    """A picture of the page."""

    name: str
    png: str  # base64
    caption: str
    width: int  # CSS pixels


def count(number: int, noun: str) -> str:
    """`1 patient`, `2 patients`."""
    return f"{tables.number(number)} {noun}{'' if number == 1 else 's'}"
