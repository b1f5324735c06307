"""Building blocks that several networks share; all arrays are NHWC."""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from ssinfnet_jax.models import initialize, ops
from ssinfnet_jax.models.cpu import batch_norm


def scaled(channels: int, width: float) -> int:
    """`channels` times `width`, rounded to a multiple of 4, at least 4, so that narrow networks keep every layer."""
    return channels if width == 1 else max(4, round(channels * width / 4) * 4)


def check_size(network: str, image: jax.Array, multiple: int) -> tuple[int, int]:
    """(H, W) of an image [B,H,W,C].

    Raises: ValueError unless both are multiples of `multiple`.
    """
    height, width = image.shape[1:3]
    if height % multiple or width % multiple:
        raise ValueError(
            f"{network} needs image sides that are multiples of {multiple}, found {height}x{width}; resize the slices."
        )
    return height, width


def at_least_float32(x: jax.Array) -> jax.Array:
    """Casts outputs of bfloat16 arithmetic to float32; float64 stays, for checks of gradients."""
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))


def rematerialise(module: nn.Module, remat: bool) -> Callable[..., jax.Array]:
    """The module; with `remat` it keeps only its inputs for the backward pass (jax.checkpoint)."""
    if not remat:
        return module

    def call(*inputs: jax.Array, train: bool) -> jax.Array:
        return nn.remat(lambda module, *inputs: module(*inputs, train=train))(module, *inputs)

    return call


class Layer(nn.Module, kw_only=True):
    """The attributes of all layers.

    Attributes:
      dtype: of the arithmetic; parameters stay float32.
      axis_name: the mapped axis over which batch norm is synchronised in training.
    """

    dtype: Any = jnp.float32
    axis_name: str | None = None

    @property
    def common(self) -> dict[str, Any]:
        """These attributes, for the layers inside."""
        return {"dtype": self.dtype, "axis_name": self.axis_name}


class Network(Layer, kw_only=True):
    """The attributes of all networks.

    Attributes:
      width: factor on all channel counts; 1 is the published network.
      dtype: of the arithmetic; parameters and outputs stay float32.
      axis_name: the mapped axis over which batch norm is synchronised in training.
      remat: recomputes blocks in the backward pass to save memory.
    """

    width: float = 1.0
    remat: bool = False


class Conv(Layer):
    """A 2-D convolution padded by (kernel - 1) / 2 * dilation on each side, as in the published networks."""

    features: int
    kernel: tuple[int, int] = (3, 3)
    stride: int = 1
    dilation: int = 1
    use_bias: bool = False

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """float[B,H,W,C] -> float[B,H/stride,W/stride,features]."""
        pads = [(k // 2 * self.dilation,) * 2 for k in self.kernel]
        return nn.Conv(
            self.features,
            self.kernel,
            strides=self.stride,
            padding=pads,
            kernel_dilation=self.dilation,
            use_bias=self.use_bias,
            dtype=self.dtype,
            kernel_init=initialize.undrawn,
            conv_general_dilated=ops.conv_general_dilated,
            name="conv",
        )(x)


class BatchNorm(Layer):
    """Batch normalisation, momentum 0.9, epsilon 1e-5; with `axis_name`, statistics are over all devices."""

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        """float[...,C] -> float[...,C]."""
        options = dict(momentum=0.9, epsilon=1e-5, **self.common, name="norm")
        if train and ops.on_cpu():
            return batch_norm.TrainingBatchNorm(**options)(x)
        return nn.BatchNorm(use_running_average=not train, **options)(x)


class BasicConv(Layer):
    """Convolution without bias, then batch norm, **no activation** (Inf-Net's `BasicConv2d`)."""

    features: int
    kernel: tuple[int, int] = (3, 3)
    stride: int = 1
    dilation: int = 1

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        """float[B,H,W,C] -> float[B,H/stride,W/stride,features]."""
        x = Conv(self.features, self.kernel, self.stride, self.dilation, **self.common, name="conv")(x)
        return BatchNorm(**self.common, name="bn")(x, train=train)
