"""The train state, of arrays only, so that it can be mapped, donated and saved."""

from collections.abc import Mapping
from typing import Any

import flax
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from ssinfnet_jax import models
from ssinfnet_jax.training.steps import optim


@flax.struct.dataclass
class TrainState:
    """A network in training.

    Attributes:
      step: int32[], number of updates done.
      params: parameters, or `optax.LookaheadParams` with fast and slow ones.
      batch_stats: running statistics of batch norm; they follow the fast parameters.
      opt_state: of the optimizer.
      average: {"params", "batch_stats"} averaged over the updates so far, or None without averaging.
    """

    step: jax.Array
    params: Any
    batch_stats: Any
    opt_state: Any
    average: Any = None


def create(
    model: nn.Module,
    optimizer: optax.GradientTransformation,
    *,
    seed: int,
    num_channels: int,
    lookahead: bool = False,
    averaging: bool = False,
    initial: dict[str, Any] | None = None,
) -> TrainState:
    """A state at step 0, on the host.

    Args:
      model: defines the shapes.
      optimizer: from `optim.make_optimizer`.
      seed: of the initialisation.
      num_channels: of the network's input.
      lookahead: whether the optimizer needs slow and fast parameters.
      averaging: whether to average the weights over the updates.
      initial: variables {"params", "batch_stats"} to start from instead of fresh ones.
    """
    variables = initial or models.init(model, seed, num_channels)
    params = jax.tree.map(jnp.asarray, variables["params"])
    if lookahead:
        params = optim.synced(params)
    fresh = TrainState(
        step=jnp.zeros((), jnp.int32),
        params=params,
        batch_stats=variables["batch_stats"],
        opt_state=jax.jit(optimizer.init)(params),  # compiles one program, not one per shape
        average=dict(variables) if averaging else None,
    )
    return jax.device_get(fresh)


def variables(state: TrainState) -> dict[str, Any]:
    """The variables to evaluate and save: averaged weights, or slow parameters and batch statistics."""
    if state.average is not None:
        return state.average
    return {"params": optim.slow(state.params), "batch_stats": state.batch_stats}


def transfer(source: dict[str, Any], target: dict[str, Any], is_head) -> tuple[dict[str, Any], list[str]]:
    """Transfers all variables but the last layers.

    Args:
      source: pretrained variables.
      target: fresh variables of the same network.
      is_head: function (path tuple) -> bool, True for variables that stay fresh.
    Returns: the merged variables and the names of the layers that stayed fresh.
    Raises: ValueError if the two trees differ in names or shapes.
    """
    old, new = flax.traverse_util.flatten_dict(source), flax.traverse_util.flatten_dict(target)
    differing = sorted(
        "/".join(path) for path in old.keys() | new.keys() if path not in old or path not in new
        or old[path].shape != new[path].shape
    )  # fmt: skip
    if differing:
        raise ValueError(
            f"The pretrained network differs from this one in {', '.join(differing[:5])} ({len(differing)})."
        )
    fresh = sorted({"/".join(path[1:-2]) for path in new if is_head(path)})
    merged = {path: new[path] if is_head(path) else old[path] for path in new}
    return flax.traverse_util.unflatten_dict(merged), fresh


def touched(model: nn.Module, num_channels: int, method: str) -> Any:
    """Tree of bool: the parameters of a network that a method ("__call__" | "inpaint") uses."""
    everything = flax.traverse_util.flatten_dict(models.shapes(model, num_channels)["params"])
    used = models.shapes(model, num_channels, method=method, train=False)["params"]
    used = flax.traverse_util.flatten_dict(used)
    return flax.traverse_util.unflatten_dict({path: path in used for path in everything})


def with_biases(variables: dict[str, Any], biases: Mapping[str, Any]) -> dict[str, Any]:
    """Variables with some biases set.

    A lesion covers a small part of a slice. Last layers that start at the log-odds of that part, not at 0, need not
    learn it first (Lin et al. 2017, section 3.3).

    Args:
      variables: {"params", "batch_stats"}.
      biases: path below "params", such as "decoder/head/conv/bias" -> value, or one per channel.
    Raises: ValueError for an unknown path or a wrong number of values.
    """
    flat = flax.traverse_util.flatten_dict(variables)
    for name, value in biases.items():
        path = ("params", *name.split("/"))
        if path not in flat:
            heads = [other for other in flat if other[0] == "params" and is_head(other) and other[-1] == "bias"]
            known = ["/".join(other[1:]) for other in heads]
            raise ValueError(f"Unknown bias {name!r}; the last layers have {', '.join(known)}.")
        if np.ndim(value) and np.shape(value) != flat[path].shape:
            raise ValueError(f"Bias {name!r} has {flat[path].size} channels, found {np.size(value)} values.")
        flat[path] = np.broadcast_to(np.float32(value), flat[path].shape).copy()
    return flax.traverse_util.unflatten_dict(flat)


def is_head(path: tuple[str, ...]) -> bool:
    """Whether a variable belongs to a last layer: `head`, `edge_head`, or its inpainting twin."""
    return any(part.endswith(("head", "head_inpainting")) for part in path)
