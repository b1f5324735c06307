import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssinfnet_jax.models.cpu import batch_norm

AXIS = "devices"


class Flax(nn.Module):
    """flax.linen's own batch norm, for comparison."""

    axis_name: str | None = None
    dtype: str = "float32"

    @nn.compact
    def __call__(self, x):
        return nn.BatchNorm(
            use_running_average=False,
            momentum=0.9,
            epsilon=1e-5,
            dtype=self.dtype,
            axis_name=self.axis_name,
            name="norm",
        )(x)


class Ours(nn.Module):
    axis_name: str | None = None
    dtype: str = "float32"

    @nn.compact
    def __call__(self, x):
        return batch_norm.TrainingBatchNorm(0.9, 1e-5, self.dtype, self.axis_name, name="norm")(x)


def _variables(channels=5):
    rng = np.random.default_rng(0)
    params = {"scale": rng.uniform(0.5, 2, channels), "bias": rng.normal(size=channels)}
    stats = {"mean": rng.normal(size=channels), "var": rng.uniform(0.5, 2, channels)}
    return jax.tree.map(jnp.float32, {"params": {"norm": params}, "batch_stats": {"norm": stats}})


def _inputs(dtype="float32"):
    rng = np.random.default_rng(1)
    x = rng.normal(3, 2, size=(4, 6, 7, 5))
    return jnp.asarray(x, dtype), jnp.asarray(rng.normal(size=x.shape), dtype)


def _all(module, variables, x, weight):
    """Output, running statistics, gradients of parameters and input."""

    def value(params, x):
        out, updated = module.apply({**variables, "params": params}, x, mutable=["batch_stats"])
        return (jnp.sin(out) * weight).sum(), (out, updated)

    gradients, (out, updated) = jax.grad(value, argnums=(0, 1), has_aux=True)(variables["params"], x)
    return out, updated, gradients


def test_starts_as_flax_does():
    x, _ = _inputs()
    expected, found = (module.init(jax.random.key(0), x) for module in (Flax(), Ours()))
    jax.tree.map(np.testing.assert_array_equal, found, expected)


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-5), ("bfloat16", 2e-2)])
def test_values_statistics_and_gradients_as_flax_has_them(dtype, tolerance):
    x, weight = _inputs(dtype)
    expected, found = (_all(module, _variables(), x, weight) for module in (Flax(None, dtype), Ours(None, dtype)))
    assert jax.tree.map(lambda leaf: leaf.dtype, found) == jax.tree.map(lambda leaf: leaf.dtype, expected)

    def close(a, b):
        np.testing.assert_allclose(np.float32(a), np.float32(b), rtol=tolerance, atol=tolerance * np.abs(b).max())

    jax.tree.map(close, found, expected)


def test_a_mean_far_from_zero():
    """Sums over x, not x - mean: at fifty standard deviations as accurate as flax, whose variance does the same."""
    x, weight = _inputs()
    x = x + 100
    with jax.enable_x64(True):
        _, _, exact = _all(Flax(None, "float64"), *jax.tree.map(jnp.float64, (_variables(), x, weight)))

    def error(module):
        _, _, found = _all(module, _variables(), x, weight)
        return [
            np.abs(a - b).max() / np.abs(b).max() for a, b in zip(*map(jax.tree.leaves, (found, exact)), strict=True)
        ]

    assert max(error(Ours())) <= 1.1 * max(error(Flax()))


def test_devices_share_their_statistics():
    assert jax.local_device_count() == 2
    x, weight = _inputs()
    _, updated, (params, dx) = _all(Ours(), _variables(), x, weight)
    halves = [leaf.reshape(2, 2, *leaf.shape[1:]) for leaf in (x, weight)]
    sharded = jax.pmap(lambda x, w: _all(Ours(AXIS), _variables(), x, w), axis_name=AXIS)
    _, updated_2, (params_2, dx_2) = sharded(*halves)
    close = lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)  # noqa: E731
    close(dx_2.reshape(dx.shape), dx)
    jax.tree.map(lambda a, b: close(a.sum(axis=0), b), params_2, params)
    jax.tree.map(lambda a, b: close(a[1], b), updated_2, updated)
