import json

import flax
import jax
import numpy as np
import pytest

from ssinfnet_jax import models
from ssinfnet_jax.inference import segmenter
from ssinfnet_jax.interop import backbone_names, import_checkpoint, torch_checkpoint
from ssinfnet_jax.networks import storage
from ssinfnet_jax.networks.inputs import Normalisation
from tests import programs
from tests.interop import torch_names

NARROW = {"width": 0.125}
INPUT = {"image_size": 64, "normalisation": Normalisation(0.4, 0.3)}


def _npz(path, tensors):
    np.savez(path, **tensors)
    return path


@pytest.fixture(scope="module")
def coach(tmp_path_factory):
    folder = tmp_path_factory.mktemp("coach")
    source = _npz(folder / "coach.npz", {f"module.{name}": value for name, value in torch_names.coach().items()})
    imported = import_checkpoint.run("coach", NARROW, source=source, directory=folder / "model", **INPUT)
    return folder, imported


@pytest.fixture(scope="module")
def backbone(tmp_path_factory):
    folder = tmp_path_factory.mktemp("backbone")
    source = _npz(folder / "resnet50.npz", torch_names.resnet50())
    imported = import_checkpoint.run("infnet", NARROW, source=source, directory=folder / "model", backbone_only=True)
    return folder, imported


def test_a_whole_network(coach):
    folder, imported = coach
    variables, card = storage.load(folder / "model")
    expected = torch_checkpoint.convert("coach", torch_names.coach(), **NARROW)
    jax.tree.map(np.testing.assert_array_equal, variables, expected)
    np.testing.assert_array_equal(
        variables["params"]["logvar"]["conv"]["kernel"][0, 0], torch_names.coach()["std.weight"][:, :, 0, 0].T
    )
    assert card.image_size == 64
    assert card.normalisation == Normalisation(0.4, 0.3)
    assert not card.fresh
    assert card.imported["file"] == "coach.npz"
    assert len(card.imported["sha256"]) == 64
    assert imported.loaded == ["encoder", "logvar", "mu", "score"]
    assert sorted(path.name for path in folder.iterdir()) == ["coach.npz", "model"]


def test_a_backbone(backbone):
    folder, imported = backbone
    variables, card = storage.load(folder / "model")
    flat = flax.traverse_util.flatten_dict(variables)
    tensors = torch_names.resnet50()
    kernel = flat["params", "encoder", "layer3_2", "conv2", "conv", "conv", "kernel"]
    np.testing.assert_array_equal(kernel, tensors["layer3.2.conv2.weight"].transpose(2, 3, 1, 0))
    variance = flat["batch_stats", "encoder", "layer4_0", "downsample", "bn", "norm", "var"]
    np.testing.assert_array_equal(variance, tensors["layer4.0.downsample.1.running_var"])
    fresh = flax.traverse_util.flatten_dict(models.init(models.create("infnet", **NARROW), 0, 3))
    assert all((flat[path] == fresh[path]).all() for path in flat if path[1] != "encoder")
    assert imported.loaded == ["encoder"]
    assert imported.ignored == ["fc.weight", "fc.bias"]
    assert list(card.fresh) == imported.fresh
    assert {"rfb2", "decoder", "attention4", "edge_conv1", "edge_head_inpainting"} <= set(imported.fresh)
    assert card.image_size is None
    report = import_checkpoint.report(imported)
    assert report.startswith("Loaded: encoder (")
    assert "Ignored tensors of the file: fc.weight, fc.bias" in report


def test_a_backbone_alone_is_not_applied(backbone):
    with pytest.raises(
        ValueError, match="is a starting point for training, not a network to apply: its modules attention2"
    ):
        segmenter.Segmenter(backbone[0] / "model")


def test_one_error_lists_everything_that_does_not_fit(tmp_path):
    tensors = torch_names.coach()
    del tensors["mu.bias"]
    tensors["extra.weight"] = np.ones(3)
    tensors["pred.weight"] = np.ones((2, 100, 1, 1))
    with pytest.raises(ValueError, match="does not fit model 'coach'") as error:
        import_checkpoint.load("coach", NARROW, _npz(tmp_path / "x.npz", tensors))
    for line in ("missing params.mu.conv.bias", "unknown extra.weight", "pred.weight has shape (2, 100, 1, 1)"):
        assert line in str(error.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.pop("layer2.1.bn2.weight"), "missing params.encoder.layer2_1.conv2.bn.norm.scale"),
        (lambda t: t.update({"aux.weight": np.ones((1, 1, 1, 1))}), "unknown resnet.aux.weight"),
        (lambda t: t.update({"conv1.weight": np.ones((8, 1, 7, 7))}), r"resnet.conv1.weight has shape \(8, 1, 7, 7\)"),
        (lambda t: [t.pop(name) for name in list(t) if not name.startswith("fc.")], "missing params.attention2"),
    ],
)
def test_a_backbone_that_does_not_fit(tmp_path, change, message):
    tensors = torch_names.resnet50()
    change(tensors)
    with pytest.raises(ValueError, match=message):
        import_checkpoint.load("infnet", NARROW, _npz(tmp_path / "x.npz", tensors), backbone_only=True)


