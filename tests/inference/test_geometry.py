"""Label maps lie on the voxels of their source, as read by other programs."""

import json
import locale
import pathlib

import highdicom as hd
import nibabel as nib
import numpy as np
import pydicom
import pytest
import SimpleITK
from nibabel.testing import data_path as nibabel_data
from PIL import Image
from pydicom.data import get_testdata_file

from ssinfnet_jax.data.datasets.ct_phantom import volume
from ssinfnet_jax.data.readers import find
from ssinfnet_jax.data.readers.dicom import series as dicom
from ssinfnet_jax.inference import results, segment_scan
from tests.inference import stand_in

OPTIONS = segment_scan.Options(outside_lungs="keep")
SHAPE = (24, 20, 9)


def chest(shape=SHAPE, seed=0):
    """Returns HU in which all axes, directions and voxels differ."""
    i, j, k = np.indices(shape)
    rng = np.random.default_rng(seed)
    hu = -1000 + 40.0 * i + 13.0 * j + 31.0 * k + rng.integers(-60, 60, shape)
    return hu.astype(np.int16)


def affine(axes, spacing, degrees=0.0, origin=(11.0, -37.0, 205.0)):
    """Returns an affine with voxel axes along RAS directions such as "LPS", rotated about an oblique line."""
    out = np.zeros((4, 4))
    for axis, (code, size) in enumerate(zip(axes, spacing, strict=True)):
        world, sign = {"R": (0, 1), "L": (0, -1), "A": (1, 1), "P": (1, -1), "S": (2, 1), "I": (2, -1)}[code]
        out[world, axis] = sign * size
    line, angle = np.array([1.0, 2.0, 3.0]) / np.sqrt(14), np.radians(degrees)
    cross = np.cross(np.eye(3), line)
    out[:3, :3] = (np.eye(3) - np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross) @ out[:3, :3]
    out[:3, 3], out[3, 3] = origin, 1
    return out


def segment(path, out, **options):
    (source,) = find.find([path])
    row = segment_scan.segment(source, stand_in.Thresholds(), OPTIONS, out, **{"force": True, **options})
    return row, out / "masks" / f"{source.name}.nii.gz"


@pytest.mark.parametrize("axes", ["LPS", "RAS", "LAS", "LPI", "SPL", "PIR", "ASR"])
@pytest.mark.parametrize(("spacing", "degrees"), [((1, 1, 1), 0), ((0.7, 0.9, 5.0), 0), ((0.7, 0.7, 1.3), 17)])
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_nifti_labels_lie_on_their_source_in_simpleitk(tmp_path, axes, spacing, degrees, suffix):
    hu = chest()
    path = tmp_path / f"scan{suffix}"
    nib.save(nib.Nifti1Image(hu, affine(axes, spacing, degrees)), path)
    row, mask = segment(path, tmp_path / "out")
    source, labels = SimpleITK.ReadImage(path), SimpleITK.ReadImage(mask)
    for name in ("GetOrigin", "GetDirection", "GetSpacing", "GetSize"):
        assert getattr(labels, name)() == getattr(source, name)()
    np.testing.assert_array_equal(
        SimpleITK.GetArrayFromImage(labels), stand_in.expected_of_hu(SimpleITK.GetArrayFromImage(source))
    )
    assert nib.load(mask).header["sform_code"] == nib.load(path).header["sform_code"]
    np.testing.assert_array_equal(nib.load(mask).affine, nib.load(path).affine)
    ml = float(np.prod(spacing)) / 1000
    labels = stand_in.expected_of_hu(hu)
    assert row["ggo_ml"] == pytest.approx((labels == 1).sum() * ml, abs=1e-3)
    assert row["consolidation_ml"] == pytest.approx((labels == 2).sum() * ml, abs=1e-3)


@pytest.mark.parametrize("name", ["CASE.NII.GZ", "CASE.nii.GZ", "CASE.NII"])
def test_suffixes_in_capitals(tmp_path, name):
    hu = chest()
    nib.save(nib.Nifti1Image(hu, affine("LPS", (1, 1, 2))), tmp_path / name.lower())
    (tmp_path / name.lower()).rename(tmp_path / name)
    row, mask = segment(tmp_path / name, tmp_path / "out")
    assert (row["scan"], row["patient_id"]) == ("CASE", "CASE")
    np.testing.assert_array_equal(nib.load(mask).get_fdata(), stand_in.expected_of_hu(hu))


