"""DICOM from scanners, archives and anonymisers: without a preamble, with odd bits, with several sets in a series."""

import re

import highdicom as hd
import nibabel as nib
import numpy as np
import pydicom
import pytest
from pydicom import uid
from pydicom.fileset import FileSet

from ssinfnet_jax.data.datasets.ct_phantom import volume
from ssinfnet_jax.data.readers import find
from ssinfnet_jax.data.readers.dicom import series as dicom
from ssinfnet_jax.inference import segment_scan
from tests.inference import stand_in, test_geometry
from tests.inference.test_geometry import affine, assert_seg_agrees, segment, series

PLACE = affine("LPS", (1, 1, 2))


def chest(shape=test_geometry.SHAPE):
    """Returns the chest of the other tests, clipped to 12 bits."""
    return test_geometry.chest(shape).clip(-1024, 2000)


def exam(folder, hu=None, place=PLACE, change=None):
    volume.write_dicom(folder, chest() if hu is None else hu, place, patient_id="p1", change=change)
    return sorted(folder.iterdir())


def sources(*inputs):
    return sorted(find.find(inputs), key=lambda source: source.name)


def hu_of(scan):
    """Returns [columns, rows, slices] of a scan whose axes are LPS."""
    return np.stack([scan.read(index).T for index in range(scan.num_slices)], axis=-1)


# Bits above BitsStored must not change a number, in any transfer syntax.

SYNTAXES = [uid.ExplicitVRLittleEndian, uid.RLELossless, uid.JPEG2000Lossless, uid.JPEGLSLossless]


def with_unused_bits(signed, syntax, high_bit=11):
    """Returns a `change` that stores 12 bits in 16-bit words with random other bits, and compresses them."""
    rng = np.random.default_rng(5)

    def change(dataset, _):
        stored = dataset.pixel_array.astype(np.int64)
        if signed:
            stored = stored - 1024
            dataset.RescaleIntercept = 0
        shift = high_bit - 11
        words = (stored & 0xFFF) << shift | rng.integers(0, 2**16, stored.shape) & ~(0xFFF << shift)
        dataset.PixelData = words.astype("<u2").tobytes()
        dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 15, 0
        if syntax.is_compressed:
            dataset.compress(syntax)
        dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 12, high_bit, int(signed)

    return change


@pytest.mark.parametrize("syntax", SYNTAXES, ids=lambda syntax: syntax.keyword)
@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("high_bit", [11, 14])
def test_unused_bits_change_no_value(tmp_path, syntax, signed, high_bit):
    hu = chest((80, 72, 2))
    files = exam(tmp_path / "exam", hu, change=with_unused_bits(signed, syntax, high_bit))
    np.testing.assert_array_equal(hu_of(dicom.read(files)), hu)


def test_bits_that_do_not_fit_are_named(tmp_path):
    files = exam(tmp_path / "exam", change=lambda dataset, _: setattr(dataset, "HighBit", 3))
    with pytest.raises(ValueError, match=r"0000\.dcm cannot be decoded \(HighBit 3 does not fit 12 of 16 bits\)"):
        dicom.read(files).read(0)


# Padding is air, however its elements write the number.

PADDING = {  # signed pixels, bits stored -> [(VR, value), ...] of PixelPaddingValue and PixelPaddingRangeLimit
    "signed as unsigned": (True, 16, [("US", 63536)]),
    "signed as signed": (True, 16, [("SS", -2000)]),
    "12 bits, sign repeated above": (True, 12, [("US", 63536)]),
    "12 bits, no sign above": (True, 12, [("US", 2096)]),
    "unsigned as signed": (False, 16, [("SS", -2000)]),
    "above 12 unsigned bits": (False, 12, [("US", 63536)]),
    "a range across zero": (True, 16, [("US", 63536), ("SS", -1500)]),
    "a range, ends swapped": (True, 16, [("SS", -1500), ("US", 63536)]),
    "an unsigned range": (False, 16, [("US", 63000), ("SS", -1)]),
}


