import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssinfnet_jax import models
from ssinfnet_jax.models import blocks, coach, infnet, ops

NARROW = {"width": 0.125}


def _apply(name, size=64, method="__call__", **options):
    model = models.create(name, **NARROW, **options)
    variables = models.init(model, 0, models.num_inputs(name))
    x = jax.random.normal(jax.random.key(0), (2, size, size, models.num_inputs(name)))
    return jax.jit(lambda v, x: model.apply(v, x, train=False, method=method))(variables, x)


@pytest.fixture(scope="module")
def infnet_outputs():
    return {method: _apply("infnet", method=method) for method in ("__call__", "inpaint")}


def test_infnet_gives_five_maps_of_the_inputs_size(infnet_outputs):
    assert set(infnet_outputs["__call__"]) == set(infnet.MAPS) == set(infnet_outputs["inpaint"])
    for method, channels in (("__call__", 1), ("inpaint", 3)):
        for value in infnet_outputs[method].values():
            assert value.shape == (2, 64, 64, channels)
            assert value.dtype == jnp.float32
            assert np.isfinite(value).all()
    assert all(np.abs(value).max() <= 1 for value in infnet_outputs["inpaint"].values())


@pytest.mark.parametrize("name", ["multi_infnet", "multi_ssinfnet"])
def test_multi_networks(name):
    assert _apply(name, 32).shape == (2, 32, 32, 3)
    restored = _apply(name, 32, method="inpaint")
    assert restored.shape == (2, 32, 32, 6)
    assert np.abs(restored).max() <= 1


def test_multi_network_in_bfloat16():
    wide, half = _apply("multi_ssinfnet", 32), _apply("multi_ssinfnet", 32, dtype="bfloat16")
    assert half.dtype == jnp.float32
    scale = np.abs(wide).max()
    assert np.abs(np.asarray(half) - np.asarray(wide)).max() < 4e-2 * scale


def test_a_quarter_is_erased_and_ties_of_score_do_not_matter():
    score = jax.random.normal(jax.random.key(0), (3, 8, 8, 1))
    keep = np.asarray(coach.keep_mask(score, alpha=100.0)) > 0.5
    # k = 48 of 64; the k-th region is at exactly 0.5 and counts as erased.
    assert keep.mean(axis=(1, 2, 3)).tolist() == [47 / 64] * 3
    assert keep.shape == (3, 128, 128, 1)
    ranks = np.argsort(np.argsort(-np.asarray(score).reshape(3, -1), axis=1), axis=1).reshape(3, 8, 8)
    np.testing.assert_array_equal(keep[:, ::16, ::16, 0], ranks < 47)


def test_sizes_that_cannot_be_halved_are_an_error():
    for name, message in (
        ("infnet", "multiples of 32, found 48x48"),
        ("multi_infnet", "multiples of 16, found 24x24"),
    ):
        size = int(message[-2:])
        model = models.create(name, **NARROW)
        with pytest.raises(ValueError, match=message):
            jax.eval_shape(lambda m=model, n=name, s=size: m.init(
                jax.random.key(0), jnp.zeros((1, s, s, models.num_inputs(n))), method="init_all"))  # fmt: skip


def test_unknown_names_are_errors():
    with pytest.raises(ValueError, match="Unknown model 'infnte'; choose one of infnet, "):
        models.create("infnte")
    with pytest.raises(ValueError, match="Unknown option wdith of model 'infnet'; it has axis_name, backbone"):
        models.create("infnet", wdith=0.5)
    with pytest.raises(ValueError, match="Unknown backbone 'resnet51'; choose one of resnet50"):
        models.create("infnet", backbone="resnet51")


def test_initial_values_depend_on_seed_and_name_alone():
    model = models.create("coach", **NARROW)
    first, again, other = (models.init(model, seed, 3) for seed in (0, 0, 1))
    kernels = [tree["params"]["mu"]["conv"]["kernel"] for tree in (first, again, other)]
    np.testing.assert_array_equal(kernels[0], kernels[1])
    assert (kernels[0] != kernels[2]).any()
    kernel = first["params"]["encoder"]["layer4_1"]["conv2"]["conv"]["conv"]["kernel"]
    assert kernel.std() == pytest.approx(np.sqrt(2 / (9 * kernel.shape[-1])), rel=0.02)


def test_a_fresh_coach_is_undecided_so_that_its_soft_mask_passes_a_gradient():
    model = models.create("coach", width=0.25)
    variables = models.init(model, 0, 3)
    x = jax.random.normal(jax.random.key(0), (2, 128, 128, 3))
    eps = jax.random.normal(jax.random.key(1), model.eps_shape(x.shape))
    scores, _ = jax.jit(lambda v, x, eps: model.apply(v, x, eps, train=True, mutable=["batch_stats"]))(
        variables, x, eps
    )
    assert 0.1 < float(scores.score.std()) < 3
    assert float(jnp.abs(scores.logvar).max()) < 5
    keep = coach.keep_mask(scores.score, alpha=1.0)
    assert float(((keep > 0.05) & (keep < 0.95)).mean()) > 0.9


def test_a_narrow_network_keeps_every_layer():
    assert [blocks.scaled(channels, 0.125) for channels in (1, 32, 64, 512)] == [4, 4, 8, 64]
    assert blocks.scaled(100, 1.0) == 100


def test_bilinear_resizing_as_jax_does():
    x = jax.random.normal(jax.random.key(0), (2, 12, 8, 3))
    for size in ((24, 16), (3, 2), (12, 20)):
        expected = jax.image.resize(x, (2, *size, 3), "bilinear", antialias=False)
        np.testing.assert_allclose(ops.resize_bilinear(x, size), expected, atol=1e-5)


def test_align_corners_keeps_the_corners():
    matrix = ops.bilinear_matrix(7, 4, align_corners=True)
    np.testing.assert_allclose(matrix @ np.arange(4), np.arange(7) / 2, atol=1e-6)


def test_max_pools_as_flax_does():
    import flax.linen as nn

    x = jax.random.normal(jax.random.key(0), (2, 8, 12, 3))
    np.testing.assert_array_equal(ops.max_pool_2x2(x), nn.max_pool(x, (2, 2), (2, 2)))
    expected = nn.max_pool(x, (3, 3), (2, 2), ((1, 1), (1, 1)))
    np.testing.assert_array_equal(ops.max_pool_3x3_stride_2(x), expected)


def test_pointwise_convolution_as_lax_does():
    x = jax.random.normal(jax.random.key(0), (2, 8, 8, 5))
    kernel = jax.random.normal(jax.random.key(1), (1, 1, 5, 7))
    for stride in (1, 2):
        arguments = (x, kernel, (stride, stride), "VALID")
        expected = jax.lax.conv_general_dilated(*arguments, dimension_numbers=("NHWC", "HWIO", "NHWC"))
        found = ops.conv_general_dilated(*arguments, dimension_numbers=("NHWC", "HWIO", "NHWC"))
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
