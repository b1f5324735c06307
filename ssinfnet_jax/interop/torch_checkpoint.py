"""Published PyTorch checkpoints as Flax variables: names are rewritten, kernels go from OIHW to HWIO."""

import re
from collections.abc import Mapping
from typing import Any

import flax
import jax
import jax.numpy as jnp
import numpy as np

from ssinfnet_jax import models

# (pattern, replacement) on the PyTorch module path, first match of each line applied in order.
_RESNET = (
    (r"^(encoder\.)?conv1$", r"\1stem.conv"),
    (r"^(encoder\.)?bn1$", r"\1stem.bn"),
    (r"(layer\d)\.(\d)\.conv(\d)$", r"\1_\2.conv\3.conv"),
    (r"(layer\d)\.(\d)\.bn(\d)$", r"\1_\2.conv\3.bn"),
    (r"(layer\d)\.(\d)\.downsample\.0$", r"\1_\2.downsample.conv"),
    (r"(layer\d)\.(\d)\.downsample\.1$", r"\1_\2.downsample.bn"),
)
_INFNET = (
    (r"^resnet\.", "encoder."),
    *_RESNET,
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
    (r"^(conv1|bn1|layer\d.*)$", r"encoder.\1"),
    *_RESNET,
    (r"^std$", "logvar"),
    (r"^pred$", "score"),
)
RULES = {"infnet": _INFNET, "multi_infnet": _UNET, "multi_ssinfnet": _UNET, "coach": _COACH}


def convert(name: str, state_dict: Mapping[str, np.ndarray], **options: Any) -> dict[str, Any]:
    """Variables {"params", "batch_stats"} of `models.create(name, **options)` from a PyTorch state dict.

    Args:
      name: a key of `RULES`.
      state_dict: arrays by their PyTorch names; kernels OIHW. `num_batches_tracked` is ignored.
      **options: as for `models.create`.
    Raises: ValueError listing the missing, unknown and wrongly shaped tensors.
    """
    if name not in RULES:
        raise ValueError(f"No checkpoint layout is known for model {name!r}; choose one of {', '.join(RULES)}.")
    model = models.create(name, **options)
    shape = (32, 32, models.num_inputs(name))
    expected = jax.eval_shape(lambda: model.init(jax.random.key(0), jnp.zeros((1, *shape)), method="init_all"))
    expected = flax.traverse_util.flatten_dict(expected)
    found, problems = {}, []
    for torch_name, value in state_dict.items():
        if torch_name.endswith("num_batches_tracked"):
            continue
        path = _flax_path(name, torch_name, np.ndim(value))
        array = np.asarray(value)
        if array.ndim == 4:
            array = array.transpose(2, 3, 1, 0)
        if path not in expected:
            problems.append(f"unknown {torch_name}")
        elif array.shape != expected[path].shape:
            problems.append(
                f"{torch_name} has shape {np.shape(value)}, as HWIO {array.shape}, not {expected[path].shape}"
            )
        else:
            found[path] = array.astype(np.float32)
    problems += [f"missing {'.'.join(path)}" for path in expected if path not in found]
    if problems:
        raise ValueError(f"The checkpoint does not fit model {name!r}:\n  " + "\n  ".join(problems))
    return flax.traverse_util.unflatten_dict(found)


def _flax_path(name: str, torch_name: str, ndim: int) -> tuple[str, ...]:
    module, leaf = torch_name.rsplit(".", 1)
    for pattern, replacement in RULES[name]:
        module = re.sub(pattern, replacement, module)
    parts = tuple(module.split("."))
    if leaf in ("running_mean", "running_var"):
        return ("batch_stats", *parts, "norm", {"running_mean": "mean", "running_var": "var"}[leaf])
    if ndim == 4:
        return ("params", *parts, "conv", "kernel")
    is_norm = re.fullmatch(r"bn\d?|norm", parts[-1]) is not None
    if is_norm:
        return ("params", *parts, "norm", {"weight": "scale", "bias": "bias"}[leaf])
    return ("params", *parts, "conv", "bias")
