import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssinfnet_jax.models import ops


def test_bilinear_resizing_as_jax_does():
    x = jax.random.normal(jax.random.key(0), (2, 12, 8, 3))
    for size in ((24, 16), (3, 2), (12, 20)):
        expected = jax.image.resize(x, (2, *size, 3), "bilinear", antialias=False)
        np.testing.assert_allclose(ops.resize_bilinear(x, size), expected, atol=1e-5)


def test_align_corners_keeps_the_corners():
    matrix = ops.bilinear_matrix(7, 4, align_corners=True)
    np.testing.assert_allclose(matrix @ np.arange(4), np.arange(7) / 2, atol=1e-6)


@pytest.fixture(params=["cpu", "elsewhere"])
def backend(request, monkeypatch):
    """Both forms of an operation run on the CPU."""
    monkeypatch.setattr(jax, "default_backend", lambda: request.param)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_pools_as_flax_does(backend, dtype):
    x = jax.random.normal(jax.random.key(0), (2, 8, 12, 3), dtype)
    padded = ((1, 1), (1, 1))
    np.testing.assert_array_equal(ops.max_pool_2x2(x), nn.max_pool(x, (2, 2), (2, 2)))
    np.testing.assert_array_equal(ops.max_pool_3x3_stride_2(x), nn.max_pool(x, (3, 3), (2, 2), padded))
    tolerance = dict(rtol=1e-6, atol=1e-6) if dtype == "float32" else dict(rtol=2e-2, atol=2e-2)
    exact = x.astype(jnp.float32)
    np.testing.assert_allclose(ops.avg_pool_2x2(x).astype(jnp.float32), nn.avg_pool(exact, (2, 2), (2, 2)), **tolerance)
    for stride in (1, 2):
        expected = nn.avg_pool(exact, (3, 3), (stride, stride), padded)
        np.testing.assert_allclose(ops.avg_pool_3x3(x, stride).astype(jnp.float32), expected, **tolerance)


def test_gradients_of_pools_do_not_depend_on_the_form(monkeypatch):
    x = jax.random.normal(jax.random.key(0), (2, 8, 12, 3))
    pools = (ops.max_pool_2x2, ops.max_pool_3x3_stride_2, ops.avg_pool_2x2, lambda x: ops.avg_pool_3x3(x, 2))
    gradients = []
    for name in ("cpu", "elsewhere"):
        monkeypatch.setattr(jax, "default_backend", lambda name=name: name)
        gradients.append([jax.grad(lambda x, pool=pool: (pool(x) ** 2).sum())(x) for pool in pools])
    for fast, plain in zip(*gradients, strict=True):
        np.testing.assert_allclose(fast, plain, rtol=1e-5, atol=1e-6)


def test_transposed_convolution_by_its_definition(backend):
    rng = np.random.default_rng(0)
    x, kernel = rng.normal(size=(2, 3, 4, 5)).astype(np.float32), rng.normal(size=(3, 3, 5, 7)).astype(np.float32)
    expected = np.zeros((2, 8, 10, 7))  # one pixel more on each side, cut off at the end
    for row, column, a, b in np.ndindex(3, 4, 3, 3):
        expected[:, 2 * row + a, 2 * column + b] += x[:, row, column] @ kernel[a, b]
    found = ops.conv_transpose_3x3_stride_2(jnp.asarray(x), jnp.asarray(kernel))
    np.testing.assert_allclose(found, expected[:, 1:-1, 1:-1], rtol=1e-5, atol=1e-5)


def test_pointwise_convolution_as_lax_does():
    x = jax.random.normal(jax.random.key(0), (2, 8, 8, 5))
    kernel = jax.random.normal(jax.random.key(1), (1, 1, 5, 7))
    for stride in (1, 2):
        arguments = (x, kernel, (stride, stride), "VALID")
        expected = jax.lax.conv_general_dilated(*arguments, dimension_numbers=("NHWC", "HWIO", "NHWC"))
        found = ops.conv_general_dilated(*arguments, dimension_numbers=("NHWC", "HWIO", "NHWC"))
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
