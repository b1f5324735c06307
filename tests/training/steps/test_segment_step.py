import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.ndimage

from configs import losses
from ssinfnet_jax.config import Augmentation, Lookahead, Optimizer
from ssinfnet_jax.losses import compose, segmentation
from ssinfnet_jax.networks import inputs, prediction
from ssinfnet_jax.networks.inputs import Normalisation
from ssinfnet_jax.training.steps import optim, segment_step, state
from tests.training import toy

SGD = Optimizer("sgd", 0.1, options={"momentum": 0.7})
LOOKAHEAD = dataclasses.replace(SGD, lookahead=Lookahead(5, 0.5))


# network: (channels of its input, of its output, of its inpainting, kind of output)
NETWORKS = {"single": (3, 1, 3, "maps"), "unet": (3, 1, 3, "lesion"), "multi": (6, 3, 6, "classes")}


def _model(which, axis_name=None):
    _, outputs, inpainted, output = NETWORKS[which]
    return toy.Toy(outputs, inpainted, as_maps=output == "maps", axis_name=axis_name)


def _make(which, table, axis_name=None, augmentation=None, **options):
    num_inputs, _, _, output = NETWORKS[which]
    model = _model(which, axis_name)
    optimizer = optim.make_optimizer(table, optim.make_schedule(table, steps_per_epoch=1, num_steps=10))
    terms = {"maps": ("weighted_iou_bce", "edge"), "lesion": ("weighted_iou_bce",), "classes": ("focal",)}
    step = segment_step.make_step(
        model,
        optimizer,
        num_inputs=num_inputs,
        output=output,
        losses=losses.losses(*terms[output]),
        options=segment_step.Options(Augmentation(**(augmentation or {})), Normalisation(0.5, 0.25), **options),
        axis_name=axis_name,
    )
    lookahead = table.lookahead is not None
    averaging = "averaging" in options
    return step, state.create(
        model, optimizer, seed=0, num_channels=num_inputs, lookahead=lookahead, averaging=averaging
    )


@pytest.mark.parametrize("which", ["single", "multi"])
def test_two_devices_equal_one(which, strategy):
    key = jax.random.key(0)
    step, one = _make(which, SGD)
    mapped, initial = _make(which, SGD, strategy.axis_name)
    run, two = strategy.map_step(mapped, key), strategy.place(initial)
    for seed in range(3):
        data = toy.batch(seed=seed)
        data["valid"] = np.array([1, 1, 1, 0], np.float32)  # unequal numbers of valid slices on the two devices
        one, expected = jax.jit(step)(one, data, key)
        two, found = run(two, strategy.place_batch(data))
        for name in expected:
            np.testing.assert_allclose(found[name], expected[name], rtol=2e-4, err_msg=name)
    flat = zip(jax.tree.leaves(strategy.fetch(two)), jax.tree.leaves(one), strict=True)
    for found, expected in flat:
        np.testing.assert_allclose(found, expected, rtol=2e-4, atol=1e-5)


