"""Segments of 3D Slicer and of DICOM-SEG become class maps on the voxels of their image."""

import nibabel as nib
import nrrd
import numpy as np
import pydicom
import pytest
import SimpleITK
from pydicom import uid

from ssinfnet_jax.analysis.phenotypes import folder
from ssinfnet_jax.data import input_files
from ssinfnet_jax.data.datasets.ct_phantom import volume as phantom
from ssinfnet_jax.data.readers import segments, volume
from ssinfnet_jax.data.readers.dicom import series as dicom
from ssinfnet_jax.inference.writers import dicom_seg, seg_nrrd
from tests.data.readers.test_formats import LPS_FROM_RAS, chest, nifti, oblique

SHAPE = (12, 10, 9)


def labels():
    """Returns classes in which all axes, directions and voxels differ; the border is background."""
    classes = np.zeros(SHAPE, np.uint8)
    classes[2:7, 3:6, 2:5], classes[6:10, 5:9, 4:8] = 1, 2
    return classes


def of_slicer(path, stored, fields, start=(0, 0, 0), kinds=None):
    """Writes stored[..., I, J, K] that begins at voxel `start` of the image, with the fields of 3D Slicer."""
    place = LPS_FROM_RAS @ oblique()
    directions = place[:3, :3].T
    layers = stored.ndim == 4
    header = {
        "space": "left-posterior-superior", "encoding": "gzip", "space origin": (place @ [*start, 1])[:3],
        "kinds": ["list"] * layers + ["domain"] * 3,
        "space directions": np.concatenate([np.full((1, 3), np.nan)] * layers + [directions]),
        "Segmentation_ReferenceImageExtentOffset": " ".join(map(str, start)),
    }  # fmt: skip
    nrrd.write(str(path), stored, header | fields)
    return path


def names(*found, numbers=None, layers=None):
    fields = {}
    for index, name in enumerate(found):
        fields |= {
            f"Segment{index}_Name": name,
            f"Segment{index}_LabelValue": str(numbers[index] if numbers else index + 1),
            f"Segment{index}_Layer": str(layers[index] if layers else 0),
        }
    return fields


def read(path, tmp_path):
    grid, _ = volume.read_grid(nifti(tmp_path / "image.nii"))
    assert segments.holds_segments(path)
    classes, rule = segments.load_classes(path, grid)
    stored = np.zeros(SHAPE, np.uint8)
    for index, view in enumerate(classes):
        stored[grid.source_slice(index)] = grid.to_source(view)
    return stored, rule


def test_segments_are_classes_by_their_names(tmp_path):
    """The numbers of the labels are whatever 3D Slicer gave; an empty segment of another name does not matter."""
    swapped = np.choose(labels(), [0, 7, 3]).astype(np.uint8)
    fields = names("consolidation", "Ground-glass opacity", "Lung", numbers=(3, 7, 9))
    found, rule = read(of_slicer(tmp_path / "a.seg.nrrd", swapped, fields), tmp_path)
    np.testing.assert_array_equal(found, labels())
    assert rule == "segments by name"


def test_segments_without_known_names_are_classes_by_their_numbers(tmp_path):
    found, rule = read(of_slicer(tmp_path / "a.seg.nrrd", labels(), names("Segment_1", "Segment_2")), tmp_path)
    np.testing.assert_array_equal(found, labels())
    assert rule == "segments by label value: 1 GGO, 2 consolidation"


def test_segments_may_cover_a_part_of_the_image(tmp_path):
    part = labels()[2:10, 3:9, 2:8]
    found, _ = read(of_slicer(tmp_path / "a.seg.nrrd", part, names("GGO", "Consolidation"), (2, 3, 2)), tmp_path)
    np.testing.assert_array_equal(found, labels())
    around = np.pad(labels(), 3)
    found, _ = read(of_slicer(tmp_path / "b.seg.nrrd", around, names("GGO", "Consolidation"), (-3, -3, -3)), tmp_path)
    np.testing.assert_array_equal(found, labels())


def test_segments_may_lie_in_layers(tmp_path):
    layers = np.stack([labels() == 1, labels() == 2]).astype(np.uint8)
    fields = names("GGO", "Consolidation", numbers=(1, 1), layers=(0, 1))
    found, _ = read(of_slicer(tmp_path / "a.seg.nrrd", layers, fields), tmp_path)
    np.testing.assert_array_equal(found, labels())


