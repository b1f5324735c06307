import jax
import numpy as np

from ssinfnet_jax.losses import reduction


def test_sums_and_means_over_pixels():
    x = jax.random.normal(jax.random.key(0), (2, 6, 10, 3))
    exact = np.asarray(x, np.float64)
    np.testing.assert_allclose(reduction.pixel_sum(x), exact.sum(axis=(1, 2)), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(reduction.pixel_mean(x), exact.mean(axis=(1, 2, 3)), rtol=1e-5, atol=1e-6)
