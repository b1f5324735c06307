"""Sums and means over pixels."""

import jax

from ssinfnet_jax.models.ops import pixel_sum


def pixel_mean(x: jax.Array) -> jax.Array:
    """Mean over pixels and classes: float[B,H,W,C] -> float[B]."""
    return pixel_sum(x).sum(axis=1) / (x.size // x.shape[0])
