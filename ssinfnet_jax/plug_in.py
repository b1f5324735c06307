"""Resolves names in a config: one of the package's own objects, or "module:name" from any importable package."""

import functools
import importlib
from collections.abc import Callable, Mapping
from typing import Any


class PlugInError(ValueError):
    """A name in a config does not exist, cannot be imported, or is of another kind.

    Attributes:
      name: as in the config.
      reason: the error, without the choices.
    """

    def __init__(self, kind: str, name: Any, known: Mapping[str, Any], reason: str = ""):
        self.name, self.reason = name, f"Unknown {kind} {name!r}{reason}"
        choices = f'choose one of {", ".join(known)}, or give "module:name" from any importable package'
        super().__init__(f"{self.reason}; {choices}.")


def resolve(
    kind: str,
    name: Any,
    known: Mapping[str, Any],
    *,
    fits: Callable[[Any], bool] = callable,
    needed: str = "a function",
) -> Any:
    """The object that a config names.

    Args:
      kind: for errors: "loss", "optimizer", "backbone", "model", "dataset".
      name: a key of `known`, or "module:name" of an importable module.
      known: the package's own objects by name.
      fits: whether an imported object is of this kind.
      needed: the condition `fits` in words.
    Raises: PlugInError with the name, the reason and the choices.
    """
    if isinstance(name, str) and name in known:
        return known[name]
    error = functools.partial(PlugInError, kind, name, known)
    module_name, _, attribute = name.partition(":") if isinstance(name, str) else ("", "", "")
    if not module_name or not attribute:
        raise error()
    try:
        module = importlib.import_module(module_name)
    except (Exception, SystemExit) as reason:  # whatever the module raises on import
        said = " ".join(str(reason).split())
        raise error(f": importing {module_name} fails with {type(reason).__name__}: {said}") from reason
    if not hasattr(module, attribute):
        raise error(f": {module_name} has no {attribute!r}")
    found = getattr(module, attribute)
    if not fits(found):
        raise error(f": it must be {needed}, found {found!r}")
    return found
