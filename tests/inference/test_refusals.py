"""Inputs other than a chest CT in HU are refused, with a reason."""

import os

import nibabel as nib
import numpy as np
import pydicom
import pytest
from PIL import Image

from ssinfnet_jax.data import survey
from ssinfnet_jax.data.readers import find, nifti
from ssinfnet_jax.data.readers.dicom import series as dicom
from ssinfnet_jax.inference import segment_scan
from tests.inference import stand_in
from tests.inference.test_geometry import affine, chest, segment, series


def exam(folder, **changes):
    """Writes a series with changed elements; None deletes an element."""

    def change(dataset, k):
        for name, value in changes.items():
            if value is None:
                delattr(dataset, name)
            else:
                setattr(dataset, name, value(k) if callable(value) else value)

    series(folder, chest(), affine("LPS", (1, 1, 2)), shuffled=False, change=change)
    return sorted(folder.iterdir())


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}, r"is a scout \(image type ORIGINAL/PRIMARY/LOCALIZER\)"),
        (
            {"SOPClassUID": pydicom.uid.SecondaryCaptureImageStorage},
            "is Secondary Capture Image Storage",
        ),
        ({"Modality": "MR"}, "of modality MR, not a CT image"),
        ({"ImageType": ["DERIVED", "SECONDARY", "MIP"]}, "is a projection"),
    ],
)
def test_series_that_are_not_ct_volumes_are_left_out(tmp_path, changes, reason):
    with pytest.raises(dicom.LeftOutError, match=reason):
        dicom.read(exam(tmp_path / "exam", **changes))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"RescaleIntercept": None}, r"is not in HU \(rescale slope 1\.?0?, intercept None, type HU\)"),
        ({"RescaleType": "OD"}, "is not in HU .* type OD"),
        ({"NumberOfFrames": 2}, "has 2 frames of 1 samples"),
        ({"ImagePositionPatient": None}, "has no ImagePositionPatient; export the original series"),
        ({"PixelSpacing": [0, 1]}, "has an affine that does not place voxels in space"),
        ({"ImageOrientationPatient": [1, 0, 0, 1, 0, 0]}, "must be two perpendicular unit vectors"),
        ({"ImageOrientationPatient": [1, 0, 0, 0, 0, -1]}, r"is not axial \(its slices face \[.*\]"),
        ({"Rows": lambda k: 20 if k else 21}, "Slices of one series differ in Rows, Columns"),
        ({"ImagePositionPatient": lambda k: [0, 0, k // 2]}, "8 slices of .* share a position, such as .*two acquis"),
        (
            {"SOPInstanceUID": "1.2.3"},
            r"9 images at different positions .* share a SOPInstanceUID, such as \S*/0000\.dcm and \S*/0001\.dcm: "
            "they are not copies; .* Export the series again",
        ),
        (
            {"SOPInstanceUID": lambda k: f"1.2.{max(k, 7)}", "ImagePositionPatient": [0, 0, 0]},
            "8 images at different positions .*InstanceNumber",
        ),
        ({"ImagePositionPatient": lambda k: [0, 9 * (k == 3), 2 * k]}, "do not lie on a regular grid"),
        ({"Rows": 5000}, "5000 x 9 voxels; a side has at most 4096"),
    ],
)
def test_series_that_cannot_be_segmented(tmp_path, changes, reason):
    with pytest.raises(ValueError, match=reason):
        dicom.read(exam(tmp_path / "exam", **changes))


def test_copies_of_an_image_are_used_once(tmp_path):
    files = exam(tmp_path / "exam")
    copy = tmp_path / "exam" / "copy.dcm"
    copy.write_bytes(files[2].read_bytes())
    scan = dicom.read([*files, copy])
    assert scan.num_slices == len(files)
    assert scan.notes == ("1 copies of other images were left out",)


def test_only_images_that_are_not_slices_are_left_out_of_a_series(tmp_path):
    def kind(k):
        return ["ORIGINAL", "PRIMARY", "LOCALIZER" if k == 0 else "AXIAL"]

    files = exam(tmp_path / "exam", ImageType=kind)
    scan = dicom.read(files)
    assert scan.num_slices == len(files) - 1
    assert len(scan.notes) == 1
    assert "1 images of the series were left out, such as" in scan.notes[0]
    assert "is a scout" in scan.notes[0]


def test_a_copy_at_another_position_with_the_same_uid_is_refused(tmp_path):
    files = exam(tmp_path / "exam")
    dataset = pydicom.dcmread(files[2])
    dataset.ImagePositionPatient[2] += 40
    dataset.save_as(tmp_path / "exam" / "other.dcm")
    with pytest.raises(ValueError, match=r"2 images at different positions .*/0002\.dcm and \S*/other\.dcm"):
        dicom.read([*files, tmp_path / "exam" / "other.dcm"])


def test_padding_is_air(tmp_path):
    (path, *_) = exam(tmp_path / "exam", PixelPaddingValue=63536, BitsStored=16, HighBit=15)
    dataset = pydicom.dcmread(path)
    pixels = dataset.pixel_array.copy()
    pixels[:3] = 63536
    dataset.PixelData = pixels.tobytes()
    dataset.save_as(path)
    assert (dicom.read([path]).read(0)[:3] == -1024).all()
    dataset.add_new("PixelPaddingRangeLimit", "US", 63540)
    pixels[:3], pixels[3:5] = 63536, 63539
    dataset.PixelData = pixels.tobytes()
    dataset.save_as(path)
    view = dicom.read([path]).read(0)
    assert (view[:5] == -1024).all()
    assert (view[5:] != -1024).any()


def test_undecodable_pixels_name_the_file(tmp_path):
    (path, *_) = exam(tmp_path / "exam")
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match=r"The pixels of .*0000\.dcm cannot be decoded \(.*; copy the file again"):
        dicom.read([path]).read(0)


