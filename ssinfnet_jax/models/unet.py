"""U-Net, and the two multi networks built on it, which divide a lesion into GGO and consolidation."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from ssinfnet_jax.models import blocks, ops


class DoubleConv(blocks.Layer):
    """Twice: 3x3 convolution with bias, batch norm, ReLU."""

    features: int
    mid_features: int | None = None

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        """float[B,H,W,C] -> float[B,H,W,features]."""
        for index, features in enumerate((self.mid_features or self.features, self.features), start=1):
            x = blocks.Conv(features, use_bias=True, **self.common, name=f"conv{index}")(x)
            x = nn.relu(blocks.BatchNorm(**self.common, name=f"bn{index}")(x, train=train))
        return x


class UpPath(blocks.Layer):
    """The expanding path: bilinear upsampling, concatenation with the skip, double convolution; four times."""

    features: tuple[int, ...]
    remat: bool = False

    @nn.compact
    def __call__(self, x: jax.Array, skips: list[jax.Array], *, train: bool) -> jax.Array:
        """Bottleneck and skips (deepest first) -> float[B,H,W,features[-1]]."""
        for index, (features, skip) in enumerate(zip(self.features, skips, strict=True), start=1):
            x = ops.resize_bilinear(x, skip.shape[1:3], align_corners=True)
            x = jnp.concatenate([skip, x], axis=-1)
            conv = DoubleConv(features, x.shape[-1] // 2, **self.common, name=f"up{index}")
            x = blocks.rematerialise(conv, self.remat)(x, train=train)
        return x


class UNet(blocks.Network):
    """U-Net of widths 64-128-256-512-512 with a segmentation head and, optionally, an inpainting head.

    Attributes:
      num_classes: channels of the logits.
      num_inpainted: channels of the inpainting; 0: no inpainting head.
      reinject_input: the raw input, resized by nearest neighbour, joins the third level and the bottleneck, and
        inpainting has a separate expanding path (the paper's "improved" multi network).
      shared_up: with `reinject_input`, inpainting still uses the segmentation's expanding path, so that pretraining
        reaches all but the last layers, as in the paper's text; the published code has two paths.
    Source: Ronneberger et al. 2015; the paper's multi SInfNet and multi SSInfNet.
    """

    num_classes: int = 1
    num_inpainted: int = 0
    reinject_input: bool = False
    shared_up: bool = False

    def setup(self):
        down = [blocks.scaled(channels, self.width) for channels in (64, 128, 256, 512, 512)]
        up = tuple(blocks.scaled(channels, self.width) for channels in (256, 128, 64, 64))
        self.down = [DoubleConv(features, **self.common) for features in down]
        self.up = UpPath(up, self.remat, **self.common)
        head = dict(kernel=(1, 1), use_bias=True, dtype=jnp.promote_types(self.dtype, jnp.float32))
        self.head = blocks.Conv(self.num_classes, **head)
        if self.num_inpainted:
            self.head_inpainting = blocks.Conv(self.num_inpainted, **head)
            if self.reinject_input and not self.shared_up:
                self.up_inpainting = UpPath(up, self.remat, **self.common)

    def __call__(self, inputs: jax.Array, *, train: bool) -> jax.Array:
        """Segments: float[B,H,W,C] normalised, H and W multiples of 16 -> logits float32[B,H,W,num_classes]."""
        return self._segment(*self._encode(inputs, train=train), train=train)

    def inpaint(self, inputs: jax.Array, *, train: bool) -> jax.Array:
        """Restores: erased float[B,H,W,C] -> float32[B,H,W,num_inpainted] in [-1, 1]."""
        return self._restore(*self._encode(inputs, train=train), train=train)

    def init_all(self, inputs: jax.Array) -> None:
        """Touches the parameters of both forms; for `init` only."""
        encoded = self._encode(inputs, train=False)
        self._segment(*encoded, train=False)
        if self.num_inpainted:
            self._restore(*encoded, train=False)

    def _segment(self, bottom: jax.Array, skips: list[jax.Array], *, train: bool) -> jax.Array:
        return self.head(self.up(bottom, skips, train=train))

    def _restore(self, bottom: jax.Array, skips: list[jax.Array], *, train: bool) -> jax.Array:
        up = self.up_inpainting if self.reinject_input and not self.shared_up else self.up
        return jnp.tanh(self.head_inpainting(up(bottom, skips, train=train)))

    def _encode(self, inputs: jax.Array, *, train: bool) -> tuple[jax.Array, list[jax.Array]]:
        blocks.check_size("U-Net", inputs, 16)
        inputs = inputs.astype(self.dtype)
        x, skips = inputs, []
        for level, conv in enumerate(self.down):
            x = ops.max_pool_2x2(x) if level else x
            x = blocks.rematerialise(conv, self.remat)(x, train=train)
            if self.reinject_input and level in (2, 4):
                x = jnp.concatenate([x, ops.resize_nearest(inputs, x.shape[1:3])], axis=-1)
            skips.append(x)
        return skips.pop(), skips[::-1]
