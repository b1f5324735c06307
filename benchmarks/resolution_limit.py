"""How well maps of a coarser grid can show lesions: `python -m benchmarks.resolution_limit MASKS [SIZE...]`.

InfNet's finest map has one cell for 8 x 8 pixels and is interpolated to the slice. MASKS is a folder of pictures. For
each SIZE in pixels (default: 160 352), prints the mean Dice of bilinearly interpolated maps, with cells of 4 and of 8
pixels, that were fitted to the masks themselves; a network that must guess them cannot be much better.
"""

import functools
import pathlib
import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax
from PIL import Image

CELLS, STEPS = (4, 8), 300


def limit(masks: np.ndarray, cell: int) -> np.ndarray:
    """Dice float[n] of maps with cells of `cell` pixels, each fitted to one of bool[n, S, S], which has a lesion."""
    truth = jnp.asarray(masks, jnp.float32)
    coarse = (truth.shape[0], truth.shape[1] // cell, truth.shape[2] // cell)
    optimizer = optax.adam(0.3)

    def interpolated(logits):
        return jax.image.resize(logits, truth.shape, "bilinear")

    def loss(logits):
        found = jax.nn.sigmoid(interpolated(logits))
        return -(2 * (found * truth).sum((1, 2)) / (found + truth).sum((1, 2))).sum()

    @functools.partial(jax.jit, donate_argnums=0)
    def step(carry):
        updates, state = optimizer.update(jax.grad(loss)(carry[0]), carry[1])
        return optax.apply_updates(carry[0], updates), state

    logits = 8 * jax.image.resize(truth, coarse, "linear") - 4
    carry = logits, optimizer.init(logits)
    for _ in range(STEPS):
        carry = step(carry)
    found = np.asarray(interpolated(carry[0])) > 0
    return 2 * (found & masks).sum((1, 2)) / (found.sum((1, 2)) + masks.sum((1, 2)))


def main(argv: list[str]) -> None:
    """Prints a row per size and cell."""
    if len(argv) < 2:
        sys.exit("Usage: python -m benchmarks.resolution_limit MASKS [SIZE...]")
    if not (files := sorted(pathlib.Path(argv[1]).glob("*.*"))):
        sys.exit(f"Error: the folder {argv[1]} has no files; give a folder of masks, as pictures.")
    for size in map(int, argv[2:] or ("160", "352")):
        pictures = [Image.open(file).convert("L").resize((size, size), Image.Resampling.NEAREST) for file in files]
        masks = np.stack([np.asarray(picture) > 127 for picture in pictures])
        masks = masks[masks.any((1, 2))]
        for cell in CELLS:
            print(f"{size} pixels, cells of {cell}: {limit(masks, cell).mean():.3f} (n = {len(masks)})")


if __name__ == "__main__":
    main(sys.argv)