def test_a_padded_slice_has_no_gradient():
    step, start = _make("single", SGD)
    data = toy.batch(seed=0)
    data["valid"] = np.array([1, 1, 1, 0], np.float32)
    other = dict(data)
    other["lesion"] = data["lesion"].at[3].set(1 - data["lesion"][3])
    first, second = (jax.jit(step)(start, one, jax.random.key(0))[0] for one in (data, other))
    for a, b in zip(jax.tree.leaves(first.params), jax.tree.leaves(second.params), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("which", NETWORKS)
def test_training_lowers_the_loss(which):
    step, current = _make(which, Optimizer("adam", 0.02), augmentation={"flip_left_right": True})
    step, data = jax.jit(step), toy.batch()
    rows = []
    for _ in range(30):
        current, metrics = step(current, data, jax.random.key(0))
        rows.append(float(metrics["loss"]))
    assert np.mean(rows[-5:]) < 0.8 * np.mean(rows[:5])
    assert int(current.step) == 30


def test_terms_are_logged_and_add_up():
    step, start = _make("single", SGD)
    _, metrics = jax.jit(step)(start, toy.batch(), jax.random.key(0))
    names = [f"{name}_weighted_iou_bce" for name in ("global_map", "map_4", "map_3", "map_2")]
    assert float(metrics["loss"]) == pytest.approx(sum(float(metrics[name]) for name in [*names, "edge"]), rel=1e-5)
    step, start = _make("unet", SGD)
    _, metrics = jax.jit(step)(start, toy.batch(), jax.random.key(0))
    assert set(metrics) == {"loss", "weighted_iou_bce", "train_dice", "grad_norm"}
    assert set(metrics) - {"weighted_iou_bce"} < set(compose.METRICS)


def test_value_and_gradient_of_the_table_are_those_of_the_paper():
    """Eq. 5: the loss on four maps and the cross-entropy of the contour; here all maps are equal."""
    step, start = _make("single", Optimizer("sgd", 1.0), label_smoothing=0.1)
    data = toy.batch(count=2)
    after, metrics = jax.jit(step)(start, data, jax.random.key(0))
    lesion = np.asarray(data["lesion"], np.float32)[..., None]
    cross = scipy.ndimage.generate_binary_structure(2, 1)[None, :, :, None]
    contour = scipy.ndimage.maximum_filter(lesion, footprint=cross) - scipy.ndimage.minimum_filter(
        lesion, footprint=cross
    )

    def value(params):
        variables = {"params": params, "batch_stats": start.batch_stats}
        image = inputs.image_input(inputs.to_unit(data), Normalisation(0.5, 0.25))
        out, _ = _model("single").apply(variables, image, train=True, mutable=["batch_stats"])
        logits = out["map_2"]
        edge = (jnp.logaddexp(0, logits) - logits * contour).mean()
        return 4 * segmentation.weighted_iou_bce(logits, 0.9 * lesion + 0.05).mean() + edge

    expected, gradient = jax.jit(jax.value_and_grad(value))(start.params)
    np.testing.assert_allclose(metrics["loss"], expected, rtol=1e-5)
    moved = jax.tree.map(jnp.subtract, start.params, after.params)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), moved, gradient)


def test_lookahead_moves_slow_weights_every_fifth_step():
    step, current = _make("multi", LOOKAHEAD)
    step, data = jax.jit(step), toy.batch()
    start = current.params.slow
    for done in range(1, 6):
        before = current
        current, _ = step(current, data, jax.random.key(0))
        slow, fast = (jax.tree.leaves(tree) for tree in (current.params.slow, current.params.fast))
        if done < 5:
            for a, b in zip(slow, jax.tree.leaves(start), strict=True):
                np.testing.assert_array_equal(a, b)
    # The fifth: slow + 0.5 (fast - slow), where fast is the result of plain SGD.
    plain, reached = _make("multi", SGD)
    plain = jax.jit(plain)
    for _ in range(5):
        reached, _ = plain(reached, data, jax.random.key(0))
    for a, b, c in zip(slow, jax.tree.leaves(start), jax.tree.leaves(reached.params), strict=True):
        np.testing.assert_allclose(a, 0.5 * np.asarray(b) + 0.5 * np.asarray(c), rtol=1e-4, atol=1e-6)
    for a, b in zip(slow, fast, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7)
    assert state.variables(current)["params"] is current.params.slow
    assert int(before.step) == 4


def test_predictions_are_probabilities():
    normalisation = Normalisation(0.5, 0.25)
    for which, (num_inputs, _, _, output) in NETWORKS.items():
        single = which != "multi"
        variables = state.variables(_make(which, SGD)[1])
        predict = prediction.make_predict(
            _model(which), num_inputs=num_inputs, output=output, normalisation=normalisation
        )
        probs = np.asarray(predict(variables, toy.batch()))
        assert probs.min() >= 0
        assert probs.max() <= 1
        assert probs.shape == ((4, 32, 32) if single else (4, 32, 32, 3))
        if not single:
            np.testing.assert_allclose(probs.sum(axis=-1), 1, rtol=1e-5)


