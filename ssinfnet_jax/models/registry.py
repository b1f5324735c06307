"""Networks by name. A new network is one line in `MODELS`."""

from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax.numpy as jnp

from ssinfnet_jax.models import coach, fcn8, infnet, unet
from ssinfnet_jax.models.backbones import BACKBONES


class Entry(NamedTuple):
    """A network.

    Attributes:
      constructor: of the module.
      fixed: options that the name stands for.
      num_inputs: channels of the input, 3 (the slice repeated) or 6 (slice and prior repeated).
      output: "maps" (lesion logits by name of `infnet.MAPS`), "logits" (of `num_classes` channels) or "scores".
      inpaints: whether there is a method `inpaint`, so that the network can be pretrained.
    """

    constructor: Callable[..., nn.Module]
    fixed: dict[str, Any]
    num_inputs: int
    output: str
    inpaints: bool


_MULTI = {"num_classes": 3, "num_inpainted": 6}
_PLAIN = {"reinject_input": False, "shared_up": False}
MODELS: dict[str, Entry] = {
    "infnet": Entry(infnet.InfNet, {}, 3, "maps", True),
    "unet": Entry(unet.UNet, {"num_inpainted": 0, **_PLAIN}, 3, "logits", False),
    "multi_infnet": Entry(unet.UNet, {**_MULTI, **_PLAIN}, 6, "logits", True),
    "multi_ssinfnet": Entry(unet.UNet, {**_MULTI, "reinject_input": True}, 6, "logits", True),
    "fcn8": Entry(fcn8.FCN8, {"num_classes": 3}, 6, "logits", False),
    "coach": Entry(coach.Coach, {}, 3, "scores", False),
}
CLASSES = {1: "lesion", 3: "classes"}  # what logits of so many channels are: a lesion; background, GGO, consolidation


def create(name: str, **options: Any) -> nn.Module:
    """The network `name` as a Flax module.

    Args:
      name: a key of `MODELS`.
      **options: attributes of the module: `width`, `dtype` (a dtype or its name), `axis_name`, `remat`, `backbone`
        (infnet), `num_classes` (unet: 1 for the lesion, 3 for background, GGO, consolidation), `shared_up`
        (multi_ssinfnet: the inpainting and the segmentation have one expanding path).
    Raises: ValueError for an unknown name, backbone, number of classes or option, with the choices.
    """
    entry = _entry(name)
    allowed = sorted(set(entry.constructor.__dataclass_fields__) - {"parent", "name"} - set(entry.fixed))
    unknown = sorted(set(options) - set(allowed))
    if unknown:
        raise ValueError(f"Unknown option {', '.join(unknown)} of model {name!r}; it has {', '.join(allowed)}.")
    if options.get("backbone", "resnet50") not in BACKBONES:
        raise ValueError(f"Unknown backbone {options['backbone']!r}; choose one of {', '.join(BACKBONES)}.")
    if options.get("num_classes", 1) not in CLASSES:
        raise ValueError(f"Unknown num_classes {options['num_classes']!r}; choose one of {CLASSES}.")
    if "dtype" in options:
        options["dtype"] = jnp.dtype(options["dtype"])
    return entry.constructor(**entry.fixed, **options)


def num_inputs(name: str) -> int:
    """The number of input channels of network `name`: 3 (the slice repeated) or 6 (slice and prior repeated)."""
    return _entry(name).num_inputs


def output(name: str, **options: Any) -> str:
    """What network `name` gives with these options of `create`.

    Returns: "maps" (InfNet's dict of lesion logits), "lesion" (logits [B,H,W,1]), "classes" (logits [B,H,W,3] of
      background, GGO, consolidation) or "scores" (the coach's).
    """
    kind = _entry(name).output
    return CLASSES[create(name, **options).num_classes] if kind == "logits" else kind


def inpaints(name: str) -> bool:
    """Whether network `name` has an inpainting form, the method `inpaint`."""
    return _entry(name).inpaints


def _entry(name: str) -> Entry:
    if name not in MODELS:
        raise ValueError(f"Unknown model {name!r}; choose one of {', '.join(MODELS)}.")
    return MODELS[name]
