import importlib.util
import json

import jax
import numpy as np
import pytest

from ssinfnet_jax import models
from ssinfnet_jax.interop import torch_checkpoint
from ssinfnet_jax.models import coach

PUBLISHED = {  # the reference's name: (name, options, number of parameters)
    "infnet_resnet50": ("infnet", {"backbone": "resnet50"}, 30_917_668),
    # Without the 2,049,000 of an unused classifier; published: 33,127,988.
    "infnet_res2net50": ("infnet", {"backbone": "res2net50"}, 31_078_988),
    # Without the 12,979,200 of an unused branch, plus 6,267 of our inpainting heads; published: 34,278,057.
    "infnet_vgg16": ("infnet", {"backbone": "vgg16"}, 21_305_124),
    "multi_unet": ("multi_infnet", {}, 17_269_641),
    "multi_unet_improved": ("multi_ssinfnet", {}, 25_341_045),
    "fcn8_vgg16": ("fcn8", {}, 18_645_507),
    "coach_resnet18": ("coach", {}, 11_279_213),
}
# Reference output -> our method.
OUTPUTS = {"seg": "__call__", "inpaint": "inpaint", "logits": "__call__", "inpainting": "inpaint", "": "__call__"}


@pytest.fixture(scope="module")
def weights(shared):
    """The module that draws state dicts."""
    spec = importlib.util.spec_from_file_location("golden_weights", shared / "golden" / "weights.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def manifest(shared):
    return json.loads((shared / "golden" / "manifest.json").read_text())


@pytest.fixture(scope="module", params=PUBLISHED)
def golden(request, shared, weights):
    """(reference's name, model, variables, reference outputs NHWC)."""
    name, options, _ = PUBLISHED[request.param]
    variables = torch_checkpoint.convert(name, weights.state_dict(request.param), **options)
    with np.load(shared / "golden" / f"{request.param}.npz") as file:
        reference = {key: file[key].transpose(0, 2, 3, 1) for key in file}
    return request.param, models.create(name, **options), variables, reference


def _apply(model, variables, *inputs, method="__call__"):
    return jax.jit(lambda v, *x: model.apply(v, *x, train=False, method=method))(variables, *inputs)


def test_every_published_network_has_a_layout(manifest):
    assert set(manifest) == set(PUBLISHED)
    layouts = {name if name != "infnet" else f"infnet_{own['backbone']}" for name, own, _ in PUBLISHED.values()}
    assert layouts == set(torch_checkpoint.LAYOUTS)


def test_number_of_parameters(golden):
    name, _, variables, _ = golden
    assert sum(value.size for value in jax.tree.leaves(variables["params"])) == PUBLISHED[name][2]


def test_outputs(golden):
    name, model, variables, reference = golden
    if name == "coach_resnet18":
        scores = _apply(model, variables, reference["input"], reference["eps"])
        found = scores._asdict()
        found["soft_mask_alpha1"] = coach.keep_mask(scores.score, alpha=1.0)
        hard = coach.keep_mask(scores.score, alpha=100.0) > 0.5
        np.testing.assert_array_equal(hard, reference.pop("hard_mask_alpha100") > 0.5)
    else:
        keys = {key.split("/")[0] for key in reference} - {"input"}
        found = {key: _apply(model, variables, reference["input"], method=OUTPUTS[key]) for key in keys}
        found = {
            f"{key}/{name}" if name else key: value
            for key, out in found.items()
            for name, value in (out.items() if isinstance(out, dict) else [("", out)])
        }
    expected = {key: value for key, value in reference.items() if key not in ("input", "eps")}
    assert set(found) == set(expected)
    for key, value in expected.items():
        np.testing.assert_allclose(found[key], value, atol=1e-4, rtol=0, err_msg=key)


@pytest.mark.long
def test_other_weights_and_sizes(golden, weights):
    key, model, _, reference = golden
    name, options, _ = PUBLISHED[key]
    variables = torch_checkpoint.convert(name, weights.state_dict(key, seed=1), **options)
    rng = np.random.default_rng(0)

    def inputs(size):
        image = rng.normal(size=(1, size, size, reference["input"].shape[-1])).astype(np.float32)
        return (image, np.zeros(model.eps_shape(image.shape), np.float32)) if name == "coach" else (image,)

    small = _apply(model, variables, *inputs(128))
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(small))
    large = jax.eval_shape(lambda v, *x: model.apply(v, *x, train=False), variables, *inputs(352))
    for one, other in zip(jax.tree.leaves(small), jax.tree.leaves(large), strict=True):
        size = 8 if name == "coach" else 128
        assert one.shape[1:3] == (size, size)
        assert other.shape == (1, size * 352 // 128, size * 352 // 128, one.shape[-1])


@pytest.fixture(scope="module")
def state_dict(weights):
    return weights.state_dict("coach_resnet18")


def test_one_error_lists_everything_that_does_not_fit(state_dict):
    broken = dict(state_dict)
    del broken["pred.weight"]
    broken["mu.weight"] = broken["mu.weight"][:50]
    broken["std.bias"] = np.full(100, np.nan, np.float32)
    broken["bn1.running_var"] = np.full(64, 1e300)
    broken["layer1.0.bn1.bias"] = np.array(["a"] * 64)
    broken["resnet.conv1.weight"] = broken["conv1.weight"]
    for odd in ("epoch", "", ".", "conv1.", "fc.weight", "mu.alpha", "bn1.weight.running_mean", "conv1.running_mean"):
        broken[odd] = np.zeros(3, np.float32)
    with pytest.raises(ValueError, match="does not fit model 'coach':\n") as error:
        torch_checkpoint.convert("coach", broken)
    lines = {line.strip() for line in str(error.value).splitlines()[1:]}
    assert lines == {
        "missing params.score.conv.kernel",
        "mu.weight has shape (50, 512, 1, 1), as HWIO (1, 1, 512, 50), not (1, 1, 512, 100)",
        "std.bias is not finite as float32",
        "bn1.running_var is not finite as float32",
        "layer1.0.bn1.bias holds <U1, not numbers",
        "resnet.conv1.weight occurs twice, under different names",
        *(f"unknown {odd}".strip() for odd in ("epoch", "", ".", "conv1.", "fc.weight", "mu.alpha")),
        "unknown bn1.weight.running_mean",
        "unknown conv1.running_mean",
    }


def test_a_kernel_with_the_wrong_number_of_axes_is_named(state_dict):
    for shape in ((64,), (64, 3), (64, 3, 49), (1, 64, 3, 7, 7)):
        broken = {**state_dict, "conv1.weight": np.zeros(shape, np.float32)}
        with pytest.raises(ValueError, match=r"conv1.weight has shape") as error:
            torch_checkpoint.convert("coach", broken)
        assert len(str(error.value).splitlines()) == 2


def test_tensors_that_the_published_network_does_not_use_are_skipped(weights):
    vgg, res2net = weights.state_dict("infnet_vgg16"), weights.state_dict("infnet_res2net50")
    pruned = {name: value for name, value in vgg.items() if not name.startswith(("vgg.conv4_2", "vgg.conv5_2"))}
    assert len(pruned) == len(vgg) - 12
    whole, small = (torch_checkpoint.convert("infnet", one, backbone="vgg16") for one in (vgg, pruned))
    jax.tree.map(np.testing.assert_array_equal, whole, small)
    # Only if the network has such tensors.
    with pytest.raises(ValueError, match=r"unknown resnet\.fc\.weight"):
        torch_checkpoint.convert("infnet", res2net, backbone="resnet50")


def test_inpainting_heads_missing_in_a_checkpoint_are_fresh(weights):
    fresh = models.init(models.create("infnet", backbone="vgg16"), 0, 3)["params"]
    found = torch_checkpoint.convert("infnet", weights.state_dict("infnet_vgg16"), backbone="vgg16")["params"]
    for module in ("attention4", "attention3", "attention2", "decoder"):
        head = "head_inpainting"
        jax.tree.map(np.testing.assert_array_equal, found[module][head], fresh[module][head])
    jax.tree.map(np.testing.assert_array_equal, found["edge_head_inpainting"], fresh["edge_head_inpainting"])
    # A checkpoint with some inpainting layers must have all.
    broken = weights.state_dict("infnet_resnet50")
    del broken["ra2_conv4_inpainting.conv.weight"]
    with pytest.raises(ValueError, match=r"resnet50':\n  missing params.attention2.head_inpainting.conv.conv.kernel$"):
        torch_checkpoint.convert("infnet", broken)


def test_networks_without_a_published_checkpoint():
    with pytest.raises(ValueError, match="No checkpoint layout is known for model 'unet'; choose one of infnet_res"):
        torch_checkpoint.convert("unet", {})
    with pytest.raises(ValueError, match="No checkpoint layout is known for model 'vgg'"):
        torch_checkpoint.convert("vgg", {})