@pytest.mark.parametrize("name", PADDING)
def test_padding_is_air_for_all_forms_of_its_elements(tmp_path, name):
    """Checks the values read, the volume in images/ and the mean."""
    signed, bits, elements = PADDING[name]
    hu = chest().clip(-900, None)

    def change(dataset, _):
        stored = dataset.pixel_array.astype(np.int64) - 1024 * signed
        dataset.RescaleIntercept = 0 if signed else -1024
        stored[:3] = 63536  # the word of -2000
        dataset.PixelData = (stored % 2**16).astype("<u2").tobytes()
        dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = bits, bits - 1, int(signed)
        for element, (vr, value) in zip(("PixelPaddingValue", "PixelPaddingRangeLimit"), elements, strict=False):
            dataset.add_new(element, vr, value)

    exam(tmp_path / "exam", hu, change=change)
    row, _ = segment(tmp_path / "exam", tmp_path / "out")
    wanted = hu.copy()
    wanted[:, :3] = -1024
    (source,) = sources(tmp_path / "exam")
    np.testing.assert_array_equal(hu_of(source.open(tmp_path)), wanted)
    assert (row["lowest_value"], row["mean_value"]) == (-1024, pytest.approx(wanted.mean(), abs=0.01))
    assert by_nibabel(tmp_path / "out/images/exam_series1.nii.gz").min() == -1024


def by_nibabel(path):
    return np.asarray(nib.load(path).dataobj)


def test_padding_that_is_not_a_number_is_an_error(tmp_path):
    files = exam(tmp_path / "exam", change=lambda dataset, _: dataset.add_new("PixelPaddingValue", "SS", [-2000, 0]))
    with pytest.raises(ValueError, match=r"0000\.dcm cannot be decoded \(PixelPaddingValue is \[-2000, 0\], not a"):
        dicom.read(files).read(0)


# Files without a preamble, and other files.


def without_preamble(path, *, keep_meta, implicit=False, little=True):
    dataset = pydicom.dcmread(path)
    if keep_meta:
        path.write_bytes(path.read_bytes()[132:])
        return
    plain = pydicom.Dataset({element.tag: element for element in dataset})
    if not little:  # pydicom swaps no pixels
        plain.PixelData = np.frombuffer(plain.PixelData, "<u2").byteswap().tobytes()
    plain.save_as(path, implicit_vr=implicit, little_endian=little, force_encoding=True)


@pytest.mark.parametrize(
    "how",
    [{"keep_meta": True}, {"implicit": True}, {"implicit": False}, {"implicit": False, "little": False}],
    ids=["meta information", "implicit", "explicit", "big endian"],
)
@pytest.mark.parametrize("suffix", [".dcm", ""])
def test_files_without_a_preamble_are_read(tmp_path, how, suffix):
    for path in exam(tmp_path / "exam"):
        without_preamble(path, **{"keep_meta": False, **how})
        path.rename(path.with_suffix(suffix))
    (source,) = sources(tmp_path / "exam")
    np.testing.assert_array_equal(hu_of(source.open(tmp_path)), chest())
    row, _ = segment(tmp_path / "exam", tmp_path / "out")
    assert (tmp_path / "out/scans/exam_series1/segmentation.dcm").is_file()
    assert row["slices"] == chest().shape[2]


def test_files_that_only_start_like_dicom_are_skipped(tmp_path):
    exam(tmp_path / "exam")
    for name, data in {
        "a": b"\x08\x00\x05\x00CS\x0a\x00ISO_IR 100",
        "b": b"\x08\x00\x10\x00\x02\x00\x00\x00xx",
    }.items():
        (tmp_path / "exam" / name).write_bytes(data)
    (source,) = sources(tmp_path / "exam")
    assert len(source.files) == chest().shape[2]


def test_broken_files_of_a_folder_are_one_failure(tmp_path):
    for path in exam(tmp_path / "exam"):
        path.write_bytes(b"no preamble, no element" * 20)
    (source,) = sources(tmp_path / "exam")
    assert (source.name, len(source.files)) == ("exam", 9)
    with pytest.raises(ValueError, match=r"9 files of \S*exam cannot be used, such as: \S*0000\.dcm does not start"):
        source.open(tmp_path)
    for path in exam(tmp_path / "other", change=lambda dataset, _: delattr(dataset, "SeriesInstanceUID")):
        assert path.exists()
    (source,) = sources(tmp_path / "other")
    with pytest.raises(ValueError, match=r"9 files of \S*other cannot be used, such as: .* has no SeriesInstanceUID"):
        source.open(tmp_path)


