import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from configs import losses
from ssinfnet_jax.config import Augmentation
from ssinfnet_jax.losses import compose
from ssinfnet_jax.models import coach as coaching
from ssinfnet_jax.networks import inputs, parallel
from ssinfnet_jax.networks.inputs import Normalisation
from ssinfnet_jax.training.steps import adversarial_step, state, update
from tests.training import toy

FLIP = Augmentation(flip_left_right=True)


def _game(which="single", axis_name=None):
    single = which == "single"
    model = toy.Toy(1 if single else 3, 3 if single else 6, as_maps=single, axis_name=axis_name)
    coach = toy.ToyCoach(axis_name=axis_name)
    terms = losses.INPAINTER, losses.COACH
    game = adversarial_step.Game(model, coach, 3 if single else 6, Normalisation(0.5, 0.25), *terms)
    optimizer = optax.adam(0.01)
    inpainter = state.create(model, optimizer, seed=0, num_channels=game.num_inputs)
    return game, optimizer, inpainter, state.create(coach, optimizer, seed=0, num_channels=3)


def _batch(by_coach, **options):
    data = toy.batch(size=64, **options)
    return {**data, "erased_by_coach": np.full(len(data["valid"]), by_coach, np.float32)}


@pytest.mark.parametrize("which", ["single", "multi"])
def test_inpainting_gets_better_and_a_quarter_is_erased(which):
    game, optimizer, inpainter, coach = _game(which)
    step = jax.jit(adversarial_step.make_inpaint_step(game, optimizer, augmentation=FLIP))
    values = []
    for number in range(40):
        inpainter, metrics = step(inpainter, coach, _batch(number % 2), jax.random.key(0))
        values.append(float(metrics["loss"]))
        # 16 regions, of which the 12th largest score and all below it are erased: 5 of 16.
        assert float(metrics["erased_fraction"]) == pytest.approx(5 / 16)
    assert np.mean(values[-5:]) < np.mean(values[:5])


def test_the_coach_makes_it_harder_for_a_frozen_inpainter():
    game, optimizer, inpainter, coach = _game()
    frozen = jax.tree.map(np.asarray, inpainter)
    step = jax.jit(adversarial_step.make_coach_step(game, optimizer, augmentation=FLIP))
    reconstruction = []
    for _ in range(30):
        coach, metrics = step(coach, inpainter, _batch(1), jax.random.key(0))
        reconstruction.append(float(metrics["reconstruction"]))
    assert np.mean(reconstruction[-5:]) > np.mean(reconstruction[:5])
    for a, b in zip(jax.tree.leaves(inpainter), jax.tree.leaves(frozen), strict=True):
        np.testing.assert_array_equal(a, b)
    assert int(coach.step) == 30


def test_straight_through_the_coach_sees_the_mask_that_the_inpainter_will_see():
    game, optimizer, inpainter, coach = _game()
    found = {}
    for name, straight in (("soft", False), ("straight", True)):
        changed = game._replace(options=dataclasses.replace(game.options, straight_through=straight))
        step = jax.jit(adversarial_step.make_coach_step(changed, optimizer, augmentation=FLIP))
        _, found[name] = step(coach, inpainter, _batch(1), jax.random.key(0))
    assert float(found["straight"]["erased_fraction"]) == pytest.approx(5 / 16)
    assert float(found["soft"]["erased_fraction"]) != pytest.approx(5 / 16, abs=1e-3)
    assert float(found["straight"]["grad_norm"]) > 0


def test_the_gradient_reaches_the_coach_through_the_inpainters_input():
    game, optimizer, inpainter, coach = _game()
    step = jax.jit(adversarial_step.make_coach_step(game, optimizer, augmentation=FLIP))
    # If the inpainter ignores its input, only the gradient through the weights of the error is left.
    deaf = jax.tree.map(jnp.copy, inpainter)
    deaf.params["head_inpainting"]["conv"]["kernel"] *= 0
    norms = [float(step(coach, who, _batch(1), jax.random.key(0))[1]["grad_norm"]) for who in (inpainter, deaf)]
    assert norms[0] > 0
    assert norms[0] != pytest.approx(norms[1], rel=1e-3)


