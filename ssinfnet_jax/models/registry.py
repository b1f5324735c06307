"""Networks by name. A new network is one line in `MODELS`."""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from ssinfnet_jax.models import coach, infnet, unet
from ssinfnet_jax.models.backbones import BACKBONES

# name: (module constructor, its fixed options, number of input channels)
MODELS: dict[str, tuple[Callable[..., nn.Module], dict[str, Any], int]] = {
    "infnet": (infnet.InfNet, {}, 3),
    "multi_infnet": (unet.UNet, {"num_classes": 3, "num_inpainted": 6}, 6),
    "multi_ssinfnet": (unet.UNet, {"num_classes": 3, "num_inpainted": 6, "reinject_input": True}, 6),
    "coach": (coach.Coach, {}, 3),
}


def create(name: str, **options: Any) -> nn.Module:
    """The network `name` as a Flax module.

    Args:
      name: a key of `MODELS`.
      **options: attributes of the module: `width`, `dtype` (a dtype or its name), `axis_name`, `backbone` (infnet).
    Raises: ValueError for an unknown name, backbone or option, with the choices.
    """
    if name not in MODELS:
        raise ValueError(f"Unknown model {name!r}; choose one of {', '.join(MODELS)}.")
    constructor, fixed, _ = MODELS[name]
    allowed = sorted(set(constructor.__dataclass_fields__) - {"parent", "name"} - set(fixed))
    unknown = sorted(set(options) - set(allowed))
    if unknown:
        raise ValueError(f"Unknown option {', '.join(unknown)} of model {name!r}; it has {', '.join(allowed)}.")
    if options.get("backbone", "resnet50") not in BACKBONES:
        raise ValueError(f"Unknown backbone {options['backbone']!r}; choose one of {', '.join(BACKBONES)}.")
    if "dtype" in options:
        options["dtype"] = jnp.dtype(options["dtype"])
    return constructor(**fixed, **options)


def num_inputs(name: str) -> int:
    """The number of input channels of network `name`: 3 (the slice repeated) or 6 (slice and prior repeated)."""
    return MODELS[name][2]
