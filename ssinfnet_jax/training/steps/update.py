"""One update of a train state, shared by all training steps."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax

from ssinfnet_jax.training.steps import optim
from ssinfnet_jax.training.steps.state import TrainState

# params -> (terms to minimise {name: float[B]}, other metrics {name: float[B]}, new batch statistics)
Objective = Callable[[Any], tuple[Mapping[str, jax.Array], Mapping[str, jax.Array], Any]]


def slice_keys(key: jax.Array, step: jax.Array | int, position: jax.Array) -> jax.Array:
    """A key per slice, key[B], from the step and the slice's position int[B] in the global batch.

    A slice's draws depend neither on its device nor on the number of devices.
    """
    return jax.vmap(jax.random.fold_in, (None, 0))(jax.random.fold_in(key, step), position)


def update(
    state: TrainState,
    objective: Objective,
    optimizer: optax.GradientTransformation,
    valid: jax.Array,
    *,
    axis_name: str | None,
    averaging: float = 0.0,
) -> tuple[TrainState, dict[str, jax.Array]]:
    """Minimises the sum of an objective's terms, averaged over the valid slices of all devices.

    The loss is summed over the local slices and divided by the **global** number of valid ones; gradients are then
    summed over devices. A mean of the devices' means would be wrong if their numbers of valid slices differ.

    Args:
      state: to be updated.
      objective: see `Objective`.
      optimizer: the one of `state.opt_state`.
      valid: float[B], 1 for a slice, 0 for padding.
      axis_name: of the mapped axis, or None on one device.
      averaging: decay of the state's averaged weights, in [0, 1); after n updates at most (1 + n) / (10 + n), so that
        the initial weights are soon forgotten.
    Returns: the new state and scalar metrics: every term, their sum `loss`, the other metrics, `grad_norm`.
    """

    def total(value):
        return value if axis_name is None else jax.lax.psum(value, axis_name)

    num_valid = jnp.maximum(total(valid.sum()), 1.0)

    def loss(params):
        terms, extra, batch_stats = objective(params)
        means = {name: (value * valid).sum() / num_valid for name, value in {**terms, **extra}.items()}
        value = sum(means[name] for name in terms)
        return value, ({"loss": value, **means}, batch_stats)

    gradient, (metrics, batch_stats) = jax.grad(loss, has_aux=True)(optim.fast(state.params))
    gradient, metrics = total(gradient), total(metrics)
    updates, opt_state = optimizer.update(gradient, state.opt_state, state.params)
    params = optax.apply_updates(state.params, updates)
    average = state.average
    if average is not None:
        decay = jnp.minimum(averaging, (1 + state.step) / (10 + state.step))
        current = {"params": optim.slow(params), "batch_stats": batch_stats}
        average = optax.incremental_update(current, average, 1 - decay)
    new_state = TrainState(state.step + 1, params, batch_stats, opt_state, average)
    return new_state, {**metrics, "grad_norm": optax.tree.norm(gradient)}
