import flax
import jax
import numpy as np
import pytest

from ssinfnet_jax import models
from ssinfnet_jax.training.steps import state


def test_everything_but_the_last_layers_is_transferred():
    model = models.create("infnet", width=0.125)
    old, new = models.init(model, 0, 3), models.init(model, 1, 3)
    merged, fresh = state.transfer(old, new, state.is_head)
    heads = {"edge_head", "decoder/head", "attention4/head", "attention3/head", "attention2/head"}
    assert {name.split("/conv")[0].split("/bn")[0].removesuffix("_inpainting") for name in fresh} == heads
    flat = (flax.traverse_util.flatten_dict(tree) for tree in (merged, old, new))
    merged, old, new = flat
    for path, value in merged.items():
        np.testing.assert_array_equal(value, (new if state.is_head(path) else old)[path])
    assert any((old[path] != new[path]).any() for path in merged)


def test_another_network_is_refused():
    old = models.init(models.create("infnet", width=0.125), 0, 3)
    new = models.init(models.create("infnet", width=0.25), 0, 3)
    with pytest.raises(ValueError, match="pretrained network differs from this one in "):
        state.transfer(old, new, state.is_head)


def test_inpainting_touches_neither_the_segmentation_heads_nor_its_way_up():
    touched = state.touched(models.create("multi_ssinfnet", width=0.125), 6, "inpaint")
    assert {name for name, used in touched.items() if not any(jax.tree.leaves(used))} == {"head", "up"}
    assert all(jax.tree.leaves({name: used for name, used in touched.items() if name not in ("head", "up")}))