@pytest.mark.parametrize("name", ["DICOMDIR", "dicomdir", "DicomDir", "index.dcm"])
def test_the_directory_of_a_medium_is_recognised_by_its_sop_class(tmp_path, name):
    exam(tmp_path / "exam", change=lambda dataset, _: setattr(dataset, "StudyID", "1"))
    fileset = FileSet()
    for path in (tmp_path / "exam").iterdir():
        fileset.add(path)
    fileset.write(tmp_path / "medium")
    (tmp_path / "medium/DICOMDIR").rename(tmp_path / "medium" / name)
    (source,) = sources(tmp_path / "medium")
    assert source.open(tmp_path).num_slices == chest().shape[2]


def test_an_image_named_dicomdir_is_an_image(tmp_path):
    exam(tmp_path / "exam")[0].rename(tmp_path / "exam/DICOMDIR")
    (source,) = sources(tmp_path / "exam")
    assert source.open(tmp_path).num_slices == chest().shape[2]


# Invalid elements.


def replace_element(path, old, new):
    """Replaces the text of an element with another of the same length."""
    data = path.read_bytes()
    assert data.count(old) == 1
    assert len(old) == len(new)
    path.write_bytes(data.replace(old, new))


@pytest.mark.parametrize(
    ("element", "good", "bad"),
    [
        ("RescaleIntercept", "-1024.0", "-1024,0"),
        ("RescaleSlope", "1.00000", "1,00000"),
        ("PixelSpacing", "0.75\\0.75", "0,75\\0,75"),
        ("ImagePositionPatient", "1.25\\2.5\\8.125", "1.25;2.5;8.125"),
        ("ImageOrientationPatient", "1\\0\\0\\0\\1\\0.", "1\\0\\0\\0\\l\\0."),
    ],
)
def test_invalid_numbers_are_errors_that_name_the_element(tmp_path, element, good, bad):
    def change(dataset, _):
        value = [float(part) for part in good.split("\\")]
        setattr(dataset, element, value if len(value) > 1 else value[0])
        dataset[element].value = pydicom.multival.MultiValue(pydicom.valuerep.DSfloat, good.split("\\"))

    path = exam(tmp_path / "exam", chest((24, 20, 1)), change=change)[0]
    replace_element(path, good.encode(), bad.encode())
    (source,) = sources(tmp_path / "exam")
    wanted = f"{path} has {element} {bad}; expected "
    with pytest.raises(ValueError, match=re.escape(wanted) + r"\d numbers?\. DICOM numbers have a decimal"):
        source.open(tmp_path)


@pytest.mark.parametrize("element", ["WindowWidth", "KVP", "SliceThickness", "PatientWeight"])
def test_invalid_numbers_do_not_prevent_the_dicom_seg(tmp_path, element):
    for path in exam(tmp_path / "exam", change=lambda dataset, _: setattr(dataset, element, 31.75)):
        replace_element(path, b"31.75", b"31,75")
    row, _ = segment(tmp_path / "exam", tmp_path / "out")
    assert "DICOM-SEG" not in row["notes"]
    assert (tmp_path / "out/scans/exam_series1/segmentation.dcm").is_file()


@pytest.mark.parametrize("syntax", SYNTAXES, ids=lambda syntax: syntax.keyword)
@pytest.mark.parametrize("share", [0.05, 0.5])
def test_truncated_pixels_are_reported(tmp_path, syntax, share):
    def change(dataset, _):
        if syntax.is_compressed:
            dataset.compress(syntax)

    (path,) = exam(tmp_path / "exam", chest((80, 72, 1)), change=change)
    path.write_bytes(path.read_bytes()[: -int(share * path.stat().st_size)])
    wanted = "is truncated" if syntax.is_compressed else "cannot be decoded .*less than expected"
    with pytest.raises(ValueError, match=rf"0000\.dcm {wanted}"):
        dicom.read([path]).read(0)


