"""What the benchmarks share beside `ssinfnet_jax.evaluation.timing`: the peak of the machine, the JSON file."""

import json
import pathlib
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from ssinfnet_jax.evaluation import timing


def matmul(size: int, dtype: Any) -> tuple[Callable[[], Any], float]:
    """Products of size x size matrices, and their FLOPs: their speed is the peak that others are compared with.

    Eight in a row, so that it is not the operating system's handing out of memory that is measured.
    """
    one, times = jnp.full((size, size), 1 / size, dtype), 8
    product = jax.jit(lambda x: lax.fori_loop(0, times, lambda _, y: x @ y, x))
    return lambda: product(one), 2.0 * times * size**3


def write(path: str | None, about: Mapping[str, Any], rows: list[dict[str, Any]]) -> None:
    """Writes the numbers as JSON, if a file is wanted."""
    if path:
        pathlib.Path(path).write_text(json.dumps({**about, **timing.machine(), "rows": rows}, indent=2) + "\n")