@pytest.mark.parametrize(
    ("values", "kind", "reason"),
    [
        (
            np.linspace(0, 255, 60),
            None,
            "from 0 to 255: .*looks windowed already: .*--input_kind=uint8",
        ),
        (np.linspace(0, 2500, 60), None, "from 0 to 2500: not Hounsfield units .* Apply the rescale slope"),
        (np.linspace(-160, 240, 60), "hu", "from -160 to 240: not Hounsfield .*do not clip"),
        (np.linspace(-1000, 1e5, 60), None, "from -1000 to 100000: not Hounsfield"),
        (np.linspace(-1000, 400, 60), "uint8", "from -1000 to 400: not windowed slices of 0 to 255 .*Omit"),
        (np.linspace(0, 1, 60), None, "windowed to 0 to 1: .*multiply by 255 and use --input_kind=uint8"),
        (np.linspace(0, 1, 60), "uint8", "from 0 to 1: not windowed slices .*multiply by 255"),
        (np.arange(60) % 3, None, r"from 0 to 2: .*label map \(the only values are 0, 1, 2\), .*pass the scan itself"),
        (np.arange(60) % 3, "uint8", r"from 0 to 2: .*label map \(the only values are 0, 1, 2\)"),
        (np.arange(60) % 2 * 255, "uint8", r"from 0 to 255: .*label map \(the only values are 0, 255\)"),
        (np.arange(60) % 11 / 10, "uint8", "multiply by 255"),
        (np.full(60, np.inf), None, "holds infinite values in slice 0"),
        (np.full(60, np.nan), None, r"holds only the value -1024 \(NaN counts as air\)"),
    ],
)
def test_values_that_a_network_does_not_accept(tmp_path, values, kind, reason):
    path = tmp_path / "v.nii"
    nib.save(nib.Nifti1Image(values.reshape(5, 4, 3).astype(np.float32), np.eye(4)), path)
    with pytest.raises(ValueError, match=reason):
        survey.survey(nifti.read(path, scratch_dir=tmp_path), kind, stand_in.WINDOW_HU)


def test_windowed_volumes_are_accepted_if_declared(tmp_path):
    grey = np.random.default_rng(0).integers(0, 256, (12, 10, 3)).astype(np.uint8)
    nib.save(nib.Nifti1Image(grey, affine("LPS", (1, 1, 1))), tmp_path / "v.nii.gz")
    row, mask = segment(tmp_path / "v.nii.gz", tmp_path / "out", input_kind="uint8")
    assert row["kind"] == "uint8"
    np.testing.assert_array_equal(nib.load(mask).get_fdata(), stand_in.expected(grey))