@pytest.mark.parametrize("num_bytes", [140, 200, 400, 500, 700, 900, 1000])
def test_files_that_end_in_their_header_are_reported_as_truncated(tmp_path, num_bytes):
    (path,) = exam(tmp_path / "exam", chest((24, 20, 1)))
    path.write_bytes(path.read_bytes()[:num_bytes])
    (source,) = sources(tmp_path / "exam")
    with pytest.raises(ValueError, match=r"0000\.dcm ends before its pixels: it is truncated or not an image; copy or"):
        source.open(tmp_path)


def test_irrelevant_numbers_may_be_invalid(tmp_path):
    def change(dataset, _):
        dataset.SeriesNumber = dataset.AcquisitionNumber = 654321

    for path in exam(tmp_path / "exam", change=change):
        path.write_bytes(path.read_bytes().replace(b"654321", b"6,5,4 "))
    (source,) = sources(tmp_path / "exam")
    assert source.name == "exam_series6_5_4"
    np.testing.assert_array_equal(hu_of(source.open(tmp_path)), chest())


@pytest.mark.parametrize("spelled", ["hu", "Hu ", "HOUNSFIELD", "Hounsfield Units", "UNSPECIFIED", "US", "us", "H.U."])
def test_spellings_of_hu_are_accepted_with_a_note(tmp_path, spelled):
    scan = dicom.read(exam(tmp_path / "exam", change=lambda dataset, _: setattr(dataset, "RescaleType", spelled)))
    np.testing.assert_array_equal(hu_of(scan), chest())
    assert scan.notes == (f"RescaleType {spelled.strip()} is read as HU: the images are CT with slope and intercept",)


@pytest.mark.parametrize("spelled", ["OD", "MGML", "Z_EFF", "ED", "EDW", "HU_MOD", "PCT", "keV"])
def test_other_units_are_refused(tmp_path, spelled):
    files = exam(tmp_path / "exam", change=lambda dataset, _: setattr(dataset, "RescaleType", spelled))
    with pytest.raises(ValueError, match=f"is not in HU .*type {spelled}"):
        dicom.read(files)


# Which images of a series are slices.


@pytest.mark.parametrize("face", [[1, 0, 0, 0, 0, -1], [0, 1, 0, 0, 0, -1], None])
@pytest.mark.parametrize("count", [1, 2])
def test_scouts_without_an_image_type_are_left_out_alone(tmp_path, face, count):
    def change(dataset, k):
        del dataset.ImageType
        if k < count:
            dataset.ImageOrientationPatient = face
            dataset.Rows, dataset.Columns = dataset.Columns, dataset.Rows
            dataset.PixelSpacing = [3, 3]
            dataset.RescaleType = "US"
            if count == 2:
                del dataset.RescaleSlope
                del dataset.ImagePositionPatient

    scan = dicom.read(exam(tmp_path / "exam", change=change))
    np.testing.assert_array_equal(hu_of(scan), chest()[:, :, count:])
    (note,) = scan.notes
    assert note.startswith(f"{count} images of the series were left out, such as: {tmp_path}/exam/0000.dcm faces")


def test_if_many_images_face_another_way_none_is_left_out(tmp_path):
    def change(dataset, k):
        if k < 4:
            dataset.ImageOrientationPatient = [1, 0, 0, 0, 0, -1]

    files = exam(tmp_path / "exam", change=change)
    with pytest.raises(ValueError, match=r"differ in ImageOrientationPatient.*0000\.dcm.*0004\.dcm: copy each set"):
        dicom.read(files)


