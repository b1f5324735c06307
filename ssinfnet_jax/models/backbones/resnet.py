"""ResNet-18 and ResNet-50 (v1.5: the stride is in the 3x3 convolution) as feature extractors."""

from collections.abc import Callable

import flax.linen as nn
import jax

from ssinfnet_jax.models import blocks, ops


class Bottleneck(blocks.Layer):
    """1x1, 3x3, 1x1 to four times `features`, with a residual connection (He et al. 2016, fig. 5 right)."""

    features: int
    stride: int = 1
    project: bool = False

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        """float[B,H,W,C] -> float[B,H/stride,W/stride,4*features]."""
        out = nn.relu(blocks.BasicConv(self.features, (1, 1), **self.common, name="conv1")(x, train=train))
        out = nn.relu(
            blocks.BasicConv(self.features, stride=self.stride, **self.common, name="conv2")(out, train=train)
        )
        out = blocks.BasicConv(4 * self.features, (1, 1), **self.common, name="conv3")(out, train=train)
        if self.project:
            shortcut = blocks.BasicConv(4 * self.features, (1, 1), self.stride, **self.common, name="downsample")
            x = shortcut(x, train=train)
        return nn.relu(out + x)


class BasicBlock(blocks.Layer):
    """Two 3x3 convolutions with a residual connection (He et al. 2016, fig. 5 left)."""

    features: int
    stride: int = 1
    project: bool = False

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        """float[B,H,W,C] -> float[B,H/stride,W/stride,features]."""
        out = nn.relu(blocks.BasicConv(self.features, stride=self.stride, **self.common, name="conv1")(x, train=train))
        out = blocks.BasicConv(self.features, **self.common, name="conv2")(out, train=train)
        if self.project:
            shortcut = blocks.BasicConv(self.features, (1, 1), self.stride, **self.common, name="downsample")
            x = shortcut(x, train=train)
        return nn.relu(out + x)


def four_stages(x: jax.Array, make_block: Callable, remat: bool, *, train: bool) -> tuple[jax.Array, ...]:
    """Runs four stages of 3, 4, 6 and 3 blocks, `make_block(stage, stride, is_first, name)`; returns their outputs."""
    levels = []
    for stage, num_blocks in enumerate((3, 4, 6, 3)):
        for index in range(num_blocks):
            block = make_block(stage, 2 if stage and not index else 1, index == 0, f"layer{stage + 1}_{index}")
            x = blocks.rematerialise(block, remat)(x, train=train)
        levels.append(x)
    return tuple(levels)


class ResNet50(blocks.Network):
    """ResNet-50 v1.5 without classifier.

    Source: He et al. 2016, arXiv:1512.03385; layout of torchvision's `resnet50`.
    """

    stride = 32  # of x4

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> tuple[jax.Array, ...]:
        """float[B,H,W,3] -> x1..x4 with 256, 512, 1024, 2048 (times width) channels at strides 4, 8, 16, 32."""
        stem = blocks.BasicConv(blocks.scaled(64, self.width), (7, 7), 2, **self.common, name="stem")
        x = ops.max_pool_3x3_stride_2(nn.relu(stem(x, train=train)))

        def block(stage, stride, first, name):
            return Bottleneck(blocks.scaled(64 * 2**stage, self.width), stride, first, **self.common, name=name)

        return four_stages(x, block, self.remat, train=train)


class ResNet18(blocks.Network):
    """ResNet-18 without max-pool and classifier, so that the last level is at stride 16 (the coach's backbone)."""

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        """float[B,H,W,3] -> float[B,H/16,W/16,512*width]."""
        x = nn.relu(
            blocks.BasicConv(blocks.scaled(64, self.width), (7, 7), 2, **self.common, name="stem")(x, train=train)
        )
        for stage in range(4):
            features = blocks.scaled(64 * 2**stage, self.width)
            for index in range(2):
                first = index == 0 and stage > 0
                block = BasicBlock(features, 2 if first else 1, first, **self.common, name=f"layer{stage + 1}_{index}")
                x = blocks.rematerialise(block, self.remat)(x, train=train)
        return x
