"""Array operations of networks and losses; chooses between a form for CPUs (`models.cpu`) and XLA's own.

With `forms_for`, a program for several platforms contains each platform's form.
"""

import contextlib
import contextvars
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from ssinfnet_jax.models.cpu import forms, kernel_gradient

_backend: contextvars.ContextVar[str | None] = contextvars.ContextVar("backend", default=None)


@contextlib.contextmanager
def forms_for(backend: str) -> Iterator[None]:
    """Context in which code is traced with the forms for a backend, "cpu" | "gpu" | "tpu", in use or not."""
    token = _backend.set(backend)
    try:
        yield
    finally:
        _backend.reset(token)


def on_cpu() -> bool:
    """Whether code is traced with the forms for CPUs."""
    return (_backend.get() or jax.default_backend()) == "cpu"


def conv_general_dilated(lhs: jax.Array, rhs: jax.Array, window_strides, padding, **kwargs: Any) -> jax.Array:
    """`lax.conv_general_dilated` (NHWC, HWIO).

    On CPUs, 1x1 convolutions become matrix products, and large images use the gradient of `kernel_gradient`.
    """
    if not on_cpu() or kwargs.get("feature_group_count", 1) > 1:
        return lax.conv_general_dilated(lhs, rhs, window_strides, padding, **kwargs)
    if rhs.shape[:2] == (1, 1):
        return forms.pointwise_conv(lhs, rhs, tuple(window_strides))
    if kernel_gradient.pays(lhs.shape) and not isinstance(padding, str):
        dilation = tuple(kwargs.get("rhs_dilation") or (1, 1))
        geometry = kernel_gradient.Geometry(tuple(window_strides), tuple(map(tuple, padding)), dilation)
        return kernel_gradient.conv(lhs, rhs, geometry)
    return lax.conv_general_dilated(lhs, rhs, window_strides, padding, **kwargs)


def max_pool_3x3_stride_2(x: jax.Array) -> jax.Array:
    """Max-pool 3x3, stride 2, one pixel of padding: float[B,H,W,C] -> float[B,H/2,W/2,C], for even H and W."""
    return _reduce_windows(x, lax.max, -jnp.inf, size=3, stride=2)


def max_pool_2x2(x: jax.Array) -> jax.Array:
    """Max-pool 2x2, stride 2: float[B,H,W,C] -> float[B,H/2,W/2,C], for even H and W."""
    return _reduce_windows(x, lax.max, -jnp.inf, size=2, stride=2)


def avg_pool_2x2(x: jax.Array) -> jax.Array:
    """Average pool 2x2, stride 2: float[B,H,W,C] -> float[B,H/2,W/2,C], for even H and W."""
    return _reduce_windows(x, lax.add, 0.0, size=2, stride=2) / 4


def avg_pool_3x3(x: jax.Array, stride: int) -> jax.Array:
    """Average pool 3x3, one pixel of zero padding included: float[B,H,W,C] -> float[B,H/stride,W/stride,C]."""
    return _reduce_windows(x, lax.add, 0.0, size=3, stride=stride) / 9


def _reduce_windows(x: jax.Array, combine: Callable, identity: float, *, size: int, stride: int) -> jax.Array:
    """Reduces windows of size x size pixels; odd windows are centred on pixels and padded with `identity`."""
    pad = (size - 1) // 2
    x = jnp.pad(x, ((0, 0), (pad, pad), (pad, pad), (0, 0)), constant_values=identity)
    if on_cpu():
        return forms.reduce_windows(x, forms.maximum if combine is lax.max else combine, size=size, stride=stride)
    return lax.reduce_window(x, identity, combine, (1, size, size, 1), (1, stride, stride, 1), "VALID")


def box_mean(x: jax.Array, window: int) -> jax.Array:
    """Mean over window x window pixels, window odd, zero padded, always divided by window^2: float[B,H,W,C]."""
    if on_cpu():
        return forms.box_mean(x, window)
    pad = window // 2
    pads = ((0, 0), (pad, pad), (pad, pad), (0, 0))
    return lax.reduce_window(x, 0.0, lax.add, (1, window, window, 1), (1, 1, 1, 1), pads) / window**2


def pixel_sum(x: jax.Array) -> jax.Array:
    """Sum over pixels: float[B,H,W,C] -> float[B,C]."""
    return forms.pixel_sum(x) if on_cpu() else x.sum(axis=(1, 2))


def conv_transpose_3x3_stride_2(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Transposed convolution to twice the size, out[2i + a - 1, 2j + b - 1] += x[i, j] kernel[a, b].

    Args:
      x: float[B, H, W, C].
      kernel: float[3, 3, C, D].
    Returns: float[B, 2 H, 2 W, D] (torch: stride 2, padding 1, output_padding 1).
    """
    if on_cpu():
        return forms.conv_transpose_3x3_stride_2(x, kernel)
    numbers, pads = ("NHWC", "HWIO", "NHWC"), ((1, 2), (1, 2))
    return lax.conv_general_dilated(x, kernel[::-1, ::-1], (1, 1), pads, lhs_dilation=(2, 2), dimension_numbers=numbers)


def resize_bilinear(x: jax.Array, size: tuple[int, int], *, align_corners: bool = False) -> jax.Array:
    """Bilinear resizing without antialiasing, as two products with constant band matrices.

    Args:
      x: float[B, H, W, C].
      size: (height, width) of the result.
      align_corners: True: the centres of the corner pixels coincide; False: the corners of the images do.
    Returns: float[B, height, width, C].
    """
    if size[0] != x.shape[1]:
        rows = jnp.asarray(bilinear_matrix(size[0], x.shape[1], align_corners), x.dtype)
        x = jnp.einsum("oh,bhwc->bowc", rows, x)
    if size[1] != x.shape[2]:
        columns = jnp.asarray(bilinear_matrix(size[1], x.shape[2], align_corners), x.dtype)
        x = jnp.einsum("ow,bhwc->bhoc", columns, x)
    return x


def bilinear_matrix(size_out: int, size_in: int, align_corners: bool) -> np.ndarray:
    """Matrix float32[size_out, size_in] of one-dimensional linear interpolation; its rows sum to 1."""
    index = np.arange(size_out, dtype=np.float64)
    if align_corners:
        source = index * (size_in - 1) / max(size_out - 1, 1)
    else:
        source = np.clip((index + 0.5) * size_in / size_out - 0.5, 0, size_in - 1)
    low = np.minimum(np.floor(source).astype(int), max(size_in - 2, 0))
    weight = source - low
    matrix = np.zeros((size_out, size_in), np.float32)
    matrix[np.arange(size_out), low] += 1 - weight
    matrix[np.arange(size_out), np.minimum(low + 1, size_in - 1)] += weight
    return matrix


def resize_nearest(x: jax.Array, size: tuple[int, int], *, centred: bool = False) -> jax.Array:
    """Nearest-neighbour resizing: float[B, H, W, C] -> float[B, height, width, C].

    The source index is floor(i * in / out), as in PyTorch, or, if `centred`, floor((i + 1/2) * in / out), which is
    aligned with a bilinear resizing.
    """
    rows, columns = (
        (2 * np.arange(wanted) + centred) * found // (2 * wanted)
        for found, wanted in zip(x.shape[1:3], size, strict=True)
    )
    return x[:, rows][:, :, columns]
