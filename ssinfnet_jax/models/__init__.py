"""The networks of the paper as Flax modules: functions of (variables, input), logits out, no loss inside."""

from ssinfnet_jax.models.initialize import init, shapes
from ssinfnet_jax.models.registry import MODELS, Entry, check, create, inpaints, num_inputs, output
