"""Ignored pixels, which no reader labeled and no loss counts."""

from typing import Any

import jax
import jax.numpy as jnp

_SURE = 30.0  # |logit| at which a sigmoid is 0 or 1 to float32; its square and its exponential stay finite in bfloat16


def agree(logits: Any, target: jax.Array, ignore: jax.Array | None) -> tuple[Any, jax.Array]:
    """Sets logits and target to "no" for every class at ignored pixels.

    A loss of sums over pixels, such as Dice, is then over the other pixels only, and no loss has a gradient at ignored
    ones. A loss that averages over pixels still divides by all of them, unless it has a parameter `ignore`.

    Args:
      logits: float[B, H, W, C], or a dict of such maps.
      target: float[B, H, W, C] in [0, 1].
      ignore: float[B, H, W], 1 where a pixel does not count; None if all do.
    """
    if ignore is None:
        return logits, target
    where = ignore[..., None] > 0
    return jax.tree.map(lambda one: jnp.where(where, -_SURE, one), logits), jnp.where(where, 0.0, target)
