"""The paper's networks as Flax modules: functions of (variables, input) that return logits."""

from ssinfnet_jax.models.initialize import init, shapes
from ssinfnet_jax.models.registry import MODELS, Entry, check, create, inpaints, num_inputs, output
