import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.ndimage
import scipy.special

from configs.losses import DIVISION, EDGES, LOSSES
from ssinfnet_jax.losses import compose, segmentation

TABLE = {**LOSSES, **EDGES}
ANY = {**TABLE, **DIVISION}


def _random(shape=(3, 40, 36, 1), seed=0):
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=shape).astype(np.float32)
    target = (rng.random(shape) < 0.3).astype(np.float32)
    return logits, target


def test_bce_by_hand():
    logits, target = _random()
    probs = scipy.special.expit(logits.astype(np.float64))
    expected = -(target * np.log(probs) + (1 - target) * np.log(1 - probs)).mean(axis=(1, 2, 3))
    np.testing.assert_allclose(jax.jit(segmentation.bce)(logits, target), expected, rtol=1e-5)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
def test_focal_by_hand(gamma):
    logits, target = _random((2, 8, 8, 3))
    alpha = np.array([0.2, 1.0, 3.0])
    probs = scipy.special.expit(logits.astype(np.float64))
    p_t = np.where(target > 0, probs, 1 - probs)
    expected = (-alpha * (1 - p_t) ** gamma * np.log(p_t)).mean(axis=(1, 2, 3))
    found = segmentation.focal(logits, target, gamma=gamma, alpha=alpha)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_focal_without_focus_is_bce():
    logits, target = _random((2, 8, 8, 3))
    np.testing.assert_allclose(
        segmentation.focal(logits, target, gamma=0.0), segmentation.bce(logits, target), rtol=1e-6
    )


@pytest.mark.parametrize("unweighted_bce", [False, True])
def test_weighted_iou_bce_by_hand(unweighted_bce):
    logits, target = _random()
    expected = []
    for one_logits, one in zip(logits[..., 0].astype(np.float64), target[..., 0].astype(np.float64), strict=True):
        box = scipy.ndimage.uniform_filter(one, 31, mode="constant")
        weight = 1 + 5 * np.abs(box - one)
        probs = scipy.special.expit(one_logits)
        cross_entropy = -(one * np.log(probs) + (1 - one) * np.log(1 - probs))
        mean = cross_entropy.mean() if unweighted_bce else (weight * cross_entropy).sum() / weight.sum()
        intersection = (weight * probs * one).sum()
        union = (weight * (probs + one)).sum()
        expected.append(1 - (intersection + 1) / (union - intersection + 1) + mean)
    found = segmentation.weighted_iou_bce(logits, target, unweighted_bce=unweighted_bce)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.parametrize("unweighted_bce", [False, True])
def test_weighted_iou_bce_is_a_mean_over_classes(unweighted_bce):
    logits, target = _random((2, 40, 36, 3))
    one_by_one = [
        segmentation.weighted_iou_bce(logits[..., [k]], target[..., [k]], unweighted_bce=unweighted_bce)
        for k in range(3)
    ]
    found = segmentation.weighted_iou_bce(logits, target, unweighted_bce=unweighted_bce)
    np.testing.assert_allclose(found, np.mean(one_by_one, axis=0), rtol=1e-5)


def test_an_even_window_is_an_error():
    with pytest.raises(ValueError, match="window must be odd, found 16"):
        segmentation.weighted_iou_bce(*_random(), window=16)


def test_every_class_has_one_weight():
    with pytest.raises(ValueError, match=r"one for each of the 1 classes; found \(1\.0, 4\.0\)"):
        segmentation.focal(*_random(), alpha=(1.0, 4.0))


def test_the_contour_of_a_rectangle():
    """By the gradient at logits of 0, which is (1/2 - contour) / pixels."""
    target = np.zeros((1, 8, 8, 1), np.float32)
    target[0, 2:6, 2:6] = 0.9  # a smoothed label is inside too
    logits = jnp.zeros(target.shape)
    gradient = jax.grad(lambda x: segmentation.contour_bce(x, target).sum())(logits)
    contour = np.asarray(0.5 - 64 * gradient)[0, ..., 0]
    assert contour[3, 3] == 0
    assert contour[2, 2] == 1  # the lesion's own border
    assert contour[1, 3] == 1  # and the pixel next to it
    assert contour[0, 0] == 0
    assert contour.sum() == 12 + 16
    values = np.where(contour, np.log1p(np.exp(-2.0)), np.log1p(np.exp(2.0)))
    np.testing.assert_allclose(segmentation.contour_bce(logits + 2, target), [values.mean()], rtol=1e-6)


