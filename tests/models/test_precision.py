"""With bfloat16 arithmetic, outputs are float32 and within 2 % of the largest value of the float32 output."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssinfnet_jax import models
from tests.models import cases

pytestmark = pytest.mark.long


@pytest.mark.parametrize("case", cases.CASES)
def test_bfloat16_agrees(case):
    model, num_inputs = cases.create(case, width=0.125)
    variables = cases.calm(models.shapes(model, num_inputs))
    x = jax.random.normal(jax.random.key(0), (2, 64, 64, num_inputs))

    def outputs(dtype):
        model, _ = cases.create(case, width=0.125, dtype=dtype)
        return jax.jit(lambda v, x: cases.apply_all(case, model, v, x))(variables, x)

    wide, half = outputs("float32"), outputs("bfloat16")
    for (path, expected), found in zip(jax.tree_util.tree_leaves_with_path(wide), jax.tree.leaves(half), strict=True):
        assert found.dtype == expected.dtype == jnp.float32
        error = float(jnp.abs(found - expected).max() / jnp.abs(expected).max())
        assert 0 < error < 2e-2, (jax.tree_util.keystr(path), error)


@pytest.mark.parametrize("case", cases.CASES)
def test_parameters_stay_float32(case):
    model, num_inputs = cases.create(case, width=0.125, dtype="bfloat16")
    assert {leaf.dtype for leaf in jax.tree.leaves(models.shapes(model, num_inputs))} == {np.dtype(np.float32)}
