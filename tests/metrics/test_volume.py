import math

import numpy as np
import pytest
import SimpleITK

from ssinfnet_jax.metrics import volume

SPACING = (5.0, 0.8, 0.5)  # between slices, rows, columns


def _box(z, y, x, shape=(8, 40, 40)):
    mask = np.zeros(shape, bool)
    mask[slice(*z), slice(*y), slice(*x)] = True
    return mask


def test_volumes_by_hand():
    found = volume.measure(_box((1, 3), (0, 10), (0, 10)), _box((1, 3), (0, 10), (0, 20)), SPACING)
    assert found["truth_ml"] == pytest.approx(2 * 10 * 20 * 2e-3)
    assert found["pred_ml"] == pytest.approx(2 * 10 * 10 * 2e-3)
    assert found["volume_error_ml"] == pytest.approx(-0.4)
    assert found["dice"] == pytest.approx(2 * 200 / 600)


@pytest.mark.parametrize(
    ("axis", "voxels", "mm"), [("z", 1, 5.0), ("y", 3, 2.4), ("x", 3, 1.5), ("x", 5, 2.5)], ids=str
)
def test_a_shifted_plate_is_off_by_its_shift(axis, voxels, mm):
    """A plate moved along its normal: nearly all of its surface moves by the shift."""
    sizes = {"z": (8, 40, 40), "y": (40, 40, 8), "x": (40, 8, 40)}
    thin = {"z": ((2, 3), (2, 30), (2, 30)), "y": ((2, 38), (10, 12), (1, 7)), "x": ((2, 38), (1, 7), (10, 12))}
    at = "zyx".index(axis)
    boxes = list(thin[axis])
    truth = _box(*boxes, shape=sizes[axis])
    boxes[at] = tuple(end + voxels for end in boxes[at])
    found = volume.measure(_box(*boxes, shape=sizes[axis]), truth, SPACING)
    assert found["hausdorff95_mm"] == pytest.approx(mm)
    if mm <= volume.TOLERANCE_MM:
        assert found["surface_dice"] == 1
    else:
        assert found["surface_dice"] == pytest.approx(0.5, abs=0.1)  # the faces that look at each other are near


def test_the_largest_distance_is_that_of_simpleitk():
    """Blobs with an outlier smaller than 5 % of the surface: the 95 % distance lies below ITK's maximum."""
    rng = np.random.default_rng(0)
    truth, pred = _box((1, 6), (5, 25), (5, 25)), _box((1, 6), (7, 27), (5, 25))
    pred[3, 7 + int(rng.integers(20)), 36] = True
    found = volume.measure(pred, truth, SPACING)
    images = [SimpleITK.GetImageFromArray(mask.astype(np.uint8)) for mask in (truth, pred)]
    for image in images:
        image.SetSpacing(SPACING[::-1])
    itk = SimpleITK.HausdorffDistanceImageFilter()
    itk.Execute(*images)
    overlap = SimpleITK.LabelOverlapMeasuresImageFilter()
    overlap.Execute(*images)
    assert found["dice"] == pytest.approx(overlap.GetDiceCoefficient())
    assert found["hausdorff95_mm"] == pytest.approx(2 * 0.8)
    assert itk.GetHausdorffDistance() > 5


@pytest.mark.parametrize(
    ("pred", "truth", "expected"),
    [
        (False, False, {"dice": math.nan, "surface_dice": math.nan, "hausdorff95_mm": math.nan, "volume_error_ml": 0}),
        (True, False, {"dice": 0, "surface_dice": 0, "hausdorff95_mm": math.nan, "volume_error_ml": 0.2}),
        (False, True, {"dice": 0, "surface_dice": 0, "hausdorff95_mm": math.nan, "volume_error_ml": -0.2}),
        (True, True, {"dice": 1, "surface_dice": 1, "hausdorff95_mm": 0, "volume_error_ml": 0}),
    ],
)
def test_absent_in_both_or_in_one(pred, truth, expected):
    masks = [_box((1, 2), (0, 10), (0, 10)) & is_there for is_there in (pred, truth)]
    found = volume.measure(*masks, SPACING)
    assert {name: found[name] for name in volume.METRICS} == pytest.approx(expected, nan_ok=True)


def test_a_scan_of_one_slice():
    mask = np.ones((1, 4, 4), bool)
    assert volume.measure(mask, mask, SPACING)["hausdorff95_mm"] == 0
