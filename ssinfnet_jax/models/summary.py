"""Cost of a network: layers, shapes, parameters, FLOPs, memory; nothing is compiled unless asked for.

FLOPs are XLA's count for the segmentation forward pass before optimisation: a multiply-add is **2**, taps on zero
padding are excluded, bilinear resizing counts as matrix products (`ops.resize_bilinear`).
"""

from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import numpy as np

from ssinfnet_jax import models

LAYERS = (nn.Conv, nn.ConvTranspose, nn.BatchNorm)  # layers whose outputs a gradient needs


def table(name: str, options: Mapping[str, Any], *, image_size: int, batch_size: int, depth: int = 1) -> str:
    """The modules down to `depth` with shapes, FLOPs, parameters, by `flax.linen.tabulate`."""
    model = models.create(name, **options)
    inputs = [np.zeros(x.shape, x.dtype) for x in _inputs(name, model, image_size, batch_size)]
    console = {"width": 150, "force_terminal": False}
    return model.tabulate(
        jax.random.key(0), *inputs, train=False, depth=depth, compute_flops=True, console_kwargs=console
    )


def num_parameters(name: str, options: Mapping[str, Any]) -> dict[str, int]:
    """Numbers of "params" and "batch_stats" for both forms, segmentation and inpainting."""
    model = models.create(name, **options)
    return {
        kind: sum(x.size for x in jax.tree.leaves(tree))
        for kind, tree in models.shapes(model, models.num_inputs(name)).items()
    }


def flops(name: str, options: Mapping[str, Any], *, image_size: int, batch_size: int) -> float:
    """FLOPs of a forward pass of `batch_size` slices."""
    return _lowered(name, options, image_size, batch_size).cost_analysis()["flops"]


def activation_bytes(name: str, options: Mapping[str, Any], *, image_size: int, batch_size: int) -> int:
    """Bytes of the outputs of all convolutions and norms, about what a gradient keeps."""
    model = models.create(name, **options)

    def forward(variables, *inputs):
        return model.apply(
            variables, *inputs, train=False, mutable=["intermediates"],
            capture_intermediates=lambda module, method: isinstance(module, LAYERS) and method == "__call__",
        )  # fmt: skip

    inputs = _inputs(name, model, image_size, batch_size)
    _, captured = jax.eval_shape(forward, models.shapes(model, models.num_inputs(name)), *inputs)
    return sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(captured))


def compiled_bytes(name: str, options: Mapping[str, Any], *, image_size: int, batch_size: int) -> int | None:
    """Bytes that the compiled forward pass needs besides its arguments and results; None if the backend cannot tell.

    Compiles the network, which takes seconds to minutes.
    """
    memory = _lowered(name, options, image_size, batch_size).compile().memory_analysis()
    return None if memory is None else memory.temp_size_in_bytes


def summarize(
    name: str, options: Mapping[str, Any], *, image_size: int, batch_size: int, depth: int = 1, compiled: bool = False
) -> str:
    """The table and the totals as text.

    Args:
      name, options: as for `models.create`.
      image_size: pixels per side.
      batch_size: slices per forward pass.
      depth: levels of modules in the table; every level takes time.
      compiled: whether to compile the forward pass for its memory.
    Raises: ValueError for an unknown option, or an image size that the network cannot take.
    """
    size = {"image_size": image_size, "batch_size": batch_size}
    count = num_parameters(name, options)
    total = flops(name, options, **size)
    lines = [
        table(name, options, **size, depth=depth),
        f"Parameters of both forms: {count['params']:,}; batch statistics: {count.get('batch_stats', 0):,}",
        f"FLOPs of a forward pass, multiply-add = 2: {total / 1e9:.2f} G ({total / batch_size / 1e9:.2f} G per slice)",
        f"Outputs of all layers, which a gradient keeps: {activation_bytes(name, options, **size) / 2**20:.0f} MiB",
    ]
    if compiled:
        memory = compiled_bytes(name, options, **size)
        told = "unknown to this backend" if memory is None else f"{memory / 2**20:.0f} MiB"
        lines.append(f"Memory of the compiled forward pass besides arguments and results: {told}")
    return "\n".join(lines)


def _inputs(name: str, model: nn.Module, image_size: int, batch_size: int) -> list[jax.ShapeDtypeStruct]:
    shape = (batch_size, image_size, image_size, models.num_inputs(name))
    shapes = [shape, model.eps_shape(shape)] if name == "coach" else [shape]
    return [jax.ShapeDtypeStruct(one, np.float32) for one in shapes]


def _lowered(name: str, options: Mapping[str, Any], image_size: int, batch_size: int) -> jax.stages.Lowered:
    model = models.create(name, **options)
    forward = jax.jit(lambda variables, *inputs: model.apply(variables, *inputs, train=False))
    return forward.lower(models.shapes(model, models.num_inputs(name)), *_inputs(name, model, image_size, batch_size))
