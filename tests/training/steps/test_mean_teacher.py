import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from configs import losses
from ssinfnet_jax.config import Augmentation, Optimizer, Teacher
from ssinfnet_jax.losses import segmentation
from ssinfnet_jax.networks import inputs, parallel
from ssinfnet_jax.training.steps import augment, mean_teacher, optim, segment_step, state
from tests.training import toy

TEACHER = Teacher(batch_size=4, weight=0.5, ramp=0.5, confidence=0.6)
SGD = Optimizer("sgd", 0.1)


def _make(teacher=TEACHER, axis_name=None, **augmentation):
    model = toy.Toy(1, 3, as_maps=False, axis_name=axis_name)
    optimizer = optim.make_optimizer(SGD, optim.make_schedule(SGD, steps_per_epoch=1, num_steps=10))
    options = segment_step.Options(
        Augmentation(**augmentation),
        inputs.Normalisation(0.5, 0.25),
        averaging=0.9,
        teacher=teacher,
        num_steps=20,
    )
    step = segment_step.make_step(
        model, optimizer, num_inputs=3, output="lesion", losses=losses.losses("bce"), options=options,
        axis_name=axis_name,
    )  # fmt: skip
    return model, step, state.create(model, optimizer, seed=0, num_channels=3, averaging=True)


def _batch(seed=0):
    other = toy.batch(seed=seed + 100)
    unlabeled = {"image": other["image"], "valid": other["valid"], "position": other["position"] + 4}
    return {**toy.batch(seed=seed), "unlabeled": unlabeled}


def test_the_weight_rises_as_published():
    for step, t in ((0, 0.0), (5, 0.5), (10, 1.0), (1000, 1.0)):
        np.testing.assert_allclose(mean_teacher.weight(step, TEACHER, 20), 0.5 * np.exp(-5 * (1 - t) ** 2), rtol=1e-6)


def test_the_loss_is_that_of_the_labels_of_which_the_teacher_is_sure():
    model, step, current = _make()
    # A teacher that differs from the network.
    current = current.replace(average=jax.tree.map(lambda x: x * 1.5, current.average), step=jnp.int32(1000))
    batch = _batch()
    _, metrics = jax.jit(step)(current, batch, jax.random.key(0))

    normalisation = inputs.Normalisation(0.5, 0.25)
    images = {name: inputs.to_unit(part) for name, part in (("all", batch), ("other", batch["unlabeled"]))}
    teacher = model.apply(current.average, inputs.image_input(images["other"], normalisation), train=False)
    sure = np.abs(np.asarray(teacher)) >= np.log(0.6 / 0.4)
    assert 0.1 < sure.mean() < 0.9
    target = jnp.concatenate([batch["lesion"][..., None], teacher > 0])
    both = jnp.concatenate([images["all"]["image"], images["other"]["image"]])
    variables = {"params": current.params, "batch_stats": current.batch_stats}
    logits, _ = model.apply(
        variables, inputs.image_input({"image": both}, normalisation), train=True, mutable=["batch_stats"]
    )
    pixels = optax.sigmoid_binary_cross_entropy(logits, target) * np.concatenate([np.ones_like(sure), sure])
    counted = [np.full(4, sure[0].size), sure.sum(axis=(1, 2, 3))]
    of_slices = pixels.sum(axis=(1, 2, 3)) / np.concatenate(counted)
    weights = np.repeat([1.0, 0.5], 4)
    np.testing.assert_allclose(metrics["loss"], (of_slices * weights).sum() / weights.sum(), rtol=1e-5)


def test_slices_without_lesion_do_not_drive_teacher_and_network_up():
    """Towards a target of 0.1, the weighted IoU is best at 0.23: probabilities as targets would rise in each round."""
    batch = toy.batch(count=2)
    unlabeled = {name: batch[name] for name in ("image", "valid")}
    logits = jnp.full((2, 32, 32, 1), jnp.log(0.1 / 0.9))
    merged = mean_teacher.merge(batch, unlabeled, logits, 0.9, 1.0)
    assert not merged["lesion"][2:].any()
    for target, rises in ((jax.nn.sigmoid(logits), True), (merged["lesion"][2:, ..., None], False)):
        slope = jax.grad(lambda x, t=target: segmentation.weighted_iou_bce(x, t).sum())(logits)
        assert (float(slope.mean()) < 0) == rises


def test_at_the_start_unlabeled_slices_hardly_count():
    _, step, current = _make(dataclasses.replace(TEACHER, ramp=1e6))
    batch = _batch()
    ignored = {**batch, "unlabeled": {**batch["unlabeled"], "valid": jnp.zeros(4)}}
    first, second = (jax.jit(step)(current, one, jax.random.key(0))[0] for one in (ignored, batch))
    change = optax.tree.norm(jax.tree.map(jnp.subtract, first.params, second.params))
    moved = optax.tree.norm(jax.tree.map(jnp.subtract, first.params, current.params))
    assert 0 < change < 0.02 * moved


def test_no_gradient_reaches_the_teacher():
    labeled, unlabeled = toy.batch(), toy.batch(seed=1)

    def target(logits):
        return mean_teacher.merge(labeled, unlabeled, logits, 0.9, 1.0)["lesion"].sum()

    assert not np.any(jax.grad(target)(jnp.ones((4, 32, 32, 1))))


def test_the_teacher_sees_the_slice_as_it_was_moved_and_in_its_own_light():
    options = Augmentation(flip_left_right=True, rotation=20.0, scale=(0.7, 1.0), gamma=0.5, noise=0.1, blur=2.0)
    keys = jax.random.split(jax.random.key(0), 4)
    lesion = np.asarray(toy.batch()["lesion"])
    batch = {"image": lesion.astype(np.float32), "lesion": lesion.astype(np.int32)}
    seen, changed = (augment.augment(keys, batch, each) for each in (augment.geometry_only(options), options))
    np.testing.assert_array_equal(seen["lesion"], changed["lesion"])
    assert np.abs(seen["image"] - changed["image"]).max() > 0.1
    assert ((seen["image"] > 0.5) != (seen["lesion"] > 0)).mean() < 0.1


@pytest.mark.parametrize("strategy", [parallel.Pmap, parallel.Jit])
def test_two_devices_equal_one(strategy):
    strategy = strategy()
    key = jax.random.key(0)
    _, step, one = _make(gamma=0.3)
    _, mapped, initial = _make(axis_name=strategy.axis_name, gamma=0.3)
    run, two = strategy.map_step(mapped, key), strategy.place(initial)
    for seed in range(3):
        # Each device has slices of both kinds; the second device has fewer valid ones.
        data = _batch(seed)
        data["valid"] = np.array([1, 1, 1, 0], np.float32)
        one, expected = jax.jit(step)(one, data, key)
        two, found = run(two, strategy.place_batch(data))
        np.testing.assert_allclose(found["loss"], expected["loss"], rtol=2e-4)
    flat = zip(jax.tree.leaves(strategy.fetch(two)), jax.tree.leaves(one), strict=True)
    for found, expected in flat:
        np.testing.assert_allclose(found, expected, rtol=2e-4, atol=1e-5)
