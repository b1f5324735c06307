import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.ndimage

from ssinfnet_jax import models
from ssinfnet_jax.models import blocks, ops
from ssinfnet_jax.models.cpu import kernel_gradient


def test_bilinear_resizing_as_jax_does():
    x = jax.random.normal(jax.random.key(0), (2, 12, 8, 3))
    for size in ((24, 16), (3, 2), (12, 20)):
        expected = jax.image.resize(x, (2, *size, 3), "bilinear", antialias=False)
        np.testing.assert_allclose(ops.resize_bilinear(x, size), expected, atol=1e-5)


def test_align_corners_keeps_the_corners():
    matrix = ops.bilinear_matrix(7, 4, align_corners=True)
    np.testing.assert_allclose(matrix @ np.arange(4), np.arange(7) / 2, atol=1e-6)


@pytest.fixture(params=["cpu", "gpu"])
def backend(request):
    """Both forms of an operation run on the CPU."""
    with ops.forms_for(request.param):
        yield request.param


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_pools_as_flax_does(backend, dtype):
    x = jax.random.normal(jax.random.key(0), (2, 8, 12, 3), dtype)
    padded = ((1, 1), (1, 1))
    for values in (x, x.at[0, 2, 3].set(jnp.nan)):
        for found, expected in (
            (ops.max_pool_2x2(values), nn.max_pool(values, (2, 2), (2, 2))),
            (ops.max_pool_3x3_stride_2(values), nn.max_pool(values, (3, 3), (2, 2), padded)),
        ):
            np.testing.assert_array_equal(found.astype(jnp.float32), expected.astype(jnp.float32))
    tolerance = dict(rtol=1e-6, atol=1e-6) if dtype == "float32" else dict(rtol=2e-2, atol=2e-2)
    exact = x.astype(jnp.float32)
    np.testing.assert_allclose(ops.avg_pool_2x2(x).astype(jnp.float32), nn.avg_pool(exact, (2, 2), (2, 2)), **tolerance)
    for stride in (1, 2):
        expected = nn.avg_pool(exact, (3, 3), (stride, stride), padded)
        np.testing.assert_allclose(ops.avg_pool_3x3(x, stride).astype(jnp.float32), expected, **tolerance)


NUMBERS = {"dimension_numbers": ("NHWC", "HWIO", "NHWC")}
TWO_FORMS = {
    "max_pool_2x2": ops.max_pool_2x2,
    "max_pool_3x3_stride_2": ops.max_pool_3x3_stride_2,
    "avg_pool_2x2": ops.avg_pool_2x2,
    "avg_pool_3x3": lambda x: ops.avg_pool_3x3(x, 2),
    "box_mean": lambda x: ops.box_mean(x, 5),
    "pixel_sum": ops.pixel_sum,
    "pointwise": lambda x: ops.conv_general_dilated(x, KERNEL[:1, :1], (2, 2), "VALID", **NUMBERS),
    "conv_transpose_3x3_stride_2": lambda x: ops.conv_transpose_3x3_stride_2(x, KERNEL),
    "large": lambda x: ops.conv_general_dilated(x, KERNEL, (1, 1), ((1, 1), (1, 1)), **NUMBERS),
}
KERNEL = np.random.default_rng(3).normal(size=(3, 3, 3, 4)).astype(np.float32)


