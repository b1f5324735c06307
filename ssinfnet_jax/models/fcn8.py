"""FCN8s on VGG-16, a baseline for the multi network."""

import flax.linen as nn
import jax

from ssinfnet_jax.models import blocks, initialize, ops
from ssinfnet_jax.models.backbones import VGG16


class ConvTranspose(blocks.Layer):
    """Transposed 3x3 convolution to twice the size, with bias."""

    features: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """float[B,H,W,C] -> float[B,2H,2W,features]."""
        shape = (3, 3, x.shape[-1], self.features)
        kernel = self.param("kernel", initialize.undrawn, shape)
        bias = self.param("bias", nn.initializers.zeros, shape[-1:])
        x, kernel, bias = nn.dtypes.promote_dtype(x, kernel, bias, dtype=self.dtype)
        return ops.conv_transpose_3x3_stride_2(x, kernel) + bias.reshape(1, 1, 1, -1)


class UpStage(blocks.Layer):
    """Transposed convolution, ReLU, addition of the skip if there is one, batch norm."""

    features: int

    @nn.compact
    def __call__(self, x: jax.Array, *skip: jax.Array, train: bool) -> jax.Array:
        """float[B,H,W,C], and at most one skip float[B,2H,2W,features] -> float[B,2H,2W,features]."""
        x = nn.relu(ConvTranspose(self.features, **self.common, name="conv")(x))
        return blocks.BatchNorm(**self.common, name="bn")(sum(skip, x), train=train)


class FCN8(blocks.Network):
    """FCN8s: VGG-16 with max-pools, five transposed convolutions; the pooled maps of strides 16 and 8 are added.

    Differs from the paper: its FCN8 starts from ImageNet weights, ours from fresh ones (docs/networks.md).

    Attributes:
      num_classes: channels of the logits.
    Source: Long et al. 2015, arXiv:1411.4038, with a learned decoder of five steps as in Inf-Net's FCN8s.
    """

    num_classes: int = 3

    @nn.compact
    def __call__(self, inputs: jax.Array, *, train: bool) -> jax.Array:
        """Segments: float[B,H,W,C] normalised, H and W multiples of 32 -> logits float32[B,H,W,num_classes]."""
        blocks.check_size("FCN8s", inputs, 32)
        encoder = VGG16(ops.max_pool_2x2, width=self.width, remat=self.remat, **self.common, name="encoder")
        _, *levels = encoder(inputs.astype(self.dtype), train=train)
        stride_8, stride_16, x = (ops.max_pool_2x2(level) for level in levels)
        skips = ((stride_16,), (stride_8,), (), (), ())
        for number, (channels, skip) in enumerate(zip((512, 256, 128, 64, 32), skips, strict=True), start=1):
            features = blocks.scaled(channels, self.width)
            stage = UpStage(features, **self.common, name=f"up{number}")
            x = blocks.rematerialise(stage, self.remat)(x, *skip, train=train)
        x = blocks.at_least_float32(x)
        return blocks.Conv(self.num_classes, (1, 1), use_bias=True, dtype=x.dtype, name="head")(x)

    def init_all(self, inputs: jax.Array) -> None:
        """Touches all parameters; for `init` only."""
        self(inputs, train=False)
