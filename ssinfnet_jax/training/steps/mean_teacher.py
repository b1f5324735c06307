"""Unlabeled slices in supervised training: the averaged weights (the teacher) label them for the network.

Not part of the paper. The teacher sees a slice after geometric augmentation; the network also gets changes of
brightness, noise and blur, and learns lesion or no lesion where the teacher is sure; other pixels do not count.
Probabilities as targets would not do: on a slice without lesion, the weighted IoU is best at a higher probability than
the target's (0.23 for 0.1, 0.57 for 0.3), so teacher and network would drive each other up.

Source: Tarvainen and Valpola 2017, arXiv:1703.01780 (averaged weights as teacher); Sohn et al. 2020, arXiv:2001.07685
(labels where it is sure).
"""

import jax
import jax.numpy as jnp

from ssinfnet_jax.config import Teacher
from ssinfnet_jax.networks.inputs import Batch


def weight(step: jax.Array, options: Teacher, num_steps: int) -> jax.Array:
    """Weight of an unlabeled slice at a step, float32[]."""
    t = jnp.clip(step / (options.ramp * num_steps), 0, 1)
    return options.weight * jnp.exp(-5 * jnp.square(1 - t))


def merge(labeled: Batch, unlabeled: Batch, logits: jax.Array, confidence: float, weight: jax.Array) -> Batch:
    """Joins labeled and unlabeled slices in one batch.

    Args:
      labeled: `image`, `lesion`, `valid` and others, float or int[B,...].
      unlabeled: at least `image` and `valid`.
      logits: of the teacher for the unlabeled slices, float[B,H,W,1].
      confidence: see `Teacher`.
      weight: of an unlabeled slice.
    Returns: `image`, `lesion` and `ignore` float32[2B,H,W], labeled slices first; `valid` with the weights.
    """
    lesion = jax.nn.sigmoid(jax.lax.stop_gradient(logits))[..., 0]
    unsure = (jnp.maximum(lesion, 1 - lesion) < confidence).astype(lesion.dtype)
    ignore = labeled.get("ignore", jnp.zeros_like(labeled["lesion"]))
    return {
        "image": jnp.concatenate([labeled["image"], unlabeled["image"]]),
        "lesion": jnp.concatenate([labeled["lesion"], jnp.round(lesion)]),
        "ignore": jnp.concatenate([ignore, unsure]),
        "valid": jnp.concatenate([labeled["valid"], weight * unlabeled["valid"]]),
    }