def test_tversky_by_hand():
    logits, target = _random((2, 8, 8, 3))
    probs = scipy.special.expit(logits.astype(np.float64))
    hit = (probs * target).sum(axis=(1, 2))
    missed, extra = ((1 - probs) * target).sum(axis=(1, 2)), (probs * (1 - target)).sum(axis=(1, 2))
    expected = (1 - (hit + 1) / (hit + 0.3 * extra + 0.7 * missed + 1)).mean(axis=-1)
    np.testing.assert_allclose(segmentation.tversky(logits, target), expected, rtol=1e-5)
    half = segmentation.tversky(logits, target, alpha=0.5, beta=0.5, smooth=0.5)
    np.testing.assert_allclose(half, segmentation.dice(logits, target, smooth=1.0), rtol=1e-5)
    with pytest.raises(ValueError, match=r"tversky: alpha and beta must be >= 0, found -1 and 0\.7"):
        segmentation.tversky(logits, target, alpha=-1)


def test_division_by_hand():
    """Of each slice's lesion alone: binary cross-entropy and Dice of consolidation's share, by numpy."""
    rng = np.random.default_rng(0)
    classes = rng.integers(0, 3, (3, 8, 8))
    classes[1] = np.minimum(classes[1], 1)  # no consolidation
    logits = 2 * rng.normal(size=(3, 8, 8, 3)).astype(np.float32)
    found = segmentation.division(logits, np.eye(3, dtype=np.float32)[classes], dice_weight=0.5, smooth=0.1)
    for value, truth, probs in zip(found, classes, scipy.special.expit(logits.astype(np.float64)), strict=True):
        share = (probs[..., 2] / (probs[..., 1] + probs[..., 2]))[truth > 0]
        dense = truth[truth > 0] == 2
        cross_entropy = -np.log(np.where(dense, share, 1 - share)).sum() / (dense.size + 0.1)
        dices = [(2 * p[t].sum() + 0.1) / (p.sum() + t.sum() + 0.1) for p, t in ((1 - share, ~dense), (share, dense))]
        assert value == pytest.approx(cross_entropy + 0.5 * (1 - np.mean(dices)), rel=1e-5)


def test_division_of_a_slice_without_lesion_costs_nothing():
    logits, target = _random((2, 8, 8, 3))
    target[0] = (1, 0, 0)
    assert segmentation.division(logits, target)[0] == 0
    with pytest.raises(ValueError, match="division: needs background, GGO and consolidation, found 1 classes"):
        segmentation.division(logits[..., :1], target[..., :1])


def test_dice_of_an_absent_class_costs_nothing():
    nothing = np.full((1, 4, 4, 1), -30.0, np.float32)
    assert segmentation.dice(nothing, np.zeros_like(nothing)) == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize("name", ANY)
def test_gradient_is_finite_at_saturation(name):
    loss = compose.resolve(ANY[name])
    logits = jnp.array([-1e4, -100.0, 0.0, 100.0, 1e4], jnp.float32).reshape(1, 5, 1, 1).repeat(3, axis=-1)
    for value in (0.0, 1.0):
        gradient = jax.grad(lambda x, v=value: loss(x, jnp.full_like(x, v)).sum())(logits)
        assert np.isfinite(gradient).all()


@pytest.mark.parametrize("gamma", [0.0, 0.3, 1.0, 2.0, 5.0])
def test_focal_gradient_is_finite_for_every_gamma(gamma):
    logits = jnp.array([-200.0, -20.0, 20.0, 200.0]).reshape(1, 4, 1, 1)
    for value in (0.0, 1.0):
        gradient = jax.grad(lambda x, v=value: segmentation.focal(x, jnp.full_like(x, v), gamma=gamma).sum())(logits)
        assert np.isfinite(gradient).all()


@pytest.mark.parametrize("name", ANY)
def test_padding_a_batch_changes_no_other_slice(name):
    loss = compose.resolve(ANY[name])
    logits, target = _random((3, 40, 36, 3))
    padded = loss(np.concatenate([logits, 9 * logits[:1]]), np.concatenate([target, target[:1]]))
    np.testing.assert_allclose(padded[:3], loss(logits, target), rtol=1e-6)


@pytest.mark.parametrize("name", TABLE)
def test_every_class_is_trained(name):
    logits, target = _random((2, 40, 36, 3))
    gradient = jax.grad(lambda x: compose.resolve(TABLE[name])(x, target).sum())(logits)
    assert (np.abs(gradient).sum(axis=(1, 2)) > 0).all()


@pytest.mark.parametrize("name", ANY)
def test_unequal_shapes_are_an_error(name):
    logits, target = _random((3, 40, 36, 3))
    with pytest.raises((TypeError, ValueError)):
        compose.resolve(ANY[name])(logits, target[:, :, :-1])


def test_the_error_of_unequal_shapes_names_them():
    logits, target = _random()
    with pytest.raises(ValueError, match=r"differ in shape: \(3, 40, 36, 1\) and \(3, 40, 35, 1\)"):
        segmentation.bce(logits, target[:, :, :-1])


def test_negative_gamma_is_an_error():
    logits, target = _random()
    with pytest.raises(ValueError, match="gamma must be >= 0, found -1"):
        segmentation.focal(logits, target, gamma=-1.0)