def test_qform_alone_and_sheared_affines_are_kept(tmp_path):
    image = nib.Nifti1Image(chest(), None)
    image.set_qform(affine("LPS", (0.8, 0.8, 3), 10), code=1)
    image.set_sform(None, code=0)
    nib.save(image, tmp_path / "q.nii.gz")
    _, mask = segment(tmp_path / "q.nii.gz", tmp_path / "out")
    found = nib.load(mask)
    np.testing.assert_array_equal(found.affine, nib.load(tmp_path / "q.nii.gz").affine)
    assert (int(found.header["qform_code"]), int(found.header["sform_code"])) == (1, 0)
    assert SimpleITK.ReadImage(mask).GetDirection() == SimpleITK.ReadImage(tmp_path / "q.nii.gz").GetDirection()
    sheared = affine("LPS", (0.8, 0.8, 3))
    sheared[1, 2] = 0.9  # a tilted gantry
    nib.save(nib.Nifti1Image(chest(), sheared), tmp_path / "tilted.nii")
    row, mask = segment(tmp_path / "tilted.nii", tmp_path / "out")
    np.testing.assert_array_equal(nib.load(mask).affine, nib.load(tmp_path / "tilted.nii").affine)
    assert row["lesion_ml"] == pytest.approx(row["lesion_px"] * 0.8 * 0.8 * 3 / 1000, abs=1e-3)


@pytest.mark.parametrize(
    "name", ["anatomical.nii", "example_nifti2.nii.gz", "standard.nii.gz", "reoriented_anat_moved.nii"]
)
def test_real_files_from_nibabel(tmp_path, name):
    """None of them is CT, so their values are mapped to HU; their headers stay as other programs wrote them."""
    original = nib.load(pathlib.Path(nibabel_data) / name)
    data = np.asarray(original.dataobj, np.float32)
    data = data[..., 0] if data.ndim == 4 else data
    hu = np.rint(-1000 + 1200 * (data - data.min()) / max(np.ptp(data), 1)).astype(np.int16)
    header = original.header.copy()
    header.set_data_dtype(np.int16)
    header.set_slope_inter(1, 0)
    path = tmp_path / name
    nib.save(type(original)(hu, original.affine, header), path)
    _, mask = segment(path, tmp_path / "out")
    found = nib.load(mask)
    assert type(found) is type(nib.load(path))
    np.testing.assert_array_equal(found.affine, nib.load(path).affine)
    np.testing.assert_array_equal(np.asarray(found.dataobj), stand_in.expected_of_hu(hu))


def test_probabilities_are_scaled_and_headers_do_not_identify_the_patient(tmp_path):
    image = nib.Nifti1Image(chest(), affine("LPS", (1, 1, 1)))
    image.header["descrip"] = b"Jane Doe"
    image.header.extensions.append(nib.nifti1.Nifti1Extension("comment", b"Jane Doe"))
    nib.save(image, tmp_path / "scan.nii")
    _, mask = segment(tmp_path / "scan.nii", tmp_path / "out")
    probs = nib.load(tmp_path / "out/scans/scan/probabilities/ggo.nii.gz")
    np.testing.assert_allclose(probs.get_fdata(), nib.load(mask).get_fdata() == 1)
    for file in (tmp_path / "out").rglob("*.nii.gz"):
        found = nib.load(file)
        assert not found.header.extensions
        assert b"Doe" not in found.header.binaryblock


# Rows to posterior and columns to the left; prone; rotated in the plane; slices from below and from above.
ORIENTATIONS = ["LPS", "LPI", "RAS", "RAI", "LAS", "PLS", "ARI"]


def series(folder, hu, place, shuffled=True, change=None):
    volume.write_dicom(folder, hu, place, patient_id="p1", change=change)
    if shuffled:
        names = sorted(folder.iterdir())
        for number, k in enumerate(np.random.default_rng(1).permutation(len(names))):
            names[k].rename(folder / f"x{number:03d}")


def by_simpleitk(folder):
    reader = SimpleITK.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
    return reader.Execute()


