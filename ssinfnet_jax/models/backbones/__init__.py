"""Backbones of InfNet: a module gives the feature maps x1..x4. A new one is a file here and a line in `BACKBONES`."""

from ssinfnet_jax.models.backbones.resnet import ResNet18, ResNet50

BACKBONES = {
    "resnet50": ResNet50,
}

__all__ = ["BACKBONES", "ResNet18", "ResNet50"]