@pytest.mark.parametrize("who", ["inpainter", "coach"])
def test_values_and_gradients_of_the_tables_are_those_of_the_paper(who):
    """The inpainter: 0.99 reconstruction + 0.01 context over its maps; the coach: 1 - reconstruction + 1e-6 KL."""
    game, _, inpainter, coach = _game()
    batch, key, rate = _batch(1, count=2), jax.random.key(3), 1.0
    make = adversarial_step.make_inpaint_step if who == "inpainter" else adversarial_step.make_coach_step
    current, other = (inpainter, coach) if who == "inpainter" else (coach, inpainter)
    current = current.replace(opt_state=optax.sgd(rate).init(current.params))
    step = make(game, optax.sgd(rate), augmentation=Augmentation())
    new, metrics = jax.jit(step)(current, other, batch, key)

    keys = jax.vmap(jax.random.split, out_axes=1)(update.slice_keys(key, 0, batch["position"]))[1]
    data = inputs.image_input(inputs.to_unit(batch), game.normalisation)
    target = jnp.clip(data / 3, -1, 1)

    def errors(restored, keep):
        error = sum(jnp.minimum(jnp.square(one - target), 2).mean(-1) for one in restored.values())
        keep = keep[..., 0]
        return [(error * weight).sum((1, 2)) / weight.sum((1, 2)) for weight in (1 - keep, keep)]

    def value(params):
        variables = {"params": params, "batch_stats": current.batch_stats}
        if who == "inpainter":
            keep = adversarial_step.binary_keep(game, state.variables(coach), data, jnp.asarray(True), keys)
            restored, _ = game.inpainter.apply(
                variables, data * keep, train=True, method="inpaint", mutable=["batch_stats"]
            )
            reconstruction, context = errors(restored, keep)
            return (0.99 * reconstruction + 0.01 * context).mean()
        eps = adversarial_step._eps(game, data, keys)
        scores, _ = game.coach.apply(variables, data, eps, train=True, mutable=["batch_stats"])
        keep = coaching.keep_mask(scores.score, alpha=1.0, keep_ratio=0.75)
        restored = game.inpainter.apply(state.variables(inpainter), data * keep, train=False, method="inpaint")
        mu, logvar = scores.mu.mean((1, 2)), scores.logvar.mean((1, 2))
        kl = 0.5 * (jnp.exp(logvar) + mu**2 - 1 - logvar).sum(-1)
        return (1 - errors(restored, keep)[0] + 1e-6 * kl).mean()

    expected, gradient = jax.jit(jax.value_and_grad(value))(current.params)
    np.testing.assert_allclose(metrics["loss"], expected, rtol=1e-5)
    moved = jax.tree.map(jnp.subtract, current.params, new.params)
    largest = max(float(jnp.abs(leaf).max()) for leaf in jax.tree.leaves(gradient))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5 * largest), moved, gradient)
    names = {"inpainter": {"reconstruction_loss", "context_loss", "context"}, "coach": {"coach_loss", "kl"}}[who]
    assert set(metrics) == names | {"loss", "grad_norm", "reconstruction", "erased_fraction"}
    assert set(metrics) - set(losses.INPAINTER) - set(losses.COACH) < set(compose.METRICS)


@pytest.mark.parametrize("who", ["inpainter", "coach"])
def test_two_devices_learn_as_one_learner(who):
    """The copies on the devices stay equal; test_processes compares them with a single device."""
    strategy = parallel.Pmap()
    game, optimizer, inpainter, coach = _game(axis_name=strategy.axis_name)
    make = adversarial_step.make_inpaint_step if who == "inpainter" else adversarial_step.make_coach_step
    step = make(game, optimizer, augmentation=FLIP, axis_name=strategy.axis_name)
    run = strategy.map_step(step, jax.random.key(0))
    players = [strategy.place(one) for one in ((inpainter, coach) if who == "inpainter" else (coach, inpainter))]
    current, metrics = run(*players, strategy.place_batch(_batch(1)))
    for leaf in jax.tree.leaves(current):
        first, second = (np.asarray(shard.data) for shard in leaf.addressable_shards)
        np.testing.assert_array_equal(first, second)
    assert np.isfinite(float(metrics["loss"]))


def test_evaluation_shows_both_kinds_of_masks():
    game, _, inpainter, coach = _game()
    evaluate = jax.jit(adversarial_step.make_inpaint_eval(game))
    out = evaluate(state.variables(inpainter), state.variables(coach), toy.batch(size=64), jax.random.key(0))
    for how in ("random", "coach"):
        assert out[f"inpainting_{how}"].shape == (4, 64, 64)
        assert set(np.unique(out[f"keep_{how}"])) == {0, 1}
        assert out[f"reconstruction_{how}"].shape == (4,)
    assert 0 <= float(out["inpainting_random"].min()) <= float(out["inpainting_random"].max()) <= 1
    assert (out["keep_random"] != out["keep_coach"]).any()
