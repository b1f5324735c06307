"""Pixels that count in no loss: no reader said what they show."""

from typing import Any

import jax
import jax.numpy as jnp

_SURE = 30.0  # |logit| at which a sigmoid is 0 or 1 to float32; its square and its exponential stay finite in bfloat16


def agree(logits: Any, target: jax.Array, ignore: jax.Array | None) -> tuple[Any, jax.Array]:
    """Makes logits and target agree on "no" for every class where a pixel is ignored.

    A loss of sums over pixels, such as Dice, is then that of the other pixels, and no gradient comes from an ignored
    one, whatever the loss. A loss that averages over pixels still divides by all of them, unless it takes `ignore`.

    Args:
      logits: float[B, H, W, C], or a dict of such maps.
      target: float[B, H, W, C] in [0, 1].
      ignore: float[B, H, W], 1 where a pixel does not count; None if all do.
    """
    if ignore is None:
        return logits, target
    where = ignore[..., None] > 0
    return jax.tree.map(lambda one: jnp.where(where, -_SURE, one), logits), jnp.where(where, 0.0, target)
