import importlib.util

import jax
import numpy as np
import pytest

from ssinfnet_jax import models
from ssinfnet_jax.interop import torch_checkpoint
from ssinfnet_jax.models import coach

PUBLISHED = {  # our name: (name of the reference, number of parameters)
    "infnet": ("infnet_resnet50", 30_917_668),
    "multi_infnet": ("multi_unet", 17_269_641),
    "multi_ssinfnet": ("multi_unet_improved", 25_341_045),
    "coach": ("coach_resnet18", 11_279_213),
}


@pytest.fixture(scope="module")
def golden(shared):
    spec = importlib.util.spec_from_file_location("golden_weights", shared / "golden" / "weights.py")
    weights = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(weights)

    def load(name):
        variables = torch_checkpoint.convert(name, weights.state_dict(PUBLISHED[name][0]))
        reference = np.load(shared / "golden" / f"{PUBLISHED[name][0]}.npz")
        return variables, {key: reference[key].transpose(0, 2, 3, 1) for key in reference}

    return load


@pytest.mark.parametrize("name", PUBLISHED)
def test_number_of_parameters(golden, name):
    variables, _ = golden(name)
    assert sum(value.size for value in jax.tree.leaves(variables["params"])) == PUBLISHED[name][1]


@pytest.mark.parametrize(("method", "prefix"), [("__call__", "seg"), ("inpaint", "inpaint")])
def test_infnet(golden, method, prefix):
    variables, reference = golden("infnet")
    out = jax.jit(lambda v, x: models.create("infnet").apply(v, x, train=False, method=method))(
        variables, reference["input"]
    )
    for name, value in out.items():
        np.testing.assert_allclose(value, reference[f"{prefix}/{name}"], atol=1e-4)


@pytest.mark.parametrize("name", ["multi_infnet", "multi_ssinfnet"])
def test_multi(golden, name):
    variables, reference = golden(name)
    model = models.create(name)
    logits = jax.jit(lambda v, x: model.apply(v, x, train=False))(variables, reference["input"])
    np.testing.assert_allclose(logits, reference["logits"], atol=1e-4)
    restored = jax.jit(lambda v, x: model.apply(v, x, train=False, method="inpaint"))(variables, reference["input"])
    np.testing.assert_allclose(restored, reference["inpainting"], atol=1e-4)


def test_coach(golden):
    variables, reference = golden("coach")
    scores = jax.jit(lambda v, x, eps: models.create("coach").apply(v, x, eps, train=False))(
        variables, reference["input"], reference["eps"]
    )
    for name in ("score", "mu", "logvar"):
        np.testing.assert_allclose(getattr(scores, name), reference[name], atol=1e-4)
    soft = coach.keep_mask(scores.score, alpha=1.0)
    np.testing.assert_allclose(soft, reference["soft_mask_alpha1"], atol=1e-4)
    hard = coach.keep_mask(scores.score, alpha=100.0) > 0.5
    np.testing.assert_array_equal(hard, reference["hard_mask_alpha100"] > 0.5)


def test_what_does_not_fit_is_listed():
    with pytest.raises(
        ValueError, match=r"does not fit model 'coach':\n  unknown fc.weight\n  mu.weight has shape"
    ) as error:
        torch_checkpoint.convert("coach", {"fc.weight": np.zeros((2, 3)), "mu.weight": np.zeros((1, 2, 1, 1))})
    assert "missing params.score.conv.kernel" in str(error.value)
    with pytest.raises(ValueError, match="No checkpoint layout is known for model 'unet'"):
        torch_checkpoint.convert("unet", {})
