"""Reads frozen dataclasses from plain data by the types of their fields; errors name the key that does not fit.

A field's type says everything about it: `Annotated[float, Range("(0, 1]", 0.5)]`, `Literal["last", "best"]`, `bool`,
`str`, a `tuple` of these, a table (a dataclass or a `Mapping`), a list of fixed form (a NamedTuple), and any of these
`| None`. Lists become tuples; tables that stay tables become read-only.
"""

import dataclasses
import functools
import inspect
import math
import numbers
import operator
import sys
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Literal, NamedTuple


class Range:
    """The interval of a number, such as "[0, 1)" or "(0, inf)", and an example for errors."""

    def __init__(self, interval: str, example: float):
        self.interval, self.example = interval, example
        self._low, self._high = (float(end) for end in interval[1:-1].split(","))

    def __contains__(self, value: float) -> bool:
        above = value > self._low if self.interval[0] == "(" else value >= self._low
        below = value < self._high if self.interval[-1] == ")" else value <= self._high
        return abs(value) <= sys.float_info.max and above and below

    def rule(self, is_whole: bool) -> str:
        """The interval in words."""
        if self.interval == "(0, inf)" or (is_whole and self.interval == "[1, inf)"):
            return "positive"
        if self._high == math.inf:
            return "finite" if self._low == -math.inf else f"at least {self._low:g}"
        return f"in {self.interval}"


class Text(NamedTuple):
    """Any text, such as `example`."""

    example: str


class Open(NamedTuple):
    """The options of something plugged in: some keys have a type; in all others only the numbers must be finite.

    Attributes:
      known: type by key.
      required: keys that must be given.
      is_rest: the table collects the keys of the enclosing dataclass that are not its fields.
    """

    known: Mapping[str, Any]
    required: tuple[str, ...] = ()
    is_rest: bool = False


_FINITE = Range("(-inf, inf)", 1.0)


def read(kind: Any, value: Any, name: str) -> Any:
    """Converts plain data to a type.

    Args:
      kind: a type as in the module's docstring.
      value: from a config or a JSON file.
      name: of the value, for errors: "config", or "--" for a dataclass of flags.
    Raises: ValueError for an unknown or missing key, or a value that does not fit, with the rule and the remedy. A
      dataclass checks rules between its fields in `__post_init__`; such a ValueError begins with the name of a field.
    """
    wanted, is_optional = _without_none(kind)
    if is_optional and (value is None or (dataclasses.is_dataclass(wanted) and value == {})):
        return None
    if wanted is Any:
        return _read_any(value, name)
    if form := _form(wanted):
        if not isinstance(value, Mapping):
            remedy = f"it has {', '.join(form.known)}" if form.known else "give {} for an empty one"
            raise ValueError(f"{name} must be a table, found {value!r}; {remedy}{', or give None' * is_optional}.")
        return _read_table(wanted, form, value, name)
    if _is_row(wanted):
        return _read_row(wanted, value, name)
    item = typing.get_args(wanted)[0] if typing.get_origin(wanted) is tuple else None
    if _is_row(item) and isinstance(value, list | tuple):
        return tuple(read(item, one, f"{name}.{index}") for index, one in enumerate(value))
    try:
        return _convert(kind, value)
    except TypeError:
        raise ValueError(_misfit(wanted, is_optional, value, name)) from None


def check_options(function: Callable, options: Mapping[str, Any], name: str) -> None:
    """Raises ValueError for options outside the ranges in the annotations of the function's parameters."""
    for key, parameter in inspect.signature(function).parameters.items():
        kinds = [parameter.annotation, *typing.get_args(parameter.annotation)]
        if key in options and any(isinstance(_note(kind), Range | Text) for kind in kinds):
            read(parameter.annotation, options[key], _below(name, key))


@functools.cache
def types_of(section: type) -> dict[str, Any]:
    """Type by name of the fields of a dataclass or NamedTuple."""
    return typing.get_type_hints(section, include_extras=True)


def choices(section: type, field: str) -> tuple[str, ...]:
    """The choices of a field whose type is a `Literal`."""
    return typing.get_args(types_of(section)[field])


def plain(value: Any) -> Any:
    """A value of a config as JSON: dictionaries and lists in place of read-only tables and tuples."""
    if isinstance(value, Mapping):
        return {key: plain(one) for key, one in value.items()}
    return [plain(one) for one in value] if isinstance(value, tuple) else value


class _Form(NamedTuple):
    """The keys of a table: types of known keys, those that must be given, and the type of all others, if allowed."""

    known: Mapping[str, Any]
    required: Sequence[str] = ()
    others: Any = None


def _form(kind: Any) -> _Form | None:
    """The form of a type that is a table, else None."""
    if dataclasses.is_dataclass(kind):
        fields, missing = dataclasses.fields(kind), dataclasses.MISSING
        required = [field.name for field in fields if field.default is missing and field.default_factory is missing]
        if rest := _rest(kind):
            own = {key: hint for key, hint in types_of(kind).items() if key != rest}
            return _Form({**own, **_note(types_of(kind)[rest]).known}, required, Any)
        return _Form(types_of(kind), required)
    if isinstance(_note(kind), Open):
        return _Form(_note(kind).known, _note(kind).required, Any)
    if typing.get_origin(kind) is Mapping:
        key, item = typing.get_args(kind)
        names = typing.get_args(key)
        return _Form(dict.fromkeys(names, item), others=None if names else item)
    return None