def test_published_lookahead_moves_at_updates_1_6_11():
    step, current = _make("multi", dataclasses.replace(SGD, lookahead=Lookahead(5, 0.5, sync_first=True)))
    step, data, moved = jax.jit(step), toy.batch(), []
    for done in range(1, 12):
        before = jax.tree.leaves(current.params.slow)
        current, _ = step(current, data, jax.random.key(0))
        if any((a != b).any() for a, b in zip(before, jax.tree.leaves(current.params.slow), strict=True)):
            moved.append(done)
    assert moved == [1, 6, 11]


def test_averaged_weights_are_the_result():
    step, current = _make("single", SGD, averaging=0.9)
    step, data = jax.jit(step), toy.batch()
    expected = np.asarray(current.params["head"]["conv"]["bias"])
    for done in range(3):
        current, _ = step(current, data, jax.random.key(0))
        decay = min(0.9, (1 + done) / (10 + done))
        expected = decay * expected + (1 - decay) * np.asarray(current.params["head"]["conv"]["bias"])
    result = state.variables(current)
    np.testing.assert_allclose(result["params"]["head"]["conv"]["bias"], expected, rtol=1e-5)
    assert jax.tree.structure(result["batch_stats"]) == jax.tree.structure(current.batch_stats)


@pytest.mark.parametrize("size", [32, 96, 128])
def test_labels_lie_on_their_slice_at_another_scale(size):
    square = np.zeros((1, 64, 64), np.float32)
    square[:, 16:48, 8:40] = 1
    centres = [
        scipy.ndimage.center_of_mass(np.asarray(segment_step._resize(name, square, size))[0])
        for name in ("image", "lesion")
    ]
    np.testing.assert_allclose(centres[0], centres[1], atol=0.01)


def test_another_scale_sees_the_same_slices_in_another_size():
    data = toy.batch(size=64)
    for scale, size in ((0.5, 32), (1.5, 96), (0.1, 32)):
        options = segment_step.Options(Augmentation(), Normalisation(0.5, 0.25), scale=scale)
        resized = segment_step._prepare(data, jax.random.key(0), 0, options)
        assert resized["image"].shape == resized["lesion"].shape == resized["prior"].shape == (4, size, size)
        assert set(np.unique(resized["classes"])) <= {0, 2}
        assert abs(float(resized["image"].mean() - data["image"].mean() / 255)) < 0.02
    step, start = _make("single", SGD, scale=0.5)
    _, metrics = jax.jit(step)(start, data, jax.random.key(0))
    assert np.isfinite(metrics["loss"])


def test_label_smoothing_is_in_the_target():
    smooth = segment_step._smooth(np.array([0.0, 1.0]), segment_step.Options(None, None, label_smoothing=0.2))
    np.testing.assert_allclose(smooth, [0.1, 0.9])


@pytest.mark.parametrize("which", NETWORKS)
def test_labels_of_ignored_pixels_change_nothing(which):
    augmentation = {"flip_left_right": True, "quarter_turns": True, "scale": (0.8, 1.0)}
    step, start = _make(which, SGD, augmentation=augmentation, label_smoothing=0.1)
    data = toy.batch(seed=0)
    shape = data["image"].shape
    data["ignore"] = np.zeros(shape, np.uint8)
    data["ignore"][:, 5:20, 8:24] = 1
    other, unlike = dict(data), {name: value for name, value in data.items() if name != "ignore"}
    for name in ("lesion", "classes"):
        other[name] = jnp.where(data["ignore"] == 1, 1 - np.minimum(data[name], 1), data[name])
    states, metrics = zip(*(jax.jit(step)(start, one, jax.random.key(0)) for one in (data, other, unlike)), strict=True)
    for a, b in zip(jax.tree.leaves(states[0].params), jax.tree.leaves(states[1].params), strict=True):
        np.testing.assert_array_equal(a, b)
    assert metrics[0]["train_dice"] == metrics[1]["train_dice"]
    assert not np.allclose(metrics[0]["loss"], metrics[2]["loss"], rtol=1e-3)
