"""Converts published PyTorch checkpoints to Flax variables: renames them, and transposes kernels from OIHW to HWIO."""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import flax
import flax.linen as nn
import numpy as np
from absl import logging

from ssinfnet_jax import models
from ssinfnet_jax.interop import backbone_names

Rules = tuple[tuple[str, str], ...]  # (pattern, replacement) on the PyTorch module path, applied in order

_BLOCKS = (
    (r"(layer\d)\.(\d)\.(conv\d)$", r"\1_\2.\3.conv"),
    (r"(layer\d)\.(\d)\.bn(\d)$", r"\1_\2.conv\3.bn"),
)
_RESNET = (
    (r"^resnet\.", "encoder."),
    (r"^encoder\.conv1$", "encoder.stem.conv"),
    (r"^encoder\.bn1$", "encoder.stem.bn"),
    *_BLOCKS,
    (r"(layer\d)\.(\d)\.downsample\.0$", r"\1_\2.downsample.conv"),
    (r"(layer\d)\.(\d)\.downsample\.1$", r"\1_\2.downsample.bn"),
)
_RES2NET = (
    (r"^resnet\.conv1\.0$", "encoder.stem1.conv"),
    (r"^resnet\.conv1\.1$", "encoder.stem1.bn"),
    (r"^resnet\.conv1\.3$", "encoder.stem2.conv"),
    (r"^resnet\.conv1\.4$", "encoder.stem2.bn"),
    (r"^resnet\.conv1\.6$", "encoder.stem3.conv"),
    (r"^resnet\.bn1$", "encoder.stem3.bn"),
    (r"^resnet\.", "encoder."),
    *_BLOCKS,
    (r"(layer\d)\.(\d)\.convs\.(\d)$", r"\1_\2.scale\3.conv"),
    (r"(layer\d)\.(\d)\.bns\.(\d)$", r"\1_\2.scale\3.bn"),
    (r"(layer\d)\.(\d)\.downsample\.1$", r"\1_\2.downsample.conv"),
    (r"(layer\d)\.(\d)\.downsample\.2$", r"\1_\2.downsample.bn"),
)
_VGG = (
    (r"^vgg\.conv([123])\.conv\1_(\d)$", r"encoder.stage\1.conv\2"),
    (r"^vgg\.conv([45])_1\.conv\1_(\d)_1$", r"encoder.stage\1.conv\2"),
)
_INFNET = (
    (r"^rfb(\d)_1\.branch(\d)\.(\d)\.", r"rfb\1.branch\2_\3."),
    (r"^rfb(\d)_1\.", r"rfb\1."),
    (r"^ParDec\.conv5_inpainting$", "decoder.head_inpainting"),
    (r"^ParDec\.conv5$", "decoder.head"),
    (r"^ParDec\.", "decoder."),
    (r"^ra4_conv5_inpainting\.", "attention4.head_inpainting."),
    (r"^ra4_conv5\.", "attention4.head."),
    (r"^ra([32])_conv4_inpainting\.", r"attention\1.head_inpainting."),
    (r"^ra([32])_conv4\.", r"attention\1.head."),
    (r"^ra(\d)_conv1\.", r"attention\1.reduce."),
    (r"^ra(\d)_conv2\.", r"attention\1.convs_0."),
    (r"^ra(\d)_conv3\.", r"attention\1.convs_1."),
    (r"^ra4_conv4\.", "attention4.convs_2."),
    (r"^edge_conv4_inpainting\.", "edge_head_inpainting."),
    (r"^edge_conv4\.", "edge_head."),
)
_UNET = (
    (r"^inc\.", "down_0."),
    (r"^down(\d)\.maxpool_conv\.1\.", r"down_\1."),
    (r"^up(\d)_inpainting\.conv\.", r"up_inpainting.up\1."),
    (r"^up(\d)\.conv\.", r"up.up\1."),
    (r"double_conv\.0$", "conv1"),
    (r"double_conv\.1$", "bn1"),
    (r"double_conv\.3$", "conv2"),
    (r"double_conv\.4$", "bn2"),
    (r"^outc\.conv$", "head"),
    (r"^out_inpainting\.conv$", "head_inpainting"),
)
_COACH = (
    (r"^(conv1|bn1|layer\d.*)$", r"resnet.\1"),
    *_RESNET,
    (r"^std$", "logvar"),
    (r"^pred$", "score"),
)
_FCN8 = (
    *((rf"^pretrained_net\.features\.{index}$", re.sub(r".*\.conv(\d)_(\d).*", r"encoder.stage\1.conv\2", name))
      for index, name in backbone_names.VGG16.items()),
    (r"^deconv(\d)$", r"up\1"),
    (r"^bn(\d)$", r"up\1.bn"),
    (r"^classifier$", "head"),
)  # fmt: skip


class Layout(NamedTuple):
    """How a published checkpoint names a network's tensors.

    Attributes:
      rules: PyTorch module paths -> ours.
      unused: pattern of stored tensors that the network does not use.
      transposed: pattern of the transposed convolutions, whose kernels are IOHW.
    """

    rules: Rules
    unused: str = r"(?!)"
    transposed: str = r"(?!)"


