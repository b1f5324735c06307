"""Convolutions of large images that compute the kernel's gradient in blocks of rows.

XLA's CPU compiler treats the kernel's gradient as a convolution with a window as large as the image, and first moves
the channels of both arrays to the front: on large images with many channels this is two to five times as slow as the
layer's other two convolutions. Here matrix products work on a few rows at a time, which stay in the cache.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

BLOCK_BYTES = 2**20  # of a block of rows


def pays(shape: tuple[int, ...]) -> bool:
    """Whether blocks are faster than XLA's own gradient for an image of shape [B,H,W,C], by measurement."""
    _, height, width, channels = shape
    return height * width >= 64 * 64 and channels >= 16 and height * width * channels >= 900_000


class Geometry(NamedTuple):
    """Strides, padding (before and after) and dilation of a convolution, per axis in pixels."""

    strides: tuple[int, int]
    padding: tuple[tuple[int, int], tuple[int, int]]
    dilation: tuple[int, int]


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def conv(x: jax.Array, kernel: jax.Array, geometry: Geometry) -> jax.Array:
    """`lax.conv_general_dilated` of float[B,H,W,C] and float[k,l,C,D], with the gradient of this file."""
    return _conv(x, kernel, geometry)


def _conv(x, kernel, geometry):
    numbers = ("NHWC", "HWIO", "NHWC")
    options: dict[str, Any] = {"rhs_dilation": geometry.dilation, "dimension_numbers": numbers}
    return lax.conv_general_dilated(x, kernel, geometry.strides, geometry.padding, **options)


def _forward(x, kernel, geometry):
    return _conv(x, kernel, geometry), (x, kernel)


def _backward(geometry, kept, dy):
    x, kernel = kept
    (dx,) = jax.linear_transpose(lambda x: _conv(x, kernel, geometry), x)(dy)
    return dx, of_kernel(x, dy, kernel.shape[:2], geometry)


conv.defvjp(_forward, _backward)


def of_kernel(x: jax.Array, dy: jax.Array, size: tuple[int, int], geometry: Geometry) -> jax.Array:
    """The gradient of the kernel: sum over b, i, j of x[b, s i + t u - p, s j + t v - p, c] dy[b, i, j, d].

    Args:
      x: float[B, H, W, C].
      dy: float[B, h, w, D], gradient of the output.
      size: (k, l) of the kernel.
      geometry: stride s, padding p, dilation t, per axis.
    Returns: float[k, l, C, D], summed in float32 or wider.
    """
    batch, height, width, features = dy.shape
    channels, (down, across), dtype = x.shape[-1], geometry.strides, jnp.promote_types(x.dtype, jnp.float32)
    # For a kernel offset o, row s i + o of the padded image pairs with row i of dy. With o = s q + r, row j of the
    # image's rows r, s + r, 2 s + r, ... pairs with row j - q of dy, so blocks of the image's rows need not overlap.
    offsets = [geometry.dilation[0] * u for u in range(size[0])]
    reach = offsets[-1] // down
    rows = max(1, min(height + reach, BLOCK_BYTES // (width * channels * x.dtype.itemsize)))
    num_blocks = -(-(height + reach) // rows)
    top, bottom = geometry.padding[0][0], num_blocks * rows * down - geometry.padding[0][0] - x.shape[1]
    # A negative padding crops rows that the kernel does not reach.
    x = lax.pad(x, jnp.zeros((), x.dtype), [(0, 0, 0), (top, bottom, 0), (*geometry.padding[1], 0), (0, 0, 0)])
    x = x.reshape(batch, num_blocks * rows, down, *x.shape[2:])
    dy = jnp.pad(dy, ((0, 0), (reach, num_blocks * rows - height), (0, 0), (0, 0)))
    by_remainder = {r: [o // down for o in offsets if o % down == r] for r in sorted({o % down for o in offsets})}

    def add_block(totals, index):
        image, row = index // num_blocks, index % num_blocks * rows

        def columns(r, start):
            taken = (1, rows, 1, across * (width - 1) + 1, channels)
            block = lax.dynamic_slice(x, (image, row, r, start, 0), taken)
            return block[:, :, :, ::across].reshape(-1, channels)

        def gradient(quotients):
            taken = (1, rows, width, features)
            parts = [lax.dynamic_slice(dy, (image, row + reach - q, 0, 0), taken) for q in quotients]
            return jnp.concatenate(parts, axis=-1).reshape(-1, len(quotients) * features)

        def products(r):
            right = gradient(by_remainder[r])
            lefts = [columns(r, geometry.dilation[1] * v) for v in range(size[1])]
            return jnp.stack([jnp.matmul(left.T, right, preferred_element_type=dtype) for left in lefts])

        return {r: total + products(r) for r, total in totals.items()}, None

    totals = {r: jnp.zeros((size[1], channels, len(q) * features), dtype) for r, q in by_remainder.items()}
    totals, _ = lax.scan(add_block, totals, jnp.arange(batch * num_blocks))
    kernel_rows = {}
    for r, quotients in by_remainder.items():
        parts = jnp.split(totals[r], len(quotients), axis=-1)
        kernel_rows.update({down * q + r: part for q, part in zip(quotients, parts, strict=True)})
    return jnp.stack([kernel_rows[o] for o in offsets]).astype(x.dtype)
