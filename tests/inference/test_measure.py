import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage

from ssinfnet_jax.data import survey
from ssinfnet_jax.data.datasets.ct_phantom import generator, population, volume
from ssinfnet_jax.data.readers import nifti
from ssinfnet_jax.inference import measure
from tests.inference import stand_in


def test_islands_by_hand():
    pred = np.array([[1, 0, 0, 2], [0, 2, 0, 0], [0, 0, 0, 1]], np.uint8)
    np.testing.assert_array_equal(measure.remove_islands(pred, 2), [[1, 0, 0, 0], [0, 2, 0, 0], [0, 0, 0, 0]])
    np.testing.assert_array_equal(measure.remove_islands(pred, 3), np.zeros_like(pred))
    assert measure.remove_islands(pred, 0) is pred


@pytest.mark.parametrize("number", [1, 7, 12])
def test_the_lung_mask_approximates_the_drawn_lungs(tmp_path, number):
    hu, _, affine = volume.render(0, number, 12, 256)
    path = tmp_path / "v.nii"
    nib.save(nib.Nifti1Image(hu, affine), path)
    scan = nifti.read(path, scratch_dir=tmp_path)
    seen = survey.survey(scan, None, stand_in.WINDOW_HU)
    patient = population.sample_patient(0, number)
    drawn = np.stack([generator.render_hu(0, patient, k, 12, 256).lung > 0.5 for k in range(12)])[::-1]
    found = np.stack([seen.lung_slice(k, (256, 256)) for k in range(12)])
    overlap = 2 * (found & drawn).sum() / (found.sum() + drawn.sum())
    assert overlap > 0.9, overlap
    rows, columns = seen.box((256, 256), 0.0)
    inside = ndimage.find_objects(drawn.any(axis=0).astype(int))[0]
    for box, truth in zip((rows, columns), inside, strict=True):
        assert abs(box.start - truth.start) <= 6
        assert abs(box.stop - truth.stop) <= 6
    wide = seen.box((256, 256), 0.04)
    assert wide[0].start == max(rows.start - 10, 0)
    assert (seen.kind, seen.low, seen.high) == ("hu", hu.min(), hu.max())
    assert seen.mean == pytest.approx(hu.mean(), abs=0.01)


@pytest.mark.parametrize("number", [1, 7, 12])
@pytest.mark.parametrize("cut", [40, 64])
def test_lungs_cut_by_the_frame_are_not_used(tmp_path, number, cut):
    hu, _, affine = volume.render(0, number, 12, 256)
    nib.save(nib.Nifti1Image(hu[cut:-cut, cut:-cut], affine), tmp_path / "v.nii")
    seen = survey.survey(nifti.read(tmp_path / "v.nii", scratch_dir=tmp_path), None, stand_in.WINDOW_HU)
    assert not seen.lungs.any()
    side = 256 - 2 * cut
    assert seen.box((side, side), 0.0) == (slice(0, side), slice(0, side))
