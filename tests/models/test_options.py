"""Options of all networks, read from the traced program; computes nothing."""

import jax
import numpy as np
import pytest

from ssinfnet_jax import models
from tests.models import cases

pytestmark = pytest.mark.long

WIDTH = 0.0625


def _primitives(jaxpr):
    """Names of all primitives of a program, nested programs included."""
    for equation in jaxpr.eqns:
        yield equation.primitive.name
        for value in jax.tree.leaves(equation.params, is_leaf=lambda leaf: hasattr(leaf, "eqns")):
            inner = getattr(value, "jaxpr", value)
            if hasattr(inner, "eqns"):
                yield from _primitives(inner)


def _traced(case, **options):
    """(variables, names of the primitives of all forms in training)."""
    model, num_inputs = cases.create(case, width=WIDTH, **options)
    variables = models.shapes(model, num_inputs)
    x = jax.ShapeDtypeStruct((2, 32, 32, num_inputs), np.float32)
    environment = [(options["axis_name"], 2)] if "axis_name" in options else None
    trace = jax.make_jaxpr(lambda v, x: cases.apply_all(case, model, v, x, train=True), axis_env=environment)
    return variables, list(_primitives(trace(variables, x).jaxpr))


@pytest.mark.parametrize("case", cases.CASES)
def test_every_batch_norm_is_synchronised_and_blocks_are_recomputed(case):
    plain_variables, plain = _traced(case)
    variables, names = _traced(case, axis_name="batch", remat=True)
    sums, blocks = ([name for name in names if name.startswith(start)] for start in ("psum", "remat"))
    # A batch norm has one square root and one exchange with the other devices.
    assert len(sums) == plain.count("rsqrt") > 0
    assert len(blocks) >= 8
    assert not [name for name in plain if name.startswith(("psum", "remat"))]
    assert jax.tree.map(lambda leaf: leaf.shape, variables) == jax.tree.map(lambda leaf: leaf.shape, plain_variables)
