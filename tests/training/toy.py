"""A network with the interface of the real ones, small enough to compile in a second."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from ssinfnet_jax.models import blocks, infnet
from ssinfnet_jax.models.coach import STRIDE, Scores


class Toy(nn.Module):
    outputs: int = 1
    inpainted: int = 3
    as_maps: bool = True
    axis_name: str | None = None

    def setup(self):
        self.body = blocks.BasicConv(8, axis_name=self.axis_name)
        self.head = blocks.Conv(self.outputs, (1, 1), use_bias=True)
        self.head_inpainting = blocks.Conv(self.inpainted, (1, 1), use_bias=True)

    def __call__(self, x, *, train):
        return self._maps(self.head(nn.relu(self.body(x, train=train))))

    def inpaint(self, x, *, train):
        return self._maps(jnp.tanh(self.head_inpainting(nn.relu(self.body(x, train=train)))))

    def init_all(self, x):
        self(x, train=False)
        self.inpaint(x, train=False)

    def _maps(self, x):
        return dict.fromkeys(infnet.MAPS, x) if self.as_maps else x


class ToyCoach(nn.Module):
    latent: int = 4
    axis_name: str | None = None

    @nn.compact
    def __call__(self, image, eps, *, train):
        x = blocks.BasicConv(self.latent, axis_name=self.axis_name, name="body")(image, train=train)
        mu = x.reshape(x.shape[0], x.shape[1] // STRIDE, STRIDE, x.shape[2] // STRIDE, STRIDE, -1).mean(axis=(2, 4))
        score = blocks.Conv(1, (1, 1), use_bias=True, name="score")(mu + eps)
        return Scores(score, mu, 0.1 * mu)

    def init_all(self, image):
        self(image, jnp.zeros(self.eps_shape(image.shape)), train=False)

    def eps_shape(self, shape):
        return shape[0], shape[1] // STRIDE, shape[2] // STRIDE, self.latent


def batch(count=4, size=32, seed=0):
    """Noisy slices with regions of different brightness; bright ones are lesions."""
    keys = jax.random.split(jax.random.key(seed), 2)
    regions = jax.random.uniform(keys[0], (count, size // STRIDE, size // STRIDE)).repeat(STRIDE, 1).repeat(STRIDE, 2)
    image = jnp.clip(regions + 0.1 * jax.random.normal(keys[1], regions.shape), 0, 1)
    lesion = (image > 0.6).astype(jnp.uint8)
    return {
        "image": (255 * image).astype(jnp.uint8),
        "lesion": lesion,
        "classes": lesion * 2,
        "prior": lesion * 255,
        "valid": jnp.ones(count, jnp.float32),
        "position": jnp.arange(count),
    }
