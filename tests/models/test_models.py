import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssinfnet_jax import models
from ssinfnet_jax.models import blocks, coach, infnet
from ssinfnet_jax.models.backbones import BACKBONES
from tests.models import cases

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


def test_a_quarter_is_erased_and_ties_of_score_do_not_matter():
    score = jax.random.normal(jax.random.key(0), (3, 8, 8, 1))
    keep = np.asarray(coach.keep_mask(score, alpha=100.0)) > 0.5
    # k = 48 of 64; the k-th region is exactly 0.5 and counts as erased.
    assert keep.mean(axis=(1, 2, 3)).tolist() == [47 / 64] * 3
    assert keep.shape == (3, 128, 128, 1)
    ranks = np.argsort(np.argsort(-np.asarray(score).reshape(3, -1), axis=1), axis=1).reshape(3, 8, 8)
    np.testing.assert_array_equal(keep[:, ::16, ::16, 0], ranks < 47)


@pytest.mark.parametrize("case", cases.CASES)
def test_sizes_that_cannot_be_halved_are_an_error(case):
    model, num_inputs = cases.create(case, **NARROW)
    backbone = cases.CASES[case][1].get("backbone")
    multiple = BACKBONES[backbone].stride if backbone else 32 if case == "fcn8" else 16
    variables = models.shapes(model, num_inputs)

    def shapes(height, width):
        x = jax.ShapeDtypeStruct((1, height, width, num_inputs), jnp.float32)
        return jax.eval_shape(lambda v, x: cases.apply_all(case, model, v, x), variables, x)

    for size in ((multiple + 8, multiple), (multiple, multiple // 2)):
        with pytest.raises(ValueError, match=f"needs image sides that are multiples of {multiple}, found {size[0]}x"):
            shapes(*size)
    for name, leaf in jax.tree_util.tree_leaves_with_path(shapes(multiple, 3 * multiple)):
        wanted = (multiple // 16, 3 * multiple // 16) if case == "coach" else (multiple, 3 * multiple)
        assert leaf.shape[1:3] == wanted, name


@pytest.mark.parametrize("case", cases.CASES)
def test_the_registry_says_what_a_network_gives(case):
    name, options = cases.CASES[case]
    model, num_inputs = cases.create(case, **NARROW)
    x = jax.ShapeDtypeStruct((2, 32, 32, num_inputs), jnp.float32)
    out = jax.eval_shape(lambda v, x: cases.apply_all(case, model, v, x), models.shapes(model, num_inputs), x)
    shape = {
        "maps": {key: (2, 32, 32, 1) for key in infnet.MAPS},
        "lesion": (2, 32, 32, 1),
        "classes": (2, 32, 32, 3),
        "scores": coach.Scores((2, 2, 2, 1), (2, 2, 2, 100), (2, 2, 2, 100)),
    }[models.output(name, **options)]
    assert jax.tree.map(lambda leaf: leaf.shape, out["__call__"]) == shape
    assert models.inpaints(name) == ("inpaint" in out)
    for leaf in jax.tree.leaves(out.get("inpaint", {})):
        assert leaf.shape == (2, 32, 32, num_inputs)


def test_a_fresh_vgg_keeps_its_signal():
    model, num_inputs = cases.create("infnet_vgg16", width=0.25)
    encoder = BACKBONES["vgg16"](width=0.25)
    variables = models.init(model, 0, num_inputs)
    variables = {"params": variables["params"]["encoder"]}
    x = jax.random.normal(jax.random.key(0), (2, 64, 64, 3))
    levels = jax.jit(lambda v, x: encoder.apply(v, x, train=False))(variables, x)
    assert all(float(level.std()) > 0.02 for level in levels)


def test_unknown_names_are_errors():
    with pytest.raises(ValueError, match="Unknown model 'infnte'; choose one of infnet, "):
        models.create("infnte")
    with pytest.raises(ValueError, match="Unknown option wdith of model 'infnet'; it has axis_name, backbone"):
        models.create("infnet", wdith=0.5)
    with pytest.raises(ValueError, match="Unknown backbone 'resnet51'; choose one of resnet50"):
        models.create("infnet", backbone="resnet51")
    with pytest.raises(ValueError, match=r"Unknown num_classes 2; choose one of \{1: 'lesion', 3: 'classes'\}"):
        models.create("unet", num_classes=2)
    for function in (models.num_inputs, models.output, models.inpaints):
        with pytest.raises(ValueError, match="Unknown model 'infnte'; choose one of infnet, "):
            function("infnte")


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
