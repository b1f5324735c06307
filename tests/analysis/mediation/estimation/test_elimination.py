"""Elimination against NumPy and SciPy."""

import pathlib
import re

import jax
import numpy as np
import pytest
from scipy import linalg

from ssinfnet_jax.analysis.mediation.estimation import elimination
from ssinfnet_jax.analysis.mediation.estimation.host import double_precision


@pytest.mark.parametrize("size", [1, 2, 7, 40])
def test_solve_is_that_of_numpy(size):
    columns = np.random.default_rng(size).normal(size=(5, 3, size, size + 20))
    matrix = columns @ columns.swapaxes(-1, -2)
    right = columns[..., :4]
    with double_precision():
        found, pivots = (np.asarray(array) for array in jax.jit(elimination.solve)(matrix, right))
    np.testing.assert_allclose(found, np.linalg.solve(matrix, right), rtol=1e-9, atol=1e-12)
    factor = np.linalg.cholesky(matrix)
    np.testing.assert_allclose(pivots, np.diagonal(factor, axis1=-2, axis2=-1) ** 2, rtol=1e-9)


def test_a_system_that_is_not_positive_has_no_solution():
    matrix = np.array([[[1.0, 1.0], [1.0, 1.0]], [[1.0, 0.0], [0.0, -1.0]], [[4.0, 2.0], [2.0, 3.0]]])
    with double_precision():
        found, pivots = elimination.solve(matrix, np.ones((3, 2, 1)))
    assert np.isnan(found).all((1, 2)).tolist() == [True, True, False]
    assert np.isnan(pivots[:, 1]).tolist() == [True, True, False]


def test_inverse_of_a_triangle():
    triangle = np.tril(np.random.default_rng(1).normal(size=(2, 5, 5)), -1) + np.diag([1.0, 2.0, 1.0, 0.5, 1.0])
    with double_precision():
        found = elimination.inverse(triangle)
    np.testing.assert_allclose(found, np.linalg.inv(triangle), rtol=1e-10, atol=1e-12)


def test_no_program_of_the_analysis_uses_jax_lapack():
    """It hangs on the CPU where two solves run at once, see elimination."""
    files = pathlib.Path(elimination.__file__).parents[2].rglob("*.py")
    lapack = re.compile(r"\b(jnp|lax|jax\.numpy|jax\.scipy|jsp)\.linalg\b")
    assert [path.name for path in files if lapack.search(path.read_text())] == []


def test_sweep_gives_the_residuals_of_regressions():
    x, y = np.random.default_rng(0).normal(size=(2, 50, 3))
    together = np.hstack([x, y])
    residual = y - x @ linalg.lstsq(x, y)[0]
    np.testing.assert_allclose(elimination.sweep(together.T @ together, 3), residual.T @ residual, rtol=1e-10)