def _rest(section: type) -> str | None:
    """The field of a dataclass that collects all other keys."""
    notes = {key: _note(hint) for key, hint in types_of(section).items()}
    return next((key for key, note in notes.items() if isinstance(note, Open) and note.is_rest), None)


def _read_table(kind: Any, form: _Form, table: Mapping[str, Any], name: str) -> Any:
    if not form.others and (unknown := sorted(map(str, set(table) - set(form.known)))):
        raise ValueError(f"Unknown {_below(name, ', '.join(unknown))}; it has {', '.join(form.known)}.")
    if missing := [key for key in form.required if key not in table]:
        raise ValueError(f"{name} lacks {', '.join(missing)}; ssinfnet_jax/config explains every key.")
    values = {key: read(form.known.get(key, form.others), one, _below(name, key)) for key, one in table.items()}
    if not dataclasses.is_dataclass(kind):
        return types.MappingProxyType(values)
    if rest := _rest(kind):
        own = types_of(kind).keys() - {rest}
        values = {
            **{key: value for key, value in values.items() if key in own},
            rest: types.MappingProxyType({key: value for key, value in values.items() if key not in own}),
        }
    try:
        return kind(**values)
    except ValueError as error:
        raise ValueError(_below(name, str(error))) from error


def _read_row(kind: type, value: Any, name: str) -> Any:
    fields, hints = kind._fields, types_of(kind)
    least = len(fields) - len(kind._field_defaults)
    if not isinstance(value, list | tuple) or not least <= len(value) <= len(fields):
        forms = " or ".join(f"[{', '.join(fields[:count])}]" for count in range(least, len(fields) + 1))
        raise ValueError(f"{name} must be a list {forms}, found {value!r}.")
    return kind(
        *(read(hints[key], one, f"{name}.{i}") for i, (key, one) in enumerate(zip(fields, value, strict=False)))
    )


def _read_any(value: Any, name: str) -> Any:
    if isinstance(value, Mapping):
        return read(Mapping[str, Any], value, name)
    if isinstance(value, list | tuple):
        return tuple(_read_any(one, f"{name}.{index}") for index, one in enumerate(value))
    return value if not _is_number(value) or value in _FINITE else read(Annotated[float, _FINITE], value, name)


def _convert(kind: Any, value: Any) -> Any:
    """Converts to a number, text, choice or list of these; TypeError if it does not fit."""
    origin, arguments, allowed = typing.get_origin(kind), typing.get_args(kind), _note(kind)
    base = arguments[0] if allowed else kind
    if _is_union(kind):
        for one in arguments:
            try:
                return _convert(one, value)
            except TypeError:
                pass
    elif origin is tuple and isinstance(value, list | tuple):
        return tuple(_convert(arguments[0], one) for one in value)
    elif origin is Literal and value in arguments:
        return value
    elif isinstance(allowed, Range):
        fits = _is_number(value) and (base is float or isinstance(value, numbers.Integral))
        if fits and value in allowed:
            return base(value)
    elif base in (bool, str, types.NoneType) and isinstance(value, base):
        return value
    raise TypeError


def _misfit(kind: Any, is_optional: bool, value: Any, name: str) -> str:
    """The error for a value that is not of a type."""
    if typing.get_origin(kind) is Literal:
        return f"Unknown {name} {value!r}; choose one of {', '.join(typing.get_args(kind))}."
    rule, remedy = _wanted(kind)
    return f"{name} must be {rule}, found {value!r}; give {remedy}{', or None' * is_optional}."


def _wanted(kind: Any) -> tuple[str, str]:
    """What a value must be, and what to give instead."""
    arguments, note = typing.get_args(kind), _note(kind)
    if _is_union(kind):
        rule, remedy = _wanted(arguments[0])
        return rule, f"{remedy}, or a list of them"
    if typing.get_origin(kind) is tuple:
        rule, remedy = _wanted(arguments[0])
        one, _, example = remedy.partition(", such as ")
        return ("a list" if rule == "text" else rule), f"a list of {one.split(' ', 1)[1]}s, such as [{example}]"
    if isinstance(note, Range):
        is_whole = arguments[0] is int
        return note.rule(is_whole), f"a {'whole ' * is_whole}number, such as {note.example}"
    if kind is bool:
        return "True or False", "one of the two"
    return "text", f"a text, such as {note.example if note else ''!r}"


def _without_none(kind: Any) -> tuple[Any, bool]:
    """A type without None, and whether it allowed None."""
    arguments = typing.get_args(kind)
    if not _is_union(kind) or types.NoneType not in arguments:
        return kind, False
    return functools.reduce(operator.or_, [one for one in arguments if one is not types.NoneType]), True


def _note(kind: Any) -> Any:
    """What a type is annotated with, or None."""
    return kind.__metadata__[0] if typing.get_origin(kind) is Annotated else None


def _is_union(kind: Any) -> bool:
    return typing.get_origin(kind) in (typing.Union, types.UnionType)


def _is_row(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, tuple) and hasattr(kind, "_fields")


def _is_number(value: Any) -> bool:
    return isinstance(value, numbers.Real) and not isinstance(value, bool)


def _below(name: str, key: str) -> str:
    return f"{name}{key}" if name.endswith("-") else f"{name}.{key}"
