"""Images and masks in NIfTI, whose headers give the geometry of their voxels."""

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
import SimpleITK

from ssinfnet_jax.analysis import phenotypes
from ssinfnet_jax.analysis.phenotypes import folder
from ssinfnet_jax.data import input_files

SPACING = (0.8, 0.9, 2.5)
AFFINE = np.array([[-0.8, 0, 0, 30], [0, -0.9, 0, -12], [0, 0, 2.5, 100], [0, 0, 0, 1]])
SETTINGS = phenotypes.make("hu", {"classes": {"firstorder": ["Mean"]}})


def volumes():
    """HU [columns, rows, slices] as scanners store them, and a mask without any symmetry."""
    rng = np.random.default_rng(0)
    hu = rng.integers(-1000, 100, (20, 18, 5)).astype(np.int16)
    classes = np.zeros(hu.shape, np.uint8)
    classes[2:8, 3:7, 1], classes[9:14, 2:11, 3] = 1, 2
    return hu, classes


def write(path, values, affine=AFFINE):
    path.parent.mkdir(exist_ok=True)
    nib.save(nib.Nifti1Image(values, affine), path)
    return path


def measured(tmp_path, **options):
    items = folder.items(tmp_path / "images", tmp_path / "masks", preset="hu", **options)
    return phenotypes.table(items, settings=SETTINGS, num_workers=0, progress=False)


def means(table):
    """Of GGO in slice 1 and consolidation in slice 3."""
    return table.loc[1, "ggo_firstorder_Mean"], table.loc[3, "consolidation_firstorder_Mean"]


def drawn():
    hu, classes = volumes()
    return hu[classes == 1].mean(), hu[classes == 2].mean()


def stored(values, axes):
    """The same anatomy along other axes, with its affine."""
    image = nib.Nifti1Image(values, AFFINE)
    turn = nib.orientations.ornt_transform(nib.io_orientation(image.affine), nib.orientations.axcodes2ornt(axes))
    turned = image.as_reoriented(turn)
    return np.asarray(turned.dataobj), turned.affine


@pytest.mark.parametrize("axes", ["LPS", "RAS", "SPL", "AIR"])
def test_a_mask_along_other_axes_lies_where_its_header_says(tmp_path, axes):
    hu, classes = volumes()
    image = write(tmp_path / "images" / "s.nii.gz", hu)
    mask = write(tmp_path / "masks" / "s.nii.gz", *stored(classes, axes))
    table = measured(tmp_path)
    assert table["error"].tolist() == [""] * 5
    assert means(table) == pytest.approx(drawn())
    # As SimpleITK places both.
    scan = SimpleITK.ReadImage(image)
    onto = SimpleITK.Resample(SimpleITK.ReadImage(mask), scan, SimpleITK.Transform(), SimpleITK.sitkNearestNeighbor)
    values, labels = SimpleITK.GetArrayFromImage(scan), SimpleITK.GetArrayFromImage(onto)
    assert means(table) == pytest.approx((values[labels == 1].mean(), values[labels == 2].mean()))
    assert table.loc[1, "ggo_shape2D_PixelSurface"] == pytest.approx(24 * 0.8 * 0.9)


def with_entry(row, column, value):
    affine = AFFINE.copy()
    affine[row, column] = value
    return affine


@pytest.mark.parametrize(
    ("affine", "distance"),
    [
        (np.eye(4), "111 mm"),  # sqrt((11 + 19 * 0.2)^2 + 29^2 + (100 + 4 * 1.5)^2)
        (with_entry(0, 0, -1.8), "19 mm"),  # 19 columns of 1 mm
        (with_entry(2, 2, 2.6), "0.4 mm"),  # 4 slices of 0.1 mm
        (with_entry(1, 3, -12.3), "0.3 mm"),
        (with_entry(0, 1, 0.002), "0.034 mm"),  # 17 rows of 0.002 mm
        (AFFINE * [[1], [1], [-1], [1]], "210 mm"),  # upside down: 2 (100 + 2.5 * 2) at both ends
    ],
    ids=["identity", "spacing", "slices", "origin", "sheared", "upside_down"],
)
def test_a_mask_on_another_grid_is_refused(tmp_path, affine, distance):
    hu, classes = volumes()
    write(tmp_path / "images" / "s.nii.gz", hu)
    write(tmp_path / "masks" / "s.nii.gz", classes, affine)
    table = measured(tmp_path)
    for error in table["error"]:
        assert "masks/s.nii.gz does not lie on its image" in error
        assert f"corresponding voxels are up to {distance}" in error
        assert "of the image: [-0.8 0 0 30] [0 -0.9 0 -12] [0 0 2.5 100] (LPS)" in error
        assert "--ignore_mask_geometry" in error
    paired = measured(tmp_path, voxel_by_voxel=True)
    assert paired["error"].tolist() == [""] * 5
    assert means(paired) == pytest.approx(drawn())