LAYOUTS = {  # by name of the network, and its backbone if it has several
    "infnet_resnet50": Layout((*_RESNET, *_INFNET)),
    "infnet_res2net50": Layout((*_RES2NET, *_INFNET), unused=r"resnet\.fc\."),
    "infnet_vgg16": Layout((*_VGG, *_INFNET), unused=r"vgg\.conv[45]_2\."),
    "multi_infnet": Layout(_UNET),
    "multi_ssinfnet": Layout(_UNET),
    "fcn8": Layout(_FCN8, transposed=r"deconv\d\."),
    "coach": Layout(_COACH),
}
NORM_LEAVES = {
    "weight": ("params", "scale"),
    "bias": ("params", "bias"),
    "running_mean": ("batch_stats", "mean"),
    "running_var": ("batch_stats", "var"),
}
CONV_LEAVES = {"weight": ("params", "kernel"), "bias": ("params", "bias")}


def convert(name: str, state_dict: Mapping[str, np.ndarray], **options: Any) -> dict[str, Any]:
    """Converts a PyTorch state dict to variables {"params", "batch_stats"} of `models.create(name, **options)`.

    Skips batch counters and tensors that the published network does not use (Res2Net's classifier, VGG's second
    branch). If a checkpoint has no inpainting layers at all, like Inf-Net's own and all VGG16 ones, these layers
    are initialised by `models.init` with seed 0; if it has some of them, it must have all.

    Args:
      name: of a network in `LAYOUTS`.
      state_dict: arrays by their PyTorch names; kernels OIHW.
      **options: as for `models.create`.
    Returns: float32 arrays.
    Raises: ValueError for a network without a known layout; ValueError that lists all tensors that are missing,
      unknown, duplicated, wrongly shaped, not numeric or not finite.
    """
    key, model, expected = _layout(name, options)
    found, problems = _read(LAYOUTS[key], state_dict, expected)
    heads = {path for path in expected if any("inpainting" in part for part in path)}
    if heads and not any("inpainting" in str(torch_name) for torch_name in state_dict):
        fresh = flax.traverse_util.flatten_dict(models.init(model, 0, models.num_inputs(name)))
        found.update({path: fresh[path] for path in heads})
        logging.info("The checkpoint of %s has no inpainting layers; they are freshly initialised.", key)
    _check(key, problems, missing=expected.keys() - found.keys())
    return flax.traverse_util.unflatten_dict(found)


def convert_part(name: str, state_dict: Mapping[str, np.ndarray], **options: Any) -> dict[tuple[str, ...], np.ndarray]:
    """Like `convert`, for a state dict of some modules, such as a backbone; returns variables by path.

    Raises: ValueError as `convert`; lists missing tensors only for modules that are present.
    """
    key, _, expected = _layout(name, options)
    found, problems = _read(LAYOUTS[key], state_dict, expected)
    modules = {path[1] for path in found or expected}
    _check(key, problems, missing={path for path in expected if path[1] in modules} - found.keys())
    return found


def _layout(name: str, options: Mapping[str, Any]) -> tuple[str, nn.Module, dict[tuple[str, ...], Any]]:
    """Returns (key of `LAYOUTS`, the network, shapes of its variables by path)."""
    model = models.create(name, **options) if name in models.MODELS else None
    key = f"{name}_{model.backbone}" if hasattr(model, "backbone") else name
    if key not in LAYOUTS:
        raise ValueError(f"No checkpoint layout is known for model {key!r}; choose one of {', '.join(LAYOUTS)}.")
    shapes = flax.traverse_util.flatten_dict(models.shapes(model, models.num_inputs(name)))
    return key, model, {path: leaf.shape for path, leaf in shapes.items()}


def _check(key: str, problems: list[str], missing: set[tuple[str, ...]]) -> None:
    problems = [*problems, *(f"missing {'.'.join(path)}" for path in sorted(missing))]
    if problems:
        raise ValueError(f"The checkpoint does not fit model {key!r}:\n  " + "\n  ".join(problems))


def _read(layout: Layout, state_dict: Mapping[str, np.ndarray], expected: Mapping[tuple, tuple]):
    """Returns (arrays by Flax path, problems as text); a path with a problem keeps its entry, so it is not missing."""
    found, problems = {}, []
    for torch_name, value in state_dict.items():
        if re.search(r"(^|\.)num_batches_tracked$", torch_name) or re.match(layout.unused, torch_name):
            continue
        path = _flax_path(layout.rules, torch_name)
        if path not in expected:
            problems.append(f"unknown {torch_name}")
            continue
        if path in found:
            problems.append(f"{torch_name} occurs twice, under different names")
        array = np.asarray(value)
        if array.dtype.kind not in "fiu":
            problems.append(f"{torch_name} holds {array.dtype}, not numbers")
            found[path] = None
            continue
        if array.ndim == 4:
            array = array.transpose((2, 3, 0, 1) if re.match(layout.transposed, torch_name) else (2, 3, 1, 0))
        if array.shape != expected[path]:
            problems.append(f"{torch_name} has shape {np.shape(value)}, as HWIO {array.shape}, not {expected[path]}")
        with np.errstate(over="ignore"):
            found[path] = array.astype(np.float32)
        if not np.isfinite(found[path]).all():
            problems.append(f"{torch_name} is not finite as float32")
    return found, problems


def _flax_path(rules: Rules, torch_name: str) -> tuple[str, ...] | None:
    """Returns the path of our variable, or None for a name that is not a leaf of a convolution or batch norm."""
    module, _, leaf = torch_name.rpartition(".")
    for pattern, replacement in rules:
        module = re.sub(pattern, replacement, module)
    parts = module.split(".")
    is_norm = re.fullmatch(r"bn\d?", parts[-1]) is not None
    leaves, kind = (NORM_LEAVES, "norm") if is_norm else (CONV_LEAVES, "conv")
    if leaf not in leaves:
        return None
    collection, own = leaves[leaf]
    return (collection, *parts, kind, own)
