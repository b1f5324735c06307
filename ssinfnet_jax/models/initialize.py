"""Fresh variables, drawn on the host by the name of each leaf.

XLA takes half a minute to compile the initialisation of 200 kernels; NumPy draws them in a fraction of a second. The
values depend only on the seed and the leaf's path, so a layer starts the same in every network.
"""

import functools
import math
import zlib
from collections.abc import Callable
from typing import Any

import flax
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np


def undrawn(key: jax.Array, shape: tuple[int, ...], dtype: Any = jnp.float32) -> jax.Array:
    """Flax's initialiser of every kernel: NaN until `init` draws it. Cheap, because Flax traces it with every layer."""
    del key
    return jax.lax.full(shape, jnp.nan, dtype)


def he_normal(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Normal with variance 2 / fan_out for a kernel [kh, kw, in, out] (He et al. 2015, as in ResNets)."""
    fan_out = math.prod(shape[:-2]) * shape[-1]
    return rng.normal(0.0, math.sqrt(2 / fan_out), shape)


def small_uniform(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Uniform in +-1 / sqrt(fan_in) for a kernel [kh, kw, in, out] without a norm behind it (as in torch)."""
    bound = 1 / math.sqrt(math.prod(shape[:-1]))
    return rng.uniform(-bound, bound, shape)


INITIALIZERS: dict[str, Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]] = {
    "kernel": he_normal,
    "kernel with bias": small_uniform,
    "bias": lambda rng, shape: np.zeros(shape),
    "scale": lambda rng, shape: np.ones(shape),
    "mean": lambda rng, shape: np.zeros(shape),
    "var": lambda rng, shape: np.ones(shape),
}


# No network has a larger stride, so shapes at this size hold for all of its multiples.
_SIZE = 32


def shapes(model: nn.Module, num_channels: int, *, size: int = _SIZE, method: str = "init_all", **kwargs: Any):
    """Shapes of the variables that a method of a network uses on square images; computes nothing.

    Raises: ValueError for a size that the network cannot take.
    """
    size = size if size % _SIZE else _SIZE
    return jax.tree.map(lambda x: x, _shapes(model, num_channels, size, method, tuple(sorted(kwargs.items()))))


@functools.lru_cache(maxsize=64)  # tracing a network takes a second
def _shapes(model: nn.Module, num_channels: int, size: int, method: str, kwargs: tuple[tuple[str, Any], ...]):
    sample = jax.ShapeDtypeStruct((1, size, size, num_channels), jnp.float32)
    return jax.eval_shape(lambda x: model.init(jax.random.key(0), x, method=method, **dict(kwargs)), sample)


def init(model: nn.Module, seed: int, num_channels: int) -> dict[str, Any]:
    """Fresh variables {"params", "batch_stats"} for both forms of a network; float32 arrays on the host.

    The module's own initialiser draws leaves whose names are not in `INITIALIZERS`.

    Args:
      model: a module with a method `init_all`, from `models.create`.
      seed: of the draw.
      num_channels: of the input.
    """
    values = {}
    leaves = flax.traverse_util.flatten_dict(shapes(model, num_channels))
    if any(path[-1] not in INITIALIZERS for path in leaves):
        values = flax.traverse_util.flatten_dict(_drawn_by_flax(model, seed, num_channels))
    for path, leaf in leaves.items():
        # A convolution with a bias has no batch norm behind it, except in U-Nets, where the norm removes the scale.
        # In a backbone (VGG) ReLUs follow it: with small kernels the signal would vanish over 13 layers.
        small = path[-1] == "kernel" and (*path[:-1], "bias") in leaves and "encoder" not in path
        name = "kernel with bias" if small else path[-1]
        if name not in INITIALIZERS:
            continue
        rng = np.random.default_rng([seed, zlib.crc32("/".join(path).encode())])
        values[path] = INITIALIZERS[name](rng, leaf.shape).astype(np.float32)
    return flax.traverse_util.unflatten_dict(values)


def _drawn_by_flax(model: nn.Module, seed: int, num_channels: int) -> dict[str, Any]:
    sample = jnp.zeros((1, _SIZE, _SIZE, num_channels))
    drawn = jax.jit(lambda x: model.init(jax.random.key(seed), x, method="init_all"))(sample)
    return jax.tree.map(np.asarray, drawn)
