import numpy as np
import pytest

from ssinfnet_jax.losses import inpainting
from ssinfnet_jax.models import coach


def test_errors_are_means_over_erased_and_kept_pixels():
    target = np.zeros((1, 2, 2, 3), np.float32)
    restored = np.zeros_like(target)
    restored[0, 0, 0] = 1.0  # erased: squared error 1
    restored[0, 1, 1] = 2.0  # kept: 4, clipped to 2
    keep = np.ones((1, 2, 2, 1), np.float32)
    keep[0, 0] = 0.0
    assert inpainting.reconstruction(restored, target, keep=keep).tolist() == [0.5]
    assert inpainting.context(restored, target, keep=keep).tolist() == [1.0]
    assert inpainting.context(restored, target, keep=keep, clip=1.0).tolist() == [0.5]


def test_nothing_erased_is_no_error():
    image = np.ones((1, 2, 2, 3), np.float32)
    assert inpainting.reconstruction(image, -image, keep=np.ones((1, 2, 2, 1), np.float32)).tolist() == [0.0]


def test_coach_loss_and_divergence_by_hand():
    mu = np.full((1, 2, 2, 3), 2.0, np.float32)
    logvar = np.full((1, 2, 2, 3), np.log(4.0), np.float32)
    kl = coach.divergence(coach.Scores(None, mu, logvar))
    loss = inpainting.coach(np.array([0.25], np.float32), kl=kl, kl_weight=0.1)
    expected = 3 * 0.5 * (4 + 4 - 1 - np.log(4.0))
    assert kl.tolist() == pytest.approx([expected])
    assert loss.tolist() == pytest.approx([0.75 + 0.1 * expected])


def test_unequal_shapes_are_an_error():
    with pytest.raises(ValueError, match="differ in shape"):
        inpainting.reconstruction(np.ones((1, 2, 2, 3)), np.ones((1, 2, 2, 6)), keep=np.ones((1, 2, 2, 1)))