@pytest.mark.parametrize(
    ("heights", "reason"),
    [
        ([0, 2, 4, 10, 12, 14], r"lacks about 2 slices: between 0002\.dcm and 0003\.dcm are 6\.00 mm, elsewhere 2\.00"),
        ([0, 2, 4, 11, 13, 15], r"unevenly spaced: 0002\.dcm at 4\.00 mm and 0003\.dcm at 11\.00 mm .* are 7\.00 mm"),
        ([0, 2, 5, 7, 10, 12], r"unevenly spaced: .* apart, .*\(2\.00 to 3\.00 mm\). Use a series with even spacing"),
        ([0, 1, 2, 3, 4, 9, 14, 19], r"lacks about 12 slices"),
        ([0, 1, 2.5, 4.5, 7, 10], r"unevenly spaced: .* 1\.00 mm apart"),
    ],
)
def test_uneven_spacing_is_distinguished_from_missing_slices(tmp_path, heights, reason):
    def change(dataset, k):
        dataset.ImagePositionPatient = [0, 0, heights[k]]

    files = exam(tmp_path / "exam", chest((24, 20, len(heights))), change=change)
    with pytest.raises(ValueError, match=reason):
        dicom.read(files)


# Several reconstructions under one SeriesInstanceUID.

DIFFERENCES = {
    "ConvolutionKernel": ("B31f", "B70f"),
    "SeriesNumber": (3, 4),
    "AcquisitionNumber": (1, 2),
    "ImageType": (["ORIGINAL", "PRIMARY", "AXIAL"], ["DERIVED", "SECONDARY", "AXIAL"]),
    "SliceThickness": (2, 1),
    "KVP": (80, 140),
    "SeriesDescription": ("inspiration", "expiration"),
    "ReconstructionDiameter": (350, 250),
}


