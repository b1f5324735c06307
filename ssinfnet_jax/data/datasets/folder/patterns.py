"""Patterns of paths with fields, such as `images/{id}.nii.gz`, which pair images with their masks."""

import re
from collections.abc import Mapping, Sequence

from ssinfnet_jax.data.readers import suffixes

# Fields for endings, in any case; they do not count when files are paired.
_ENDINGS = {
    "nifti": r"(?i:nii|nii\.gz)",
    "volume": f"(?i:{'|'.join(re.escape(suffix[1:]) for suffix in suffixes.VOLUMES)})",
    "picture": "(?i:png|jpg|jpeg)",
}
_FIELD = r"[^/]+?"
_SHOWN = 5


class Pattern:
    """A pattern of paths below a folder, with `/` between folders.

    `{id}` is a field: one or more characters other than `/`; `{id:REGEX}` says which. A field that occurs twice has one
    value. `*` is any text within a name, `**/` any number of folders. `{nifti}` stands for the endings nii and nii.gz,
    `{volume}` for those of all volumes, `{picture}` for png, jpg and jpeg. A pattern that ends with `/` matches
    folders.

    Attributes:
      text: as written.
      fields: names of its fields, in order, without those of endings.
      of_folders: whether it matches folders.
      num_literal: number of characters that are not of fields or wildcards; of two patterns, the one with more is the
        more specific.

    Raises: ValueError for unbalanced braces, a name that is no identifier, or an invalid regular expression.
    """

    def __init__(self, text: str):
        self.text, self.of_folders = text, text.endswith("/")
        self.fields: list[str] = []
        self.num_literal = 0
        written = text.rstrip("/")
        regex, at = "", 0
        while at < len(written):
            if written.startswith("**/", at):
                regex, at = regex + "(?:.*/)?", at + 3
            elif written[at] == "*":
                regex, at = regex + "[^/]*", at + 1
            elif written[at] == "{":
                end = self._closing(written, at)
                regex, at = regex + self._field(written[at + 1 : end]), end + 1
            else:
                regex, at = regex + re.escape(written[at]), at + 1
                self.num_literal += 1
        try:
            self._regex = re.compile(regex)
        except re.error as error:
            raise ValueError(f"Pattern {text!r} has an invalid regular expression ({error}).") from error

    def match(self, path: str) -> dict[str, str] | None:
        """The fields of a path, or None if the pattern does not match it."""
        found = self._regex.fullmatch(path)
        return {name: found[name] for name in self.fields} if found else None

    def _closing(self, text: str, at: int) -> int:
        depth = 0
        for place in range(at, len(text)):
            depth += {"{": 1, "}": -1}.get(text[place], 0)
            if not depth:
                return place
        raise ValueError(
            f"Pattern {self.text!r} has a brace without its other half; a field is {{id}} or {{id:REGEX}}."
        )

    def _field(self, written: str) -> str:
        name, _, regex = written.partition(":")
        if name in _ENDINGS and not regex:
            return f"(?:{_ENDINGS[name]})"
        if not name.isidentifier():
            raise ValueError(f"Pattern {self.text!r}: {name!r} is no name of a field; use letters, digits and _.")
        if name in self.fields:
            return f"(?P={name})"
        self.fields.append(name)
        return f"(?P<{name}>{regex or _FIELD})"


def natural(text: str) -> list[tuple[int, int, str]]:
    """A sort key that puts slice_2 before slice_10."""
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in re.split(r"(\d+)", text)]


def fill(template: str, fields: Mapping[str, str], of: str) -> str:
    """Fills a template such as `{patient}_{id}` with the fields of a path.

    Raises: ValueError, calling the template `of`, for a field that the pattern does not have.
    """
    try:
        return template.format_map(fields)
    except (KeyError, ValueError, IndexError) as error:
        has = ", ".join(fields) or "none"
        raise ValueError(
            f"{of}: {template!r} names {error}, which the pattern of the images lacks; it has {has}."
        ) from error


def some(names: Sequence[object]) -> str:
    """The first few of many names."""
    return ", ".join(map(str, names[:_SHOWN])) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")