@pytest.mark.parametrize("axes", ORIENTATIONS)
@pytest.mark.parametrize("degrees", [0, 12])
def test_dicom_labels_lie_on_their_source_in_simpleitk_and_highdicom(tmp_path, axes, degrees):
    hu, place = chest(), affine(axes, (0.7, 0.9, 2.5), degrees)
    series(tmp_path / "exam", hu, place)
    row, mask = segment(tmp_path / "exam", tmp_path / "out")
    assert (row["patient_id"], row["format"]) == ("p1", "dicom")
    source = by_simpleitk(tmp_path / "exam")
    labels = SimpleITK.ReadImage(mask)
    # SimpleITK may sort the slices in reverse, so points are compared, not indices.
    on_source = SimpleITK.Resample(labels, source, SimpleITK.Transform(), SimpleITK.sitkNearestNeighbor)
    np.testing.assert_array_equal(
        SimpleITK.GetArrayFromImage(on_source), stand_in.expected_of_hu(SimpleITK.GetArrayFromImage(source))
    )
    segmentation = hd.seg.segread(tmp_path / "out/scans/exam_series1/segmentation.dcm")
    assert_seg_agrees(segmentation, sorted((tmp_path / "exam").iterdir()))


def assert_seg_agrees(segmentation, files):
    """Checks with highdicom's reader that the segments of every source image match its pixels."""
    datasets = [pydicom.dcmread(file) for file in files]
    found = segmentation.get_pixels_by_source_instance(
        [one.SOPInstanceUID for one in datasets], combine_segments=True, ignore_spatial_locations=True,
        assert_missing_frames_are_empty=True,
    )  # fmt: skip
    for dataset, labels in zip(datasets, found, strict=True):
        hu = dataset.pixel_array * float(dataset.RescaleSlope) + float(dataset.RescaleIntercept)
        np.testing.assert_array_equal(labels, stand_in.expected_of_hu(hu))
    codes = [segmentation.get_segment_description(n).segmented_property_type.value for n in (1, 2)]
    assert codes == ["112120", "95436008"]
    positions = {uid: one.ImagePositionPatient for one in datasets for uid in [one.SOPInstanceUID]}
    for frame in segmentation.PerFrameFunctionalGroupsSequence:
        (image,) = frame.DerivationImageSequence[0].SourceImageSequence
        placed = frame.PlanePositionSequence[0].ImagePositionPatient
        np.testing.assert_allclose(placed, positions[image.ReferencedSOPInstanceUID], atol=1e-4)


@pytest.mark.parametrize("name", ["scan.nrrd", "scan.nhdr", "scan.mha", "scan.mhd"])
@pytest.mark.parametrize("axes", ["LPS", "RAS", "SPL"])
def test_labels_of_other_formats_lie_on_their_source_in_simpleitk(tmp_path, name, axes):
    """The results are those of the same scan as NIfTI; for NRRD there are segments for 3D Slicer as well."""
    hu = chest()
    (tmp_path / "in").mkdir()
    nib.save(nib.Nifti1Image(hu, affine(axes, (0.7, 0.9, 2.0), 17)), tmp_path / "scan.nii")
    source = SimpleITK.ReadImage(tmp_path / "scan.nii")
    SimpleITK.WriteImage(source, tmp_path / "in" / name)
    row, mask = segment(tmp_path / "in" / name, tmp_path / "out")
    _, wanted = segment(tmp_path / "scan.nii", tmp_path / "wanted")
    found = SimpleITK.ReadImage(mask)
    np.testing.assert_array_equal(SimpleITK.GetArrayFromImage(found), nib.load(wanted).get_fdata().T)
    written = [found]
    segments = tmp_path / "out/scans/scan/segmentation.seg.nrrd"
    assert segments.exists() == (row["format"] == "nrrd") == (name in ("scan.nrrd", "scan.nhdr"))
    if segments.exists():
        written.append(SimpleITK.ReadImage(segments))
        np.testing.assert_array_equal(*map(SimpleITK.GetArrayFromImage, written))
    for image in written:
        for index in ((0, 0, 0), tuple(side - 1 for side in SHAPE)):
            np.testing.assert_allclose(
                image.TransformIndexToPhysicalPoint(index), source.TransformIndexToPhysicalPoint(index), atol=1e-3
            )


