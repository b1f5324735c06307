"""Adversarial pretraining: the inpainter restores regions that the coach erases; the coach learns to make that hard.

Two train states take turns. `inpaint_step` freezes the coach, `coach_step` the inpainter: a frozen network uses its
running statistics of batch norm and does not update them.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from ssinfnet_jax.config import Augmentation, GameOptions
from ssinfnet_jax.losses import compose, inpainting
from ssinfnet_jax.models import coach as coaching
from ssinfnet_jax.models import infnet
from ssinfnet_jax.networks import inputs
from ssinfnet_jax.networks.inputs import Batch, Normalisation
from ssinfnet_jax.training.steps import augment, state, update
from ssinfnet_jax.training.steps.state import TrainState


class Game(NamedTuple):
    """The two networks, their inputs and their losses.

    The losses are tables as for `compose.make_loss`. The inpainter's functions take restored slices and target,
    float[B,H,W,C] in [-1, 1], and are summed over the inpainter's maps; the coach's take the inpainter's
    `inpainting.reconstruction`, float[B]. Both may have fields as parameters: `image` and, for a multi network, `prior`
    float[B,H,W] in [0, 1]; `valid` float[B]; `position` int[B]; `keep` float[B,H,W,1], 1 = kept. The coach's may also
    have `score`, `mu`, `logvar` (`coach.Scores`), `kl` float[B], and `restored` and `target` as above; `restored` is a
    dict if the inpainter has several maps.

    Attributes:
      inpainter: InfNet or a multi network, with a method `inpaint`.
      coach: the coach.
      num_inputs: channels of the inpainter's input, 3 or 6; the coach gets the slice's three.
      normalisation: of the input.
      inpainter_losses, coach_losses: the loss of each.
      options: see `GameOptions`.
    """

    inpainter: nn.Module
    coach: coaching.Coach
    num_inputs: int
    normalisation: Normalisation
    inpainter_losses: compose.Terms
    coach_losses: compose.Terms
    options: GameOptions = GameOptions()


def make_inpaint_step(
    game: Game, optimizer: optax.GradientTransformation, *, augmentation: Augmentation, axis_name: str | None = None
) -> Callable[[TrainState, TrainState, Batch, jax.Array], tuple[TrainState, dict[str, jax.Array]]]:
    """`inpaint_step(inpainter, coach, batch, key) -> (inpainter, metrics)`.

    `batch["erased_by_coach"]`, float[B], is 1 if the coach chooses the regions, 0 if they are random; it must be the
    same for the whole batch. Masks are binary.
    """
    loss = compose.make_loss(game.inpainter_losses)

    def step(current: TrainState, coach_state: TrainState, batch: Batch, key: jax.Array):
        batch, data, mask_keys = _prepare(game, current, batch, key, augmentation)
        keep = binary_keep(game, state.variables(coach_state), data, batch["erased_by_coach"][0] > 0, mask_keys)

        def objective(params):
            restored, changed = game.inpainter.apply(
                {"params": params, "batch_stats": current.batch_stats},
                data * keep,
                train=True,
                mutable=["batch_stats"],
                method="inpaint",
            )
            terms = loss(restored, inputs.inpainting_target(data), keep=keep, **batch)
            extra = {
                "reconstruction": _error(inpainting.reconstruction, restored, data, keep),
                "context": _error(inpainting.context, restored, data, keep),
                "erased_fraction": 1 - keep.mean(axis=(1, 2, 3)),
            }
            return compose.by_term(terms), extra, changed["batch_stats"]

        return update.update(current, objective, optimizer, batch["valid"], axis_name=axis_name)

    return step


def make_coach_step(
    game: Game, optimizer: optax.GradientTransformation, *, augmentation: Augmentation, axis_name: str | None = None
) -> Callable[[TrainState, TrainState, Batch, jax.Array], tuple[TrainState, dict[str, jax.Array]]]:
    """`coach_step(coach, inpainter, batch, key) -> (coach, metrics)`; the mask is soft, so that gradients flow."""
    loss = compose.make_loss(game.coach_losses, num_args=1)

    def step(current: TrainState, inpainter_state: TrainState, batch: Batch, key: jax.Array):
        batch, data, eps_keys = _prepare(game, current, batch, key, augmentation)
        eps = _eps(game, data, eps_keys)

        def objective(params):
            scores, changed = game.coach.apply(
                {"params": params, "batch_stats": current.batch_stats},
                data[..., :3],
                eps,
                train=True,
                mutable=["batch_stats"],
            )
            keep = coaching.keep_mask(scores.score, alpha=game.options.soft_alpha, keep_ratio=game.options.keep_ratio)
            if game.options.straight_through:
                keep += jax.lax.stop_gradient((keep > 0.5).astype(keep.dtype) - keep)
            # The gradient also reaches the coach through the inpainter's input.
            seen = jax.lax.stop_gradient(keep) if game.options.cut_input_gradient else keep
            restored = game.inpainter.apply(
                state.variables(inpainter_state), data * seen, train=False, method="inpaint"
            )
            reconstruction = _error(inpainting.reconstruction, restored, data, keep)
            kl, target = coaching.divergence(scores), inputs.inpainting_target(data)
            terms = loss(
                reconstruction, **batch, **scores._asdict(), kl=kl, keep=keep, restored=restored, target=target
            )
            extra = {"reconstruction": reconstruction, "kl": kl, "erased_fraction": 1 - keep.mean(axis=(1, 2, 3))}
            return compose.by_term(terms), extra, changed["batch_stats"]

        return update.update(current, objective, optimizer, batch["valid"], axis_name=axis_name)

    return step


def check_losses(inpainter: compose.Terms, coach: compose.Terms, name: str, num_inputs: int, output: str) -> None:
    """Raises ValueError for losses that cannot be computed from what the steps provide (see `Game`).

    Args:
      inpainter, coach: the tables `name`.inpainter_losses and `name`.coach_losses.
      num_inputs, output: of the inpainter, as `models.num_inputs` and `models.output`.
    """

    def array(*shape):
        return jax.ShapeDtypeStruct((2, *shape), jnp.float32)

    target = array(32, 32, num_inputs)
    restored = dict.fromkeys(infnet.MAPS, target) if output == "maps" else target
    fields = {"image": array(32, 32), "valid": array(), "position": array(), "keep": array(32, 32, 1)}
    fields |= {"prior": array(32, 32)} if num_inputs == 6 else {}
    compose.check(inpainter, f"{name}.inpainter_losses", restored, target, fields=fields)
    latent = {key: array(2, 2, 4) for key in ("mu", "logvar")}
    fields |= {**latent, "score": array(2, 2, 1), "kl": array(), "restored": restored, "target": target}
    compose.check(coach, f"{name}.coach_losses", array(), fields=fields)


def make_inpaint_eval(game: Game) -> Callable[[Any, Any, Batch, jax.Array], dict[str, jax.Array]]:
    """`evaluate(inpainter variables, coach variables, batch, key) -> inpaintings under random and the coach's masks`.

    Returns: a function that returns image, keep_random, inpainting_random, keep_coach, inpainting_coach float[B,H,W] in
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
        reconstruction = _error(inpainting.reconstruction, restored, twice, keep)
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
    """The inpainter's mask, float[B,H,W,1] of {0, 1}: regions ranked by the frozen coach, or at random.

    `keys`, key[B], are from `update.slice_keys`.
    """
    eps = _eps(game, data, keys)

    def from_coach():
        return game.coach.apply(coach_variables, data[..., :3], eps, train=False).score

    # The coach's noise serves as the random ranking.
    score = jax.lax.cond(by_coach, from_coach, lambda: eps[..., :1])
    keep = coaching.keep_mask(score, alpha=100.0, keep_ratio=game.options.keep_ratio)
    return (keep > 0.5).astype(data.dtype)


def _prepare(game: Game, learner: TrainState, batch: Batch, key: jax.Array, augmentation: Augmentation):
    """(augmented batch, the inpainter's input, a key per slice for other draws)."""
    keys = update.slice_keys(key, learner.step, batch["position"])
    augment_keys, other_keys = jax.vmap(jax.random.split, out_axes=1)(keys)
    batch = augment.augment(augment_keys, inputs.to_unit(batch), augmentation)
    return batch, inputs.INPUTS[game.num_inputs](batch, game.normalisation), other_keys


def _eps(game: Game, data: jax.Array, keys: jax.Array) -> jax.Array:
    """The coach's standard normal noise, float[B,H/16,W/16,latent]."""
    shape = game.coach.eps_shape(data.shape)[1:]
    return jax.vmap(lambda key: jax.random.normal(key, shape))(keys)


def _error(measure: Callable[..., jax.Array], restored, data: jax.Array, keep: jax.Array) -> jax.Array:
    """Reconstruction or context error, float[B], summed over the inpainter's outputs."""
    target = inputs.inpainting_target(data)
    outputs = restored.values() if isinstance(restored, dict) else [restored]
    return sum(measure(output, target, keep=keep) for output in outputs)
