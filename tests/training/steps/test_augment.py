import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.ndimage

from ssinfnet_jax.config import Augmentation
from ssinfnet_jax.training.steps import augment

ALL = Augmentation(
    flip_left_right=True, quarter_turns=True, scale=(0.7, 1.2), cutout_probability=0.5, brightness=0.1, contrast=0.1,
    gamma=0.2, noise=0.05,
)  # fmt: skip


def _batch(size=32, count=6):
    rng = np.random.default_rng(0)
    lesion = np.zeros((count, size, size), np.int32)
    lesion[:, 5:14, 8:20] = 1
    image = rng.random((count, size, size)).astype(np.float32)
    return {"image": image, "lesion": lesion, "classes": 2 * lesion, "prior": lesion.astype(np.float32),
            "valid": np.ones(count, np.float32)}  # fmt: skip


def _augment(seed, batch, options):
    return augment.augment(jax.random.split(jax.random.key(seed), len(batch["image"])), batch, options)


def test_no_options_change_nothing():
    batch = _batch()
    out = _augment(0, batch, Augmentation())
    for name, value in batch.items():
        np.testing.assert_allclose(out[name], value, atol=1e-6)


def test_shapes_dtypes_and_ranges():
    batch = _batch()
    out = jax.jit(_augment, static_argnums=2)(1, batch, ALL)
    for name, value in batch.items():
        assert (out[name].shape, out[name].dtype) == (value.shape, value.dtype)
    assert set(np.unique(out["classes"])) <= {0, 2}
    assert out["image"].min() >= 0
    assert out["image"].max() <= 1


def test_labels_and_prior_move_with_the_slice():
    batch = _batch()
    batch["image"] = batch["lesion"].astype(np.float32)
    options = dataclasses.replace(ALL, brightness=0.0, contrast=0.0, gamma=0.0, noise=0.0)
    for seed in range(5):
        out = _augment(seed, batch, options)
        np.testing.assert_array_equal(out["classes"], 2 * out["lesion"])
        np.testing.assert_allclose(out["image"], out["prior"], atol=1e-6)
        # Interpolated and nearest agree except at border pixels.
        assert ((out["image"] > 0.5) != (out["lesion"] > 0)).mean() < 0.02


def test_flips_and_turns_are_the_eight_symmetries():
    image = np.arange(16 * 16, dtype=np.float32).reshape(1, 16, 16) / 256
    symmetries = {np.rot90(side, k).tobytes() for side in (image[0], image[0].T) for k in range(4)}
    options = Augmentation(flip_left_right=True, quarter_turns=True)
    batch = {"image": np.repeat(image, 200, axis=0)}
    out = np.asarray(_augment(0, batch, options)["image"])
    assert {(np.round(one * 256).astype(np.float32) / 256).tobytes() for one in out} == symmetries


def test_turns_alone_are_rotations():
    image = np.arange(16 * 16, dtype=np.float32).reshape(1, 16, 16) / 256
    rotations = {np.rot90(image[0], k).tobytes() for k in range(4)}
    batch = {"image": np.repeat(image, 100, axis=0)}
    out = np.asarray(_augment(0, batch, Augmentation(quarter_turns=True))["image"])
    assert {(np.round(one * 256).astype(np.float32) / 256).tobytes() for one in out} == rotations


@pytest.mark.parametrize(("name", "axis"), [("flip_left_right", 1), ("flip_up_down", 0)])
def test_single_flips(name, axis):
    image = np.arange(16 * 16, dtype=np.float32).reshape(1, 16, 16) / 256
    batch = {"image": np.repeat(image, 40, axis=0)}
    out = np.asarray(_augment(0, batch, Augmentation(**{name: True}))["image"])
    expected = {image[0].tobytes(), np.flip(image[0], axis).tobytes()}
    assert {(np.round(one * 256).astype(np.float32) / 256).tobytes() for one in out} == expected


def test_cutout_blackens_image_and_labels_together():
    batch = _batch(count=40)
    batch["image"][:], batch["lesion"][:] = 1, 1
    options = Augmentation(cutout_probability=0.5, cutout_size=0.5)
    out = _augment(0, batch, options)
    np.testing.assert_array_equal(out["image"] > 0, out["lesion"] > 0)
    untouched = (np.asarray(out["image"]) > 0).all(axis=(1, 2)).mean()
    assert 0.3 < untouched < 0.75


def test_same_key_same_result():
    first, second = (_augment(3, _batch(), ALL) for _ in range(2))
    np.testing.assert_array_equal(first["image"], second["image"])


def test_a_slice_changes_the_same_in_any_batch():
    batch, keys = _batch(), jax.random.split(jax.random.key(0), 6)
    whole = augment.augment(keys, batch, ALL)
    part = augment.augment(keys[4:], {name: value[4:] for name, value in batch.items()}, ALL)
    for name in batch:
        np.testing.assert_allclose(part[name], whole[name][4:], atol=1e-6)


