"""Gradients against finite differences in float64, and with recomputed blocks against those without."""

import flax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssinfnet_jax import models
from ssinfnet_jax.models import coach
from ssinfnet_jax.models.backbones import BACKBONES
from tests.models import cases

pytestmark = pytest.mark.long

STEP = 1e-6
WIDTH = 0.0625
# The whole InfNet with its smallest backbone; the other backbones alone, which compile in a third of the time.
NETWORKS = [case for case in cases.CASES if case not in ("infnet_resnet50", "infnet_res2net50", "unet_of_classes")]
SUBJECTS = [*NETWORKS, "resnet50", "res2net50"]


def _subject(name, **options):
    """(a module, a function (variables, input) -> its outputs, number of input channels)."""
    options["width"] = WIDTH
    if name in BACKBONES:
        model = BACKBONES[name](**options)
        return model, lambda variables, x: model.apply(variables, x, train=False), 3
    model, num_inputs = cases.create(name, **options)
    # Not for InfNet, whose coarsest maps have too few values for batch statistics.
    train = not name.startswith("infnet")

    def outputs(variables, x):
        found = cases.apply_all(name, model, variables, x, train=train)
        # Running statistics, which a step does not differentiate, are returned beside the outputs.
        return {method: out[0] if train else out for method, out in found.items()}

    return model, outputs, num_inputs


@pytest.fixture(scope="module", params=SUBJECTS)
def case(request):
    """(parameters, value and gradient of a smooth function of all outputs, the same with remat), in float64."""
    model, _, num_inputs = _subject(request.param)
    if request.param in BACKBONES:
        variables = jax.eval_shape(lambda: model.init(jax.random.key(0), np.zeros((1, 32, 32, 3)), train=False))
    else:
        variables = models.shapes(model, num_inputs)
    variables = cases.calm(variables)
    with jax.enable_x64(True):
        variables = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), variables)
        x = np.random.default_rng(0).normal(size=(2, 32, 32, num_inputs))

        def compiled(remat):
            _, apply, _ = _subject(request.param, dtype=np.float64, remat=remat)

            def value(params):
                out = apply({**variables, "params": params}, x)
                return sum(jnp.sin(leaf).mean() for leaf in jax.tree.leaves(out))

            return jax.jit(jax.value_and_grad(value)).lower(variables["params"]).compile()

        yield variables["params"], compiled(False), compiled(True)


def test_gradients_are_slopes(case):
    params, function, _ = case
    _, gradient = function(params)
    flat = flax.traverse_util.flatten_dict(params)
    gradient = {path: np.asarray(leaf) for path, leaf in flax.traverse_util.flatten_dict(gradient).items()}
    kernels = [path for path in flat if path[-1] in ("kernel", "scale")]
    for path in kernels[:: max(1, len(kernels) // 5)]:
        place = np.unravel_index(np.abs(gradient[path]).argmax(), gradient[path].shape)
        values = []
        for sign in (1, -1):
            moved = flat[path].copy()
            moved[place] += sign * STEP
            values.append(float(function(flax.traverse_util.unflatten_dict({**flat, path: moved}))[0]))
        slope = (values[0] - values[1]) / (2 * STEP)
        assert slope == pytest.approx(float(gradient[path][place]), rel=1e-4, abs=1e-8), "/".join(path)
        assert abs(slope) > 1e-7, "/".join(path)


def test_recomputed_blocks_change_nothing(case):
    params, plain, recomputed = case
    (value, gradient), (other_value, other_gradient) = plain(params), recomputed(params)
    np.testing.assert_allclose(other_value, value, rtol=1e-12)
    largest = max(float(np.abs(leaf).max()) for leaf in jax.tree.leaves(gradient))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-10 * largest), other_gradient, gradient)


def test_the_threshold_passes_the_gradient():
    """keep_i = sigmoid(alpha (s_i - s_k)): each region raises its own score, and all lower the k-th."""
    rng = np.random.default_rng(0)
    score, weight = rng.normal(size=(2, 4, 4, 1)), rng.normal(size=(2, 64, 64, 1))
    k = 12  # floor(0.75 * 16)
    for alpha in (1.0, 100.0):
        with jax.enable_x64(True):
            gradient = jax.grad(lambda s, a=alpha: (weight * coach.keep_mask(s, alpha=a)).sum())(jnp.asarray(score))
        for one, pixels, found in zip(score, weight, np.asarray(gradient), strict=True):
            flat = one.ravel()
            regions = pixels.reshape(4, 16, 4, 16).sum(axis=(1, 3)).ravel()
            kth = np.argsort(-flat)[k - 1]
            keep = 1 / (1 + np.exp(-alpha * (flat - flat[kth])))
            expected = alpha * keep * (1 - keep) * regions
            expected[kth] -= expected.sum()
            np.testing.assert_allclose(found.ravel(), expected, rtol=1e-9, atol=1e-12)
            assert abs(expected[kth]) > 1e-3
            assert found.sum() == pytest.approx(0, abs=1e-9)  # a shift of all scores changes nothing
