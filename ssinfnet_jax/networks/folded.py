"""The form of a network for inference: batch norms folded into their convolutions, equal input channels into one.

In inference a batch norm is y -> s y + t with constants s, t per channel, and s can be part of the convolution before
it: norm(conv(x; K, b)) = conv(x; s K, s b) + t. CT is grey, so the three channels of a slice (and of a prior) are
equal, and the first convolution may see one of them through the sum of its kernels. Both are exact up to rounding.

Which convolution belongs to which norm is read off the traced network, so that a network needs no second definition.
The normalisation of the input, (image - mean) / std, is **not** folded: the first convolution pads with zeros after it.
"""

import collections
import dataclasses
from typing import Any

import flax
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.ad_checkpoint import checkpoint_name
from jax.extend.core import Literal

REPEATS = 3  # equal input channels per slice or prior

Variables = dict[str, Any]
Path = tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Folded:
    """A network whose variables `fold` has folded; it stands in for the module where that is applied."""

    model: nn.Module

    def apply(self, variables: Variables, inputs: jax.Array, *, train: bool = False) -> Any:
        """The module's `__call__` on float[B,H,W,3 or 6], whose channels are equal in threes.

        Raises: ValueError if `train`.
        """
        if train:
            raise ValueError("A folded network has no batch norm to train; apply the module that was folded.")
        with nn.intercept_methods(_apply_folded):
            return self.model.apply(variables, inputs, train=False)


def fold(model: nn.Module, variables: Variables, *, num_inputs: int) -> tuple[Folded, Variables]:
    """The same network with fewer operations.

    A norm stays as it is where no convolution ends right before it (after a sum or a ReLU), and where the convolution's
    result is used elsewhere too. The input that multi_ssinfnet takes in again deeper down keeps its channels.

    Args:
      model: a segmentation network, as `models.create` gives.
      variables: {"params", "batch_stats"} of it.
      num_inputs: channels of its input, as `models.num_inputs` gives.
    Returns: what stands in for the model, and its variables on the host: of a folded norm only the bias t is left, and
      the kernel of a convolution on the input has a third of the channels.
    """
    if getattr(model, "remat", False):
        model = model.clone(remat=False)  # there is no backward pass
    modules, pairs, first = _find(model, variables, num_inputs)
    flat = {path: np.asarray(value) for path, value in flax.traverse_util.flatten_dict(variables).items()}
    for conv, norm in pairs:
        mean, var = (flat.pop(("batch_stats", *norm, name)) for name in ("mean", "var"))
        scale = 1 / np.sqrt(var.astype(np.float64) + modules[norm].epsilon)
        scale *= flat.pop(("params", *norm, "scale"), 1.0)
        bias = flat.get(("params", *norm, "bias"), 0.0) - mean * scale
        flat["params", *norm, "bias"] = bias.astype(np.float32)
        for name in ("kernel", "bias"):  # both end in the output channels
            if ("params", *conv, name) in flat:
                flat["params", *conv, name] = (flat["params", *conv, name] * scale).astype(np.float32)
    for conv in first:
        kernel = flat["params", *conv, "kernel"]
        height, width, channels, features = kernel.shape
        kernel = kernel.reshape(height, width, channels // REPEATS, REPEATS, features).sum(axis=3)
        flat["params", *conv, "kernel"] = kernel
    return Folded(model), flax.traverse_util.unflatten_dict(flat)


def _apply_folded(next_fun, args, kwargs, context):
    """Runs a folded module on what is left of its variables; all others as ever."""
    module, x = context.module, args[0] if args else None
    if context.method_name != "__call__":
        return next_fun(*args, **kwargs)
    if isinstance(module, nn.BatchNorm) and not module.has_variable("batch_stats", "mean"):
        bias = module.get_variable("params", "bias")
        return x + jnp.asarray(bias, x.dtype).reshape((1,) * (x.ndim - 1) + (-1,))
    if isinstance(module, nn.Conv) and module.feature_group_count == 1:
        channels = module.get_variable("params", "kernel").shape[-2]
        if channels * REPEATS == x.shape[-1]:
            return next_fun(x[..., ::REPEATS], *args[1:], **kwargs)
    return next_fun(*args, **kwargs)


def _find(model: nn.Module, variables: Variables, num_inputs: int):
    """What can be folded.

    Returns: modules by path; (convolution, norm) pairs of paths; paths of the convolutions on the input itself.
    """
    modules: dict[Path, nn.Module] = {}

    def mark(next_fun, args, kwargs, context):
        module = context.module
        if context.method_name != "__call__" or not isinstance(module, nn.Conv | nn.BatchNorm):
            return next_fun(*args, **kwargs)
        modules[module.path] = module
        name = "/".join(module.path)
        out = next_fun(checkpoint_name(args[0], f"into {name}"), *args[1:], **kwargs)
        return checkpoint_name(out, f"out of {name}")

    def forward(inputs, variables):
        with nn.intercept_methods(mark):
            return model.apply(variables, inputs, train=False)

    graph = jax.make_jaxpr(forward)(jax.ShapeDtypeStruct((1, 32, 32, num_inputs), jnp.float32), variables)
    return modules, *_read(graph.jaxpr, modules)


def _read(jaxpr, modules: dict[Path, nn.Module]) -> tuple[list[tuple[Path, Path]], list[Path]]:
    """Pairs in which the norm alone uses what the convolution gives, and the convolutions on the first argument."""
    marks, uses, image = {}, collections.defaultdict(list), {jaxpr.invars[0]}
    for eqn in jaxpr.eqns:
        if eqn.primitive.name == "name":
            marks.setdefault(eqn.params["name"], []).append(eqn)
        for var in eqn.invars:
            if not isinstance(var, Literal):
                uses[var].append(eqn)
        if eqn.primitive.name == "convert_element_type" and eqn.invars[0] in image:
            image.add(eqn.outvars[0])
    returned = {var for var in jaxpr.outvars if not isinstance(var, Literal)}
    pairs, first = [], []
    for path, module in modules.items():
        name = "/".join(path)
        if not isinstance(module, nn.Conv) or len(marks[f"out of {name}"]) > 1:
            continue  # a layer that is used twice belongs to no single norm
        (into,), (out,) = marks[f"into {name}"], marks[f"out of {name}"]
        if into.invars[0] in image and module.feature_group_count == 1:
            first.append(path)
        result = out.outvars[0]
        following = [] if result in returned else [eqn.params.get("name") for eqn in uses[result]]
        for norm, other in modules.items():
            mark = f"into {'/'.join(norm)}"
            if isinstance(other, nn.BatchNorm) and following == [mark] and len(marks[mark]) == 1:
                pairs.append((path, norm))
    return pairs, first
