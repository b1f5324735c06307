"""Convolutions, pooling and sums rewritten for CPUs; each equals the operation of the same name in `models.ops`.

Speed-ups measured on two CPU cores, forward and backward:

- 1x1 convolution as a matrix product: 3 times.
- Pooling with strided slices: up to 40 times.
- Mean over 31x31 pixels as two products with band matrices: 45 times.
- Transposed convolution as a matrix product whose overlapping results are added: 8 to 30 times.
- Sum over pixels as a product with ones: 7 times.
"""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax


def pointwise_conv(x: jax.Array, kernel: jax.Array, strides: tuple[int, int]) -> jax.Array:
    """1x1 convolution as a matrix product: float[B,H,W,C], float[1,1,C,D] -> float[B,H/s,W/t,D]."""
    x = x[:, :: strides[0], :: strides[1]]
    out = x.reshape(-1, x.shape[-1]) @ kernel[0, 0]
    return out.reshape(*x.shape[:-1], kernel.shape[-1])


def reduce_windows(x: jax.Array, combine: Callable, *, size: int, stride: int) -> jax.Array:
    """Reduces windows of size x size pixels of a padded image by strided slices, first rows, then columns."""
    height, width = x.shape[1] - (size - 1) // 2 * 2, x.shape[2] - (size - 1) // 2 * 2
    x = functools.reduce(combine, [x[:, offset : offset + height : stride] for offset in range(size)])
    return functools.reduce(combine, [x[:, :, offset : offset + width : stride] for offset in range(size)])


def maximum(a: jax.Array, b: jax.Array) -> jax.Array:
    """`lax.max`, also of NaN, whose gradient goes to one of the two, to `a` where they are equal.

    The gradient of `lax.max` compares its output with each input. If XLA computes an input a second time in the
    backward pass and rounds it differently, neither is equal and the gradient is lost.
    """
    return jnp.where((a >= b) | jnp.isnan(a), a, b)


def box_mean(x: jax.Array, window: int) -> jax.Array:
    """Mean over window x window pixels, zero padded, as two products with band matrices."""

    def band(size):
        distance = np.abs(np.arange(size)[:, None] - np.arange(size)[None, :])
        return jnp.asarray((distance <= window // 2) / window, x.dtype)

    return jnp.einsum("oh,bhwc,pw->bopc", band(x.shape[1]), x, band(x.shape[2]))


def pixel_sum(x: jax.Array) -> jax.Array:
    """Sum over pixels as a product with ones; XLA would add the values one by one."""
    batch, height, width, classes = x.shape
    ones = jnp.tile(jnp.eye(classes, dtype=x.dtype), (width, 1))
    return jnp.matmul(x.reshape(batch, height, width * classes), ones, precision="highest").sum(axis=1)


def conv_transpose_3x3_stride_2(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Transposed convolution as one matrix product for all pixels, whose overlapping results are added."""
    batch, height, width, channels = x.shape
    flat = kernel.transpose(2, 0, 1, 3).reshape(channels, -1)
    parts = (x.reshape(-1, channels) @ flat).reshape(batch, height, width, 3, 3, kernel.shape[-1])
    # Even rows use the kernel's middle row; odd rows its last row from above and its first row from below.
    parts = _interleave(parts[:, :, :, 1], parts[:, :, :, 2], parts[:, :, :, 0], axis=1)
    return _interleave(parts[:, :, :, 1], parts[:, :, :, 2], parts[:, :, :, 0], axis=2)


def _interleave(middle: jax.Array, last: jax.Array, first: jax.Array, *, axis: int) -> jax.Array:
    """Interleaves along `axis`: `middle` at even places, `last` plus the next value of `first` at odd ones."""
    moved = lax.slice_in_dim(first, 1, None, axis=axis)
    moved = jnp.pad(moved, [(0, int(dim == axis)) for dim in range(first.ndim)])
    out = jnp.stack([middle, last + moved], axis=axis + 1)
    return out.reshape(*middle.shape[:axis], 2 * middle.shape[axis], *middle.shape[axis + 1 :])