def test_segments_that_do_not_fit_are_refused(tmp_path):
    def refuse(reason, stored, fields, start=(0, 0, 0)):
        with pytest.raises(ValueError, match=reason):
            read(of_slicer(tmp_path / "a.seg.nrrd", stored, fields, start), tmp_path)

    both = names("GGO", "Consolidation")
    refuse("holds the segments 'Lung', which are neither GGO nor", labels(), names("GGO", "Lung"))
    refuse("'tumour', 'x'; name them GGO and", labels(), names("tumour", "x", numbers=(4, 5)))
    refuse("does not lie on the voxels of its image: they are up to .* mm apart", labels(), both, (0.5, 0, 0))
    refuse("has segments outside of its image", labels(), both, (6, 0, 0))
    overlapping = np.stack([labels() > 0, labels() == 2]).astype(np.uint8)
    refuse("overlap; a voxel has one class", overlapping, names("GGO", "Consolidation", numbers=(1, 1), layers=(0, 1)))


def series(tmp_path):
    place = np.diag([-0.7, -0.8, 2.5, 1])
    phantom.write_dicom(tmp_path / "series", chest(), place, patient_id="p1")
    return dicom.read(sorted((tmp_path / "series").iterdir())), place


def test_dicom_seg_lies_on_the_nifti_of_its_series(tmp_path):
    """Empty slices are omitted from the DICOM-SEG."""
    scan, place = series(tmp_path)
    stored = np.zeros(scan.grid.shape, np.uint8)
    for index in range(scan.num_slices):
        stored[scan.grid.source_slice(index)] = labels()[..., index : index + 1]
    dicom_seg.write(tmp_path / "a.dcm", stored, scan)
    nib.save(nib.Nifti1Image(chest(), place), tmp_path / "a.nii.gz")
    assert segments.holds_segments(tmp_path / "a.dcm")
    found, _ = segments.load_classes(tmp_path / "a.dcm", volume.read_grid(tmp_path / "a.nii.gz")[0])
    np.testing.assert_array_equal(found, labels().transpose(2, 1, 0))


def test_what_we_write_for_slicer_has_names_and_colours(tmp_path):
    """Read back by pynrrd, and by ourselves."""
    image = volume.load(nifti(tmp_path / "image.nii"))
    scan = dicom.scan.Scan(tmp_path, "nrrd", None, 9, read=lambda index: image.voxels[index], grid=image.grid)
    seg_nrrd.write(tmp_path / "a.seg.nrrd", labels(), scan)
    stored, header = nrrd.read(str(tmp_path / "a.seg.nrrd"))
    np.testing.assert_array_equal(stored, labels())
    place = LPS_FROM_RAS @ oblique()
    np.testing.assert_allclose(header["space directions"], place[:3, :3].T, atol=1e-6)
    np.testing.assert_allclose(header["space origin"], place[:3, 3], atol=1e-4)
    assert header["space"] == "left-posterior-superior"
    shown = {name: header[f"Segment{index}_{name}"] for index in (1,) for name in ("Name", "LabelValue", "Layer")}
    assert shown == {"Name": "Consolidation", "LabelValue": "2", "Layer": "0"}
    assert (header["Segment0_Name"], header["Segment0_Extent"]) == ("GGO", "0 11 0 9 0 8")
    np.testing.assert_allclose(np.fromstring(header["Segment0_Color"], sep=" ") * 255, [86, 180, 233], atol=0.01)
    np.testing.assert_array_equal(read(tmp_path / "a.seg.nrrd", tmp_path)[0], labels())


@pytest.mark.parametrize("ending", [".seg.nrrd", ".nrrd", ".mha", ".dcm"])
def test_phenotypes_take_masks_of_every_format(tmp_path, ending):
    """The image is NIfTI with nnU-Net's name for a channel."""
    scan, place = series(tmp_path)
    for name in ("images", "masks"):
        (tmp_path / name).mkdir()
    nib.save(nib.Nifti1Image(chest(), place), tmp_path / "images/a_0000.nii.gz")
    nib.save(nib.Nifti1Image(labels(), place), tmp_path / "mask.nii")
    mask = tmp_path / f"masks/a{ending}"
    stored = np.zeros(scan.grid.shape, np.uint8)
    for index in range(scan.num_slices):
        stored[scan.grid.source_slice(index)] = labels()[..., index : index + 1]
    if ending == ".dcm":
        dicom_seg.write(mask, stored, scan)
    elif ending == ".seg.nrrd":
        seg_nrrd.write(mask, stored, scan)
    else:
        SimpleITK.WriteImage(SimpleITK.ReadImage(tmp_path / "mask.nii"), mask)
    items = folder.items(tmp_path / "images", tmp_path / "masks", preset="hu")
    assert [item.slice_id for item in items] == [f"a_{index:04d}" for index in range(SHAPE[2])]
    for index, item in enumerate(items):
        values, classes, spacing_mm = item.source()
        np.testing.assert_array_equal(values, chest()[..., index].T)
        np.testing.assert_array_equal(classes, labels()[..., index].T)
        assert spacing_mm == pytest.approx((0.8, 0.7))


