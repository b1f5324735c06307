"""Networks by name: a line in `MODELS`, or an `Entry` in any package."""

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from ssinfnet_jax import plug_in
from ssinfnet_jax.models import backbones, coach, fcn8, infnet, initialize, unet

_SIZE = 32  # pixels per side of the image for trying a network
OUTPUTS = ("maps", "logits", "lesion", "classes", "scores")


@dataclasses.dataclass(frozen=True)
class Entry:
    """A network.

    Attributes:
      constructor: class of the module. It has the attribute `axis_name` (over which batch norm is synchronised), the
        methods `__call__(inputs, *, train)` and `init_all(inputs)`, which touches all parameters, and `inpaint(inputs,
        *, train)` if it can be pretrained.
      fixed: options that the name implies.
      num_inputs: channels of the input, 3 (the slice repeated) or 6 (slice and prior repeated).
      output: of `__call__`: "lesion" (logits [B,H,W,1]), "classes" (logits [B,H,W,3]), "logits" (with the option
        `num_classes` channels), "maps" (lesion logits by name of `infnet.MAPS`) or "scores" (of a coach).
      inpaints: whether there is a method `inpaint`, so that the network can be pretrained.
    Raises: ValueError if the class lacks one of these.
    """

    constructor: type[nn.Module]
    fixed: Mapping[str, Any]
    num_inputs: int
    output: str
    inpaints: bool

    def __post_init__(self):
        if not (isinstance(self.constructor, type) and issubclass(self.constructor, nn.Module)):
            raise ValueError(f"Entry: constructor must be a class of flax.linen.Module, found {self.constructor!r}.")
        if self.num_inputs not in (3, 6) or self.output not in OUTPUTS:
            raise ValueError(
                f"Entry: num_inputs must be 3 or 6, output one of {', '.join(OUTPUTS)}; found {self.num_inputs} and "
                f"{self.output!r}."
            )
        fields = {"axis_name", *self.fixed, *(["num_classes"] if self.output == "logits" else [])}
        methods = {"init_all", *(["inpaint"] if self.inpaints else [])}
        missing = fields - set(self.constructor.__dataclass_fields__)
        missing |= {name for name in methods if not hasattr(self.constructor, name)}
        if missing:
            raise ValueError(f"Entry: {self.constructor.__name__} lacks {', '.join(sorted(missing))}.")


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
CLASSES = {1: "lesion", 3: "classes"}  # meaning of logits by channels: lesion; background, GGO, consolidation


def create(name: str, **options: Any) -> nn.Module:
    """The network `name` as a Flax module.

    Args:
      name: a key of `MODELS`, or "module:name" of an `Entry` in any package.
      **options: attributes of the module: `width`, `dtype` (a dtype or its name), `axis_name`, `remat`, `backbone`
        (infnet), `num_classes` (unet: 1 for the lesion, 3 for background, GGO, consolidation), `shared_up`
        (multi_ssinfnet: inpainting and segmentation share one expanding path).
    Raises: ValueError for an unknown name, backbone, number of classes or option, with the choices.
    """
    entry = _entry(name)
    allowed = sorted(set(entry.constructor.__dataclass_fields__) - {"parent", "name"} - set(entry.fixed))
    unknown = sorted(set(options) - set(allowed))
    if unknown:
        raise ValueError(f"Unknown option {', '.join(unknown)} of model {name!r}; it has {', '.join(allowed)}.")
    if entry.constructor is infnet.InfNet and "backbone" in options:
        backbones.resolve(options["backbone"])
    if entry.output == "logits" and options.get("num_classes", 1) not in CLASSES:
        raise ValueError(f"Unknown num_classes {options['num_classes']!r}; choose one of {CLASSES}.")
    if "dtype" in options:
        options["dtype"] = jnp.dtype(options["dtype"])
    return entry.constructor(**entry.fixed, **options)


def check(name: str, options: Mapping[str, Any], size: int) -> dict[str, Any]:
    """The shapes of a network's variables on images of `size` pixels per side.

    Raises: ValueError if the network cannot be applied to them, or its output differs from its `Entry`.
    """
    entry, model = _entry(name), create(name, **options)
    try:
        variables = initialize.shapes(model, entry.num_inputs, size=size)
        given = {} if name in MODELS else _given(model, entry, variables)
    except Exception as error:  # whatever a network or a backbone of another package raises
        if isinstance(error, ValueError) and ":" not in f"{name}{options.get('backbone')}":
            raise
        said = " ".join(str(error).split())[:300]
        raise ValueError(f"Model {name!r} cannot be applied: {type(error).__name__}: {said}.") from error
    channels = {"__call__": {"classes": 3}.get(output(name, **options), 1), "inpaint": entry.num_inputs}
    for method, found in given.items():
        wanted = (1, _SIZE, _SIZE, channels[method])
        expected = dict.fromkeys(infnet.MAPS, wanted) if entry.output == "maps" else wanted
        if found != expected:
            raise ValueError(f"Model {name!r} must return {expected} from {method} of one slice, but returns {found}.")
    return variables


def _given(model: nn.Module, entry: Entry, variables: dict[str, Any]) -> dict[str, Any]:
    """The shapes of the outputs of a network's methods for one slice."""
    inputs = jax.ShapeDtypeStruct((1, _SIZE, _SIZE, entry.num_inputs), jnp.float32)
    methods = ["__call__", *(["inpaint"] if entry.inpaints else [])]
    given = {
        method: jax.eval_shape(functools.partial(model.apply, train=False, method=method), variables, inputs)
        for method in methods
    }
    return jax.tree.map(lambda leaf: leaf.shape, given)


def num_inputs(name: str) -> int:
    """The number of input channels of network `name`: 3 (the slice repeated) or 6 (slice and prior repeated)."""
    return _entry(name).num_inputs


def output(name: str, **options: Any) -> str:
    """The kind of output of network `name` with these options of `create`.

    Returns: "maps" (InfNet's dict of lesion logits), "lesion" (logits [B,H,W,1]), "classes" (logits [B,H,W,3] of
      background, GGO, consolidation) or "scores" (the coach's).
    """
    kind = _entry(name).output
    return CLASSES[create(name, **options).num_classes] if kind == "logits" else kind


def inpaints(name: str) -> bool:
    """Whether network `name` has an inpainting form, the method `inpaint`."""
    return _entry(name).inpaints


def _entry(name: str) -> Entry:
    return plug_in.resolve(
        "model", name, MODELS, fits=lambda found: isinstance(found, Entry), needed="a ssinfnet_jax.models.Entry"
    )
