"""Composes a training loss from a table of terms, which is how a config or a fork names its losses."""

import functools
import importlib
import importlib.util
import inspect
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

Loss = Callable[[jax.Array, jax.Array], jax.Array]


def resolve(term: Mapping[str, Any]) -> Loss:
    """The loss function of one line of a loss table.

    Args:
      term: {"fn": "module:function", "weight": w, **hyper-parameters}; the module is one of `ssinfnet_jax.losses`, or
        any other that can be imported, which is how a fork adds its own.
    Returns: function (logits, target) -> float[B], hyper-parameters bound, weight not applied.
    Raises: ValueError if the module or the function is not there, or does not take a hyper-parameter.
    """
    module_name, _, function_name = str(term.get("fn", "")).partition(":")
    if not module_name or not function_name:
        raise ValueError(f"A loss is named 'module:function', found {term.get('fn')!r}.")
    ours = f"ssinfnet_jax.losses.{module_name}"
    full_name = ours if "." not in module_name and importlib.util.find_spec(ours) else module_name
    try:
        module = importlib.import_module(full_name)
    except ModuleNotFoundError as error:
        if not f"{full_name}.".startswith(f"{error.name}."):
            raise  # the module is there, and what it imports is not
        raise ValueError(f"Unknown loss {term['fn']!r}: no module {full_name!r} can be imported.") from error
    function = getattr(module, function_name, None)
    if not callable(function):
        own = [name for name, value in vars(module).items() if getattr(value, "__module__", None) == full_name]
        public = ", ".join(sorted(name for name in own if not name.startswith("_")))
        raise ValueError(f"Unknown loss {term['fn']!r}; {full_name} has {public}.")
    options = {name: value for name, value in term.items() if name not in ("fn", "weight")}
    known = [name for name in inspect.signature(function).parameters][2:]
    if not set(options) <= set(known):
        unknown = ", ".join(sorted(set(options) - set(known)))
        raise ValueError(f"Unknown hyper-parameter {unknown} of loss {term['fn']!r}; it has {', '.join(known)}.")
    return functools.partial(function, **options)


def check(terms: Mapping[str, Mapping[str, Any]], num_classes: int, name: str) -> None:
    """Raises ValueError, calling it `name`, for a table that cannot be computed of maps of `num_classes` classes."""
    maps = jax.ShapeDtypeStruct((2, 32, 32, num_classes), jnp.float32)
    loss = make_loss(terms)
    try:
        values = jax.eval_shape(loss, maps, maps)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name} cannot be computed of {num_classes} classes: {error}") from error
    for term, value in values.items():
        if value.shape != (2,):
            raise ValueError(
                f"{name}.{term} must give one value per slice, [B]; it gives shape {value.shape} of B = 2."
            )


def make_loss(
    terms: Mapping[str, Mapping[str, Any]],
) -> Callable[[jax.Array, jax.Array], dict[str, jax.Array]]:
    """A function (logits, target) -> {name: weighted float[B]} over all terms of a loss table.

    Args:
      terms: name -> line as for `resolve`; "weight" defaults to 1.
    Raises: ValueError for an empty table or a term that cannot be resolved.
    """
    if not terms:
        raise ValueError("A loss needs at least one term, found none.")
    functions = {name: (resolve(term), float(term.get("weight", 1.0))) for name, term in terms.items()}

    def loss(logits, target):
        return {name: weight * function(logits, target) for name, (function, weight) in functions.items()}

    return loss
