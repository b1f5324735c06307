"""What was found wrong, or suspicious, in a dataset: collected, so that one bad file does not hide the others."""

import pathlib
from typing import Literal, NamedTuple

Level = Literal["error", "warning", "note"]


class Finding(NamedTuple):
    """Something about a file.

    Attributes:
      level: an error must be mended before anything is prepared; a warning is to be looked at; a note says how a file
        was read.
      kind: a few words, the same for all findings of a kind.
      path: the file or folder.
      text: what was found, as the rest of a sentence that begins with the path.
      remedy: what to do; "" for a note.
    """

    level: Level
    kind: str
    path: pathlib.Path
    text: str
    remedy: str

    @property
    def sentence(self) -> str:
        """The finding as a sentence, with the remedy."""
        return f"{self.path} {self.text}" + (f"; {self.remedy}." if self.remedy else ".")


class Findings(list[Finding]):
    """A list of findings, each once."""

    def add(self, level: Level, kind: str, path: pathlib.Path, text: str, remedy: str = "") -> None:
        """Adds a finding; see `Finding`."""
        finding = Finding(level, kind, path, " ".join(text.split()).rstrip("."), remedy)
        if finding not in self:
            self.append(finding)

    def error(self, kind: str, path: pathlib.Path, text: str, remedy: str) -> None:
        """Adds an error."""
        self.add("error", kind, path, text, remedy)

    def warn(self, kind: str, path: pathlib.Path, text: str, remedy: str) -> None:
        """Adds a warning."""
        self.add("warning", kind, path, text, remedy)

    def note(self, kind: str, path: pathlib.Path, text: str) -> None:
        """Adds a note."""
        self.add("note", kind, path, text)

    def of(self, level: Level) -> list[Finding]:
        """The findings of a level."""
        return [finding for finding in self if finding.level == level]
