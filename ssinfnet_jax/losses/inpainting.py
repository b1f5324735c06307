"""Losses of the adversarial inpainting: what the inpainter minimises, and what the coach does."""

import jax
import jax.numpy as jnp

from ssinfnet_jax.losses.reduction import pixel_sum


def reconstruction_and_context(
    restored: jax.Array, target: jax.Array, keep: jax.Array, *, clip: float = 2.0
) -> tuple[jax.Array, jax.Array]:
    """Mean of min((restored - target)^2, clip) over the erased, and over the kept pixels.

    Args:
      restored: float[B, H, W, C] in [-1, 1].
      target: float[B, H, W, C] in [-1, 1].
      keep: float[B, H, W, 1] in [0, 1], 1 = kept; soft values weigh a pixel into both means.
      clip: the largest squared error of a pixel.
    Returns: (reconstruction, context), float[B] each; a mean over nothing is 0.
    Source: Pathak et al. 2016 (context encoders); the paper, "Self-supervised InfNet".
    """
    if restored.shape != target.shape:
        raise ValueError(f"Restored image and target differ in shape: {restored.shape} and {target.shape}.")
    error = jnp.minimum(jnp.square(restored - target), clip).mean(axis=-1, keepdims=True)

    def mean(weight):
        return (pixel_sum(error * weight) / jnp.maximum(pixel_sum(weight), 1.0))[:, 0]

    return mean(1 - keep), mean(keep)


def coach(reconstruction: jax.Array, mu: jax.Array, logvar: jax.Array, *, kl_weight: float = 1e-6):
    """1 - reconstruction + kl_weight * KL(N(mu, exp logvar) || N(0, 1)).

    Args:
      reconstruction: float[B], the inpainter's error on what the coach erased.
      mu, logvar: float[B, h, w, L]; averaged over space before the divergence, which sums over L.
      kl_weight: 1e-6 in the published code.
    Returns: (loss, kl), float[B] each.
    Source: the paper, eq. 1; Singh et al. 2018 (adversarial coach).
    """
    mu, logvar = mu.mean(axis=(1, 2)), logvar.mean(axis=(1, 2))
    kl = 0.5 * (jnp.exp(logvar) + jnp.square(mu) - 1 - logvar).sum(axis=-1)
    return 1 - reconstruction + kl_weight * kl, kl
