import flax
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssinfnet_jax import models
from ssinfnet_jax.inference import segmenter
from ssinfnet_jax.models import blocks
from ssinfnet_jax.models.backbones import BACKBONES
from ssinfnet_jax.networks import folded, prediction, storage
from ssinfnet_jax.networks.card import NetworkCard
from ssinfnet_jax.networks.inputs import Normalisation

SEGMENTS = [
    *((name, {}) for name in models.MODELS if name not in ("infnet", "coach")),
    *(("infnet", {"backbone": backbone}) for backbone in BACKBONES),
]


def _trained(variables, seed=0):
    """The variables with norms as a training leaves them: no statistic, scale or bias is what it started as."""
    rng = np.random.default_rng(seed)
    draws = {
        "mean": lambda shape: rng.normal(0, 0.3, shape),
        "var": lambda shape: rng.uniform(0.5, 3, shape),
        "scale": lambda shape: rng.uniform(0.2, 0.6, shape),
        "bias": lambda shape: rng.normal(0, 0.2, shape),
    }
    flat = flax.traverse_util.flatten_dict(variables)
    drawn = {p: draws[p[-1]](x.shape).astype(np.float32) if p[-1] in draws else x for p, x in flat.items()}
    return flax.traverse_util.unflatten_dict(drawn)