def test_a_network_without_an_imagenet_backbone(tmp_path):
    path = _npz(tmp_path / "x.npz", torch_names.resnet50())
    with pytest.raises(ValueError, match="multi_infnet has no ImageNet checkpoints; choose one of infnet with"):
        import_checkpoint.load("multi_infnet", NARROW, path, backbone_only=True)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"image_size": None}, r"pass the image size .* \(--image_size, --mean, --std\)"),
        ({"normalisation": None}, r"pass the image size .* \(--image_size, --mean, --std\)"),
        ({"image_size": 100}, "image size must be a multiple of 32, found 100"),
        ({"normalisation": Normalisation(0.4, 0.0)}, "a standard deviation above 0, found Normalisation"),
        ({"normalisation": Normalisation(np.nan, 0.3)}, "a finite mean and a standard deviation above 0"),
    ],
)
def test_input_format_must_be_given(tmp_path, given, message):
    path = _npz(tmp_path / "x.npz", torch_names.coach())
    with pytest.raises(ValueError, match=message):
        import_checkpoint.run("coach", NARROW, source=path, directory=tmp_path / "model", **{**INPUT, **given})
    assert not (tmp_path / "model").exists()


def test_nothing_is_overwritten(coach):
    folder, _ = coach
    with pytest.raises(FileExistsError, match="model already exists; choose a new folder"):
        import_checkpoint.run("coach", NARROW, source=folder / "coach.npz", directory=folder / "model", **INPUT)


def test_vgg16_names_match_the_published_checkpoint(shared):
    manifest = json.loads((shared / "golden" / "manifest.json").read_text())["infnet_vgg16"]
    channels, index, tensors = 3, 0, {"classifier.6.weight": np.zeros((2, 2))}
    for features in (64, 64, "pool", 128, 128, "pool", *[256] * 3, "pool", *[512] * 3, "pool", *[512] * 3, "pool"):
        if features == "pool":
            index += 1
            continue
        tensors[f"features.{index}.weight"] = np.zeros((features, channels, 3, 3))
        tensors[f"features.{index}.bias"] = np.zeros(features)
        channels, index = features, index + 2
    renamed, ignored = backbone_names.rename("infnet", "vgg16", tensors)
    assert ignored == ["classifier.6.weight"]
    assert len(renamed) == 26
    assert all(manifest[name] == list(value.shape) for name, value in renamed.items())


@pytest.mark.long
def test_program(coach, tmp_path):
    folder, _ = coach
    command = ["launch.import_checkpoint", "--model=coach", "--width=0.125", f"--checkpoint={folder / 'coach.npz'}"]
    good = [f"--workdir={tmp_path / 'model'}", "--image_size=64", "--mean=0.4", "--std=0.3"]
    result = programs.run(*command, *good)
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("Loaded: encoder (")
    again = programs.run(*command, *good)
    assert again.returncode == 1
    assert again.stderr.strip().splitlines()[-1].startswith("Error: ")


def test_res2net_as_a_backbone(shared):
    # A classifier's file has the names of the published checkpoint without the prefix.
    manifest = json.loads((shared / "golden" / "manifest.json").read_text())["infnet_res2net50"]
    rng = np.random.default_rng(0)
    tensors = {
        name.removeprefix("resnet."): rng.random(shape, np.float32)
        for name, shape in manifest.items()
        if name.startswith("resnet.")
    }
    renamed, ignored = backbone_names.rename("infnet", "res2net50", tensors)
    assert ignored == ["fc.weight", "fc.bias"]
    found = torch_checkpoint.convert_part("infnet", renamed, backbone="res2net50")
    kernel = tensors["layer2.1.convs.2.weight"].transpose(2, 3, 1, 0)
    np.testing.assert_array_equal(found["params", "encoder", "layer2_1", "scale2", "conv", "conv", "kernel"], kernel)
