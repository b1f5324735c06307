"""Batch normalisation over a batch, with a hand-written gradient.

Automatic differentiation keeps the difference from the mean beside the input: for every layer, one more array of the
size of its output is written and read. The gradient below needs only the input.
"""

import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax


class TrainingBatchNorm(nn.Module):
    """`flax.linen.BatchNorm` with use_running_average=False: the same variables, values and running statistics.

    The running statistics carry no gradient.

    Attributes:
      momentum: weight of the old running statistics.
      epsilon: added to the variance.
      dtype: of the output; statistics are float32 or wider.
      axis_name: mapped axis whose devices share their statistics.
    """

    momentum: float
    epsilon: float
    dtype: Any = jnp.float32
    axis_name: str | None = None

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """float[...,C] -> float[...,C]."""
        shape = x.shape[-1:]
        scale = self.param("scale", nn.initializers.ones, shape)
        bias = self.param("bias", nn.initializers.zeros, shape)
        running = [
            self.variable("batch_stats", "mean", jnp.zeros, shape),
            self.variable("batch_stats", "var", jnp.ones, shape),
        ]
        mean, var = statistics(lax.stop_gradient(x), self.axis_name)
        if not self.is_initializing():
            for variable, new in zip(running, (mean, var), strict=True):
                variable.value = self.momentum * variable.value + (1 - self.momentum) * new
        y = normalise(x, mean, lax.rsqrt(var + self.epsilon), scale, bias, self.axis_name)
        return y.astype(self.dtype)


def statistics(x: jax.Array, axis_name: str | None) -> tuple[jax.Array, jax.Array]:
    """Mean and variance (divided by n) of float[...,C] over all but the last dimension and over all devices."""
    x = _wide(x)
    axes = tuple(range(x.ndim - 1))
    moments = jnp.stack([x.mean(axes), jnp.square(x).mean(axes)])
    mean, square = lax.pmean(moments, axis_name) if axis_name else moments
    return mean, jnp.maximum(square - jnp.square(mean), 0)


@functools.partial(jax.custom_vjp, nondiff_argnums=(5,))
def normalise(x, mean, inverse_std, scale, bias, axis_name: str | None = None) -> jax.Array:
    """(x - mean) * inverse_std * scale + bias, where `mean` and `inverse_std` are of this x over all devices.

    The gradient of x includes the paths through both statistics, so theirs is zero.

    Args:
      x: float[...,C].
      mean, inverse_std, scale, bias: float[C].
      axis_name: mapped axis whose devices share their statistics; the gradients of scale and bias stay local.
    Returns: float[...,C], float32 or wider.
    Source: Ioffe and Szegedy 2015, arXiv:1502.03167, section 3.
    """
    mean, factor, bias = (_beside(v, x) for v in (mean, inverse_std * scale, bias))
    return (_wide(x) - mean) * factor + bias


def _forward(x, mean, inverse_std, scale, bias, axis_name):
    return normalise(x, mean, inverse_std, scale, bias, axis_name), (x, mean, inverse_std, scale)


def _backward(axis_name, kept, dy):
    x, mean, inverse_std, scale = kept
    axes, wide = tuple(range(x.ndim - 1)), _wide(x)
    # All sums are over dy and x themselves: an array such as x - mean that is used in two sums, or in the forward pass
    # as well, would be written to memory and read again.
    dbias = dy.sum(axes)
    dscale = inverse_std * ((dy * wide).sum(axes) - mean * dbias)
    means = jnp.stack([dbias, dscale]) / (x.size // x.shape[-1])
    if axis_name:
        means = lax.pmean(means, axis_name)
    # dx = inverse_std * scale * (dy - mean of dy - normed * mean of dy * normed)
    of_dy = inverse_std * scale
    of_x = -of_dy * inverse_std * means[1]
    of_dy, of_x, constant = (_beside(v, x) for v in (of_dy, of_x, of_dy * means[0] + of_x * mean))
    dx = dy * of_dy + wide * of_x - constant
    return dx.astype(x.dtype), jnp.zeros_like(mean), jnp.zeros_like(inverse_std), dscale, dbias


normalise.defvjp(_forward, _backward)


def _wide(x: jax.Array) -> jax.Array:
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))


def _beside(per_channel: jax.Array, x: jax.Array) -> jax.Array:
    return per_channel.reshape((1,) * (x.ndim - 1) + (-1,))
