"""Training steps of the two segmentation networks."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from ssinfnet_jax.losses import compose, segmentation
from ssinfnet_jax.models import ops
from ssinfnet_jax.networks import inputs, prediction
from ssinfnet_jax.networks.inputs import Batch, Normalisation
from ssinfnet_jax.training import augment, mean_teacher, state, update
from ssinfnet_jax.training.state import TrainState

Step = Callable[[TrainState, Batch, jax.Array], tuple[TrainState, dict[str, jax.Array]]]


class Options(NamedTuple):
    """How a step sees its batch, and what it keeps.

    Attributes:
      augmentation: see `augment.Options`.
      normalisation: of the input.
      scale: side of the slices in this step, relative to the batch's and rounded to a multiple of 32 pixels.
      label_smoothing: s in [0, 1); targets t become t (1 - s) + s / 2.
      averaging: decay of the averaged weights, where the state has them.
      teacher: how the unlabeled slices of a single network's batch count, or None.
      steps_per_epoch: of the labeled slices, for the teacher.
    """

    augmentation: augment.Options
    normalisation: Normalisation
    scale: float = 1.0
    label_smoothing: float = 0.0
    averaging: float = 0.0
    teacher: mean_teacher.Options | None = None
    steps_per_epoch: float = 1.0


def make_single_step(
    model: nn.Module,
    optimizer: optax.GradientTransformation,
    *,
    output: str,
    losses: Mapping[str, Mapping[str, Any]],
    options: Options,
    axis_name: str | None = None,
) -> Step:
    """A step of a single network, which finds the lesion.

    With output "maps" (InfNet) every loss term is taken on the global map and maps 4, 3, 2, and cross-entropy on the
    edge map; with "lesion" (U-Net) every loss term on the logits. A batch that has "unlabeled" slices as well, a
    batch of `image`, `position` and `valid`, is completed by the averaged weights (`mean_teacher`).

    Source: the paper, eq. 5.
    """
    loss = compose.make_loss(losses)

    def step(current: TrainState, batch: Batch, key: jax.Array):
        unlabeled = batch.get("unlabeled")
        batch = _prepare(
            {name: value for name, value in batch.items() if name != "unlabeled"}, key, current.step, options
        )
        if unlabeled is not None:
            batch = _labeled_by_teacher(current, model, batch, unlabeled, key, output, options)
        lesion = batch["lesion"].astype(jnp.float32)[..., None]
        image = inputs.image_input(batch, options.normalisation)

        def objective(params):
            out, changed = model.apply(
                state.train_variables(current, params), image, train=True, mutable=["batch_stats"]
            )
            if output == "maps":
                contour = augment.edge(batch["lesion"] > 0.5).astype(jnp.float32)[..., None]
                terms = {"edge": segmentation.bce(out["edge"], contour)}
                for name in ("global_map", "map_4", "map_3", "map_2"):
                    for term, value in loss(out[name], _smooth(lesion, options)).items():
                        terms[f"{name}_{term}"] = value
            else:
                terms = loss(out, _smooth(lesion, options))
            pred = prediction.lesion_logits(out, output) > 0
            return terms, {"train_dice": _dice(pred, lesion > 0.5)}, changed["batch_stats"]

        return update.update(
            current, objective, optimizer, batch["valid"], axis_name=axis_name, averaging=options.averaging
        )

    return step


def make_multi_step(
    model: nn.Module,
    optimizer: optax.GradientTransformation,
    *,
    num_inputs: int,
    losses: Mapping[str, Mapping[str, Any]],
    options: Options,
    axis_name: str | None = None,
) -> Step:
    """A step of the multi network: every loss term on the logits against one-hot classes (the paper, eqs. 6-7).

    With 6 inputs it sees slice and prior, with 3 (U-Net) the slice alone.
    """
    loss = compose.make_loss(losses)

    def step(current: TrainState, batch: Batch, key: jax.Array):
        batch = _prepare(batch, key, current.step, options)
        target = inputs.one_hot(batch["classes"])
        data = inputs.INPUTS[num_inputs](batch, options.normalisation)

        def objective(params):
            logits, changed = model.apply(
                state.train_variables(current, params), data, train=True, mutable=["batch_stats"]
            )
            pred = jax.nn.one_hot(logits.argmax(axis=-1), 3, dtype=bool)
            return (
                loss(logits, _smooth(target, options)),
                {"train_dice": _dice(pred, target > 0)},
                changed["batch_stats"],
            )

        return update.update(
            current, objective, optimizer, batch["valid"], axis_name=axis_name, averaging=options.averaging
        )

    return step


def _labeled_by_teacher(current, model, labeled: Batch, unlabeled: Batch, key, output: str, options: Options) -> Batch:
    """The labeled slices and, with what the averaged weights say of them, the unlabeled ones."""
    plain = options._replace(augmentation=augment.geometry_only(options.augmentation))
    seen = _prepare(unlabeled, key, current.step, plain)
    logits = model.apply(current.average, inputs.image_input(seen, options.normalisation), train=False)
    changed = _prepare(unlabeled, key, current.step, options)
    weight = mean_teacher.weight(current.step, options.teacher, options.steps_per_epoch)
    return mean_teacher.merge(
        labeled, changed, prediction.lesion_logits(logits, output), options.teacher.sharpness, weight
    )


def _prepare(batch: Batch, key: jax.Array, step: jax.Array, options: Options) -> Batch:
    """The augmented batch at the step's scale."""
    keys = update.slice_keys(key, step, batch["position"])
    batch = augment.augment(keys, inputs.to_unit(batch), options.augmentation)
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
    """Mean over classes of (2 |A and B| + 1) / (|A| + |B| + 1) per slice, for watching the training: float[B]."""
    both = (pred & truth).sum(axis=(1, 2))
    return ((2 * both + 1) / (pred.sum(axis=(1, 2)) + truth.sum(axis=(1, 2)) + 1)).mean(axis=-1)
