"""Reads frozen dataclasses from plain data by the types of their fields, and names what does not fit.

The type of a field says everything about it: `Annotated[float, Range("(0, 1]", 0.5)]`, `Literal["last", "best"]`,
`bool`, `str`, a `tuple` of these, a table (a dataclass or a `Mapping`), a list of fixed form (a NamedTuple), and any of
these `| None`. Lists become tuples, and tables that stay tables cannot be changed.
"""

import dataclasses
import functools
import inspect
import math
import numbers
import sys
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Literal, NamedTuple


class Range:
    """What a number may be: an interval such as "[0, 1)" or "(0, inf)", and an example of it for errors."""

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
    """A table for what is plugged in: some keys have a type; of all others only the numbers must be finite.

    Attributes:
      known: type by key.
      required: keys that must be there.
      is_rest: whether the table holds the keys of the dataclass around it that are not fields.
    """

    known: Mapping[str, Any]
    required: tuple[str, ...] = ()
    is_rest: bool = False


class _MisfitError(Exception):
    """A value is not of a type."""


_FINITE = Range("(-inf, inf)", 1.0)


def read(kind: Any, value: Any, name: str) -> Any:
    """Returns plain data as a value of a type.

    Args:
      kind: a type as the module describes.
      value: of a config or a JSON file.
      name: of the value, for errors: "config", or "--" for a dataclass of flags.
    Raises: ValueError for an unknown or missing key, or a value that does not fit, with the rule and the remedy. A
      dataclass checks what several fields must be together in `__post_init__`, by a ValueError whose text begins with
      the name of a field.
    """
    wanted, is_optional = _without_none(kind)
    if is_optional and (value is None or (dataclasses.is_dataclass(wanted) and value == {})):
        return None
    is_open = typing.get_origin(wanted) is Annotated and isinstance(wanted.__metadata__[0], Open)
    if is_open or dataclasses.is_dataclass(wanted) or typing.get_origin(wanted) is Mapping:
        if not isinstance(value, Mapping):
            keys = _keys(wanted)
            remedy = f"it has {', '.join(keys)}" if keys else "give {} for an empty one"
            raise ValueError(f"{name} must be a table, found {value!r}; {remedy}{', or give None' * is_optional}.")
        reader = _read_open if is_open else _read_dataclass if dataclasses.is_dataclass(wanted) else _read_mapping
        return reader(wanted, value, name)
    if _is_row(wanted):
        return _read_row(wanted, value, name)
    item = typing.get_args(wanted)[0] if typing.get_origin(wanted) is tuple else None
    if _is_row(item) and isinstance(value, list | tuple):
        return tuple(read(item, one, f"{name}.{index}") for index, one in enumerate(value))
    try:
        return _convert(kind, value)
    except _MisfitError:
        raise ValueError(_misfit(kind, value, name)) from None


def check_options(function: Callable, options: Mapping[str, Any], name: str) -> None:
    """Raises ValueError for options that are not in the ranges which the function's parameters are annotated with."""
    parameters = inspect.signature(function).parameters
    for key in [key for key in options if key in parameters]:
        kind = parameters[key].annotation
        kinds = [kind, *typing.get_args(kind)] if _is_union(kind) else [kind]
        if any(typing.get_origin(one) is Annotated for one in kinds):
            read(kind, options[key], _below(name, key))


@functools.cache
def types_of(section: type) -> dict[str, Any]:
    """Type by name of the fields of a dataclass or NamedTuple."""
    return typing.get_type_hints(section, include_extras=True)


def choices(section: type, field: str) -> tuple[str, ...]:
    """What a field may be, for one that is a choice."""
    return typing.get_args(types_of(section)[field])


def plain(value: Any) -> Any:
    """A value of a config as JSON has it: with dictionaries and lists in place of frozen tables and tuples."""
    if isinstance(value, Mapping):
        return {key: plain(one) for key, one in value.items()}
    return [plain(one) for one in value] if isinstance(value, tuple) else value


def _read_dataclass(section: type, table: Mapping[str, Any], name: str) -> Any:
    hints, missing = types_of(section), dataclasses.MISSING
    rest = next((key for key, hint in hints.items() if _is_rest(hint)), None)
    known = [key for key in hints if key != rest]
    own, others = ({key: table[key] for key in table if (key in known) == is_own} for is_own in (True, False))
    fields = dataclasses.fields(section)
    required = [field.name for field in fields if field.default is missing and field.default_factory is missing]
    _check_keys(own if rest else table, known, required, name)
    values = {key: read(hints[key], value, _below(name, key)) for key, value in own.items()}
    if rest:
        values[rest] = read(hints[rest], others, name)
    try:
        return section(**values)
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


