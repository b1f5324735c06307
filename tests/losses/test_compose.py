import sys
import types
from unittest import mock

import jax.numpy as jnp
import pytest

from configs import losses
from ssinfnet_jax.losses import compose


def test_terms_are_weighted_and_named():
    table = {**losses.losses("bce"), "focal": {"fn": "segmentation:focal", "gamma": 1.0, "weight": 0.5}}
    terms = compose.make_loss(table)(jnp.zeros((2, 4, 4, 1)), jnp.ones((2, 4, 4, 1)))
    assert terms["bce"].tolist() == pytest.approx([0.6931472] * 2)
    assert terms["focal"].tolist() == pytest.approx([0.5 * 0.5 * 0.6931472] * 2)


def test_a_fork_adds_a_loss_by_naming_its_module():
    module = types.ModuleType("a_fork.boundary")
    module.distance = lambda logits, target, *, scale: scale * jnp.abs(logits - target).mean(axis=(1, 2, 3))
    sys.modules["a_fork"], sys.modules["a_fork.boundary"] = types.ModuleType("a_fork"), module
    terms = compose.make_loss({"distance": {"fn": "a_fork.boundary:distance", "scale": 3.0}})
    assert terms(jnp.zeros((1, 2, 2, 1)), jnp.ones((1, 2, 2, 1)))["distance"].tolist() == [3.0]


def test_a_module_of_a_fork_needs_no_package(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "my_loss.py").write_text("def f(logits, target): return (logits - target).mean((1, 2, 3))")
    assert callable(compose.resolve({"fn": "my_loss:f"}))
    (tmp_path / "broken_loss.py").write_text("import not_installed")
    with pytest.raises(ModuleNotFoundError, match="No module named 'not_installed'"):
        compose.resolve({"fn": "broken_loss:f"})


def test_a_table_is_checked_for_the_classes_it_is_for():
    table = losses.losses("focal_balanced")
    compose.check(table, 3, "config.multi.train.losses")
    with pytest.raises(
        ValueError, match=r"config\.single\.train\.losses cannot be computed of 1 classes: focal: alpha"
    ):
        compose.check(table, 1, "config.single.train.losses")
    module = types.ModuleType("a_fork.whole")
    module.mean = lambda logits, target: (logits - target).mean()
    with (
        mock.patch.dict(sys.modules, {"a_fork": types.ModuleType("a_fork"), "a_fork.whole": module}),
        pytest.raises(ValueError, match=r"losses\.mine must give one value per slice, \[B\]; it gives shape \(\)"),
    ):
        compose.check({"mine": {"fn": "a_fork.whole:mean"}}, 3, "losses")


@pytest.mark.parametrize(
    ("term", "message"),
    [
        ({"fn": "segmentation:focl"}, "Unknown loss 'segmentation:focl'; .* has bce, dice, focal"),
        ({"fn": "segmentatoin:focal"}, "no module 'segmentatoin' can be imported"),
        ({"fn": "focal"}, "named 'module:function', found 'focal'"),
    ],
)
def test_unknown_losses(term, message):
    with pytest.raises(ValueError, match=message):
        compose.resolve(term)


def test_no_terms():
    with pytest.raises(ValueError, match="at least one term"):
        compose.make_loss({})


def test_unknown_name_in_the_config_table():
    with pytest.raises(ValueError, match="Unknown loss focl; choose from bce, focal"):
        losses.losses("focl")
