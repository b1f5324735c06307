"""The coach, which chooses the quarter of a slice to erase (Singh et al. 2018; the paper, eqs. 1-3)."""

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from ssinfnet_jax.models import blocks, ops
from ssinfnet_jax.models.backbones import ResNet18

STRIDE = 16  # pixels of the image per region of the score map


class Scores(NamedTuple):
    """The coach's output: score f32[B,H/16,W/16,1]; mu, logvar f32[B,H/16,W/16,latent]."""

    score: jax.Array
    mu: jax.Array
    logvar: jax.Array


class Coach(blocks.Network):
    """ResNet-18 without max-pool; a Gaussian latent of `latent` channels per region; one score per region."""

    latent: int = 100

    @nn.compact
    def __call__(self, image: jax.Array, eps: jax.Array, *, train: bool) -> Scores:
        """Image float[B,H,W,3], H and W multiples of 16; eps float[B,H/16,W/16,latent], standard normal."""
        blocks.check_size("The coach", image, STRIDE)
        encoder = ResNet18(width=self.width, remat=self.remat, **self.common, name="encoder")
        x = blocks.at_least_float32(encoder(image.astype(self.dtype), train=train))
        mu = blocks.Conv(self.latent, (1, 1), use_bias=True, dtype=x.dtype, name="mu")(x)
        logvar = blocks.Conv(self.latent, (1, 1), use_bias=True, dtype=x.dtype, name="logvar")(x)
        z = mu + eps * jnp.exp(logvar / 2)
        score = blocks.Conv(1, (1, 1), use_bias=True, dtype=x.dtype, name="score")(z)
        return Scores(score, mu, logvar)

    def init_all(self, image: jax.Array) -> None:
        """Touches all parameters; for `init` only."""
        self(image, jnp.zeros(self.eps_shape(image.shape)), train=False)

    def eps_shape(self, image_shape: tuple[int, ...]) -> tuple[int, int, int, int]:
        """The shape of `eps` for images of `image_shape` (B, H, W, C)."""
        batch, height, width = image_shape[:3]
        return batch, height // STRIDE, width // STRIDE, self.latent


def divergence(scores: Scores) -> jax.Array:
    """KL(N(mu, exp logvar) || N(0, 1)), with mu and logvar averaged over space, summed over the latent: float[B]."""
    mu, logvar = scores.mu.mean(axis=(1, 2)), scores.logvar.mean(axis=(1, 2))
    return 0.5 * (jnp.exp(logvar) + jnp.square(mu) - 1 - logvar).sum(axis=-1)


def keep_mask(score: jax.Array, *, alpha: float, keep_ratio: float = 0.75) -> jax.Array:
    """keep = sigmoid(alpha (score - t)), t being the k-th largest score of the image, upsampled to pixels.

    Args:
      score: float[B, h, w, 1].
      alpha: steepness; 1 while the coach learns, 100 (then thresholded at 0.5) while the inpainter learns.
      keep_ratio: fraction of the regions that are kept; k = floor(keep_ratio h w).
    Returns: float[B, 16 h, 16 w, 1] in [0, 1], 1 = kept. The k-th region is exactly 0.5, so the binary mask
      `keep > 0.5` erases it.
    Source: the paper, eqs. 2 and 3.
    """
    batch, height, width, _ = score.shape
    k = max(int(keep_ratio * height * width), 1)
    flat = score.reshape(batch, -1)
    threshold = jnp.sort(flat, axis=1)[:, flat.shape[1] - k]
    keep = nn.sigmoid(alpha * (score - threshold[:, None, None, None]))
    return ops.resize_nearest(keep, (height * STRIDE, width * STRIDE))