def test_the_kind_of_pictures_and_dicom_is_known(tmp_path):
    Image.fromarray(np.full((8, 8), 90, np.uint8)).save(tmp_path / "s.png")
    for path, wrong in ((tmp_path / "s.png", "hu"), (exam(tmp_path / "exam")[0].parent, "uint8")):
        (source,) = find.find([path])
        with pytest.raises(ValueError, match=f"by its format; omit --input_kind={wrong}"):
            survey.survey(source.open(tmp_path), wrong, stand_in.WINDOW_HU)


def test_nan_outside_the_field_of_view_is_air(tmp_path):
    hu = chest().astype(np.float32)
    hu[:2] = np.nan
    nib.save(nib.Nifti1Image(hu, np.diag([-1, -1, 1, 1])), tmp_path / "v.nii")
    _, mask = segment(tmp_path / "v.nii", tmp_path / "out")
    np.testing.assert_array_equal(nib.load(mask).get_fdata(), stand_in.expected_of_hu(np.nan_to_num(hu, nan=-1024)))


def test_nifti_that_cannot_be_read(tmp_path):
    def refuse(image, reason, name="v.nii.gz", cut=None):
        nib.save(image, tmp_path / name)
        if cut:
            (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[:cut])
        with pytest.raises(ValueError, match=reason):
            nifti.read(tmp_path / name, scratch_dir=tmp_path)

    hu = np.random.default_rng(0).integers(-1000, 400, (16, 16, 16)).astype(np.int16)
    refuse(nib.Nifti1Image(hu, np.eye(4)), r"v\.nii\.gz is truncated or damaged", cut=3000)
    refuse(nib.Nifti1Image(hu, np.eye(4)), r"w\.nii is truncated: it holds 3000 bytes", "w.nii", cut=3000)
    refuse(nib.Nifti1Image(np.stack([hu, hu], -1), np.eye(4)), r"has shape \(16, 16, 16, 2\); expected one 3-D volume")
    refuse(nib.Nifti1Image(hu.astype(np.complex64), np.eye(4)), "holds complex64 voxels")
    flat = nib.Nifti1Image(hu, np.eye(4))
    flat.header["srow_z"] = flat.header["srow_y"]
    flat = nib.Nifti1Image(hu, None, flat.header)
    refuse(flat, "affine that does not place voxels in space")
    (tmp_path / "text.nii").write_text("no volume")
    with pytest.raises(ValueError, match=r"text\.nii cannot be read as NIfTI"):
        nifti.read(tmp_path / "text.nii", scratch_dir=tmp_path)


@pytest.mark.parametrize(("unit", "name", "mm"), [(1, "meter", 1e-3), (3, "micron", 1e3), (7, "unit number 7", 1)])
def test_nifti_in_other_units_is_refused(tmp_path, unit, name, mm):
    image = nib.Nifti1Image(chest(), np.diag([mm, mm, mm, 1]) @ affine("LPS", (1, 1, 2)))
    image.header["xyzt_units"] = unit
    nib.save(image, tmp_path / "v.nii")
    with pytest.raises(ValueError, match=rf"v\.nii gives its spacing in {name}; rewrite it in mm"):
        segment(tmp_path / "v.nii", tmp_path / "out")


@pytest.mark.parametrize(("unit", "name"), [(1, "meter"), (3, "micron")])
def test_a_unit_that_makes_no_scan_of_the_spacing_is_named(tmp_path, unit, name):
    image = nib.Nifti1Image(chest(), affine("LPS", (1, 1, 2)))
    image.header["xyzt_units"] = unit
    nib.save(image, tmp_path / "v.nii")
    with pytest.raises(ValueError, match=rf"v\.nii has an affine that does not place .* \(sform in {name}: "):
        segment(tmp_path / "v.nii", tmp_path / "out")


def test_a_refused_scan_leaves_nothing_behind(tmp_path):
    nib.save(nib.Nifti1Image(np.zeros((4, 4, 4), np.int16), np.eye(4)), tmp_path / "v.nii.gz")
    (source,) = find.find([tmp_path / "v.nii.gz"])
    with pytest.raises(ValueError, match="not Hounsfield"):
        segment_scan.segment(source, stand_in.Thresholds(), segment_scan.Options(), tmp_path / "out")
    assert [path for path in (tmp_path / "out").rglob("*") if path.is_file()] == []