def _grey(num_inputs, size=64, seed=1):
    """Inputs float32[2,S,S,C], equal in threes."""
    rng = np.random.default_rng(seed)
    return np.repeat(rng.normal(size=(2, size, size, num_inputs // 3)), 3, axis=-1).astype(np.float32)


def _both(model, variables, x):
    network, less = folded.fold(model, variables, num_inputs=x.shape[-1])
    plain = jax.jit(lambda v, x: model.apply(v, x, train=False))(variables, x)
    return plain, jax.jit(network.apply)(less, x), less


def _norms(variables):
    flat = flax.traverse_util.flatten_dict(variables.get("batch_stats", {}))
    return {"/".join(path[:-1]) for path in flat}


@pytest.mark.parametrize(("name", "options"), SEGMENTS)
def test_every_segmenting_network_agrees_with_its_folded_form(name, options):
    model = models.create(name, width=0.125, **options)
    num_inputs = models.num_inputs(name)
    variables = _trained(models.init(model, 0, num_inputs))
    plain, less, small = _both(model, variables, _grey(num_inputs))
    for one, other in zip(jax.tree.leaves(plain), jax.tree.leaves(less), strict=True):
        assert one.std() > 0
        np.testing.assert_allclose(other, one, atol=1e-4 * one.std())
        np.testing.assert_allclose(nn.sigmoid(other), nn.sigmoid(one), atol=1e-4)
    first = [x.shape[2] for p, x in flax.traverse_util.flatten_dict(small["params"]).items() if p[-1] == "kernel"]
    assert num_inputs // 3 in first


@pytest.mark.parametrize(("name", "options"), SEGMENTS)
def test_no_norm_of_the_segmentation_is_left_but_those_after_a_sum_or_relu(name, options):
    model = models.create(name, width=0.125, remat=True, **options)
    num_inputs = models.num_inputs(name)
    _, less = folded.fold(model, models.init(model, 0, num_inputs), num_inputs=num_inputs)
    left = {norm for norm in _norms(less) if "inpainting" not in norm}
    assert left == ({f"up{stage}/bn/norm" for stage in range(1, 6)} if name == "fcn8" else set())


class Awkward(nn.Module):
    """What backbones do around a norm; only `plain`, `biased` and `grouped` end right before one of their own."""

    dtype: type = jnp.float32

    @nn.compact
    def __call__(self, x, *, train):
        def conv(x, name, **options):
            return blocks.Conv(8, dtype=self.dtype, name=name, **options)(x)

        def norm(x, name):
            return blocks.BatchNorm(dtype=self.dtype, name=name)(x, train=train)

        x = x.astype(self.dtype)
        y = norm(conv(x, "plain"), "norm_plain") + norm(conv(x, "biased", use_bias=True), "norm_biased")
        y = norm(nn.Conv(8, (3, 3), feature_group_count=4, name="grouped")(y), "norm_grouped")
        y = nn.relu(conv(y, "alone", use_bias=True))
        y = norm(conv(y, "summed") + y, "norm_of_sum")
        y = norm(nn.relu(nn.ConvTranspose(8, (3, 3), name="transposed")(y)), "norm_of_relu")
        twice = conv(y, "used_twice")
        y = norm(twice, "norm_of_used_twice") + twice
        shared = blocks.Conv(8, name="shared")
        y = norm(shared(norm(shared(y), "norm_shared_1")), "norm_shared_2")
        split = jnp.split(conv(y, "split"), 2, axis=-1)
        return jnp.concatenate([norm(split[0], "norm_of_half"), split[1]], axis=-1)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_only_what_a_convolution_alone_feeds_is_folded(dtype):
    model = Awkward(dtype)
    x = _grey(6, 16)
    variables = _trained(jax.jit(lambda: model.init(jax.random.key(0), x, train=False))())
    plain, less, small = _both(model, variables, x)
    atol = 1e-4 if dtype == jnp.float32 else 0.05
    np.testing.assert_allclose(np.float32(less), np.float32(plain), atol=atol * np.abs(np.float32(plain)).max())
    assert _norms(variables) - _norms(small) == {f"norm_{name}/norm" for name in ("plain", "biased", "grouped")}
    shapes = {name: small["params"][name]["conv"]["kernel"].shape for name in ("plain", "biased", "alone")}
    assert shapes == {"plain": (3, 3, 2, 8), "biased": (3, 3, 2, 8), "alone": (3, 3, 8, 8)}


def test_a_folded_network_is_not_trained():
    model = models.create("multi_infnet", width=0.125)
    network, less = folded.fold(model, models.init(model, 0, 6), num_inputs=6)
    with pytest.raises(ValueError, match="A folded network has no batch norm to train"):
        network.apply(less, _grey(6, 32), train=True)


def test_the_segmenter_gives_what_the_stored_networks_give(tmp_path):
    rng = np.random.default_rng(0)
    records = [
        {"image": rng.integers(0, 256, (64, 64), np.uint8), "slice_id": f"s{i}", "patient_id": "p"} for i in range(3)
    ]
    stored = {}
    for which, name in (("single", "unet"), ("multi", "multi_ssinfnet")):
        model = models.create(name, width=0.125)
        variables = _trained(models.init(model, 3, models.num_inputs(name)))
        description = {
            "model": name, "options": {"width": 0.125}, "image_size": 64, "normalisation": {"mean": 0.4, "std": 0.3},
        }  # fmt: skip
        storage.save(tmp_path / which, variables, NetworkCard.from_json(description))
        predict = prediction.make_predict(
            model,
            num_inputs=models.num_inputs(name),
            output=models.output(name),
            normalisation=Normalisation(0.4, 0.3),
        )
        stored[which] = jax.jit(predict), variables
    found = segmenter.Segmenter(tmp_path / "single", tmp_path / "multi").probabilities(records, range(3))
    image = np.stack([record["image"] for record in records])
    (predict, variables), (predict_multi, variables_multi) = stored["single"], stored["multi"]
    lesion = predict(variables, {"image": image})
    # Priors of the segmenter itself: at a rounding edge they are a step of 1/255 apart.
    for row, (_, probs) in enumerate(found):
        np.testing.assert_allclose(probs[0], lesion[row], atol=1e-4)
        batch = {"image": image[row : row + 1], "prior": np.round(probs[0][None] * 255).astype(np.uint8)}
        np.testing.assert_allclose(probs[1], predict_multi(variables_multi, batch)[0], atol=1e-4)
