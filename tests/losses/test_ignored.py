"""Ignored pixels count in no loss."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssinfnet_jax.losses import ignored, segmentation

LOSSES = {
    name: function
    for name, function in vars(segmentation).items()
    if getattr(function, "__module__", None) == segmentation.__name__ and not name.startswith("_")
}
RNG = np.random.default_rng(0)
LOGITS = RNG.normal(size=(2, 12, 16, 3)).astype(np.float32)
TARGET = (RNG.random(LOGITS.shape) < 0.3).astype(np.float32)
IGNORE = np.zeros((2, 12, 16), np.float32)
IGNORE[0, :, 10:], IGNORE[1, 3:7, 2:9] = 1, 1
# Those that do not look at a pixel's neighbours.
LOCAL = {
    "bce": {}, "focal": {"alpha": (1.0, 2.0, 0.5)}, "dice": {}, "tversky": {}, "division": {},
    "weighted_iou_bce": {"window": 1},
}  # fmt: skip


def test_the_table_names_losses():
    assert set(LOCAL) | {"contour_bce"} == set(LOSSES)


@pytest.mark.parametrize("name", LOCAL)
def test_the_value_is_that_of_the_other_pixels(name):
    loss, options = LOSSES[name], LOCAL[name]
    found = jax.jit(lambda *args: loss(*args, ignore=IGNORE, **options))(LOGITS, TARGET)
    for row in range(2):
        counted = [values[row][IGNORE[row] == 0][None, :, None] for values in (LOGITS, TARGET)]
        np.testing.assert_allclose(found[row], loss(*counted, **options)[0], rtol=1e-5)


def test_contours_next_to_ignored_pixels_do_not_count():
    """One inside pixel: its contour has five pixels, of which the ignored neighbour takes two away."""
    target, ignore = np.zeros((1, 7, 7, 1), np.float32), np.zeros((1, 7, 7), np.float32)
    target[0, 3, 3], ignore[0, 3, 4] = 1, 1
    logits = RNG.normal(size=target.shape).astype(np.float32)
    contour, counts = np.zeros((7, 7)), np.ones((7, 7), bool)
    contour[[3, 2, 4, 3, 3], [3, 3, 3, 2, 4]] = 1
    counts[[3, 2, 4, 3, 3], [4, 4, 4, 3, 5]] = False
    probs = 1 / (1 + np.exp(-logits[0, ..., 0].astype(np.float64)))
    expected = -np.where(contour == 1, np.log(probs), np.log(1 - probs))[counts].mean()
    np.testing.assert_allclose(segmentation.contour_bce(logits, target, ignore=ignore)[0], expected, rtol=1e-5)


@pytest.mark.parametrize("name", LOSSES)
def test_ignored_pixels_change_nothing_and_get_no_gradient(name):
    where = IGNORE[..., None] == 1
    other = np.where(where, 1 - TARGET, TARGET), np.where(where, 40.0, LOGITS)

    def value(logits, target):
        return LOSSES[name](logits, target, ignore=IGNORE)

    np.testing.assert_allclose(value(LOGITS, TARGET), value(other[1], other[0]), rtol=1e-6)
    gradient = jax.grad(lambda logits: value(logits, TARGET).sum())(LOGITS)
    assert not gradient[np.broadcast_to(where, gradient.shape)].any()
    assert gradient[0, 4, 4].any()


@pytest.mark.parametrize("name", LOSSES)
def test_nothing_ignored_is_no_ignore_and_all_ignored_is_finite(name):
    plain = LOSSES[name](LOGITS, TARGET)
    np.testing.assert_allclose(LOSSES[name](LOGITS, TARGET, ignore=np.zeros_like(IGNORE)), plain, rtol=1e-6)
    nothing = jax.grad(lambda logits: LOSSES[name](logits, TARGET, ignore=np.ones_like(IGNORE)).sum())(LOGITS)
    assert not nothing.any()


def test_any_loss_gets_no_gradient_from_ignored_pixels():
    """A fork's loss need not know of `ignore`: a cross-entropy over classes, and a sum over the squared maps."""

    def softmax(logits, target):
        return -(target * jax.nn.log_softmax(logits)).sum(axis=(1, 2, 3))

    def value(logits):
        maps, target = ignored.agree({"a": logits, "b": 2 * logits}, TARGET, IGNORE)
        return sum(softmax(one, target).sum() for one in maps.values())

    gradient = jax.grad(value)(jnp.asarray(LOGITS))
    assert not gradient[np.broadcast_to(IGNORE[..., None] == 1, gradient.shape)].any()
    counted = [values[0][IGNORE[0] == 0] for values in (LOGITS, TARGET)]
    expected = sum(-(counted[1] * jax.nn.log_softmax(scale * counted[0])).sum() for scale in (1, 2))
    maps, target = ignored.agree({"a": LOGITS, "b": 2 * LOGITS}, TARGET, IGNORE)
    np.testing.assert_allclose(sum(softmax(one, target)[0] for one in maps.values()), expected, rtol=1e-5)
