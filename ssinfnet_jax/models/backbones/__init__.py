"""Backbones of InfNet. A new one is a file here and a line in `BACKBONES`.

A backbone is a module with the attributes `width`, `dtype`, `axis_name`, `remat` that gives the feature maps x1..x4,
each half the size of the one before, and whose class says the `stride` of x4: image sides are multiples of it.
"""

from ssinfnet_jax.models.backbones.res2net import Res2Net50
from ssinfnet_jax.models.backbones.resnet import ResNet18, ResNet50
from ssinfnet_jax.models.backbones.vgg import VGG16

BACKBONES = {
    "resnet50": ResNet50,
    "res2net50": Res2Net50,
    "vgg16": VGG16,
}

__all__ = ["BACKBONES", "VGG16", "ResNet18", "ResNet50"]
