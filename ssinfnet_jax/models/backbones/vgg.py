"""VGG-16 as a feature extractor: no batch norm, a bias in every convolution."""

from collections.abc import Callable

import flax.linen as nn
import jax

from ssinfnet_jax.models import blocks, ops


class ConvStage(blocks.Layer):
    """`num_convs` times: 3x3 convolution with bias, ReLU."""

    features: int
    num_convs: int

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        """float[B,H,W,C] -> float[B,H,W,features]; `train` has no effect."""
        for index in range(1, self.num_convs + 1):
            x = nn.relu(blocks.Conv(self.features, use_bias=True, **self.common, name=f"conv{index}")(x))
        return x


class VGG16(blocks.Network):
    """VGG-16 without classifier, with a pool before every stage but the first.

    Attributes:
      pool: 2x2, stride 2; average for InfNet, maximum for FCN8s.
    Source: Simonyan and Zisserman 2015, arXiv:1409.1556, configuration D; average pools as in Inf-Net.
    """

    stride = 16  # of x4

    pool: Callable[[jax.Array], jax.Array] = ops.avg_pool_2x2

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> tuple[jax.Array, ...]:
        """float[B,H,W,C] -> x1..x4 with 128, 256, 512, 512 (times width) channels at strides 2, 4, 8, 16."""
        levels = []
        for number, (channels, num_convs) in enumerate(((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)), start=1):
            x = self.pool(x) if levels else x
            stage = ConvStage(blocks.scaled(channels, self.width), num_convs, **self.common, name=f"stage{number}")
            x = blocks.rematerialise(stage, self.remat)(x, train=train)
            levels.append(x)
        return tuple(levels[1:])
