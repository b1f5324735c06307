"""Model folders of tiny untrained networks with varying outputs, for the tests of programs."""

import pathlib

import flax
import jax
import numpy as np

from ssinfnet_jax import models
from ssinfnet_jax.networks import storage
from ssinfnet_jax.networks.card import NetworkCard

DESCRIPTION = {
    "image_size": 64,
    "normalisation": {"mean": 0.45, "std": 0.27},
    "window_hu": [-1150.0, 250.0],
    "view": "lungs",
    "options": {"width": 0.125},
}


def trained(variables, seed=0):
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


def write(folder: pathlib.Path) -> pathlib.Path:
    """Writes `single` and `multi` into the folder."""
    for which, name in (("single", "unet"), ("multi", "multi_ssinfnet")):
        variables = _decided(name, trained(models.init(models.create(name, width=0.125), 3, models.num_inputs(name))))
        storage.save(folder / which, variables, NetworkCard.from_json({"model": name, **DESCRIPTION}))
    return folder


def _decided(name, variables):
    """Rescales the last layer so that logits on noise have mean 0 and standard deviation 3."""
    model, num_inputs = models.create(name, width=0.125), models.num_inputs(name)
    noise = np.random.default_rng(0).normal(size=(1, 64, 64, num_inputs)).astype(np.float32)
    logits = np.asarray(jax.jit(lambda v, x: model.apply(v, x, train=False))(variables, noise))
    scale = 3 / logits.std(axis=(0, 1, 2))
    layer = variables["params"]["head"]["conv"]
    layer = {"kernel": layer["kernel"] * scale, "bias": (layer["bias"] - logits.mean(axis=(0, 1, 2))) * scale}
    return {**variables, "params": {**variables["params"], "head": {"conv": layer}}}
