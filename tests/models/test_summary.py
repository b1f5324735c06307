import math

import flax.linen as nn
import jax
import jax.numpy as jnp
import pytest

from ssinfnet_jax import models
from ssinfnet_jax.models import summary

SIZE = {"image_size": 64, "batch_size": 2}


def _flops_by_hand(name, options):
    """2 x kernel x positions for every convolution, from the shapes that an interceptor sees."""
    total = 0

    def count(next_fun, args, kwargs, context):
        nonlocal total
        out = next_fun(*args, **kwargs)
        if isinstance(context.module, nn.Conv) and context.method_name == "__call__":
            kernel = context.module.get_variable("params", "kernel")
            total += 2 * kernel.size * math.prod(out.shape[:3])
        return out

    model = models.create(name, **options)
    with nn.intercept_methods(count):
        variables = models.init(model, 0, models.num_inputs(name))
        total = 0
        x = jnp.zeros((SIZE["batch_size"], *(SIZE["image_size"],) * 2, models.num_inputs(name)))
        jax.eval_shape(lambda: model.apply(variables, x, train=False))
    return total


def test_flops_are_twice_the_multiply_adds_of_the_convolutions():
    options = {"width": 0.25}
    found = summary.flops("multi_infnet", options, **SIZE)
    # Norms, activations and resizing add FLOPs; taps on the padding do not count.
    assert found == pytest.approx(_flops_by_hand("multi_infnet", options), rel=0.1)
    assert summary.flops("multi_infnet", options, image_size=64, batch_size=4) == pytest.approx(2 * found, rel=0.01)


def test_infnet_has_the_published_flops_and_parameters():
    assert summary.flops("infnet", {}, image_size=352, batch_size=1) == pytest.approx(25.4e9, rel=0.01)
    assert summary.num_parameters("infnet", {})["params"] == 30_917_668


def test_activations_of_a_network_counted_by_hand():
    # The coach at width 1/8, 32x32: (channels, side, layers) of its convolutions and norms, float32.
    norms = [(8, 16, 5), (16, 8, 5), (32, 4, 5), (64, 2, 5)]
    by_hand = sum(2 * layers * channels * side**2 for channels, side, layers in norms) + 2 * 2 * 100 * 2 + 2 * 2
    options = {"width": 0.125}
    assert summary.activation_bytes("coach", options, image_size=32, batch_size=1) == 4 * by_hand


def test_compiled_memory():
    assert summary.compiled_bytes("coach", {"width": 0.125}, image_size=32, batch_size=1) > 0


def test_summary_of_a_network():
    text = summary.summarize("coach", {"width": 0.125}, image_size=64, batch_size=2)
    for part in ("encoder", "float32[2,64,64,3]", "Parameters of both forms: ", "multiply-add = 2", "MiB"):
        assert part in text


def test_a_size_that_the_network_cannot_take():
    with pytest.raises(ValueError, match="multiples of 16, found 40x40"):
        summary.summarize("multi_infnet", {"width": 0.125}, image_size=40, batch_size=1)
