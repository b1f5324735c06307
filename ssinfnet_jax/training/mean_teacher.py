"""Unlabeled slices in supervised training: the averaged weights label them for the network that learns.

A method of its own beside the paper's pretraining. The teacher sees a slice as it was moved, the learner sees it with
changed light, noise and blur too, and learns the teacher's sharpened probabilities.

Source: Tarvainen and Valpola 2017, arXiv:1703.01780; sharpening as in Berthelot et al. 2019, arXiv:1905.02249.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

Batch = dict[str, Any]


class Options(NamedTuple):
    """How unlabeled slices count.

    Attributes:
      batch_size: unlabeled slices per step, of all devices together.
      weight: of such a slice in the end, where a labeled one counts 1.
      ramp_epochs: epochs of the labeled slices until then; the weight is weight * exp(-5 (1 - t)^2) for t in [0, 1].
      sharpness: factor on the teacher's log-odds; 1: its probabilities as they are.
    """

    batch_size: int
    weight: float = 1.0
    ramp_epochs: float = 50.0
    sharpness: float = 2.0


def make_options(table: Mapping[str, Any], name: str) -> Options:
    """Options from a config table called `name`.

    Raises: ValueError for an unknown or missing key, or a number that is out of range.
    """
    unknown = sorted(set(table) - set(Options._fields))
    if unknown or "batch_size" not in table:
        raise ValueError(f"{name} has {', '.join(Options._fields)}, batch_size at least; found {dict(table)}.")
    options = Options(**table)
    for key in ("weight", "ramp_epochs", "sharpness"):
        if not 0 < getattr(options, key) < float("inf"):
            raise ValueError(f"{name}.{key} must be positive, found {getattr(options, key)}.")
    return options


def weight(step: jax.Array, options: Options, steps_per_epoch: float) -> jax.Array:
    """What an unlabeled slice counts at a step: float32[]."""
    t = jnp.clip(step / (options.ramp_epochs * steps_per_epoch), 0, 1)
    return options.weight * jnp.exp(-5 * jnp.square(1 - t))


def merge(labeled: Batch, unlabeled: Batch, logits: jax.Array, sharpness: float, weight: jax.Array) -> Batch:
    """One batch of both kinds of slices.

    Args:
      labeled: `image`, `lesion`, `valid` and others, float or int[B,...].
      unlabeled: `image`, `valid` at least.
      logits: of the teacher for the unlabeled slices, float[B,H,W,1].
      sharpness: see `Options`.
      weight: of an unlabeled slice.
    Returns: `image` and `lesion` float32[2B,H,W], labeled slices first, and `valid` with the weights.
    """
    lesion = jax.nn.sigmoid(sharpness * jax.lax.stop_gradient(logits))[..., 0]
    return {
        "image": jnp.concatenate([labeled["image"], unlabeled["image"]]),
        "lesion": jnp.concatenate([labeled["lesion"], lesion]),
        "valid": jnp.concatenate([labeled["valid"], weight * unlabeled["valid"]]),
    }
