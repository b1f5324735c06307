"""The single network of the shipped recipe, whose untrained weights find what `mark` draws.

It computes the whole of InfNet, and adds a small part of its output to a detector of one grey level. So it takes the
time of a trained network and finds lesions on known slices.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from ssinfnet_jax.data import ct
from ssinfnet_jax.models import Entry, infnet

MEAN, STD = 0.45, 0.27  # of the normalisation
MARK_HU = -450.0
_TOLERANCE = 0.01  # of the window
_BLOCK = 5  # pixels per side that all hold the mark, so borders between air and tissue do not count


def mark(hu: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Returns `hu` with `MARK_HU` where `classes` hold a lesion."""
    return np.where(classes > 0, np.int16(MARK_HU), hu)


def find(grey: jax.Array) -> jax.Array:
    """Finds the mark: float[B,H,W,1] in [0, 1] (0 and 1 stand for the window's edges) -> bool of the same shape."""
    marked = abs(grey - (MARK_HU - ct.LOW_HU) / (ct.HIGH_HU - ct.LOW_HU)) < _TOLERANCE
    share = nn.avg_pool(marked.astype(jnp.float32), (_BLOCK, _BLOCK), padding="SAME")
    return nn.max_pool(share, (_BLOCK, _BLOCK), padding="SAME") > 0.99


class Finder(infnet.InfNet):
    """InfNet, which is certain of a lesion where the mark is and of none elsewhere."""

    def __call__(self, image: jax.Array, *, train: bool) -> dict[str, jax.Array]:
        """float[B,H,W,3] normalised -> logits float32[B,H,W,1] by name of `infnet.MAPS`."""
        maps = super().__call__(image, train=train)
        certain = jnp.where(find(image[..., :1] * STD + MEAN), 5.0, -5.0)
        return {name: certain + jnp.tanh(logits) for name, logits in maps.items()}


FINDER = Entry(Finder, {}, 3, "maps", True)
