"""Unlabeled slices in supervised training: the averaged weights label them for the network that learns.

A method of its own beside the paper's pretraining. The teacher sees a slice as it was moved, the learner sees it with
changed light, noise and blur too, and learns the teacher's sharpened probabilities.

Source: Tarvainen and Valpola 2017, arXiv:1703.01780; sharpening as in Berthelot et al. 2019, arXiv:1905.02249.
"""

import jax
import jax.numpy as jnp

from ssinfnet_jax.config import Teacher
from ssinfnet_jax.networks.inputs import Batch


def weight(step: jax.Array, options: Teacher, steps_per_epoch: float) -> jax.Array:
    """What an unlabeled slice counts at a step: float32[]."""
    t = jnp.clip(step / (options.ramp_epochs * steps_per_epoch), 0, 1)
    return options.weight * jnp.exp(-5 * jnp.square(1 - t))


def merge(labeled: Batch, unlabeled: Batch, logits: jax.Array, sharpness: float, weight: jax.Array) -> Batch:
    """One batch of both kinds of slices.

    Args:
      labeled: `image`, `lesion`, `valid` and others, float or int[B,...].
      unlabeled: `image`, `valid` at least.
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
