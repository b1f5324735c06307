"""Adversarial pretraining: the inpainter restores what the coach chose to erase, and the coach makes that hard.

Two train states take turns. In `inpaint_step` the coach is frozen, in `coach_step` the inpainter, its running
statistics of batch norm included: a frozen network is applied with them, and they are not changed.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from ssinfnet_jax.losses import inpainting
from ssinfnet_jax.models import coach as coaching
from ssinfnet_jax.networks import inputs
from ssinfnet_jax.networks.inputs import Batch, Normalisation
from ssinfnet_jax.training import augment, state, update
from ssinfnet_jax.training.state import TrainState


class Options(NamedTuple):
    """Numbers of the game.

    Attributes:
      keep_ratio: fraction of the regions that is kept.
      reconstruction_weight, context_weight: of the errors on erased and on kept pixels.
      kl_weight: of the coach's divergence.
      soft_alpha: steepness of the coach's mask while it learns.
      straight_through: the coach sees what its binary mask does, and learns by the gradient of the soft one.
      cut_input_gradient: the coach learns from where the error is counted alone, and not through what the inpainter
        sees, as in the published code of the multi network.
    """

    keep_ratio: float = 0.75
    reconstruction_weight: float = 0.99
    context_weight: float = 0.01
    kl_weight: float = 1e-6
    soft_alpha: float = 1.0
    straight_through: bool = False
    cut_input_gradient: bool = False


class Game(NamedTuple):
    """The two networks and what they are fed.

    Attributes:
      inpainter: InfNet or a multi network, with a method `inpaint`.
      coach: the coach.
      num_inputs: channels of the inpainter's input, 3 or 6; the coach sees the slice's three.
      normalisation: of the input.
      options: see `Options`.
    """

    inpainter: nn.Module
    coach: coaching.Coach
    num_inputs: int
    normalisation: Normalisation
    options: Options = Options()


def make_inpaint_step(
    game: Game,
    optimizer: optax.GradientTransformation,
    *,
    augmentation: augment.Options,
    axis_name: str | None = None,
) -> Callable[[TrainState, TrainState, Batch, jax.Array], tuple[TrainState, dict[str, jax.Array]]]:
    """`inpaint_step(inpainter, coach, batch, key) -> (inpainter, metrics)`.

    `batch["erased_by_coach"]`, float[B], says whether the coach chooses the regions (1) or chance does (0); it must be
    the same for the whole batch. Masks are binary.
    """

    def step(current: TrainState, coach_state: TrainState, batch: Batch, key: jax.Array):
        keys = update.slice_keys(key, current.step, batch["position"])
        augment_keys, mask_keys = jax.vmap(jax.random.split, out_axes=1)(keys)
        batch = augment.augment(augment_keys, inputs.to_unit(batch), augmentation)
        data = inputs.INPUTS[game.num_inputs](batch, game.normalisation)
        keep = binary_keep(game, state.variables(coach_state), data, batch["erased_by_coach"][0] > 0, mask_keys)

        def objective(params):
            restored, changed = game.inpainter.apply(
                state.train_variables(current, params),
                data * keep,
                train=True,
                mutable=["batch_stats"],
                method="inpaint",
            )
            reconstruction, context = _errors(restored, data, keep)
            terms = {
                "reconstruction_loss": game.options.reconstruction_weight * reconstruction,
                "context_loss": game.options.context_weight * context,
            }
            extra = {
                "reconstruction": reconstruction,
                "context": context,
                "erased_fraction": 1 - keep.mean(axis=(1, 2, 3)),
            }
            return terms, extra, changed["batch_stats"]

        return update.update(current, objective, optimizer, batch["valid"], axis_name=axis_name)

    return step


def make_coach_step(
    game: Game,
    optimizer: optax.GradientTransformation,
    *,
    augmentation: augment.Options,
    axis_name: str | None = None,
) -> Callable[[TrainState, TrainState, Batch, jax.Array], tuple[TrainState, dict[str, jax.Array]]]:
    """`coach_step(coach, inpainter, batch, key) -> (coach, metrics)`; the mask is soft, so that a gradient passes."""

    def step(current: TrainState, inpainter_state: TrainState, batch: Batch, key: jax.Array):
        keys = update.slice_keys(key, current.step, batch["position"])
        augment_keys, eps_keys = jax.vmap(jax.random.split, out_axes=1)(keys)
        batch = augment.augment(augment_keys, inputs.to_unit(batch), augmentation)
        data = inputs.INPUTS[game.num_inputs](batch, game.normalisation)
        eps = _eps(game, data, eps_keys)

        def objective(params):
            scores, changed = game.coach.apply(
                state.train_variables(current, params),
                data[..., :3],
                eps,
                train=True,
                mutable=["batch_stats"],
            )
            keep = coaching.keep_mask(scores.score, alpha=game.options.soft_alpha, keep_ratio=game.options.keep_ratio)
            if game.options.straight_through:
                keep += jax.lax.stop_gradient((keep > 0.5).astype(keep.dtype) - keep)
            # The gradient reaches the coach through the inpainter's input, too.
            seen = jax.lax.stop_gradient(keep) if game.options.cut_input_gradient else keep
            restored = game.inpainter.apply(
                state.variables(inpainter_state), data * seen, train=False, method="inpaint"
            )
            reconstruction, _ = _errors(restored, data, keep)
            loss, kl = inpainting.coach(reconstruction, scores.mu, scores.logvar, kl_weight=game.options.kl_weight)
            extra = {
                "reconstruction": reconstruction,
                "kl": kl,
                "erased_fraction": 1 - keep.mean(axis=(1, 2, 3)),
            }
            return {"coach_loss": loss}, extra, changed["batch_stats"]

        return update.update(current, objective, optimizer, batch["valid"], axis_name=axis_name)

    return step


def make_inpaint_eval(game: Game) -> Callable[[Any, Any, Batch, jax.Array], dict[str, jax.Array]]:
    """A function (inpainter variables, coach variables, batch, key) -> inpaintings under random and coach's masks.

    Returns: function giving image, keep_random, inpainting_random, keep_coach, inpainting_coach float[B,H,W] in
      [0, 1] and reconstruction_random, reconstruction_coach float[B].
    """

    def evaluate(inpainter_variables, coach_variables, batch: Batch, key: jax.Array) -> dict[str, jax.Array]:
        batch = inputs.to_unit(batch)
        data = inputs.INPUTS[game.num_inputs](batch, game.normalisation)
        position = jnp.arange(len(data))
        masks = [
            binary_keep(game, coach_variables, data, jnp.asarray(by_coach), update.slice_keys(mask_key, 0, position))
            for by_coach, mask_key in zip((False, True), jax.random.split(key), strict=True)
        ]
        keep = jnp.concatenate(masks)
        twice = jnp.concatenate([data, data])
        restored = game.inpainter.apply(inpainter_variables, twice * keep, train=False, method="inpaint")
        reconstruction, _ = _errors(restored, twice, keep)
        picture = restored["map_2"] if isinstance(restored, dict) else restored
        pictures = inputs.restored_image(picture, game.normalisation)
        out = {"image": batch["image"]}
        size = data.shape[0]
        for name, half in (("random", slice(None, size)), ("coach", slice(size, None))):
            out[f"keep_{name}"] = keep[half, ..., 0]
            out[f"inpainting_{name}"] = pictures[half]
            out[f"reconstruction_{name}"] = reconstruction[half]
        return out

    return evaluate


def binary_keep(game: Game, coach_variables, data: jax.Array, by_coach: jax.Array, keys: jax.Array) -> jax.Array:
    """The mask the inpainter sees, float[B,H,W,1] of {0, 1}: regions ranked by the frozen coach, or by chance.

    `keys`, key[B], are those of `update.slice_keys`.
    """
    eps = _eps(game, data, keys)

    def from_coach():
        return game.coach.apply(coach_variables, data[..., :3], eps, train=False).score

    # Chance ranks the regions by noise that is there anyway.
    score = jax.lax.cond(by_coach, from_coach, lambda: eps[..., :1])
    keep = coaching.keep_mask(score, alpha=100.0, keep_ratio=game.options.keep_ratio)
    return (keep > 0.5).astype(data.dtype)


def _eps(game: Game, data: jax.Array, keys: jax.Array) -> jax.Array:
    """The coach's standard normal noise for each slice, float[B,H/16,W/16,latent]."""
    shape = game.coach.eps_shape(data.shape)[1:]
    return jax.vmap(lambda key: jax.random.normal(key, shape))(keys)


def _errors(restored, data: jax.Array, keep: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Reconstruction and context error, float[B] each, summed over the inpainter's outputs."""
    target = inputs.inpainting_target(data)
    outputs = restored.values() if isinstance(restored, dict) else [restored]
    pairs = [inpainting.reconstruction_and_context(output, target, keep) for output in outputs]
    return sum(pair[0] for pair in pairs), sum(pair[1] for pair in pairs)
