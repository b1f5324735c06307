import json
import logging

import flax
import jax
import numpy as np
import pytest

from configs import ct_phantom, folder
from ssinfnet_jax import models
from ssinfnet_jax.config import read_config
from ssinfnet_jax.networks import storage
from ssinfnet_jax.networks.card import NetworkCard
from ssinfnet_jax.training import config_check, start_weights
from ssinfnet_jax.training.steps import state as states
from tests import trees
from tests.inference import tiny_networks
from tests.training import toy_stages

OPTIONS = {"width": 0.125}
NORMALISATION = {"mean": 0.5, "std": 0.25}


@pytest.fixture(scope="module")
def trained():
    return models.init(models.create("multi_infnet", **OPTIONS), 1, 6)


@pytest.fixture(scope="module")
def fresh():
    return models.init(models.create("multi_infnet", **OPTIONS), 2, 6)


def _store(folder, variables, **more):
    description = {"model": "multi_infnet", "options": OPTIONS, "image_size": 64, "normalisation": NORMALISATION}
    storage.save(folder, variables, NetworkCard.from_json({**description, **more}))
    return folder


def _config(folder, name="multi_infnet", normalisation=NORMALISATION):
    model = {"name": name, "options": OPTIONS}
    changes = {"multi.model": model, "multi.pretrain": None, "multi.train.initial": str(folder)}
    return trees.config({**changes, "data.normalisation": normalisation})


def _taken(merged, stored, fresh):
    """Top-level modules whose kernels all equal the stored ones; those of all others must be fresh."""
    flat, old, new = (flax.traverse_util.flatten_dict(tree["params"]) for tree in (merged, stored, fresh))
    taken = {path[0] for path in flat if (flat[path] == old[path]).all() and (old[path] != new[path]).any()}
    assert all((flat[path] == new[path]).all() for path in flat if path[0] not in taken)
    return taken


def test_a_trained_network_is_taken_over_whole(tmp_path, trained, fresh):
    merged = start_weights.load(_config(_store(tmp_path / "model", trained)), "multi", "train", fresh)
    jax.tree.map(np.testing.assert_array_equal, merged, trained)


def test_modules_that_were_never_trained_stay_fresh(tmp_path, trained, fresh, caplog):
    folder = _store(tmp_path / "model", trained, fresh=["head", "head_inpainting", "up"])
    with caplog.at_level(logging.INFO):
        merged = start_weights.load(_config(folder), "multi", "train", fresh)
    assert _taken(merged, trained, fresh) == {f"down_{level}" for level in range(5)}
    assert f"train_multi starts from {folder}; transferred: down_0, down_1" in caplog.text
    assert "fresh: head, head_inpainting, up." in caplog.text


def test_of_a_pretrained_network_the_last_layers_stay_fresh(tmp_path, trained, fresh):
    biased = states.with_biases(fresh, {"head/conv/bias": (2.0, -2.5, -3.0)})
    folder = _store(tmp_path / "model", trained, task="inpainting")
    merged = start_weights.load(_config(folder), "multi", "train", biased)
    assert _taken(merged, trained, biased) == {"up", *(f"down_{level}" for level in range(5))}
    np.testing.assert_allclose(merged["params"]["head"]["conv"]["bias"], (2.0, -2.5, -3.0))


def test_another_network_is_refused(tmp_path, trained):
    config = _config(_store(tmp_path / "model", trained), "multi_ssinfnet")
    own = models.create("multi_ssinfnet", **OPTIONS)
    message = r"config.multi.train.initial=.* is multi_infnet \{'width': 0.125\}, but this run trains multi_s.*differs"
    with pytest.raises(ValueError, match=message):
        start_weights.load(config, "multi", "train", models.init(own, 0, 6))
    with pytest.raises(ValueError, match=message):
        start_weights.check(config, "multi", models.shapes(own, 6))


def test_another_normalisation_is_refused(tmp_path, trained, fresh):
    config = _config(_store(tmp_path / "model", trained), normalisation={"mean": 0.1, "std": 0.25})
    with pytest.raises(
        ValueError, match=r"was trained with the normalisation .*0.5.*; set config.data.normalisation to it, not"
    ):
        start_weights.load(config, "multi", "train", fresh)


