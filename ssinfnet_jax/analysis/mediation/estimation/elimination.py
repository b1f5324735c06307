"""Elimination in many small systems at once.

In JAX it replaces LAPACK: of jaxlib 0.10.2 on the CPU, `triangular_solve` never returns where two of them run at the
same time, as those of two equations of a program, or of two programs, may.
"""

import jax
import jax.numpy as jnp


def sweep(moments, count: int):
    """Cross-products of the residuals of linear regressions on the first `count` variables.

    Args:
      moments: [..., P, P], NumPy or JAX.
    Returns: [..., P - count, P - count], cross-products of the residuals.
    """
    for _ in range(count):
        first = moments[..., :1]
        moments = (moments - first * moments[..., :1, :] / moments[..., :1, :1])[..., 1:, 1:]
    return moments


def solve(matrix: jax.Array, right: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Solves a x = b by elimination without pivoting; a is symmetric positive definite, or triangular.

    Args:
      matrix: float64[..., P, P].
      right: float64[..., P, R].
    Returns: x float64[..., P, R]; the pivots float64[..., P]: the squared diagonal of the Cholesky factor. For a
      correlation matrix, pivot k is 1 - R^2 of column k on those before. NaN if a pivot is not positive.
    """
    size = matrix.shape[-1]

    def eliminate(k, state):
        system, pivots = state
        row = jnp.take(system, k, axis=-2)
        pivot = jnp.take(row, k, axis=-1)
        pivot = jnp.where(pivot > 0, pivot, jnp.nan)
        row = row / pivot[..., None]
        system = system - jnp.take(system, k, axis=-1)[..., None] * row[..., None, :]
        return system.at[..., k, :].set(row), pivots.at[..., k].set(pivot)

    start = jnp.concatenate([matrix, right], axis=-1), jnp.zeros_like(matrix[..., 0])
    system, pivots = jax.lax.fori_loop(0, size, eliminate, start)
    return system[..., size:], pivots


def inverse(matrix: jax.Array) -> jax.Array:
    """The inverse of matrices float64[..., P, P], see solve()."""
    return solve(matrix, jnp.broadcast_to(jnp.eye(matrix.shape[-1]), matrix.shape))[0]
