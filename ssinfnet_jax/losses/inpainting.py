"""Losses of the inpainter and the coach in adversarial inpainting."""

import jax
import jax.numpy as jnp

from ssinfnet_jax.config import NotNegative, Positive
from ssinfnet_jax.models.ops import pixel_sum


def reconstruction(restored: jax.Array, target: jax.Array, *, keep: jax.Array, clip: Positive = 2.0) -> jax.Array:
    """Mean of min((restored - target)^2, clip) over the erased pixels.

    Args:
      restored: float[B, H, W, C] in [-1, 1].
      target: float[B, H, W, C] in [-1, 1].
      keep: float[B, H, W, 1] in [0, 1], 1 = kept; soft values weight a pixel.
      clip: bound on the squared error of a pixel.
    Returns: float[B]; 0 without erased pixels.
    Raises: ValueError for unequal shapes.
    Source: Pathak et al. 2016 (context encoders); the paper, "Self-supervised InfNet".
    """
    return _error(restored, target, 1 - keep, clip)


def context(restored: jax.Array, target: jax.Array, *, keep: jax.Array, clip: Positive = 2.0) -> jax.Array:
    """The same as `reconstruction`, over the kept pixels."""
    return _error(restored, target, keep, clip)


def coach(reconstruction: jax.Array, *, kl: jax.Array, kl_weight: NotNegative = 1e-6) -> jax.Array:
    """1 - reconstruction + kl_weight * kl.

    Args:
      reconstruction: float[B], the inpainter's error on the pixels that the coach erased.
      kl: float[B], divergence of the coach's latent from the standard normal (`models.coach.divergence`).
      kl_weight: 1e-6 in the published code.
    Returns: float[B].
    Source: the paper, eq. 1; Singh et al. 2018 (adversarial coach).
    """
    return 1 - reconstruction + kl_weight * kl


def _error(restored: jax.Array, target: jax.Array, weight: jax.Array, clip: float) -> jax.Array:
    if restored.shape != target.shape:
        raise ValueError(f"Restored image and target differ in shape: {restored.shape} and {target.shape}.")
    error = jnp.square(restored - target)
    # Not `jnp.minimum`, whose gradient is lost where XLA computes `error` twice and rounds it differently.
    error = jnp.where(error > clip, clip, error).mean(axis=-1, keepdims=True)
    return (pixel_sum(error * weight) / jnp.maximum(pixel_sum(weight), 1.0))[:, 0]
