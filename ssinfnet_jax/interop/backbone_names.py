"""ImageNet classifiers as backbones: renames their tensors as in the published checkpoints."""

from collections.abc import Mapping

import numpy as np

# Index in torchvision's `vgg16().features` -> name in the published InfNet-VGG16.
VGG16 = {
    0: "conv1.conv1_1", 2: "conv1.conv1_2",
    5: "conv2.conv2_1", 7: "conv2.conv2_2",
    10: "conv3.conv3_1", 12: "conv3.conv3_2", 14: "conv3.conv3_3",
    17: "conv4_1.conv4_1_1", 19: "conv4_1.conv4_2_1", 21: "conv4_1.conv4_3_1",
    24: "conv5_1.conv5_1_1", 26: "conv5_1.conv5_2_1", 28: "conv5_1.conv5_3_1",
}  # fmt: skip

# (network, backbone): prefix in the published checkpoint, and names of the classifier's modules -> published names.
LAYOUTS: dict[tuple[str, str | None], tuple[str, Mapping[str, str]]] = {
    ("infnet", "resnet50"): ("resnet.", {}),
    ("infnet", "res2net50"): ("resnet.", {}),
    ("infnet", "vgg16"): ("vgg.", {f"features.{index}": name for index, name in VGG16.items()}),
    ("coach", None): ("", {}),  # a ResNet-18
}
CLASSIFIER = ("fc.", "classifier.")  # layers after the backbone, not used here


def rename(name: str, backbone: str | None, state_dict: Mapping[str, np.ndarray]):
    """Renames a classifier's tensors as in the published checkpoint of network `name`.

    Args:
      name, backbone: the network; `backbone` is None if it has no choice.
      state_dict: arrays with the names of torchvision's `resnet50`, `vgg16`, `resnet18` or Res2Net's `res2net50_v1b`.
    Returns: the tensors, and the names of the classifier's last layers, which are ignored.
    Raises: ValueError for a network without an ImageNet backbone.
    """
    if (name, backbone) not in LAYOUTS:
        known = ", ".join(" with ".join(filter(None, pair)) for pair in LAYOUTS)
        chosen = " with ".join(filter(None, (name, backbone)))
        raise ValueError(f"{chosen} has no ImageNet checkpoints; choose one of {known}.")
    prefix, modules = LAYOUTS[name, backbone]
    ignored = [tensor for tensor in state_dict if tensor.startswith(CLASSIFIER)]
    renamed = {}
    for tensor, value in state_dict.items():
        if tensor not in ignored:
            module, _, leaf = tensor.rpartition(".")
            renamed[f"{prefix}{modules.get(module, module)}.{leaf}"] = value
    return renamed, ignored
