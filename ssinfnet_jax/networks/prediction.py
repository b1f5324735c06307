"""From the input of a network to probabilities."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from ssinfnet_jax.networks import inputs
from ssinfnet_jax.networks.inputs import Batch, Normalisation


def make_predict(model: nn.Module, *, num_inputs: int, output: str, normalisation: Normalisation):
    """A function (variables, batch) -> probabilities.

    Args:
      model: a single or a multi network.
      num_inputs: channels of its input, 3 or 6.
      output: what it gives, as `models.output` says: "maps", "lesion" or "classes".
      normalisation: of its training.
    Returns: function giving class probabilities float[B,H,W,3], normalised to sum 1 over background, GGO,
      consolidation, for "classes", and lesion probability float[B,H,W] otherwise.
    """

    def predict(variables, batch: Batch) -> jax.Array:
        data = inputs.INPUTS[num_inputs](inputs.to_unit(batch), normalisation)
        out = model.apply(variables, data, train=False)
        if output != "classes":
            return jax.nn.sigmoid(lesion_logits(out, output)[..., 0])
        # One-against-rest logits: their sigmoids rank the classes as argmax does, and are made to sum to 1.
        probs = jax.nn.sigmoid(out)
        return probs / jnp.maximum(probs.sum(axis=-1, keepdims=True), 1e-12)

    return predict


def temper(probs: jax.Array, temperature: float | None, *, classes: bool = False) -> jax.Array:
    """Probabilities with their logits divided by a temperature: above 1 they become less certain.

    Args:
      probs: float[...] of a lesion, or float[...,C] of classes, which sum to 1.
      temperature: above 0; None leaves them as they are.
      classes: which of the two they are.
    Source: Guo et al., On Calibration of Modern Neural Networks, ICML 2017.
    """
    if temperature is None:
        return probs
    powers = probs ** (1 / temperature)
    if classes:
        return powers / powers.sum(axis=-1, keepdims=True).clip(1e-12)
    return powers / (powers + (1 - probs) ** (1 / temperature))


def lesion_logits(out: Any, output: str) -> jax.Array:
    """float[B,H,W,1]: the finest of InfNet's maps, or the logits of a network that gives nothing else."""
    return out["map_2"] if output == "maps" else out
