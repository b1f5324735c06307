import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssinfnet_jax.models import ops
from ssinfnet_jax.models.cpu import kernel_gradient
from ssinfnet_jax.models.cpu.kernel_gradient import Geometry

CASES = [
    ((3, 3), Geometry((1, 1), ((1, 1), (1, 1)), (1, 1)), (12, 10)),
    ((3, 3), Geometry((2, 2), ((1, 1), (1, 1)), (1, 1)), (12, 10)),
    ((7, 7), Geometry((2, 2), ((3, 3), (3, 3)), (1, 1)), (12, 14)),
    ((1, 3), Geometry((1, 1), ((0, 0), (3, 3)), (1, 3)), (8, 9)),
    ((3, 2), Geometry((2, 1), ((2, 0), (0, 1)), (2, 1)), (17, 9)),
    ((2, 2), Geometry((3, 2), ((0, 0), (0, 0)), (1, 1)), (11, 9)),
]


@pytest.mark.parametrize("block_bytes", [1, 2000, 2**20])
@pytest.mark.parametrize(("size", "geometry", "image"), CASES)
def test_as_xla_has_it(monkeypatch, block_bytes, size, geometry, image):
    monkeypatch.setattr(kernel_gradient, "BLOCK_BYTES", block_bytes)
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.normal(size=(2, *image, 5)), jnp.float32)
    kernel = jnp.asarray(rng.normal(size=(*size, 5, 6)), jnp.float32)

    def plain(x, kernel):
        numbers = ("NHWC", "HWIO", "NHWC")
        return jax.lax.conv_general_dilated(
            x, kernel, geometry.strides, geometry.padding, rhs_dilation=geometry.dilation, dimension_numbers=numbers
        )

    expected, expected_back = jax.vjp(plain, x, kernel)
    found, back = jax.vjp(lambda x, kernel: kernel_gradient.conv(x, kernel, geometry), x, kernel)
    np.testing.assert_array_equal(found, expected)
    dy = jnp.asarray(rng.normal(size=expected.shape), jnp.float32)
    for a, b in zip(back(dy), expected_back(dy), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)


def test_large_images_with_many_channels_take_it(monkeypatch):
    called = []
    monkeypatch.setattr(kernel_gradient, "conv", lambda *args: called.append(args[2]))
    kernel = jnp.zeros((3, 3, 64, 2))
    options = dict(rhs_dilation=(1, 1), dimension_numbers=("NHWC", "HWIO", "NHWC"))
    for size, pays in ((128, True), (64, False)):
        x = jax.ShapeDtypeStruct((1, size, size, 64), jnp.float32)
        called.clear()
        jax.eval_shape(lambda x: ops.conv_general_dilated(x, kernel, (1, 1), ((1, 1), (1, 1)), **options), x)
        assert bool(called) is pays
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    called.clear()
    x = jax.ShapeDtypeStruct((1, 128, 128, 64), jnp.float32)
    jax.eval_shape(lambda x: ops.conv_general_dilated(x, kernel, (1, 1), ((1, 1), (1, 1)), **options), x)
    assert not called