def test_dicom_and_nifti_of_the_same_chest_have_the_same_labels(tmp_path):
    hu, _, place = volume.render(0, 7, 6, 96)
    hu = hu.clip(-1024, 3071)
    series(tmp_path / "exam", hu, place)
    volume.write_nifti(tmp_path / "exam.nii.gz", hu, place)
    rows = [segment(tmp_path / name, tmp_path / "out") for name in ("exam", "exam.nii.gz")]
    found = [nib.load(mask) for _, mask in rows]
    np.testing.assert_array_equal(found[0].get_fdata(), found[1].get_fdata())
    np.testing.assert_allclose(found[0].affine, found[1].affine, atol=1e-4)
    assert rows[0][0]["lesion_ml"] == rows[1][0]["lesion_ml"] > 0
    assert 0.02 < rows[0][0]["lesion_share_of_lung_approx"] < 1


def test_a_tilted_gantry_shears_the_grid_and_keeps_every_slice_in_place(tmp_path):
    """Positions advance along z while the slices are tilted by 20 degrees, as scanners write it."""
    hu, place = chest(), affine("LPS", (0.8, 0.8, 4.0))
    tilt = np.radians(20)
    place[:3, 1] = [0, -0.8 * np.cos(tilt), 0.8 * np.sin(tilt)]
    series(tmp_path / "exam", hu, place)
    row, mask = segment(tmp_path / "exam", tmp_path / "out")
    assert_seg_agrees(
        hd.seg.segread(tmp_path / "out/scans/exam_series1/segmentation.dcm"), sorted((tmp_path / "exam").iterdir())
    )
    np.testing.assert_allclose(nib.load(mask).affine, place, atol=1e-4)
    assert row["lesion_ml"] == pytest.approx(row["lesion_px"] * 0.8 * 0.8 * 4 * np.cos(tilt) / 1000, abs=1e-3)


COMPRESSED = {
    "RLE": pydicom.uid.RLELossless,
    "JPEG-LS": pydicom.uid.JPEGLSLossless,
    "JPEG 2000": pydicom.uid.JPEG2000Lossless,
}


@pytest.mark.parametrize("name", COMPRESSED)
def test_lossless_compression_changes_nothing(tmp_path, name):
    hu, place = chest((48, 40, 3)), affine("LPS", (1, 1, 2))
    series(tmp_path / "plain", hu, place)
    series(tmp_path / "small", hu, place, change=lambda dataset, _: dataset.compress(COMPRESSED[name]))
    masks = [nib.load(segment(tmp_path / folder, tmp_path / "out")[1]).get_fdata() for folder in ("plain", "small")]
    np.testing.assert_array_equal(masks[1], stand_in.expected_of_hu(hu))
    np.testing.assert_array_equal(*masks)


@pytest.fixture
def keeps_locale():
    """Restores the locale: SimpleITK's DICOM writer leaves the process in the C locale, which only reads ASCII."""
    before = locale.setlocale(locale.LC_ALL)
    yield
    locale.setlocale(locale.LC_ALL, before)


@pytest.mark.usefixtures("keeps_locale")
@pytest.mark.parametrize("compressor", [None, "JPEG", "JPEG2000"])
def test_series_written_by_simpleitk(tmp_path, compressor):
    hu, place = chest((48, 40, 4)), affine("LPS", (0.75, 0.75, 3))
    (tmp_path / "exam").mkdir()
    writer = SimpleITK.ImageFileWriter()
    writer.KeepOriginalImageUIDOn()
    if compressor:
        writer.UseCompressionOn()
        writer.SetCompressor(compressor)
    for k in range(hu.shape[2]):
        image = SimpleITK.GetImageFromArray(hu[:, :, k : k + 1].T)
        image.SetSpacing((0.75, 0.75, 3.0))
        tags = {
            "0008|0008": "ORIGINAL\\PRIMARY\\AXIAL", "0008|0016": "1.2.840.10008.5.1.4.1.1.2", "0008|0060": "CT",
            "0008|0018": f"1.2.826.0.1.3680043.2.1125.1.{k + 1}", "0020|000d": "1.2.826.0.1.3680043.2.1125.2",
            "0020|000e": "1.2.826.0.1.3680043.2.1125.3", "0020|0052": "1.2.826.0.1.3680043.2.1125.4",
            "0020|0032": "\\".join(map(str, (place @ [0, 0, k, 1])[:3] * [-1, -1, 1])),
            "0020|0037": "1\\0\\0\\0\\1\\0", "0028|1052": "0", "0028|1053": "1", "0010|0020": "p1",
        }  # fmt: skip
        for tag, value in tags.items():
            image.SetMetaData(tag, value)
        writer.SetFileName(str(tmp_path / "exam" / f"{9 - k}.dcm"))
        writer.Execute(image)
    _, mask = segment(tmp_path / "exam", tmp_path / "out")
    np.testing.assert_array_equal(nib.load(mask).get_fdata(), stand_in.expected_of_hu(hu))
    np.testing.assert_allclose(nib.load(mask).affine, place, atol=1e-4)
    assert (tmp_path / "out/scans/exam_series0/segmentation.dcm").is_file()


