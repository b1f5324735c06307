import gzip

import nibabel as nib
import numpy as np
import pytest

from ssinfnet_jax.data import nifti


def stored(volume_lps, axes):
    """The same anatomy as NIfTI along other axes; volume_lps: [to left, to posterior, to superior]."""
    from_lps = nib.orientations.ornt_transform(
        nib.orientations.axcodes2ornt("LPS"), nib.orientations.axcodes2ornt(axes)
    )
    voxels = nib.orientations.apply_orientation(volume_lps, from_lps)
    affine = np.zeros((4, 4))
    for axis, code in enumerate(axes):
        world, sign = {"R": (0, 1), "L": (0, -1), "A": (1, 1), "P": (1, -1), "S": (2, 1), "I": (2, -1)}[code]
        affine[world, axis] = sign
    affine[3, 3] = 1
    return nib.Nifti1Image(voxels, affine)


@pytest.mark.parametrize("axes", ["LPS", "RAS", "LAS", "SPL", "PIR"])
def test_reading_gives_the_radiologists_view_however_stored(tmp_path, axes):
    volume = np.random.default_rng(0).integers(-1000, 400, (5, 4, 3)).astype(np.float32)
    path = tmp_path / "v.nii.gz"
    nib.save(stored(volume, axes), path)
    slices = nifti.read(path)
    # Row = anterior to posterior, column = right to left of the patient, slice = inferior to superior.
    np.testing.assert_array_equal(slices, volume.transpose(2, 1, 0))
    assert slices.dtype == np.float32
    assert nifti.layout(path) == ((3, 4, 5), axes)


def test_reading_applies_scaling_and_takes_single_slices(tmp_path):
    hu = np.array([[[-1000, -600]], [[0, 200]]], np.float32)
    image = stored(hu, "LPS")
    image.set_data_dtype(np.int16)  # nibabel then chooses slope and intercept
    nib.save(image, tmp_path / "s.nii")
    assert nib.load(tmp_path / "s.nii").dataobj.get_unscaled().max() > 10_000
    np.testing.assert_allclose(nifti.read(tmp_path / "s.nii"), hu.transpose(2, 1, 0), atol=0.1)
    nib.save(nib.Nifti1Image(np.ones((4, 5), np.float32), np.diag([-1, -1, 1, 1])), tmp_path / "flat.nii")
    assert nifti.read(tmp_path / "flat.nii").shape == (1, 5, 4)


def test_reading_refuses(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"gone\.nii\.gz does not exist"):
        nifti.read(tmp_path / "gone.nii.gz")
    (tmp_path / "text.nii.gz").write_text("no volume")
    with pytest.raises(ValueError, match=r"text\.nii\.gz cannot be read as NIfTI"):
        nifti.read(tmp_path / "text.nii.gz")
    noise = np.random.default_rng(0).standard_normal((16, 16, 16)).astype(np.float32)
    nib.save(nib.Nifti1Image(noise, np.eye(4)), tmp_path / "cut.nii.gz")
    data = (tmp_path / "cut.nii.gz").read_bytes()
    (tmp_path / "cut.nii.gz").write_bytes(data[: len(data) // 2])
    with pytest.raises(ValueError, match=r"cut\.nii\.gz is truncated or damaged"):
        nifti.read(tmp_path / "cut.nii.gz")
    with gzip.open(tmp_path / "series.nii.gz", "wb") as file:
        file.write(nib.Nifti1Image(np.zeros((2, 2, 2, 3), np.float32), np.eye(4)).to_bytes())
    with pytest.raises(ValueError, match=r"series\.nii\.gz has shape \(2, 2, 2, 3\); expected one 3-D volume"):
        nifti.read(tmp_path / "series.nii.gz")
