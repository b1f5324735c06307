"""Unlabeled slices in supervised training: the averaged weights (the teacher) label them for the network.

Not part of the paper. The teacher sees a slice after geometric augmentation; the network also gets changes of
brightness, noise and blur, and learns the teacher's sharpened probabilities.

Source: Tarvainen and Valpola 2017, arXiv:1703.01780; sharpening as in Berthelot et al. 2019, arXiv:1905.02249.
"""

import jax
import jax.numpy as jnp

from ssinfnet_jax.config import Teacher
from ssinfnet_jax.networks.inputs import Batch


def weight(step: jax.Array, options: Teacher, steps_per_epoch: float) -> jax.Array:
    """Weight of an unlabeled slice at a step, float32[]."""
    t = jnp.clip(step / (options.ramp_epochs * steps_per_epoch), 0, 1)
    return options.weight * jnp.exp(-5 * jnp.square(1 - t))


def merge(labeled: Batch, unlabeled: Batch, logits: jax.Array, sharpness: float, weight: jax.Array) -> Batch:
    """Joins labeled and unlabeled slices in one batch.

    Args:
      labeled: `image`, `lesion`, `valid` and others, float or int[B,...].
      unlabeled: at least `image` and `valid`.
      logits: of the teacher for the unlabeled slices, float[B,H,W,1].
      sharpness: see `Teacher`.
      weight: of an unlabeled slice.
    Returns: `image` and `lesion` float32[2B,H,W], labeled slices first, `valid` with the weights, and `ignore` if the
      labeled slices have it.
    """
    lesion = jax.nn.sigmoid(sharpness * jax.lax.stop_gradient(logits))[..., 0]
    ignore = {}
    if "ignore" in labeled:
        ignore["ignore"] = jnp.concatenate([labeled["ignore"], jnp.zeros_like(lesion)])
    return {
        **ignore,
        "image": jnp.concatenate([labeled["image"], unlabeled["image"]]),
        "lesion": jnp.concatenate([labeled["lesion"], lesion]),
        "valid": jnp.concatenate([labeled["valid"], weight * unlabeled["valid"]]),
    }
