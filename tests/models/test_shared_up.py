"""Multi SSInfNet with one expanding path for both forms: what pretraining reaches, and what is logged."""

import types

import flax
import jax
import numpy as np
import pytest

from configs import covid_semiseg
from ssinfnet_jax import models
from ssinfnet_jax.training import train
from ssinfnet_jax.training.steps import state as states

WIDTH = {"width": 0.0625}


def _size(tree):
    return sum(int(np.prod(leaf.shape)) for leaf in jax.tree.leaves(tree))


@pytest.fixture(scope="module")
def networks():
    return [models.create("multi_ssinfnet", **WIDTH, **options) for options in ({}, {"shared_up": True})]


def test_it_is_the_published_network_whose_two_paths_are_equal(networks):
    own, shared = networks
    variables = models.init(own, 0, 6)
    for kind in variables:
        variables[kind]["up_inpainting"] = variables[kind]["up"]
    without = {kind: {name: tree[name] for name in tree if name != "up_inpainting"} for kind, tree in variables.items()}
    x = np.random.default_rng(0).normal(size=(2, 32, 32, 6)).astype(np.float32)
    for method in ("__call__", "inpaint"):
        found, expected = (
            network.apply(tree, x, train=False, method=method)
            for network, tree in ((shared, without), (own, variables))
        )
        np.testing.assert_array_equal(found, expected)


def test_pretraining_reaches_all_but_the_last_layer(networks):
    missed = []
    for network in networks:
        reached = flax.traverse_util.flatten_dict(states.touched(network, 6, "inpaint"))
        missed.append(sorted({path[0] for path, is_reached in reached.items() if not is_reached}))
    assert missed == [["head", "up"], ["head"]]


def test_the_parameters_of_full_width():
    shapes = models.shapes(models.create("multi_ssinfnet", shared_up=True), 6)["params"]
    both = models.shapes(models.create("multi_ssinfnet"), 6)["params"]
    assert _size(both) == 25_341_045
    assert _size(shapes) == 25_341_045 - _size(both["up"]) == 17_390_943


def test_the_log_says_what_the_pretraining_does_not_reach():
    own, shared = (
        types.SimpleNamespace(model=models.create("multi_ssinfnet", **options), num_inputs=6)
        for options in ({}, {"shared_up": True})
    )
    said = train._not_pretrained(own, None)
    assert "not reached by pretraining: up, 46% of the trained weights" in said
    assert train._not_pretrained(own, ("down_0",)) == ""  # fresh for another reason
    assert train._not_pretrained(shared, None) == ""
    infnet = types.SimpleNamespace(model=models.create("infnet", **WIDTH), num_inputs=3)
    assert train._not_pretrained(infnet, None) == ""


def test_only_the_multi_ssinfnet_has_the_choice():
    for name in ("unet", "multi_infnet"):
        with pytest.raises(ValueError, match=f"Unknown option shared_up of model '{name}'"):
            models.create(name, shared_up=True)


def test_the_presets():
    for preset, expected in (("paper", True), ("published_code", False)):
        options = covid_semiseg.get_config(f"full_{preset}").multi.model.options
        assert options.shared_up is expected
