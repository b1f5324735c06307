"""Backbones of InfNet: one file each, here or in any package.

A backbone is a module with the attributes of `blocks.Network` that returns the feature maps x1..x4, each half the size
of the one before. Its class attribute `stride` is that of x4; image sides are multiples of it.
"""

from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax

from ssinfnet_jax import plug_in
from ssinfnet_jax.models.backbones.res2net import Res2Net50
from ssinfnet_jax.models.backbones.resnet import ResNet18, ResNet50
from ssinfnet_jax.models.backbones.vgg import VGG16

BACKBONES: dict[str, type[nn.Module]] = {"resnet50": ResNet50, "res2net50": Res2Net50, "vgg16": VGG16}

_STRIDES = (8, 16, 32)
_ATTRIBUTES = {"width", "dtype", "axis_name", "remat"}


def resolve(name: str) -> type[nn.Module]:
    """The class of a backbone: a key of `BACKBONES`, or "module:class" of any package.

    Raises: PlugInError if there is none.
    """
    return plug_in.resolve(
        "backbone",
        name,
        BACKBONES,
        fits=_is_backbone,
        needed=f"a module class with {', '.join(sorted(_ATTRIBUTES))}, and a stride in {_STRIDES}",
    )


def check_levels(name: str, image: jax.Array, levels: Sequence[jax.Array], stride: int) -> None:
    """Raises ValueError unless the feature maps of an image [B,H,W,C] have the sizes that the networks need."""
    sizes = [tuple(getattr(level, "shape", ())[1:3]) for level in levels]
    wanted = [tuple(side * 2**times // stride for side in image.shape[1:3]) for times in (3, 2, 1, 0)]
    if sizes != wanted:
        raise ValueError(
            f"Backbone {name!r} must return four maps x1..x4, each half the size of the one before, x4 at stride "
            f"{stride}: {wanted} for an image {image.shape[1:3]}; it returns {sizes}."
        )


def _is_backbone(found: Any) -> bool:
    is_module = isinstance(found, type) and issubclass(found, nn.Module)
    return is_module and set(found.__dataclass_fields__) >= _ATTRIBUTES and getattr(found, "stride", None) in _STRIDES