@pytest.mark.parametrize(("error", "passes"), [(1e-6, True), (5e-4, True), (2e-3, False)])
def test_headers_may_differ_by_rounding(tmp_path, error, passes):
    """By a part of the smallest side of a voxel, at the far corner."""
    hu, classes = volumes()
    write(tmp_path / "images" / "s.nii.gz", hu)
    affine = AFFINE.copy()
    affine[0, 3] += error * 0.8
    write(tmp_path / "masks" / "s.nii.gz", classes, affine)
    assert (measured(tmp_path)["error"] == "").all() == passes


def test_a_mask_of_another_shape_is_never_paired(tmp_path):
    hu, classes = volumes()
    write(tmp_path / "images" / "s.nii.gz", hu)
    write(tmp_path / "masks" / "s.nii.gz", classes[:, :, :4])
    assert "has (4, 18, 20) voxels (slices, rows, columns), but its image" in measured(tmp_path)["error"][0]
    error = measured(tmp_path, voxel_by_voxel=True)["error"][0]
    assert "is stored as (20, 18, 4) voxels, but its image" in error


def test_a_mask_without_a_place_is_paired_where_that_is_asked_for(tmp_path):
    hu, classes = volumes()
    write(tmp_path / "images" / "s.nii.gz", hu)
    without = bytearray(nib.Nifti1Image(classes, AFFINE).to_bytes())
    without[280:328] = bytes(48)  # srow_x, srow_y, srow_z
    (tmp_path / "masks").mkdir()
    (tmp_path / "masks/s.nii").write_bytes(without)
    assert means(measured(tmp_path, voxel_by_voxel=True)) == pytest.approx(drawn())
    (error,) = set(measured(tmp_path)["error"])
    assert "masks/s.nii has an affine that does not place voxels in space (sform: [0 0 0 0]" in error


def test_areas_are_of_the_sform_whatever_pixdim_says(tmp_path):
    hu, classes = volumes()
    image = nib.Nifti1Image(hu, AFFINE)
    image.header["pixdim"][1:4] = 1.0
    (tmp_path / "images").mkdir()
    (tmp_path / "images/s.nii").write_bytes(image.to_bytes())
    write(tmp_path / "masks" / "s.nii", classes)
    report = input_files.Report()
    table = measured(tmp_path, report=report)
    assert table.loc[1, "ggo_shape2D_PixelSurface"] == pytest.approx(24 * 0.8 * 0.9)
    assert report.notes == [
        f"{tmp_path}/images/s.nii: the header gives two voxel sizes, 0.8 x 0.9 x 2.5 mm in its sform and "
        "1 x 1 x 1 mm in pixdim: the sform was used."
    ]


@pytest.mark.parametrize("padding", [-2000, -8192, np.nan])
@pytest.mark.parametrize("preset", ["hu", "eight_bit"])
def test_padding_around_the_lesions_changes_nothing(tmp_path, padding, preset):
    """A bad value within a lesion fails its slice only, with the value in the error."""
    hu, classes = volumes()
    hu = hu.astype(np.float32)
    hu[0, 0] = -1000  # air, as every chest CT has
    settings = phenotypes.make(preset, {"classes": {"firstorder": ["Mean"], "glcm": ["Contrast"]}})

    def table(values):
        write(tmp_path / "images" / "s.nii", values)
        write(tmp_path / "masks" / "s.nii", classes)
        items = folder.items(tmp_path / "images", tmp_path / "masks", preset=preset)
        return phenotypes.table(items, settings=settings, num_workers=0, progress=False)

    expected = table(hu)
    assert (expected["error"] == "").all()
    padded = hu.copy()
    padded[12:, 12:] = padding
    pd.testing.assert_frame_equal(table(padded), expected)
    if np.isnan(padding) or (preset == "hu" and padding == -8192):
        padded[3, 4, 1] = padding
        found = table(padded)
        assert (found["error"] != "").tolist() == [False, True, False, False, False]
        # Columns of the view are the first axis as stored.
        assert f"1 of them in lesions, such as {padding:g} at row 4, column 3" in found.loc[1, "error"]
