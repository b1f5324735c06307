import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage

from ssinfnet_jax.data import lung_region, survey
from ssinfnet_jax.data.datasets.ct_phantom import volume
from ssinfnet_jax.data.readers import find
from ssinfnet_jax.data.readers import nifti as nifti_reader
from ssinfnet_jax.inference import segment_scan
from tests.inference import stand_in


def test_lesions_are_removed_or_kept_as_a_whole():
    region = np.zeros((4, 9), bool)
    region[:, :3] = True
    pred = np.array(
        [[1, 0, 0, 0, 0, 2, 2, 0, 0], [0, 0, 0, 0, 0, 1, 0, 0, 0], [0, 0, 1, 2, 0, 0, 0, 0, 0], [0] * 9], np.uint8
    )
    kept = pred.copy()
    kept[:2, 5:7] = 0
    np.testing.assert_array_equal(lung_region.remove_outside(pred, region), kept)
    thin = np.zeros((1, 11), np.uint8)
    thin[0] = 1  # first with one pixel of eleven inside, then with two
    assert not lung_region.remove_outside(thin, np.arange(11)[None] < 1).any()
    assert lung_region.remove_outside(thin, np.arange(11)[None] < 2).all()


def test_the_region_by_hand():
    lungs = np.zeros((7, 20, 20), bool)
    lungs[3, 5:15, 3] = lungs[3, 5, 3:8] = True  # an L: rows and columns are filled, but not the square
    lungs[3, 5:15, 16] = lungs[3, 5, 12:17] = True
    region = lung_region.about_lungs(lungs, 10, (0.0, 0.0, 0.0))
    np.testing.assert_array_equal(region, lungs)
    lungs[3, 14, 3:8] = True
    region = lung_region.about_lungs(lungs, 10, (0.0, 0.0, 0.0))
    assert region[3, 5:15, 3:8].all()
    assert region.sum() == 50 + 14
    region = lung_region.about_lungs(lungs, 10, (8.0, 5.0, 5.0))  # 15 mm are one slice, 10 mm two pixels
    np.testing.assert_array_equal(region.any(axis=(1, 2)), [False, False, True, True, True, False, False])
    assert region[2, 10, 1]
    assert not region[2, 10, 0]
    assert region[2, 3, 3]
    assert not region[2, 2, 3]


def test_a_lung_without_air_is_not_outside():
    lungs = np.zeros((1, 20, 20), bool)
    lungs[0, 5:15, 2:8] = True
    lungs[0, 5:8, 15:18] = True
    region = lung_region.about_lungs(lungs, 10, (0.0, 0.0, 0.0))
    assert region[0, :, 10:].all()
    np.testing.assert_array_equal(region[0, :, :10], lungs[0, :, :10])


@pytest.mark.parametrize("number", range(12))
def test_no_drawn_lesion_is_outside(tmp_path, number):
    hu, classes, affine = volume.render(3, number, 16, 128)
    nib.save(nib.Nifti1Image(hu, affine), tmp_path / "v.nii")
    scan = nifti_reader.read(tmp_path / "v.nii", scratch_dir=tmp_path)
    seen = survey.survey(scan, None, stand_in.WINDOW_HU)
    for index in range(16):
        drawn = classes[:, :, index].T
        inside = lung_region.remove_outside(drawn, seen.region_slice(index, drawn.shape))
        num_parts = ndimage.label(drawn > 0, structure=np.ones((3, 3)))[1]
        assert (inside == drawn).all(), (index, num_parts)


def test_false_alarms_and_slices_far_from_lungs(tmp_path):
    """The stand-in marks soft tissue as GGO: marks far from the lungs are removed, slices below them are skipped."""
    hu, _, affine = volume.render(0, 7, 12, 128)
    abdomen = np.full((128, 128, 5), -1000, np.int16)
    abdomen[4:-4, 4:-4] = 40
    hu = np.concatenate([abdomen, hu], axis=2)
    nib.save(nib.Nifti1Image(hu, affine), tmp_path / "v.nii.gz")
    (source,) = find.find([tmp_path / "v.nii.gz"])
    networks, rows = stand_in.Thresholds(), {}
    asked = []
    probabilities = networks.probabilities
    networks.probabilities = lambda records, positions, decision=None: (
        asked.extend(positions),
        probabilities(records, positions),
    )[1]
    for what in ("keep", "remove"):
        options = segment_scan.Options(outside_lungs=what)
        rows[what] = segment_scan.segment(source, networks, options, tmp_path / what)
        if what == "keep":
            assert asked == list(range(17))
            asked.clear()
    assert asked == list(range(2, 17))  # 15 mm are three slices
    assert rows["remove"]["lesion_px"] < rows["keep"]["lesion_px"]
    assert "voxels outside the lungs were removed" in rows["remove"]["notes"]