def two_sets(folder, apart_mm, differences, hu=None):
    """Writes two sets of 9 slices 2 mm apart under one SeriesInstanceUID; the second is shifted and has higher HU."""
    hu = chest() if hu is None else hu
    uids = {name: uid.generate_uid() for name in ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID")}
    for number, values in enumerate((hu, hu + 100)):
        place = PLACE.copy()
        place[2, 3] += number * apart_mm

        def change(dataset, k, number=number):
            common = {"ConvolutionKernel": "B31f", "ReconstructionDiameter": 350, **uids}
            for name, value in (common | {name: pair[number] for name, pair in differences.items()}).items():
                setattr(dataset, name, value)

        volume.write_dicom(folder / str(number), values, place, patient_id="p1", change=change)
    return hu


@pytest.mark.parametrize("name", DIFFERENCES)
@pytest.mark.parametrize("apart_mm", [0, 1, 0.66, 6])
def test_reconstructions_under_one_uid_are_separated_by_what_differs(tmp_path, name, apart_mm):
    hu = two_sets(tmp_path / "exam", apart_mm, {name: DIFFERENCES[name]})
    found = sources(tmp_path / "exam")
    assert len(found) == 2
    for source in found:
        scan = source.open(tmp_path)
        number = int(scan.source.name)
        np.testing.assert_array_equal(hu_of(scan), hu + 100 * number)
        assert scan.grid.spacing_mm[0] == pytest.approx(2)
        value = DIFFERENCES[name][number]
        value = "/".join(value) if isinstance(value, list) else value
        note = f"one of several sets of slices under one SeriesInstanceUID: that with {name} {value}"
        assert scan.notes[0].startswith(note)


KERNELS = {"ConvolutionKernel": ("B31f", "B70f")}


def test_a_kernel_is_chosen(tmp_path):
    hu = two_sets(tmp_path / "exam", 0, KERNELS)
    found = find.find([tmp_path / "exam"], choice=find.Choice(kernel="b70F"))
    (chosen,), (other,) = ([source for source in found if source.left_out == left_out] for left_out in (False, True))
    np.testing.assert_array_equal(hu_of(chosen.open(tmp_path)), hu + 100)
    with pytest.raises(dicom.LeftOutError, match=r"exam/0: the kernel B31f was not chosen by --kernel"):
        other.open(tmp_path)


@pytest.mark.parametrize("pattern", ["010101010", "011011010", "001010110"])
def test_kernels_that_alternate_slice_by_slice_are_refused(tmp_path, pattern):
    """They used to be one volume, or two with gaps."""
    kernels = [KERNELS["ConvolutionKernel"][int(which)] for which in pattern]
    exam(tmp_path / "exam", change=lambda one, k: setattr(one, "ConvolutionKernel", kernels[k]))
    (source,) = sources(tmp_path / "exam")
    with pytest.raises(ValueError, match=r"The kernels of .*exam alternate, such as B\d\df in \d+\.dcm and B"):
        source.open(tmp_path)


def test_a_kernel_that_changes_once_is_told(tmp_path):
    exam(tmp_path / "exam", change=lambda one, k: setattr(one, "ConvolutionKernel", "B31f" if k < 4 else "B70f"))
    scan = sources(tmp_path / "exam")[0].open(tmp_path)
    assert "the kernel changes along the patient: B31f in 0003.dcm and B70f in 0004.dcm" in scan.notes


@pytest.mark.parametrize("apart_mm", [0, 1])
def test_copies_and_scouts_join_one_reconstruction(tmp_path, apart_mm):
    hu = two_sets(tmp_path / "exam", apart_mm, {"ConvolutionKernel": ("B31f", "B70f")})
    for number in range(2):
        for path in sorted((tmp_path / "exam" / str(number)).iterdir())[:3]:
            path.with_name(f"copy_{path.name}").write_bytes(path.read_bytes())
    scout = pydicom.dcmread(tmp_path / "exam/1/0000.dcm")
    scout.ImageType, scout.SOPInstanceUID = ["ORIGINAL", "PRIMARY", "LOCALIZER"], uid.generate_uid()
    scout.ConvolutionKernel = "none"
    scout.save_as(tmp_path / "exam/0/scout.dcm")
    for source, number in zip(sources(tmp_path / "exam"), range(2), strict=True):
        scan = source.open(tmp_path)
        np.testing.assert_array_equal(hu_of(scan), hu + 100 * number)
        assert scan.notes[1] == "3 copies of other images were left out"
        assert len(scan.notes) == 3 - number


@pytest.mark.parametrize("count", [1, 3])
def test_rescanned_slices_are_a_separate_scan(tmp_path, count):
    two_sets(tmp_path / "exam", 0, {"AcquisitionNumber": (1, 2)})
    for path in sorted((tmp_path / "exam/1").iterdir())[count:]:
        path.unlink()
    assert [source.open(tmp_path).num_slices for source in sources(tmp_path / "exam")] == [9, count]


def test_a_reconstruction_that_lacks_slices_does_not_affect_the_other(tmp_path):
    hu = two_sets(tmp_path / "exam", 0, {"AcquisitionNumber": (1, 2)})
    (tmp_path / "exam/1/0004.dcm").unlink()
    whole, broken = sources(tmp_path / "exam")
    np.testing.assert_array_equal(hu_of(whole.open(tmp_path)), hu)
    with pytest.raises(ValueError, match=r"exam/1 lacks about 1 slices"):
        broken.open(tmp_path)


def test_each_reconstruction_is_segmented_under_its_own_name(tmp_path):
    two_sets(tmp_path / "exam", 1, {"ConvolutionKernel": ("B31f", "B70f")})
    for source in find.find([tmp_path / "exam"]):
        segment_scan.segment(source, stand_in.Thresholds(), segment_scan.Options(), tmp_path / "out", force=True)
    names = sorted(path.name for path in (tmp_path / "out/scans").iterdir())
    assert names == ["0_series1_B31f", "1_series1_B70f"]
    for number, name in enumerate(names):
        segmentation = hd.seg.segread(tmp_path / "out/scans" / name / "segmentation.dcm")
        assert_seg_agrees(segmentation, sorted((tmp_path / "exam" / str(number)).iterdir()))


@pytest.mark.parametrize("again", [False, True], ids=["numbered on", "numbered again"])
def test_reconstructions_that_differ_only_in_instance_numbers_are_refused(tmp_path, again):
    two_sets(tmp_path / "exam", 1, {})
    if not again:
        for path in (tmp_path / "exam/1").iterdir():
            dataset = pydicom.dcmread(path)
            dataset.InstanceNumber += 9
            dataset.save_as(path)
    (source,) = sources(tmp_path / "exam")
    wanted = "1, 1, 2, 2" if again else "1, 10, 2, 11"
    with pytest.raises(
        ValueError, match=rf"2 sets of slices interleave .* InstanceNumber is {wanted}, .*copy each set"
    ):
        source.open(tmp_path)


def test_reconstructions_at_the_same_positions_without_differences_are_refused(tmp_path):
    two_sets(tmp_path / "exam", 0, {})
    (source,) = sources(tmp_path / "exam")
    with pytest.raises(
        ValueError, match=r"18 slices of .* share a position, such as .*; copy each set to its own folder"
    ):
        source.open(tmp_path)
    for number in range(2):  # the remedy
        (source,) = sources(tmp_path / "exam" / str(number))
        assert source.open(tmp_path).num_slices == 9


@pytest.mark.parametrize("backwards", [False, True])
def test_slabs_of_one_volume_stay_one(tmp_path, backwards):
    """Step-and-shoot: one acquisition per table position."""

    def change(dataset, k):
        dataset.AcquisitionNumber = k // 3 + 1
        dataset.InstanceNumber = 9 - k if backwards else k + 1
        dataset.AcquisitionTime = f"1200{k:02d}"

    exam(tmp_path / "exam", change=change)
    (source,) = sources(tmp_path / "exam")
    scan = source.open(tmp_path)
    assert scan.notes == ()
    np.testing.assert_array_equal(hu_of(scan), chest())


@pytest.mark.parametrize(
    "numbers", [[2, 1, 4, 3, 6, 5, 8, 7, 9], [1] * 9, [5, 3, 9, 1, 2, 8, 7, 4, 6], range(90, 0, -10)]
)
def test_instance_numbers_in_another_order_are_one_set(tmp_path, numbers):
    exam(tmp_path / "exam", change=lambda dataset, k: setattr(dataset, "InstanceNumber", numbers[k]))
    (source,) = sources(tmp_path / "exam")
    np.testing.assert_array_equal(hu_of(source.open(tmp_path)), chest())


def test_elements_that_vary_without_a_pattern_split_nothing(tmp_path):
    def change(dataset, k):
        dataset.KVP = 119.5 if k in (2, 3, 7) else 120
        dataset.SeriesDescription = f"slice {k}"

    exam(tmp_path / "exam", change=change)
    (source,) = sources(tmp_path / "exam")
    np.testing.assert_array_equal(hu_of(source.open(tmp_path)), chest())


# The DICOM-SEG names the patient, for every character set.


@pytest.mark.parametrize(
    ("character_set", "name"),
    [
        (["", "ISO 2022 IR 87"], "Yamada^Tarou=山田^太郎=やまだ^たろう"),
        (["", "ISO 2022 IR 149"], "Hong^Gildong=洪^吉洞=홍^길동"),
        ("GB18030", "Wang^XiaoDong=王^小东"),
        ("GBK", "王^小东"),
        ("ISO_IR 100", "Müller^Jörg"),
        ("ISO_IR 192", "王^小东"),
    ],
)
def test_a_character_set_does_not_prevent_the_dicom_seg(tmp_path, character_set, name):
    def change(dataset, _):
        dataset.SpecificCharacterSet, dataset.PatientName = character_set, name

    exam(tmp_path / "exam", change=change)
    segment(tmp_path / "exam", tmp_path / "out")
    found = pydicom.dcmread(tmp_path / "out/scans/exam_series1/segmentation.dcm")
    assert (str(found.PatientName), found.SpecificCharacterSet) == (name, "ISO_IR 192")


@pytest.mark.parametrize(
    ("element", "value"),
    [("PatientBirthDate", "00000000"), ("StudyTime", "12:30:00"), ("PatientSex", "FEMALE"), ("StudyDate", "none")],
)
def test_values_that_are_invalid_in_a_new_object_are_emptied(tmp_path, element, value):
    exam(tmp_path / "exam", change=lambda dataset, _: setattr(dataset, element, value))
    row, _ = segment(tmp_path / "exam", tmp_path / "out")
    assert "DICOM-SEG" not in row["notes"]
    found = pydicom.dcmread(tmp_path / "out/scans/exam_series1/segmentation.dcm")
    assert not found[element].value


def test_the_files_of_a_series_may_come_in_any_order(tmp_path):
    series(tmp_path / "exam", chest(), PLACE)
    (source,) = sources(tmp_path / "exam")
    np.testing.assert_array_equal(hu_of(source.open(tmp_path)), chest())
