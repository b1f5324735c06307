"""InfNet: segments the lesion, and in its inpainting form restores an image (Fan et al. 2020; the paper, fig. 1).

The backbone's x2, x3, x4 pass through receptive-field blocks into a parallel partial decoder, which outputs a coarse
global map; an edge branch works on x1; reverse attention then refines the map at the strides of x4, x3 and x2. For
inpainting every last layer has a twin with three channels; all other weights are shared and transferred.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from ssinfnet_jax.models import backbones, blocks, ops

LESION_MAPS = ("global_map", "map_4", "map_3", "map_2")
MAPS = (*LESION_MAPS, "edge")


class ReceptiveFieldBlock(blocks.Layer):
    """Four branches of growing receptive field, concatenated, plus a 1x1 shortcut (Liu et al. 2018, modified)."""

    features: int = 32

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        """float[B,H,W,C] -> float[B,H,W,features]."""

        def conv(inputs, name, kernel=(3, 3), dilation=1):
            layer = blocks.BasicConv(self.features, kernel, 1, dilation, **self.common, name=name)
            return layer(inputs, train=train)

        branches = [conv(x, "branch0_0", (1, 1))]
        for number, size in enumerate((3, 5, 7), start=1):
            y = conv(x, f"branch{number}_0", (1, 1))
            y = conv(y, f"branch{number}_1", (1, size))
            y = conv(y, f"branch{number}_2", (size, 1))
            branches.append(conv(y, f"branch{number}_3", dilation=size))
        merged = conv(jnp.concatenate(branches, axis=-1), "conv_cat")
        return nn.relu(merged + conv(x, "conv_res", (1, 1)))


class PartialDecoder(blocks.Layer):
    """Parallel partial decoder: multiplies and concatenates the three high levels (Wu et al. 2019; Inf-Net, fig. 2)."""

    features: int = 32

    def setup(self):
        def conv(times):
            return blocks.BasicConv(times * self.features, **self.common)

        self.conv_upsample1, self.conv_upsample2, self.conv_upsample3 = conv(1), conv(1), conv(1)
        self.conv_upsample4, self.conv_upsample5 = conv(1), conv(2)
        self.conv_concat2, self.conv_concat3, self.conv4 = conv(2), conv(3), conv(3)
        self.head = blocks.Conv(1, (1, 1), use_bias=True, dtype=self.dtype)
        self.head_inpainting = blocks.Conv(3, (1, 1), use_bias=True, dtype=self.dtype)

    def __call__(self, level_4, level_3, level_2, *, train: bool) -> jax.Array:
        """Features of x4, x3, x2, each twice as large as the one before -> decoded features at the size of x2."""

        def up(x):
            return ops.resize_bilinear(x, (2 * x.shape[1], 2 * x.shape[2]), align_corners=True)

        level_4, level_3, level_2 = (level.astype(self.dtype) for level in (level_4, level_3, level_2))
        product_3 = self.conv_upsample1(up(level_4), train=train) * level_3
        product_2 = self.conv_upsample2(up(up(level_4)), train=train)
        product_2 = product_2 * self.conv_upsample3(up(level_3), train=train) * level_2
        concat_3 = jnp.concatenate([product_3, self.conv_upsample4(up(level_4), train=train)], axis=-1)
        concat_3 = self.conv_concat2(concat_3, train=train)
        concat_2 = jnp.concatenate([product_2, self.conv_upsample5(up(concat_3), train=train)], axis=-1)
        return self.conv4(self.conv_concat3(concat_2, train=train), train=train)


class ReverseAttention(blocks.Layer):
    """Refines a coarse lesion map where it predicts background (Fan et al. 2020, fig. 3)."""

    width: int = 64
    num_convs: int = 2
    kernel: int = 3
    head_kernel: int = 3

    def setup(self):
        def conv(features, kernel):
            return blocks.BasicConv(features, (kernel, kernel), **self.common)

        self.reduce = conv(self.width, 1)
        self.convs = [conv(self.width, self.kernel) for _ in range(self.num_convs)]
        self.head = conv(1, self.head_kernel)
        self.head_inpainting = conv(3, self.head_kernel)

    def __call__(self, features, coarse, edge, *, train: bool) -> jax.Array:
        """Features f32[B,H,W,C], coarse logits f32[B,H,W,1], edge f32[B,k,k,E] -> refined features f32[B,H,W,width]."""
        size = features.shape[1:3]
        x = self.reduce((1 - nn.sigmoid(coarse)).astype(features.dtype) * features, train=train)
        x = jnp.concatenate([x, ops.resize_bilinear(edge, size)], axis=-1)
        for conv in self.convs:
            x = nn.relu(conv(x, train=train))
        return x


class InfNet(blocks.Network):
    """InfNet for segmentation (`__call__`) and inpainting (`inpaint`).

    Attributes:
      backbone: as for `backbones.resolve`.
    """

    backbone: str = "resnet50"

    def setup(self):
        common = self.common
        self.encoder = backbones.resolve(self.backbone)(width=self.width, remat=self.remat, **common)
        # The decoder multiplies three levels, and its global map is a small difference of large terms. Keeping it in
        # float32 costs a few percent of the arithmetic and cuts the map's error from 3.5 % (bfloat16) to 0.6 %.
        exact = common | {"dtype": jnp.promote_types(self.dtype, jnp.float32)}
        channel = blocks.scaled(32, self.width)
        self.rfb2 = ReceptiveFieldBlock(channel, **common)
        self.rfb3 = ReceptiveFieldBlock(channel, **common)
        self.rfb4 = ReceptiveFieldBlock(channel, **common)
        self.decoder = PartialDecoder(channel, **exact)
        edge = blocks.scaled(64, self.width)
        self.edge_conv1 = blocks.BasicConv(edge, (1, 1), **common)
        self.edge_conv2 = blocks.BasicConv(edge, **common)
        self.edge_conv3 = blocks.BasicConv(edge, **common)
        self.edge_head = blocks.BasicConv(1, **common)
        self.edge_head_inpainting = blocks.BasicConv(3, **common)
        self.attention4 = ReverseAttention(blocks.scaled(256, self.width), 3, 5, 1, **common)
        self.attention3 = ReverseAttention(edge, **common)
        self.attention2 = ReverseAttention(edge, **common)

    def __call__(self, image: jax.Array, *, train: bool) -> dict[str, jax.Array]:
        """Segments: float[B,H,W,3] normalised -> logits float32[B,H,W,1] by name of `MAPS`.

        Raises: ValueError unless H and W are multiples of the backbone's largest stride.
        """
        return self._decode(image, train=train, inpaint=False)

    def inpaint(self, image: jax.Array, *, train: bool) -> dict[str, jax.Array]:
        """Restores: erased float[B,H,W,3] -> float32[B,H,W,3] in [-1, 1] by name of `MAPS`."""
        return self._decode(image, train=train, inpaint=True)

    def init_all(self, image: jax.Array) -> None:
        """Touches the parameters of both forms; for `init` only. Inpainting uses all but one head of segmentation."""
        self.inpaint(image, train=False)
        self.edge_head(jnp.zeros((1, 1, 1, blocks.scaled(64, self.width)), self.dtype), train=False)

    def _decode(self, image: jax.Array, *, train: bool, inpaint: bool) -> dict[str, jax.Array]:
        size = blocks.check_size(f"InfNet with {self.backbone}", image, self.encoder.stride)

        def run(module, *inputs):
            return blocks.rematerialise(module, self.remat)(*inputs, train=train)

        levels = self.encoder(image.astype(self.dtype), train=train)
        backbones.check_levels(self.backbone, image, levels, self.encoder.stride)
        x1, x2, x3, x4 = levels
        decoded = run(self.decoder, run(self.rfb4, x4), run(self.rfb3, x3), run(self.rfb2, x2))
        edge = run(self.edge_conv3, run(self.edge_conv2, run(self.edge_conv1, x1)))
        coarse = self.decoder.head(decoded)
        maps = {}
        if inpaint:
            # tanh twice, as in the published code: in the head and where the head is called.
            maps["global_map"] = jnp.tanh(jnp.tanh(self.decoder.head_inpainting(decoded)))
            maps["edge"] = jnp.tanh(self.edge_head_inpainting(edge, train=train))
        else:
            maps["global_map"] = coarse
            maps["edge"] = self.edge_head(edge, train=train)
        refinements = (("map_4", self.attention4, x4), ("map_3", self.attention3, x3), ("map_2", self.attention2, x2))
        for name, attention, features in refinements:
            coarse = ops.resize_bilinear(coarse, features.shape[1:3])
            refined = run(attention, features, coarse, edge)
            if inpaint:
                maps[name] = jnp.tanh(attention.head_inpainting(refined, train=train) + coarse)
            # The next level refines the segmentation map, also when inpainting.
            coarse = attention.head(refined, train=train) + coarse
            if not inpaint:
                maps[name] = coarse
        return {name: ops.resize_bilinear(blocks.at_least_float32(maps[name]), size) for name in MAPS}
