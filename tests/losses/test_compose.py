import sys
import types
from typing import Annotated

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import losses
from ssinfnet_jax.config import Range
from ssinfnet_jax.losses import compose


def _module(monkeypatch, **functions):
    """A module `a_fork` of these functions; returns the lines of a table of them."""
    module = types.ModuleType("a_fork")
    vars(module).update(functions)
    monkeypatch.setitem(sys.modules, "a_fork", module)
    return {name: {"fn": f"a_fork:{name}"} for name in functions}


def test_terms_are_weighted_and_named():
    table = {**losses.losses("bce"), "focal": {"fn": "segmentation:focal", "gamma": 1.0, "weight": 0.5}}
    terms = compose.by_map(compose.make_loss(table)(jnp.zeros((2, 4, 4, 1)), jnp.ones((2, 4, 4, 1))))
    assert set(terms) == {"bce", "focal"}
    assert terms["bce"].tolist() == pytest.approx([0.6931472] * 2)
    assert terms["focal"].tolist() == pytest.approx([0.5 * 0.5 * 0.6931472] * 2)


def test_a_fork_adds_a_loss_by_naming_its_module(monkeypatch):
    table = _module(monkeypatch, off=lambda logits, target, *, scale: scale * jnp.abs(logits - target).mean((1, 2, 3)))
    terms = compose.make_loss({"off": {**table["off"], "scale": 3.0}})
    assert terms(jnp.zeros((1, 2, 2, 1)), jnp.ones((1, 2, 2, 1)))["off"][""].tolist() == [3.0]


def test_a_term_counts_on_the_maps_that_it_weighs():
    """By hand: cross-entropy of target 0 is log(1 + e^x)."""
    outputs = {name: jnp.full((1, 2, 2, 1), float(value)) for name, value in (("a", 0), ("b", 1), ("edge", 2))}
    table = {
        "plain": {"fn": "segmentation:bce"},
        "some": {"fn": "segmentation:bce", "weight": 0.5, "maps": {"b": 3.0, "edge": 1.0}},
        "edge": {"fn": "segmentation:bce", "maps": {"edge": 1.0}},
    }
    expected = {
        "a_plain": np.log(2), "b_plain": np.log1p(np.e), "b_some": 1.5 * np.log1p(np.e),
        "edge_some": 0.5 * np.log1p(np.e**2), "edge": np.log1p(np.e**2),
    }  # fmt: skip
    values = compose.make_loss(table, maps=("a", "b"))(outputs, jnp.zeros((1, 2, 2, 1)))
    found = compose.by_map(values)
    assert set(found) == set(expected)
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], [value], rtol=1e-6)
    sums = compose.by_term(values)
    np.testing.assert_allclose(sums["some"], found["b_some"] + found["edge_some"], rtol=1e-6)
    every = compose.make_loss({"plain": table["plain"]})(outputs, jnp.zeros((1, 2, 2, 1)))
    assert set(every["plain"]) == set(outputs)
    assert set(compose.make_loss(table, maps=("a", "b"))(outputs["a"], jnp.zeros((1, 2, 2, 1)))) == {"plain"}
    with pytest.raises(ValueError, match="some: the network has no map edge; it has a, b"):
        compose.make_loss(table)({name: outputs[name] for name in "ab"}, jnp.zeros((1, 2, 2, 1)))


def test_a_loss_is_given_the_fields_of_the_batch_that_it_asks_for(monkeypatch):
    def bright(logits, target, *, image, prior=None, power=1.0):
        assert prior is None
        return (image[..., None] ** power * (logits - target)).mean((1, 2, 3))

    table = _module(monkeypatch, bright=bright)
    fields = {"image": jnp.full((1, 2, 2), 3.0), "valid": jnp.ones(1)}
    logits, target = jnp.full((1, 2, 2, 1), 2.0), jnp.ones((1, 2, 2, 1))
    loss = compose.make_loss({"bright": {**table["bright"], "power": 2.0}})
    assert loss(logits, target, **fields)["bright"][""].tolist() == [9.0]
    # A value in the line is a hyper-parameter, whatever the batch has.
    own = compose.make_loss({"bright": {**table["bright"], "image": jnp.ones((1, 2, 2))}})
    assert own(logits, target, **fields)["bright"][""].tolist() == [1.0]
    with pytest.raises(
        ValueError, match=r"loss 'a_fork:bright' needs image: give a value in its line, or .* has valid"
    ):
        loss(logits, target, valid=fields["valid"])


