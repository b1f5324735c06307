"""Shared by the benchmarks, besides `ssinfnet_jax.evaluation.timing`: the machine's peak speed, the JSON file."""

import json
import pathlib
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from ssinfnet_jax.evaluation import timing


def matmul(size: int, dtype: Any) -> tuple[Callable[[], Any], float]:
    """Returns a function that multiplies size x size matrices, and its FLOPs; its speed is the reference peak.

    It computes eight products in a row, so that memory allocation does not dominate.
    """
    one, times = jnp.full((size, size), 1 / size, dtype), 8
    product = jax.jit(lambda x: lax.fori_loop(0, times, lambda _, y: x @ y, x))
    return lambda: product(one), 2.0 * times * size**3


def write(path: str | None, about: Mapping[str, Any], rows: list[dict[str, Any]]) -> None:
    """Writes the numbers as JSON, if a path is given."""
    if path:
        pathlib.Path(path).write_text(json.dumps({**about, **timing.machine(), "rows": rows}, indent=2) + "\n")
