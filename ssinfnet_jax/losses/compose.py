"""Composes a training loss from a config's table of terms.

A line is {"fn": "module:function", "weight": 1.0, "maps": {map: weight}, hyper-parameters}. The function's first
arguments come from the step, such as logits and target; its other parameters are hyper-parameters of the line, or
fields of the batch by name.
"""

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
from absl import logging

from ssinfnet_jax import plug_in
from ssinfnet_jax.config import check_options
from ssinfnet_jax.losses import inpainting, segmentation

LOSSES: dict[str, Callable[..., jax.Array]] = {
    f"{module.__name__.rpartition('.')[2]}:{name}": function
    for module in (segmentation, inpainting)
    for name, function in vars(module).items()
    if getattr(function, "__module__", None) == module.__name__ and not name.startswith("_")
}
# Logged by steps and the loop beside the terms.
METRICS = (
    "loss", "grad_norm", "train_dice", "reconstruction", "context", "kl", "erased_fraction", "learning_rate", "step",
    "phase", "epoch", "slices_per_second", "time_waiting_for_data",
)  # fmt: skip
_LINE = ("fn", "weight", "maps")  # keys of a line that are not hyper-parameters

Terms = Mapping[str, Mapping[str, Any]]


def resolve(line: Mapping[str, Any], num_args: int = 2) -> Callable[..., jax.Array]:
    """The loss function of a line, without weights.

    Args:
      line: of a loss table; "fn" is a key of `LOSSES`, or "module:function" of any package.
      num_args: number of arguments that the step passes by position.
    Returns: function (*args, **fields) -> float[B] that passes on the fields that the loss has as parameters.
    Raises: ValueError for an unknown function or hyper-parameter; when called, for a parameter that is neither in the
      line nor a field.
    """
    function = plug_in.resolve("loss", line.get("fn"), LOSSES)
    options = {name: value for name, value in line.items() if name not in _LINE}
    parameters = [*inspect.signature(function).parameters.values()][num_args:]
    parameters = {one.name: one for one in parameters if one.kind in (one.POSITIONAL_OR_KEYWORD, one.KEYWORD_ONLY)}
    if unknown := sorted(set(options) - set(parameters)):
        raise ValueError(
            f"Unknown hyper-parameter {', '.join(unknown)} of loss {line['fn']!r}; it has {', '.join(parameters)}."
        )
    needed = [name for name, one in parameters.items() if one.default is one.empty and name not in options]

    def loss(*args, **fields):
        if missing := [name for name in needed if name not in fields]:
            raise ValueError(
                f"loss {line['fn']!r} needs {', '.join(missing)}: give a value in its line, or name the parameter "
                f"after a field of the batch, which has {', '.join(sorted(fields)) or 'none'}"
            )
        asked = {name: value for name, value in fields.items() if name in parameters and name not in options}
        return function(*args, **asked, **options)

    return loss


def make_loss(
    terms: Terms, *, maps: Sequence[str] = (), num_args: int = 2
) -> Callable[..., dict[str, dict[str, jax.Array]]]:
    """Returns `loss(output, *args, **fields) -> {term: {map: weighted float[B]}}` for a loss table.

    A network's output is several maps by name, or one array, called "" here. A term with "maps" applies to these maps
    with their weights; it is skipped if the output is one array.

    Args:
      terms: name -> line.
      maps: maps that a line without "maps" applies to, each with weight 1; all if empty.
      num_args: as for `resolve`.
    Raises: ValueError for a table without terms, or a term that cannot be resolved; when called, for a map that the
      network does not have.
    """
    if not terms:
        raise ValueError("A loss needs at least one term, found none.")
    functions = {name: resolve(line, num_args) for name, line in terms.items()}

    def loss(output, /, *args, **fields):
        outputs = output if isinstance(output, Mapping) else {"": output}
        found = {}
        for name, line in terms.items():
            weights = line.get("maps") or dict.fromkeys(outputs if "" in outputs else maps or outputs, 1.0)
            if "" in outputs and "" not in weights:
                continue
            if unknown := sorted(set(weights) - set(outputs)):
                raise ValueError(f"{name}: the network has no map {', '.join(unknown)}; it has {', '.join(outputs)}")
            found[name] = {
                key: float(line.get("weight", 1.0)) * weight * functions[name](outputs[key], *args, **fields)
                for key, weight in weights.items()
            }
        return found

    return loss


def by_term(values: Mapping[str, Mapping[str, jax.Array]]) -> dict[str, jax.Array]:
    """{term: float[B]}, the values of `make_loss` summed over maps."""
    return {term: sum(of_maps.values()) for term, of_maps in values.items()}


def by_map(values: Mapping[str, Mapping[str, jax.Array]]) -> dict[str, jax.Array]:
    """{"map_term": float[B]}, the values of `make_loss`; "term" without a map, or if the map has the same name."""
    return {
        term if name in ("", term) else f"{name}_{term}": value
        for term, of_maps in values.items()
        for name, value in of_maps.items()
    }


def check(
    terms: Terms, name: str, *args: Any, fields: Mapping[str, Any], maps: Sequence[str] = (), of: str = ""
) -> None:
    """Raises ValueError if a loss cannot be computed from arguments and fields of these shapes.

    Warns of terms that have no effect and of maps that no term trains.

    Args:
      terms, maps: as for `make_loss`.
      name: of the table, for the error.
      *args, fields: `jax.ShapeDtypeStruct` of B = 2 slices; for a network with several maps, a dict of them.
      of: describes the arguments in the error: " for 3 classes".
    """
    if taken := sorted(set(terms) & set(METRICS)):
        raise ValueError(f"{name}.{taken[0]} has the name of a metric; rename the term.")
    loss = make_loss(terms, maps=maps, num_args=len(args))
    for term, line in terms.items():
        check_options(plug_in.resolve("loss", line["fn"], LOSSES), line, f"{name}.{term}")
    try:
        values = jax.eval_shape(loss, *args, **fields)
    except Exception as error:  # whatever a plugged-in function raises
        kind = "" if isinstance(error, ValueError) else f"{type(error).__name__}: "
        said = " ".join(str(error).split()).removesuffix(".")
        raise ValueError(f"{name} cannot be computed{of}: {kind}{said}.") from error
    for term, of_maps in values.items():
        for value in of_maps.values():
            if value.shape != (2,):
                raise ValueError(
                    f"{name}.{term} must return one value per slice, [B]; for B = 2 it returns shape {value.shape}."
                )
    left_out = [f"{name}.{term}" for term in terms if term not in values]
    unused = sorted(set(args[0]) - set().union(*values.values())) if isinstance(args[0], Mapping) else []
    if len(left_out) == len(terms):
        raise ValueError(f'All terms of {name} have "maps", but the network has one output; add a term without maps.')
    if left_out:
        logging.warning("The network has no maps, so %s has no effect.", ", ".join(left_out))
    if unused:
        logging.warning("No term of %s applies to %s, which will not be trained.", name, ", ".join(unused))
