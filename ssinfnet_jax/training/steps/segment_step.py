"""Training steps of the two segmentation networks."""

from collections.abc import Callable
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from ssinfnet_jax.config import Augmentation
from ssinfnet_jax.losses import compose, ignored
from ssinfnet_jax.models import infnet, ops
from ssinfnet_jax.networks import inputs, prediction
from ssinfnet_jax.networks.inputs import Batch, Normalisation
from ssinfnet_jax.training.steps import augment, update
from ssinfnet_jax.training.steps.state import TrainState

Step = Callable[[TrainState, Batch, jax.Array], tuple[TrainState, dict[str, jax.Array]]]


class Options(NamedTuple):
    """Options of a step.

    Attributes:
      augmentation: see `Augmentation`.
      normalisation: of the input.
      scale: factor on the side of the slices, which is then rounded to a multiple of 32 pixels.
      label_smoothing: s in [0, 1); targets t become t (1 - s) + s / 2.
      averaging: decay of the averaged weights, if the state has them.
    """

    augmentation: Augmentation
    normalisation: Normalisation
    scale: float = 1.0
    label_smoothing: float = 0.0
    averaging: float = 0.0


def make_step(
    model: nn.Module,
    optimizer: optax.GradientTransformation,
    *,
    num_inputs: int,
    output: str,
    losses: compose.Terms,
    options: Options,
    axis_name: str | None = None,
) -> Step:
    """A step of a network that finds the lesion (output "maps" or "lesion") or divides it (output "classes").

    Every loss term compares logits with the lesion or with one-hot classes; for InfNet, on each map that the term's
    line names, by default the four lesion maps. A loss may have fields of the batch as parameters (`check_losses`). At
    an ignored pixel logits and target agree, so that it counts in no loss (`losses.ignored`).

    Args:
      model, optimizer: to be trained.
      num_inputs: channels of the network's input: slice, or slice and prior.
      output: as `models.output`.
      losses: a table as for `compose.make_loss`.
      options: see `Options`.
      axis_name: of the mapped axis, or None on one device.
    Source: the paper, eqs. 5-7.
    """
    loss = compose.make_loss(losses, maps=infnet.LESION_MAPS)

    def step(current: TrainState, batch: Batch, key: jax.Array):
        batch = _prepare(batch, key, current.step, options)
        target = inputs.one_hot(batch["classes"]) if output == "classes" else batch["lesion"][..., None]
        ignore = batch.get("ignore")
        counts = True if ignore is None else ignore[..., None] == 0
        data = inputs.INPUTS[num_inputs](batch, options.normalisation)

        def objective(params):
            out, changed = model.apply(
                {"params": params, "batch_stats": current.batch_stats}, data, train=True, mutable=["batch_stats"]
            )
            terms = compose.by_map(loss(*ignored.agree(out, _smooth(target, options), ignore), **batch))
            if output == "classes":
                pred = jax.nn.one_hot(out.argmax(axis=-1), 3, dtype=bool)
            else:
                pred = prediction.lesion_logits(out, output) > 0
            return terms, {"train_dice": _dice(pred & counts, (target > 0.5) & counts)}, changed["batch_stats"]

        return update.update(
            current, objective, optimizer, batch["valid"], axis_name=axis_name, averaging=options.averaging
        )

    return step


def check_losses(terms: compose.Terms, name: str, output: str) -> None:
    """Raises ValueError, with the table's `name`, for losses that cannot be computed from what a step provides.

    A loss may have fields of the augmented batch as parameters: `image` and, for a multi network, `prior`
    float32[B,H,W] in [0, 1]; `lesion` float32[B,H,W] {0, 1} or `classes` int32[B,H,W] {0 background, 1 GGO, 2
    consolidation}; `valid` float32[B]; `position` int32[B]. A parameter `ignore`, None by default, gets float32[B,H,W]
    {0, 1} if the data have pixels that do not count.
    """
    names = {"image", "valid", "position", *(["prior", "classes"] if output == "classes" else ["lesion"])}
    shapes, kinds = {"valid": (2,), "position": (2,)}, {"classes": jnp.int32, "position": jnp.int32}
    fields = {
        key: jax.ShapeDtypeStruct(shapes.get(key, (2, 32, 32)), kinds.get(key, jnp.float32)) for key in sorted(names)
    }
    target = jax.ShapeDtypeStruct((2, 32, 32, 3 if output == "classes" else 1), jnp.float32)
    logits = dict.fromkeys(infnet.MAPS, target) if output == "maps" else target
    classes = target.shape[-1]
    of = f" for {classes} class{'es' * (classes > 1)}"
    compose.check(terms, name, logits, target, fields=fields, maps=infnet.LESION_MAPS, of=of)


def _prepare(batch: Batch, key: jax.Array, step: jax.Array, options: Options) -> Batch:
    """The augmented batch at the step's scale."""
    keys = update.slice_keys(key, step, batch["position"])
    batch = augment.augment(keys, inputs.to_unit(batch), options.augmentation)
    kinds = {"lesion": jnp.float32, "ignore": jnp.float32, "classes": jnp.int32}
    batch |= {name: batch[name].astype(kind) for name, kind in kinds.items() if name in batch}
    size = max(round(batch["image"].shape[1] * options.scale / 32), 1) * 32
    if options.scale != 1.0:
        batch = {name: _resize(name, value, size) if value.ndim == 3 else value for name, value in batch.items()}
    return batch


def _resize(name: str, value: jax.Array, size: int) -> jax.Array:
    """[B,H,W] -> [B,size,size]: slices and priors bilinear, labels nearest."""
    if name in augment.INTERPOLATED:
        return ops.resize_bilinear(value[..., None], (size, size))[..., 0]
    return ops.resize_nearest(value[..., None], (size, size), centred=True)[..., 0]


def _smooth(target: jax.Array, options: Options) -> jax.Array:
    return target * (1 - options.label_smoothing) + options.label_smoothing / 2


def _dice(pred: jax.Array, truth: jax.Array) -> jax.Array:
    """Mean over classes of (2 |A and B| + 1) / (|A| + |B| + 1) per slice, float[B]."""
    both = (pred & truth).sum(axis=(1, 2))
    return ((2 * both + 1) / (pred.sum(axis=(1, 2)) + truth.sum(axis=(1, 2)) + 1)).mean(axis=-1)