def test_two_channels_of_a_case_are_refused(tmp_path):
    for name in ("images/a_0000", "images/a_0001", "masks/a"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        nib.save(nib.Nifti1Image(labels(), oblique()), tmp_path / f"{name}.nii.gz")
    with pytest.raises(ValueError, match=r"a_0000\.nii\.gz and .*a_0001\.nii\.gz are images of one mask; keep the CT"):
        folder.items(tmp_path / "images", tmp_path / "masks")


def written_series(folder, number=1):
    """Writes the series of a patient, a scout and a text beside it, and returns its NIfTI-like labels and scan."""
    place = np.diag([-0.7, -0.8, 2.5, 1])
    phantom.write_dicom(folder, chest(), place, patient_id=f"p{number}")
    scan = dicom.read(sorted(folder.iterdir()))
    scout = pydicom.dcmread(folder / "0000.dcm")
    scout.ImageType, scout.SOPInstanceUID = ["ORIGINAL", "PRIMARY", "LOCALIZER"], uid.generate_uid()
    scout.SeriesInstanceUID = uid.generate_uid()
    scout.save_as(folder / "scout.dcm")
    (folder / "README.txt").write_text("about")
    stored = np.zeros(scan.grid.shape, np.uint8)
    for index in range(scan.num_slices):
        stored[scan.grid.source_slice(index)] = labels()[..., index : index + 1]
    return scan, stored


def check_items(items, names):
    assert [item.slice_id for item in items] == [f"{name}_{index:04d}" for name in names for index in range(SHAPE[2])]
    for index, item in enumerate(items):
        values, classes, spacing_mm = item.source()
        np.testing.assert_array_equal(values, chest()[..., index % SHAPE[2]].T)
        np.testing.assert_array_equal(classes, labels()[..., index % SHAPE[2]].T)
        assert spacing_mm == pytest.approx((0.8, 0.7))


@pytest.mark.parametrize("below", ["", "study/ct"])
@pytest.mark.parametrize("mask", ["{}.dcm", "{}/segmentation.dcm", "{}.seg.nrrd", "{}.nii.gz"])
def test_phenotypes_take_dicom_series_in_folders(tmp_path, below, mask):
    """A series per patient; its mask has the folder's name, or is alone in a folder of this name."""
    for number in (1, 2):
        scan, stored = written_series(tmp_path / f"images/p{number}" / below, number)
        path = tmp_path / "masks" / mask.format(f"p{number}")
        path.parent.mkdir(exist_ok=True, parents=True)
        if path.suffix == ".gz":
            nib.save(nib.Nifti1Image(stored, scan.grid.affine), path)
        else:
            (dicom_seg if path.suffix == ".dcm" else seg_nrrd).write(path, stored, scan)
    report = input_files.Report()
    items = folder.items(tmp_path / "images", tmp_path / "masks", preset="hu", report=report)
    check_items(items, ["p1", "p2"])
    assert [item.patient_id for item in items] == ["p1"] * 9 + ["p2"] * 9
    version = items[0].version
    (tmp_path / "images/p1" / below / "0003.dcm").touch()
    assert folder.items(tmp_path / "images", tmp_path / "masks", preset="hu")[0].version != version
    folder.leave_out_failed(items, [""] * 9 + ["failed"] * 9, report)
    assert report.used == 9 + 2 + 1  # with scout and text
    assert report.num_left_out >= 12


@pytest.mark.parametrize("masks", ["masks/segmentation.dcm", "masks", "masks/exam.dcm"])
def test_phenotypes_of_the_folder_of_one_series(tmp_path, masks):
    scan, stored = written_series(tmp_path / "exam")
    (tmp_path / "masks").mkdir()
    name = "exam" if masks == "masks/exam.dcm" else "segmentation"
    dicom_seg.write(tmp_path / f"masks/{name}.dcm", stored, scan)
    check_items(folder.items(tmp_path / "exam", tmp_path / masks, preset="hu"), ["exam"])


def test_series_in_folders_that_do_not_fit(tmp_path):
    scan, stored = written_series(tmp_path / "images/p1")
    (tmp_path / "masks").mkdir()
    dicom_seg.write(tmp_path / "masks/p1.dcm", stored, scan)
    written_series(tmp_path / "images/p2")
    with pytest.raises(ValueError, match=r"10 of 11 image files have no file of the same name .*the folder of a DICOM"):
        folder.items(tmp_path / "images", tmp_path / "masks", preset="hu")
    (tmp_path / "images/p2").rename(tmp_path / "images/p1/again")
    (item,) = folder.items(tmp_path / "images", tmp_path / "masks", preset="hu")
    with pytest.raises(ValueError, match=r"images/p1 holds 2 CT series in DICOM; expected one, so keep only"):
        item.source()