@pytest.mark.parametrize("name", TWO_FORMS)
def test_value_and_gradient_do_not_depend_on_the_form(name, monkeypatch):
    monkeypatch.setattr(kernel_gradient, "pays", lambda shape: True)
    x = jax.random.normal(jax.random.key(0), (2, 8, 12, 3))
    found, programs = [], []
    for backend in ("cpu", "gpu"):

        def value(x):
            out = TWO_FORMS[name](x)
            return (out**2).sum(), out

        with ops.forms_for(backend):
            (_, out), gradient = jax.value_and_grad(value, has_aux=True)(x)
            programs.append(str(jax.make_jaxpr(jax.grad(lambda x: value(x)[0]))(x)))
        found.append((out, gradient))
    assert programs[0] != programs[1]
    for fast, plain in zip(*found, strict=True):
        np.testing.assert_allclose(fast, plain, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("window", [1, 3, 7])
def test_mean_over_a_box_by_scipy(backend, window):
    x = np.random.default_rng(0).normal(size=(2, 9, 6, 3)).astype(np.float32)
    expected = scipy.ndimage.uniform_filter(x, (1, window, window, 1), mode="constant")
    np.testing.assert_allclose(ops.box_mean(jnp.asarray(x), window), expected, rtol=1e-5, atol=1e-6)


def test_sum_over_pixels(backend):
    x = np.random.default_rng(0).normal(size=(2, 6, 10, 3)).astype(np.float32)
    expected = x.sum(axis=(1, 2), dtype=np.float64)
    np.testing.assert_allclose(ops.pixel_sum(jnp.asarray(x)), expected, rtol=1e-5, atol=1e-5)


def test_forms_for_cpus_are_used_there_only():
    """A training step on other backends has no hand-written gradients, and XLA reduces the windows."""
    model = models.create("infnet", width=0.0625)
    x = jax.ShapeDtypeStruct((1, 256, 256, 3), jnp.float32)
    variables = models.shapes(model, 3)

    text = {}
    for backend in ("cpu", "gpu", "tpu"):

        def value(variables, x):  # a new function for each: JAX caches what it has traced
            maps, changed = model.apply(variables, x, train=True, mutable=["batch_stats"])
            return maps["map_2"], changed

        with ops.forms_for(backend):
            text[backend] = str(jax.make_jaxpr(value)(variables, x))
    assert "custom_vjp_call" in text["cpu"]
    assert "reduce_window" not in text["cpu"]
    for backend in ("gpu", "tpu"):
        assert "custom_vjp_call" not in text[backend]
        assert "reduce_window" in text[backend]


def test_batch_norm_is_the_same_by_flax_and_by_hand():
    x = jax.random.normal(jax.random.key(0), (2, 6, 6, 4)) + 1
    model, found = blocks.BatchNorm(), []
    for backend in ("cpu", "gpu"):
        with ops.forms_for(backend):
            variables = model.init(jax.random.key(0), x, train=True)

            def value(params, x, variables=variables):
                out, changed = model.apply({**variables, "params": params}, x, train=True, mutable=["batch_stats"])
                return jnp.sin(out).sum(), (out, changed)

            found.append((variables, *jax.grad(value, argnums=(0, 1), has_aux=True)(variables["params"], x)))
    assert jax.tree.structure(found[0]) == jax.tree.structure(found[1])
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), *found)


def test_transposed_convolution_by_its_definition(backend):
    rng = np.random.default_rng(0)
    x, kernel = rng.normal(size=(2, 3, 4, 5)).astype(np.float32), rng.normal(size=(3, 3, 5, 7)).astype(np.float32)
    expected = np.zeros((2, 8, 10, 7))  # one more pixel on each side, cropped at the end
    for row, column, a, b in np.ndindex(3, 4, 3, 3):
        expected[:, 2 * row + a, 2 * column + b] += x[:, row, column] @ kernel[a, b]
    found = ops.conv_transpose_3x3_stride_2(jnp.asarray(x), jnp.asarray(kernel))
    np.testing.assert_allclose(found, expected[:, 1:-1, 1:-1], rtol=1e-5, atol=1e-5)


def test_pointwise_convolution_as_lax_does(backend):
    x = jax.random.normal(jax.random.key(0), (2, 8, 8, 5))
    kernel = jax.random.normal(jax.random.key(1), (1, 1, 5, 7))
    for stride in (1, 2):
        arguments = (x, kernel, (stride, stride), "VALID")
        expected = jax.lax.conv_general_dilated(*arguments, **NUMBERS)
        found = ops.conv_general_dilated(*arguments, **NUMBERS)
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
