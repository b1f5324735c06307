"""The networks for the tests of this folder, and variables under which their signals stay in range."""

import flax
import numpy as np

from ssinfnet_jax import models
from ssinfnet_jax.models.backbones import BACKBONES

# case: (name, options); every network, and InfNet with every backbone
CASES = {f"infnet_{backbone}": ("infnet", {"backbone": backbone}) for backbone in BACKBONES}
CASES |= {name: (name, {}) for name in models.MODELS if name != "infnet"}
CASES["unet_of_classes"] = ("unet", {"num_classes": 3})


def create(case, **options):
    """(model, number of input channels)."""
    name, own = CASES[case]
    return models.create(name, **own, **options), models.num_inputs(name)


def apply_all(case, model, variables, x, *, train=False):
    """Outputs of all forms by name; in training, with the batch statistics of the last."""
    mutable = ["batch_stats"] if train else False
    inputs = (x, np.ones(model.eps_shape(x.shape), x.dtype)) if case == "coach" else (x,)
    methods = ["__call__", *(["inpaint"] if models.inpaints(CASES[case][0]) else [])]
    return {method: model.apply(variables, *inputs, train=train, mutable=mutable, method=method) for method in methods}


def calm(variables, seed=0):
    """Variables of the same shapes under which no signal explodes or vanishes, in evaluation mode too."""
    rng = np.random.default_rng(seed)
    draw = {
        "kernel": lambda shape: rng.normal(0, np.sqrt(1.25 / np.prod(shape[:-1])), shape),
        "bias": lambda shape: rng.normal(0, 0.1, shape),
        "scale": lambda shape: rng.uniform(0.6, 1.0, shape),
        "mean": lambda shape: rng.normal(0, 0.1, shape),
        "var": lambda shape: rng.uniform(0.8, 1.2, shape),
    }
    flat = flax.traverse_util.flatten_dict(variables)
    return flax.traverse_util.unflatten_dict(
        {path: draw[path[-1]](leaf.shape).astype(np.float32) for path, leaf in flat.items()}
    )
