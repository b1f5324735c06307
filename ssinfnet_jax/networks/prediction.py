"""Probabilities from a network."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from ssinfnet_jax.networks import inputs
from ssinfnet_jax.networks.inputs import Batch, Normalisation


def make_predict(model: nn.Module, *, num_inputs: int, output: str, normalisation: Normalisation):
    """Returns `predict(variables, batch) -> probabilities`.

    Args:
      model: a single or a multi network.
      num_inputs: channels of its input, 3 or 6.
      output: as `models.output`: "maps", "lesion" or "classes".
      normalisation: of its training.
    Returns: a function whose result is, for "classes", float[B,H,W,3], probabilities of background, GGO and
      consolidation that sum to 1, and otherwise the lesion's probability float[B,H,W].
    """

    def predict(variables, batch: Batch) -> jax.Array:
        data = inputs.INPUTS[num_inputs](inputs.to_unit(batch), normalisation)
        out = model.apply(variables, data, train=False)
        if output != "classes":
            return jax.nn.sigmoid(lesion_logits(out, output)[..., 0])
        # One-against-rest logits: normalising their sigmoids to sum to 1 keeps the order of the classes.
        probs = jax.nn.sigmoid(out)
        return probs / jnp.maximum(probs.sum(axis=-1, keepdims=True), 1e-12)

    return predict


def temper(probs: jax.Array, temperature: float | None, *, classes: bool = False) -> jax.Array:
    """Divides the logits of probabilities by a temperature; above 1 they become less certain.

    Args:
      probs: float[...] of a lesion, or float[...,C] of classes, which sum to 1.
      temperature: above 0; None changes nothing.
      classes: whether `probs` are of classes.
    Source: Guo et al., On Calibration of Modern Neural Networks, ICML 2017.
    """
    if temperature is None:
        return probs
    powers = probs ** (1 / temperature)
    if classes:
        return powers / powers.sum(axis=-1, keepdims=True).clip(1e-12)
    return powers / (powers + (1 - probs) ** (1 / temperature))


def lesion_logits(out: Any, output: str) -> jax.Array:
    """Lesion logits float[B,H,W,1]: the finest of InfNet's maps, or the network's only output."""
    return out["map_2"] if output == "maps" else out