def test_a_folder_without_a_network(tmp_path, fresh):
    with pytest.raises(FileNotFoundError, match=r"No trained network in .*absent: .* or import one \(launch.import_"):
        start_weights.load(_config(tmp_path / "absent"), "multi", "train", fresh)


def test_a_start_that_fits_passes_the_check(tmp_path, trained):
    start_weights.check(
        _config(_store(tmp_path / "model", trained)),
        "multi",
        models.shapes(models.create("multi_infnet", **OPTIONS), 6),
    )


def test_two_starts_of_one_training_are_refused():
    config = trees.config({"single.train.initial": "somewhere"})
    with pytest.raises(ValueError, match=r"single.train.initial and .* with config.single.pretrain.initial"):
        config_check.check(config)


@pytest.mark.parametrize(("transfer", "taken"), [(None, True), (("body",), True), (("head",), False), ((), False)])
def test_a_training_takes_the_modules_of_the_config_from_its_pretraining(transfer, taken, monkeypatch, tmp_path):
    config = ct_phantom.get_config("tiny")
    config.single.train.transfer = transfer
    # With a rate of 0 the result is the initial weights.
    config.single.train.optimizer = {"name": "sgd", "learning_rate": 1e-12, "momentum": 0.0, "schedule": "constant"}
    config.single.pretrain.batch_size = config.single.train.batch_size = 4
    stages = ["pretrain_single", "train_single"]
    run = toy_stages.run(monkeypatch, tmp_path, config, toy_stages.records(9), ["train"] * 8 + ["val"], stages)
    (old, _), (new, _) = (storage.load(run.path / stage / "model") for stage in stages)
    old, new = (flax.traverse_util.flatten_dict(tree["params"]) for tree in (old, new))
    same = {path[0]: np.allclose(old[path], new[path], atol=1e-9) for path in old if path[-1] == "kernel"}
    assert same["body"] == taken


@pytest.fixture
def as_is(tmp_path):
    """A config whose networks are tiny trained ones, taken as they are."""
    tiny_networks.write(tmp_path)
    config = folder.get_config("evaluate").to_dict()
    for which in ("single", "multi"):
        config[which]["train"]["initial"] = str(tmp_path / which)
    return config


def _check(tree):
    config_check.check(read_config(tree))


def test_no_epochs_take_a_network_as_it_is(as_is, tmp_path, caplog):
    _check(as_is)  # although the config names other networks
    config = read_config(as_is)
    for which in ("single", "multi"):
        start_weights.take(config, which, tmp_path / "stage" / which, view="lungs")
        found, card = storage.load(tmp_path / "stage" / which / "model")
        stored, given = storage.load(tmp_path / which)
        jax.tree.map(np.testing.assert_array_equal, found, stored)
        assert card == given
    assert "view" not in caplog.text
    start_weights.take(config, "single", tmp_path / "again", view="frame")
    assert "trained on slices with the view 'lungs', but these have the view 'frame'" in caplog.text


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"single.train.initial": ""}, r"config\.single\.train.*epochs is 0.*name its folder as initial"),
        ({"single.train.initial": "MULTI"}, "The single network must output maps or lesion"),
        ({"multi.train.epochs": 1, "multi.train.initial": ""}, r"config\.data\.image_size.* not 352"),
        ({"multi.prior_source": "cross_fitted"}, r"'cross_fitted', which trains.* config\.single\.train\.epochs is 0"),
    ],
)
def test_a_network_that_cannot_be_taken(as_is, tmp_path, changes, message):
    for path, value in changes.items():
        *sections, last = path.split(".")
        section = as_is
        for name in sections:
            section = section[name]
        section[last] = str(tmp_path / "multi") if value == "MULTI" else value
    with pytest.raises(ValueError, match=message):
        _check(as_is)


@pytest.mark.parametrize(
    ("card", "message"),
    [({"task": "inpainting"}, "only pretrained by inpainting"), ({"fresh": ["head"]}, "starting point for training")],
)
def test_a_network_that_cannot_be_applied(as_is, tmp_path, card, message):
    path = tmp_path / "single" / "model.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **card}))
    with pytest.raises(ValueError, match=message):
        _check(as_is)
