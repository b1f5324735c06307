import gzip
import io

import nibabel as nib
import numpy as np
import pytest

from ssinfnet_jax.data.readers import nifti, volume


def stored(anatomy_lps, axes):
    """Returns the same anatomy as NIfTI along other axes; anatomy_lps: [to left, to posterior, to superior]."""
    from_lps = nib.orientations.ornt_transform(
        nib.orientations.axcodes2ornt("LPS"), nib.orientations.axcodes2ornt(axes)
    )
    voxels = nib.orientations.apply_orientation(anatomy_lps, from_lps)
    affine = np.zeros((4, 4))
    for axis, code in enumerate(axes):
        world, sign = {"R": (0, 1), "L": (0, -1), "A": (1, 1), "P": (1, -1), "S": (2, 1), "I": (2, -1)}[code]
        affine[world, axis] = sign
    affine[3, 3] = 1
    return nib.Nifti1Image(voxels, affine)


@pytest.mark.parametrize("axes", ["LPS", "RAS", "LAS", "SPL", "PIR"])
def test_reading_gives_the_radiologists_view_for_any_storage_order(tmp_path, axes):
    anatomy = np.random.default_rng(0).integers(-1000, 400, (5, 4, 3)).astype(np.float32)
    path = tmp_path / "v.nii.gz"
    nib.save(stored(anatomy, axes), path)
    slices = volume.load(path).voxels
    # Row = anterior to posterior, column = right to left of the patient, slice = inferior to superior.
    np.testing.assert_array_equal(slices, anatomy.transpose(2, 1, 0))
    assert slices.dtype == np.float32
    grid, _ = volume.read_grid(path)
    assert (grid.view_shape, grid.axes) == ((3, 4, 5), axes)


def test_reading_applies_scaling_and_takes_single_slices(tmp_path):
    hu = np.array([[[-1000, -600]], [[0, 200]]], np.float32)
    image = stored(hu, "LPS")
    image.set_data_dtype(np.int16)  # nibabel then chooses slope and intercept
    nib.save(image, tmp_path / "s.nii")
    assert nib.load(tmp_path / "s.nii").dataobj.get_unscaled().max() > 10_000
    np.testing.assert_allclose(volume.load(tmp_path / "s.nii").voxels, hu.transpose(2, 1, 0), atol=0.1)
    nib.save(nib.Nifti1Image(np.ones((4, 5), np.float32), np.diag([-1, -1, 1, 1])), tmp_path / "flat.nii")
    assert volume.load(tmp_path / "flat.nii").voxels.shape == (1, 5, 4)


def test_reading_refuses(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"gone\.nii\.gz does not exist"):
        volume.load(tmp_path / "gone.nii.gz")
    (tmp_path / "text.nii.gz").write_text("no volume")
    with pytest.raises(ValueError, match=r"text\.nii\.gz cannot be read as NIfTI"):
        volume.load(tmp_path / "text.nii.gz")
    noise = np.random.default_rng(0).standard_normal((16, 16, 16)).astype(np.float32)
    nib.save(nib.Nifti1Image(noise, np.eye(4)), tmp_path / "cut.nii.gz")
    data = (tmp_path / "cut.nii.gz").read_bytes()
    (tmp_path / "cut.nii.gz").write_bytes(data[: len(data) // 2])
    with pytest.raises(ValueError, match=r"cut\.nii\.gz is truncated or damaged"):
        volume.load(tmp_path / "cut.nii.gz")
    with gzip.open(tmp_path / "series.nii.gz", "wb") as file:
        file.write(nib.Nifti1Image(np.zeros((2, 2, 2, 3), np.float32), np.eye(4)).to_bytes())
    with pytest.raises(ValueError, match=r"series\.nii\.gz has shape \(2, 2, 2, 3\); expected one 3-D volume"):
        volume.load(tmp_path / "series.nii.gz")


def with_header(path, change, affine=None):
    """Writes a volume of 4 x 3 x 2 voxels and changes its header behind nibabel's back."""
    affine = np.diag([-0.7, -0.8, 5, 1]) if affine is None else affine
    image = nib.Nifti1Image(np.zeros((4, 3, 2), np.int16), affine)
    image.header.set_qform(affine, code=1)
    header = nib.Nifti1Header.from_fileobj(io.BytesIO(image.to_bytes()))
    change(header)
    path.write_bytes(header.binaryblock + bytes(4) + image.to_bytes()[352:])
    return path


def set_pixdim(header, *sizes):
    header["pixdim"][1:4] = sizes


def shift_qform(header):
    header["qoffset_x"] += 3


NO_ORIENTATION = "the file gives no orientation (sform and qform codes are 0): nibabel's default was used"


@pytest.mark.parametrize(
    ("change", "spacing_mm", "notes"),
    [
        (lambda header: None, (5, 0.8, 0.7), ()),
        (lambda header: set_pixdim(header, 0.7 + 1e-7, 0.8, 5), (5, 0.8, 0.7), ()),
        (
            lambda header: set_pixdim(header, 1, 1, 2),
            (5, 0.8, 0.7),
            (
                "the header gives two voxel sizes, 0.7 x 0.8 x 5 mm in its sform and 1 x 1 x 2 mm in pixdim: "
                "the sform was used",
                # the qform's size is that of pixdim: 0.9, 0.4 and 3 mm apart at the far corner
                "the header's qform places voxels up to 3.16 mm away from its sform: the sform was used",
            ),
        ),
        (
            lambda header: (header.__setitem__("sform_code", 0), set_pixdim(header, 1, 1, 2)),
            (2, 1, 1),  # with a qform, pixdim is the voxel size
            (),
        ),
        (
            lambda header: [header.__setitem__(f"{form}_code", 0) for form in ("sform", "qform")],
            (5, 0.8, 0.7),
            (NO_ORIENTATION,),
        ),
        (
            shift_qform,
            (5, 0.8, 0.7),
            ("the header's qform places voxels up to 3 mm away from its sform: the sform was used",),
        ),
    ],
)
def test_the_form_that_places_voxels_gives_their_size(tmp_path, change, spacing_mm, notes):
    """All programs use one rule; contradictions in the header become notes."""
    path = with_header(tmp_path / "v.nii", change)
    grid, found = volume.read_grid(path)
    assert grid.spacing_mm == pytest.approx(spacing_mm)
    assert found == notes
    scan = nifti.read(path, scratch_dir=tmp_path)
    assert scan.grid.spacing_mm == pytest.approx(spacing_mm)
    assert scan.notes == notes


@pytest.mark.parametrize("entry", [0.0, np.nan, 1e9])
def test_an_affine_that_places_nothing_is_refused(tmp_path, entry):
    def spoil(header):
        header["srow_y"] = entry

    path = with_header(tmp_path / "v.nii", spoil)
    for read in (volume.load, volume.read_grid, lambda path: nifti.read(path, scratch_dir=tmp_path)):
        with pytest.raises(ValueError, match=r"v\.nii (has an affine that does not place|cannot be read as NIfTI)"):
            read(path)