def test_one_scale_is_both_its_ends():
    assert Augmentation(scale=0.8).scale == (0.8, 0.8)


def test_rotation_is_that_of_scipy():
    image = np.asarray(scipy.ndimage.gaussian_filter(np.random.default_rng(0).random((33, 33)), 2), np.float32)
    options = Augmentation(rotation=40.0)
    drawn = dict.fromkeys(augment._DRAWS, jnp.float32(0.75))  # an angle of 20 degrees
    rows = columns = jnp.arange(33.0)
    moved = augment._warp({"image": image, "lesion": image > 0.5}, augment._bent(drawn, rows, columns, options))
    expected = scipy.ndimage.rotate(image, -20.0, reshape=False, order=1, mode="nearest")
    np.testing.assert_allclose(moved["image"], expected, atol=1e-5)


def test_a_deformation_of_nothing_is_none_and_one_of_equal_displacements_a_shift():
    image = np.random.default_rng(0).random((32, 32)).astype(np.float32)
    drawn = {**dict.fromkeys(augment._DRAWS, jnp.float32(0.5)), "grid": jnp.ones((8, 8, 2))}
    rows = columns = jnp.arange(32.0)
    # Half of the largest deviation, 2 / 16 of 32 pixels: every pixel comes from two rows and columns further on.
    moved = augment._warp({"image": image}, augment._bent(drawn, rows, columns, Augmentation(elastic=1 / 8)))
    np.testing.assert_allclose(moved["image"][:-2, :-2], image[2:, 2:], atol=1e-5)
    still = {**drawn, "grid": jnp.zeros((8, 8, 2))}
    moved = augment._warp({"image": image}, augment._bent(still, rows, columns, Augmentation(elastic=1 / 8)))
    np.testing.assert_allclose(moved["image"], image, atol=1e-6)


def test_labels_and_prior_follow_a_warp():
    batch = _batch()
    batch["image"] = batch["lesion"].astype(np.float32)
    options = Augmentation(rotation=45.0, elastic=0.02, scale=(0.8, 1.1), flip_left_right=True, quarter_turns=True)
    for seed in range(5):
        out = _augment(seed, batch, options)
        np.testing.assert_array_equal(out["classes"], 2 * out["lesion"])
        np.testing.assert_allclose(out["image"], out["prior"], atol=1e-6)
        assert ((out["image"] > 0.5) != (out["lesion"] > 0)).mean() < 0.02


def test_blur_is_that_of_scipy():
    image = np.random.default_rng(0).random((40, 40)).astype(np.float32)
    blurred = np.asarray(augment._blur(image, 1.5))
    expected = scipy.ndimage.gaussian_filter(image, 1.5, mode="nearest", truncate=20)
    np.testing.assert_allclose(blurred[10:-10, 10:-10], expected[10:-10, 10:-10], atol=1e-5)
    np.testing.assert_allclose(augment._blur(image, 0.0), image, atol=1e-6)


def test_a_crop_is_a_window_of_what_was_there():
    batch = _batch(size=96)
    batch["image"] = np.arange(6 * 96 * 96, dtype=np.float32).reshape(6, 96, 96) / (6 * 96 * 96)
    out = _augment(0, batch, Augmentation(crop=1 / 3))
    for image, classes, before, labels in zip(
        out["image"], out["classes"], batch["image"], batch["classes"], strict=True
    ):
        top, left = np.unravel_index(np.abs(before - image[0, 0]).argmin(), before.shape)
        np.testing.assert_allclose(image, before[top : top + 32, left : left + 32], atol=1e-6)
        np.testing.assert_array_equal(classes, labels[top : top + 32, left : left + 32])
    assert len(np.unique(out["image"][:, 0, 0] * 6 % 1)) > 3  # at different places in different slices


def test_a_focused_crop_holds_each_class_that_is_there():
    batch = {"image": np.zeros((40, 96, 96), np.float32), "classes": np.zeros((40, 96, 96), np.int32)}
    batch["classes"][:20, 5, 90] = 1  # near a corner: the window ends at the border
    batch["classes"][10:30, 70, 20] = 2
    found = np.asarray(_augment(0, batch, Augmentation(crop=1 / 3, crop_focus=1.0))["classes"])
    assert found.shape == (40, 32, 32)
    assert (found[:10] == 1).any(axis=(1, 2)).all()
    assert (found[10:30] > 0).any(axis=(1, 2)).all()
    assert (found[20:30] == 2).any(axis=(1, 2)).all()
    assert {found[row].max() for row in range(10, 20)} == {1, 2}


def test_a_dropped_prior_says_nothing():
    out = _augment(0, _batch(count=200), Augmentation(prior_dropout=0.3))
    dropped = (np.asarray(out["prior"]) == 0.5).all(axis=(1, 2))
    assert 0.2 < dropped.mean() < 0.4
    np.testing.assert_array_equal(np.asarray(out["prior"])[~dropped], _batch(count=200)["prior"][~dropped])
