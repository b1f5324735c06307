"""Res2Net-50 v1b, 26 channels times 4 scales, as a feature extractor."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from ssinfnet_jax.models import blocks, ops
from ssinfnet_jax.models.backbones import resnet

SCALES = 4


class Bottle2neck(blocks.Layer):
    """A bottleneck whose 3x3 convolution is a chain over groups of channels (Gao et al. 2021, fig. 2b).

    The first three groups are each convolved, after adding the output of the group before; the last is passed on. The
    first block of a stage adds nothing and average-pools the last group.
    """

    features: int
    group: int
    stride: int = 1
    first: bool = False

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        """float[B,H,W,C] -> float[B,H/stride,W/stride,4*features]."""

        def conv(inputs, features, name, kernel=(1, 1), stride=1):
            layer = blocks.BasicConv(features, kernel, stride, **self.common, name=name)
            return layer(inputs, train=train)

        groups = jnp.split(nn.relu(conv(x, SCALES * self.group, "conv1")), SCALES, axis=-1)
        outs = []
        for index, part in enumerate(groups[:-1]):
            part = part + outs[-1] if outs and not self.first else part
            outs.append(nn.relu(conv(part, self.group, f"scale{index}", (3, 3), self.stride)))
        outs.append(ops.avg_pool_3x3(groups[-1], self.stride) if self.first else groups[-1])
        out = conv(jnp.concatenate(outs, axis=-1), 4 * self.features, "conv3")
        if self.first:
            shortcut = ops.avg_pool_2x2(x) if self.stride == 2 else x
            x = conv(shortcut, 4 * self.features, "downsample")
        return nn.relu(out + x)


class Res2Net50(blocks.Network):
    """Res2Net-50 v1b without classifier: a stem of three 3x3 convolutions; shortcuts pool before they project.

    Source: Gao et al. 2021, arXiv:1904.01169; layout of the published `res2net50_v1b_26w_4s`.
    """

    stride = 32  # of x4

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> tuple[jax.Array, ...]:
        """float[B,H,W,3] -> x1..x4 with 256, 512, 1024, 2048 (times width) channels at strides 4, 8, 16, 32."""
        for number, (channels, stride) in enumerate(((32, 2), (32, 1), (64, 1)), start=1):
            stem = blocks.BasicConv(
                blocks.scaled(channels, self.width), stride=stride, **self.common, name=f"stem{number}"
            )
            x = nn.relu(stem(x, train=train))
        x = ops.max_pool_3x3_stride_2(x)

        def block(stage, stride, first, name):
            features, group = (blocks.scaled(channels * 2**stage, self.width) for channels in (64, 26))
            return Bottle2neck(features, group, stride, first, **self.common, name=name)

        return resnet.four_stages(x, block, self.remat, train=train)