def test_an_empty_result_is_reported_prominently_with_its_values(tmp_path, caplog):
    hu = np.full((20, 20, 3), -1000, np.int16)
    hu[2:-2, 2:-2] = 300  # above the values that the stand-in marks
    nib.save(nib.Nifti1Image(hu, np.diag([-1, -1, 1, 1])), tmp_path / "v.nii")
    row, _ = segment(tmp_path / "v.nii", tmp_path / "out")
    said = r"EMPTY: no lesion was found (values -1000 to 300, mean -168.0; highest probability of a lesion 0.000)"
    assert row["empty"]
    assert said in row["notes"]
    assert said in caplog.text
    assert "no lungs were found" in row["notes"]


def test_scans_are_found_in_folders(tmp_path):
    exam(tmp_path / "patient/ct")
    exam(tmp_path / "patient/scout", ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    nib.save(nib.Nifti1Image(chest(), np.eye(4)), tmp_path / "patient" / "ct.nii.gz")
    nib.save(nib.Nifti1Image(chest(), np.eye(4)), tmp_path / "ct.nii.gz")
    (tmp_path / "patient/notes.txt").write_text("hello")
    (tmp_path / "patient/broken.dcm").write_text("hello")
    sources = find.find([tmp_path, tmp_path / "patient"])
    names = sorted(source.name for source in sources)
    assert [name.split("_")[0] for name in names] == ["broken", "ct", "ct", "ct", "scout"]
    assert len(set(names)) == len(names)
    assert {source.format for source in sources} == {"dicom", "nifti"}
    with pytest.raises(ValueError, match=r"broken\.dcm does not start like a DICOM file"):
        next(source for source in sources if source.name == "broken").open(tmp_path)
    with pytest.raises(FileNotFoundError, match="nowhere does not exist"):
        find.find([tmp_path / "nowhere"])
    with pytest.raises(ValueError, match=r"holds no scan: .*found notes\.txt"):
        find.find([tmp_path / "patient/notes.txt"])


@pytest.mark.parametrize("name", ["../../etc", "..", "a/b", "x" * 300, "ü ö", ".hidden"])
def test_names_stay_inside_the_folder(tmp_path, name):
    clean = find._with_unique_names([find.Source(name, tmp_path, "nifti", ())])[0].name
    assert (tmp_path / clean).resolve().parent == tmp_path.resolve()
    assert not clean.startswith(".")


def test_a_series_in_several_folders_is_one_scan(tmp_path):
    files = exam(tmp_path / "exam/A")
    for path in files[2:]:
        (tmp_path / "exam/B").mkdir(exist_ok=True)
        path.rename(tmp_path / "exam/B" / path.name)
    for inputs in ([tmp_path], [tmp_path / "exam/A", tmp_path / "exam/B"], [tmp_path, tmp_path / "exam/B"]):
        (source,) = find.find(inputs)
        assert source.open(tmp_path).num_slices == len(files)


def test_patients_that_share_uids_are_separate(tmp_path):
    for number in range(2):
        for path in exam(tmp_path / str(number), PatientID=f"p{number}"):
            dataset = pydicom.dcmread(path)
            dataset.SeriesInstanceUID = "1.2.3"
            dataset.save_as(path)
    assert [source.name for source in find.find([tmp_path])] == ["0_series1", "1_series1"]


def test_a_file_without_permission_is_a_scan_with_a_reason(tmp_path, monkeypatch):
    exam(tmp_path / "exam")
    (tmp_path / "secret.nii.gz").write_bytes(b"")
    allowed = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: "secret" not in str(path) and allowed(path, mode))
    sources = {source.name: source for source in find.find([tmp_path])}
    assert set(sources) == {"exam_series1", "secret.nii"}
    with pytest.raises(ValueError, match=r"secret\.nii\.gz cannot be read: permission denied"):
        sources["secret.nii"].open(tmp_path)


def test_names_that_are_not_unicode(tmp_path):
    folder = tmp_path / os.fsdecode(b"M\xfcller")
    folder.mkdir()
    Image.fromarray(np.full((8, 8), 90, np.uint8)).save(folder / os.fsdecode(b"\xe9.png"))
    (source,) = find.find([folder])
    row = segment_scan.segment(source, stand_in.Thresholds(), segment_scan.Options(), tmp_path / "out")
    assert row["source"] == str(tmp_path / "M\N{REPLACEMENT CHARACTER}ller")
    assert [path.name for path in (tmp_path / "out/masks").iterdir()] == [
        f"{source.name}_0000_\N{REPLACEMENT CHARACTER}.png"
    ]