def test_an_element_that_prevents_the_dicom_seg_prevents_nothing_else(tmp_path):
    series(tmp_path / "exam", chest(), affine("LPS", (0.8, 0.8, 2.5)))
    for path in (tmp_path / "exam").iterdir():
        thickness = bytes.fromhex("18005000")
        data = path.read_bytes()
        assert data.count(thickness + b"DS") == 1
        path.write_bytes(data.replace(thickness + b"DS", thickness + b"D\x18"))  # no value representation
    row, mask = segment(tmp_path / "exam", tmp_path / "out")
    assert pathlib.Path(mask).is_file()
    assert "no DICOM-SEG could be written for" in row["notes"]
    assert not list((tmp_path / "out/scans").rglob("*.dcm"))


@pytest.mark.parametrize("name", ["CT_small.dcm", "693_J2KI.dcm"])
def test_real_ct_slices_from_pydicom(tmp_path, name):
    path = tmp_path / "exam" / name
    path.parent.mkdir()
    path.write_bytes(pathlib.Path(get_testdata_file(name)).read_bytes())
    row, mask = segment(path.parent, tmp_path / "out")
    dataset = pydicom.dcmread(path)
    hu = dataset.pixel_array * float(dataset.RescaleSlope) + float(dataset.RescaleIntercept)
    np.testing.assert_array_equal(nib.load(mask).get_fdata()[:, :, 0].T, stand_in.expected_of_hu(hu))
    assert row["lesion_ml"] is None
    assert row["lesion_px"] > 0


def test_pictures_keep_names_and_sizes(tmp_path):
    rng = np.random.default_rng(0)
    (tmp_path / "case").mkdir()
    for name, shape in (("s10.png", (30, 40)), ("s2.png", (64, 50))):
        Image.fromarray(rng.integers(0, 256, shape, np.uint8)).save(tmp_path / "case" / name)
    (source,) = find.find([tmp_path / "case"])
    row = segment_scan.segment(source, stand_in.Thresholds(), OPTIONS, tmp_path / "out")
    for number, name in enumerate(["s2.png", "s10.png"]):
        found = np.array(Image.open(tmp_path / "out/masks" / f"case_{number:04d}_{name}"))
        np.testing.assert_array_equal(found, stand_in.expected(np.array(Image.open(tmp_path / "case" / name))))
    images, classes, areas, *_ = results.load_views(tmp_path / "out", "case", stand_in.WINDOW_HU)
    assert (images.shape, classes.shape, areas) == ((2, 64, 50), (2, 64, 50), [64 * 50, 30 * 40])  # before padding
    assert (row["slices"], row["lesion_ml"], row["kind"]) == (2, None, "uint8")
    assert (row["lung_approx_px"], row["lesion_share_of_lung_approx"]) == (None, None)
    assert row["notes"].endswith("; pictures have no share of the lung, since they may be cropped to it")
    assert json.loads((tmp_path / "out/scans/case/scan.json").read_text()) == row
    assert not list((tmp_path / "out").rglob("*partial*"))


def test_missing_slices_are_named(tmp_path):
    series(tmp_path / "exam", chest(), affine("LPI", (1, 1, 2.5)), shuffled=False)
    (tmp_path / "exam/0003.dcm").unlink()
    (tmp_path / "exam/0004.dcm").unlink()
    with pytest.raises(ValueError, match=r"lacks about 2 slices: between 000[25]\.dcm and 000[25]\.dcm are 7\.50 mm"):
        dicom.read(sorted((tmp_path / "exam").iterdir()))
