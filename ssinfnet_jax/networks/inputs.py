"""Network inputs from a batch of slices: normalisation, channels, targets."""

from typing import Any

import jax
import jax.numpy as jnp

from ssinfnet_jax.config import Normalisation

Batch = dict[str, Any]


def to_unit(batch: Batch) -> Batch:
    """`image` and `prior` from uint8 to float32 in [0, 1]; the rest unchanged."""
    scaled = {name: batch[name].astype(jnp.float32) / 255 for name in ("image", "prior") if name in batch}
    return {**batch, **scaled}


def repeat3(values: jax.Array) -> jax.Array:
    """[B,H,W] -> [B,H,W,3]: CT is greyscale, the networks take three channels."""
    return jnp.repeat(values[..., None], 3, axis=-1)


def image_input(batch: Batch, normalisation: Normalisation) -> jax.Array:
    """The single network's input: normalised slice, float[B,H,W,3]."""
    return repeat3((batch["image"] - normalisation.mean) / normalisation.std)


def image_and_prior_input(batch: Batch, normalisation: Normalisation) -> jax.Array:
    """The multi network's input: normalised slice and prior (2 prob - 1), float[B,H,W,6]."""
    return jnp.concatenate([image_input(batch, normalisation), repeat3(2 * batch["prior"] - 1)], axis=-1)


# Input by its number of channels (`models.num_inputs`).
INPUTS = {3: image_input, 6: image_and_prior_input}


def inpainting_target(inputs: jax.Array) -> jax.Array:
    """The target of the inpainting, float[B,H,W,3 or 6] -> the same shape.

    The slice's channels, (image - mean) / std, are divided by 3 and clipped to [-1, 1]; the prior's channels are in
    [-1, 1] already.
    """
    image, prior = inputs[..., :3], inputs[..., 3:]
    return jnp.concatenate([jnp.clip(image / 3, -1, 1), prior], axis=-1)


def restored_image(restored: jax.Array, normalisation: Normalisation) -> jax.Array:
    """The inpainted slice in [0, 1], from channel 0 of a restored float[B,H,W,C] in [-1, 1]: float[B,H,W]."""
    return jnp.clip(restored[..., 0] * 3 * normalisation.std + normalisation.mean, 0, 1)


def one_hot(classes: jax.Array) -> jax.Array:
    """int[B,H,W] of {0 background, 1 GGO, 2 consolidation} -> float32[B,H,W,3]."""
    return jax.nn.one_hot(classes, 3, dtype=jnp.float32)
