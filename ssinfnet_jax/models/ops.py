"""Array operations of the networks that have a fast and a slow form; the choice per backend is made here only.

Measured on two CPU cores, forward and backward: a 1x1 convolution is three times as fast written as a matrix product,
pooling up to forty times as fast written with strided slices, a transposed convolution eight to thirty times as fast
written as a matrix product whose results are added where they overlap. Elsewhere XLA's own operations are used.
"""

import contextlib
import contextvars
import functools
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from ssinfnet_jax.models import kernel_gradient

_backend: contextvars.ContextVar[str | None] = contextvars.ContextVar("backend", default=None)


@contextlib.contextmanager
def forms_for(backend: str) -> Iterator[None]:
    """What is traced in here gets the forms for a backend ("cpu", "gpu", "tpu") that need not be the one in use."""
    token = _backend.set(backend)
    try:
        yield
    finally:
        _backend.reset(token)


def _on_cpu() -> bool:
    return (_backend.get() or jax.default_backend()) == "cpu"


def conv_general_dilated(lhs: jax.Array, rhs: jax.Array, window_strides, padding, **kwargs: Any) -> jax.Array:
    """`lax.conv_general_dilated` (NHWC, HWIO).

    On the CPU 1x1 convolutions are matrix products, and large images have the kernel's gradient of `kernel_gradient`.
    """
    if not _on_cpu() or kwargs.get("feature_group_count", 1) > 1:
        return lax.conv_general_dilated(lhs, rhs, window_strides, padding, **kwargs)
    if rhs.shape[:2] == (1, 1):
        lhs = lhs[:, :: window_strides[0], :: window_strides[1]]
        out = lhs.reshape(-1, lhs.shape[-1]) @ rhs[0, 0]
        return out.reshape(*lhs.shape[:-1], rhs.shape[-1])
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
    """Average pool 3x3 whose one pixel of zero padding counts: float[B,H,W,C] -> float[B,H/stride,W/stride,C]."""
    return _reduce_windows(x, lax.add, 0.0, size=3, stride=stride) / 9


def _reduce_windows(x: jax.Array, combine: Callable, identity: float, *, size: int, stride: int) -> jax.Array:
    """Windows of size x size pixels, reduced; odd ones are centred on the pixels, padded with `identity`."""
    pad = (size - 1) // 2
    x = jnp.pad(x, ((0, 0), (pad, pad), (pad, pad), (0, 0)), constant_values=identity)
    if not _on_cpu():
        return lax.reduce_window(x, identity, combine, (1, size, size, 1), (1, stride, stride, 1), "VALID")
    height, width = x.shape[1] - 2 * pad, x.shape[2] - 2 * pad
    x = functools.reduce(combine, [x[:, offset : offset + height : stride] for offset in range(size)])
    return functools.reduce(combine, [x[:, :, offset : offset + width : stride] for offset in range(size)])


def conv_transpose_3x3_stride_2(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Transposed convolution to twice the size, out[2i + a - 1, 2j + b - 1] += x[i, j] kernel[a, b].

    Args:
      x: float[B, H, W, C].
      kernel: float[3, 3, C, D].
    Returns: float[B, 2 H, 2 W, D] (torch: stride 2, padding 1, output_padding 1).
    """
    batch, height, width, channels = x.shape
    if not _on_cpu():
        numbers, pads = ("NHWC", "HWIO", "NHWC"), ((1, 2), (1, 2))
        return lax.conv_general_dilated(
            x, kernel[::-1, ::-1], (1, 1), pads, lhs_dilation=(2, 2), dimension_numbers=numbers
        )
    flat = kernel.transpose(2, 0, 1, 3).reshape(channels, -1)
    parts = (x.reshape(-1, channels) @ flat).reshape(batch, height, width, 3, 3, kernel.shape[-1])
    # Even rows take the kernel's middle row; odd ones its last row from above and its first row from below.
    parts = _interleave(parts[:, :, :, 1], parts[:, :, :, 2], parts[:, :, :, 0], axis=1)
    return _interleave(parts[:, :, :, 1], parts[:, :, :, 2], parts[:, :, :, 0], axis=2)


def _interleave(middle: jax.Array, last: jax.Array, first: jax.Array, *, axis: int) -> jax.Array:
    """Even places of `axis` hold `middle`, odd ones `last` plus what `first` has one place further on."""
    moved = lax.slice_in_dim(first, 1, None, axis=axis)
    moved = jnp.pad(moved, [(0, int(dim == axis)) for dim in range(first.ndim)])
    out = jnp.stack([middle, last + moved], axis=axis + 1)
    return out.reshape(*middle.shape[:axis], 2 * middle.shape[axis], *middle.shape[axis + 1 :])


def resize_bilinear(x: jax.Array, size: tuple[int, int], *, align_corners: bool = False) -> jax.Array:
    """Bilinear resizing without antialiasing, as two products with constant band matrices.

    Args:
      x: float[B, H, W, C].
      size: (height, width) of the result.
      align_corners: True: the corner pixels' centres coincide; False: the corners of the image do.
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
    """The float32[size_out, size_in] matrix of one-dimensional linear interpolation; its rows sum to 1."""
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

    The source index is floor(i * in / out), as in PyTorch, or if `centred` floor((i + 1/2) * in / out), which moves
    nothing against a bilinear resizing.
    """
    rows, columns = (
        (2 * np.arange(wanted) + centred) * found // (2 * wanted)
        for found, wanted in zip(x.shape[1:3], size, strict=True)
    )
    return x[:, rows][:, :, columns]