def test_a_table_is_checked_for_what_it_is_computed_of(monkeypatch):
    def shape(*shape):
        return jax.ShapeDtypeStruct((2, *shape), jnp.float32)

    def check(table, classes=3, **options):
        maps = shape(32, 32, classes)
        return compose.check(table, "config.x.losses", maps, maps, fields={"image": shape(32, 32)}, **options)

    check(losses.losses("focal_balanced"))
    with pytest.raises(ValueError, match=r"config\.x\.losses cannot be computed: focal: alpha must be one weight, or"):
        check(losses.losses("focal_balanced"), classes=1)
    table = _module(
        monkeypatch,
        scalar=lambda logits, target: (logits - target).mean(),
        greedy=lambda logits, target, *, image, weight_map: logits.mean((1, 2, 3)),
        wrong=lambda logits, target, *, image: (image * logits).mean((1, 2, 3)),
        pair=lambda logits, target: (logits, target),
        host=lambda logits, target: np.asarray(logits).mean((1, 2, 3)),
        lost=lambda logits, target: {}["absent"],
    )
    messages = {
        "scalar": r"losses\.scalar must return one value per slice, \[B\]; for B = 2 it returns shape \(\)",
        "greedy": r"losses cannot be computed: loss 'a_fork:greedy' needs weight_map: .*the batch, which has image",
        "wrong": "losses cannot be computed: .*broadcast",
        "pair": "losses cannot be computed: TypeError: can't multiply sequence",
        "host": "losses cannot be computed: TracerArrayConversionError",
        "lost": "losses cannot be computed: KeyError: 'absent'",
    }
    for name, message in messages.items():
        with pytest.raises(ValueError, match=message):
            check({name: table[name]})
    with pytest.raises(ValueError, match=r'All terms of config\.x\.losses have "maps", but the network has one'):
        check(losses.losses("edge"))
    with pytest.raises(ValueError, match=r"config\.x\.losses\.loss has the name of a metric; rename the term"):
        check({"loss": {"fn": "segmentation:bce"}})


def test_what_no_term_counts_on_is_warned_of(caplog):
    array = jax.ShapeDtypeStruct((2, 8, 8, 1), jnp.float32)
    options = dict(fields={}, maps=("map",))
    maps = {"map": array, "edge": array}
    compose.check(losses.losses("bce", "edge"), "config.x", maps, array, **options)
    assert not caplog.text
    compose.check(losses.losses("bce"), "config.x", maps, array, **options)
    assert "No term of config.x applies to edge, which will not be trained." in caplog.text
    compose.check(losses.losses("bce", "edge"), "config.x", array, array, **options)
    assert "The network has no maps, so config.x.edge has no effect." in caplog.text


@pytest.mark.parametrize(
    ("term", "message"),
    [
        ({"fn": "segmentation:focl"}, "Unknown loss 'segmentation:focl': .*; choose one of segmentation:bce, "),
        ({"fn": "focal"}, "Unknown loss 'focal'; choose one of segmentation:bce, .* or give \"module:name\""),
        ({"weight": 1.0}, "Unknown loss None; choose one of"),
        (
            {"fn": "segmentation:focal", "gama": 1.0},
            "Unknown hyper-parameter gama of loss 'segmentation:focal'; it has",
        ),
    ],
)
def test_unknown_losses(term, message):
    with pytest.raises(ValueError, match=message):
        compose.resolve(term)


def test_the_package_s_losses_are_functions_of_slices():
    assert {name.partition(":")[0] for name in compose.LOSSES} == {"segmentation", "inpainting"}
    assert {
        line["fn"]
        for line in (losses.LOSSES | losses.EDGES | losses.DIVISION | losses.INPAINTER | losses.COACH).values()
    } == set(compose.LOSSES)


def test_no_terms():
    with pytest.raises(ValueError, match="at least one term"):
        compose.make_loss({})


def test_unknown_name_in_the_config_table():
    with pytest.raises(ValueError, match="Unknown loss focl; choose from bce, focal"):
        losses.losses("focl")


MAPS = jax.ShapeDtypeStruct((2, 8, 8, 3), jnp.float32)


@pytest.mark.parametrize(
    ("fn", "key", "value", "rule"),
    [
        ("segmentation:focal", "gamma", -1.0, r"must be at least 0, found -1\.0; give a number, such as 1\.0"),
        ("segmentation:focal", "gamma", True, "must be at least 0, found True; give a number"),
        (
            "segmentation:focal",
            "alpha",
            (1.0, -1.0, 4.0),
            r"must be at least 0, found \(1\.0, -1\.0, 4\.0\); give",
        ),
        ("segmentation:dice", "smooth", 0.0, "must be positive, found 0.0"),
        ("segmentation:dice", "smooth", "1", "must be positive, found '1'"),
        ("segmentation:tversky", "beta", float("nan"), "must be at least 0, found nan"),
        ("segmentation:weighted_iou_bce", "window", 31.5, "must be positive, found 31.5; give a whole number"),
    ],
)
def test_a_hyper_parameter_out_of_the_range_that_its_loss_states(fn, key, value, rule):
    with pytest.raises(ValueError, match=rf"^config\.x\.mine\.{key} {rule}"):
        compose.check({"mine": {"fn": fn, key: value}}, "config.x", MAPS, MAPS, fields={})


def test_a_fork_states_ranges_too_where_it_wants_to(monkeypatch):
    def bounded(logits, target, *, power: Annotated[float, Range("[1, 2]", 1.5)] = 1.0, free: float = 0.0):
        return (jnp.abs(logits - target) ** power + free).mean((1, 2, 3))

    table = _module(monkeypatch, bounded=bounded)
    compose.check({"mine": {**table["bounded"], "power": 2, "free": -9.0}}, "config.x", MAPS, MAPS, fields={})
    with pytest.raises(ValueError, match=r"^config\.x\.mine\.power must be in \[1, 2\], found 3; give"):
        compose.check({"mine": {**table["bounded"], "power": 3}}, "config.x", MAPS, MAPS, fields={})