def _read_mapping(kind: Any, table: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    _check_keys(table, _keys(kind) or table, (), name)
    value_kind = typing.get_args(kind)[1]
    return types.MappingProxyType({key: read(value_kind, value, _below(name, key)) for key, value in table.items()})


def _keys(kind: Any) -> tuple[str, ...]:
    """The keys that a table may have, where they are given."""
    if dataclasses.is_dataclass(kind):
        return tuple(types_of(kind))
    return typing.get_args(typing.get_args(kind)[0]) if typing.get_origin(kind) is Mapping else ()


def _read_open(kind: Any, table: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    known, required, _ = kind.__metadata__[0]
    _check_keys(table, table, required, name)
    return types.MappingProxyType(
        {
            key: read(known[key], value, _below(name, key)) if key in known else _frozen(value, _below(name, key))
            for key, value in table.items()
        }
    )


def _frozen(value: Any, name: str) -> Any:
    if isinstance(value, Mapping):
        return types.MappingProxyType({key: _frozen(one, _below(name, key)) for key, one in value.items()})
    if isinstance(value, list | tuple):
        return tuple(_frozen(one, f"{name}.{index}") for index, one in enumerate(value))
    return value if not _is_number(value) or value in _FINITE else read(Annotated[float, _FINITE], value, name)


def _check_keys(table: Mapping[str, Any], known: Sequence[str], required: Sequence[str], name: str) -> None:
    if unknown := sorted(map(str, set(table) - set(known))):
        raise ValueError(f"Unknown {_below(name, ', '.join(unknown))}; it has {', '.join(known)}.")
    if missing := [key for key in required if key not in table]:
        raise ValueError(f"{name} lacks {', '.join(missing)}; ssinfnet_jax/config says what it means.")


def _convert(kind: Any, value: Any) -> Any:
    """A number, text, choice or list of them as its type; raises _MisfitError."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    base, allowed = (arguments[0], kind.__metadata__[0]) if origin is Annotated else (kind, None)
    if _is_union(kind):
        for one in arguments:
            try:
                return _convert(one, value)
            except _MisfitError:
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
    raise _MisfitError


def _misfit(kind: Any, value: Any, name: str) -> str:
    """What is wrong with a value that is not of a type."""
    wanted, is_optional = _without_none(kind)
    if typing.get_origin(wanted) is Literal:
        return f"Unknown {name} {value!r}; choose one of {', '.join(typing.get_args(wanted))}."
    rule, remedy = _wanted(wanted)
    return f"{name} must be {rule}, found {value!r}; give {remedy}{', or None for none' * is_optional}."


def _wanted(kind: Any) -> tuple[str, str]:
    """What a value must be, and what to give instead."""
    arguments = typing.get_args(kind)
    if _is_union(kind):
        rule, remedy = _wanted(arguments[0])
        return rule, f"{remedy}, or a list of them"
    if typing.get_origin(kind) is tuple:
        rule, remedy = _wanted(arguments[0])
        one, _, example = remedy.partition(", such as ")
        return ("a list" if rule == "text" else rule), f"a list of {one.split(' ', 1)[1]}s, such as [{example}]"
    if typing.get_origin(kind) is Annotated and isinstance(kind.__metadata__[0], Range):
        is_whole, found = arguments[0] is int, kind.__metadata__[0]
        return found.rule(is_whole), f"a {'whole ' * is_whole}number, such as {found.example}"
    if kind is bool:
        return "True or False", "one of the two"
    example = kind.__metadata__[0].example if typing.get_origin(kind) is Annotated else ""
    return "text", f"a text, such as {example!r}"


def _without_none(kind: Any) -> tuple[Any, bool]:
    """A type without None, and whether it had it."""
    arguments = typing.get_args(kind)
    if not _is_union(kind) or types.NoneType not in arguments:
        return kind, False
    return functools.reduce(
        lambda one, other: one | other, [one for one in arguments if one is not types.NoneType]
    ), True


def _is_union(kind: Any) -> bool:
    return typing.get_origin(kind) in (typing.Union, types.UnionType)


def _is_row(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, tuple) and hasattr(kind, "_fields")


def _is_rest(kind: Any) -> bool:
    return (
        typing.get_origin(kind) is Annotated and isinstance(kind.__metadata__[0], Open) and kind.__metadata__[0].is_rest
    )


def _is_number(value: Any) -> bool:
    return isinstance(value, numbers.Real) and not isinstance(value, bool)


def _below(name: str, key: str) -> str:
    return f"{name}{key}" if name.endswith("-") else f"{name}.{key}"
