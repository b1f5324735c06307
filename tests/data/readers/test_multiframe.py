"""Multi-frame CT equals the same slices as single images, and highdicom."""

import copy
import shutil

import highdicom as hd
import numpy as np
import pydicom
import pytest
from pydicom import uid
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from ssinfnet_jax.data.datasets.ct_phantom import volume as phantom
from ssinfnet_jax.data.readers import find
from ssinfnet_jax.data.readers.dicom import series as dicom
from ssinfnet_jax.inference.writers import dicom_seg
from tests.data.readers.test_formats import chest

PLACE = np.diag([-0.7, -0.8, 2.5, 1])
TILTED = np.array([[-0.7, 0, 0, 3], [0, -0.79, 0.4, -5], [0, 0.1, 2.4, 7], [0, 0, 0, 1]])


def item(**elements):
    dataset = Dataset()
    for name, value in elements.items():
        setattr(dataset, name, value)
    return Sequence([dataset])


def classic(folder, hu=None, place=PLACE, change=None):
    phantom.write_dicom(folder, chest() if hu is None else hu, place, patient_id="p1", change=change)
    return [pydicom.dcmread(path) for path in sorted(folder.iterdir())]


def enhanced(slices, frames=None, change=None, shared=None):
    """Merges slices into one Enhanced CT as a scanner does.

    Args:
      slices: single images.
      frames: their order in the file; default: shuffled.
      change: called with the per-frame groups of each frame and the number of its slice.
      shared: called with the whole image.
    """
    order = np.random.default_rng(1).permutation(len(slices)) if frames is None else frames
    first = slices[0]
    whole = Dataset()
    for name in (
        "StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID", "PatientID", "PatientName", "PatientBirthDate",
        "PatientSex", "AccessionNumber", "StudyID", "ReferringPhysicianName", "StudyDate", "StudyTime", "Modality",
        "SeriesNumber", "PatientPosition", "Rows", "Columns", "SamplesPerPixel", "PhotometricInterpretation",
        "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "PositionReferenceIndicator",
    ):  # fmt: skip
        setattr(whole, name, first.get(name))
    whole.file_meta = pydicom.dataset.FileMetaDataset()
    whole.file_meta.TransferSyntaxUID = uid.ExplicitVRLittleEndian
    whole.SOPClassUID, whole.SOPInstanceUID = uid.EnhancedCTImageStorage, uid.generate_uid()
    whole.ImageType, whole.InstanceNumber = ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"], 1
    whole.NumberOfFrames, whole.PixelPresentation = len(order), "MONOCHROME"
    whole.SharedFunctionalGroupsSequence = [
        item(
            PixelMeasuresSequence=item(PixelSpacing=first.PixelSpacing, SliceThickness=first.SliceThickness),
            PlaneOrientationSequence=item(ImageOrientationPatient=first.ImageOrientationPatient),
            CTReconstructionSequence=item(ConvolutionKernel="B30f"),
        )[0]
    ]
    dimension = uid.generate_uid()
    whole.DimensionOrganizationSequence = item(DimensionOrganizationUID=dimension)
    whole.DimensionIndexSequence = item(
        DimensionOrganizationUID=dimension, DimensionIndexPointer=0x00200032, FunctionalGroupPointer=0x00209113
    )
    groups, pixels = [], []
    for number, k in enumerate(order):
        one = slices[k]
        slope = 1 + number % 2  # another rescale in every second frame
        stored = (one.pixel_array.astype(np.int32) - 1024 + 2000) // slope
        group = item(
            PlanePositionSequence=item(ImagePositionPatient=one.ImagePositionPatient),
            PixelValueTransformationSequence=item(RescaleSlope=slope, RescaleIntercept=-2000, RescaleType="HU"),
            CTImageFrameTypeSequence=item(FrameType=["ORIGINAL", "PRIMARY", "VOLUME", "NONE"]),
            FrameContentSequence=item(DimensionIndexValues=[int(k) + 1], StackID="1", InStackPositionNumber=int(k) + 1),
        )[0]
        if change:
            change(group, k)
        groups.append(group)
        pixels.append(stored.astype("<u2").tobytes())
    whole.PerFrameFunctionalGroupsSequence = groups
    whole.PixelData = b"".join(pixels)
    if shared:
        shared(whole)
    return whole


def save(dataset, path):
    path.parent.mkdir(exist_ok=True)
    dataset.save_as(path, enforce_file_format=True)
    return path


def voxels(scan):
    return np.stack([scan.read(index) for index in range(scan.num_slices)])


def even():
    """Returns HU that a slope of 2 can store."""
    return chest() // 2 * 2


@pytest.mark.parametrize("place", [PLACE, TILTED])
@pytest.mark.parametrize("syntax", [None, uid.RLELossless, uid.JPEGLSLossless])
def test_shuffled_frames_equal_the_slices_and_highdicom(tmp_path, place, syntax):
    slices = classic(tmp_path / "slices", even(), place)
    whole = enhanced(slices)
    if syntax:
        whole.compress(syntax)
    path = save(whole, tmp_path / "in/whole.dcm")
    wanted = dicom.read(sorted((tmp_path / "slices").iterdir()))
    (source,) = find.find([path])
    found = source.open(tmp_path)
    np.testing.assert_array_equal(voxels(found), voxels(wanted))
    np.testing.assert_allclose(found.grid.view_affine, wanted.grid.view_affine, atol=1e-4)
    assert (found.source, found.patient_id, found.notes) == (path, "p1", ())
    if place is PLACE:
        truth = hd.imread(path).get_volume(apply_modality_transform=True)
        ours = voxels(found)
        theirs = truth.array if truth.affine[2, 0] > 0 else truth.array[::-1]
        np.testing.assert_array_equal(ours, theirs)
        assert truth.spacing == pytest.approx((2.5, 0.8, 0.7))


def test_a_legacy_converted_ct_equals_its_slices(tmp_path):
    slices = classic(tmp_path / "slices", change=lambda one, k: setattr(one, "ConvolutionKernel", "B30f"))
    whole = hd.legacy.LegacyConvertedEnhancedCTImage(slices, uid.generate_uid(), 9, uid.generate_uid(), 1)
    path = save(whole, tmp_path / "in/whole.dcm")
    (source,) = find.find([path])
    wanted = dicom.read(sorted((tmp_path / "slices").iterdir()))
    np.testing.assert_array_equal(voxels(source.open(tmp_path)), voxels(wanted))


def parts(whole, sizes):
    """Divides a multi-frame image into a concatenation."""
    name, at, found = uid.generate_uid(), 0, []
    frame_bytes = whole.Rows * whole.Columns * 2
    for number, size in enumerate(sizes, 1):
        part = copy.deepcopy(whole)
        part.SOPInstanceUID, part.NumberOfFrames = uid.generate_uid(), size
        part.ConcatenationUID, part.InConcatenationNumber, part.InConcatenationTotalNumber = name, number, len(sizes)
        part.SOPInstanceUIDOfConcatenationSource, part.ConcatenationFrameOffsetNumber = whole.SOPInstanceUID, at
        part.PerFrameFunctionalGroupsSequence = whole.PerFrameFunctionalGroupsSequence[at : at + size]
        part.PixelData = whole.PixelData[at * frame_bytes : (at + size) * frame_bytes]
        found.append(part)
        at += size
    return found


def test_a_concatenation_equals_its_slices_and_must_be_complete(tmp_path):
    whole = enhanced(classic(tmp_path / "slices", even()))
    paths = [save(part, tmp_path / f"in/{n}.dcm") for n, part in enumerate(parts(whole, (4, 3, 2)))]
    (source,) = find.find([tmp_path / "in"])
    wanted = dicom.read(sorted((tmp_path / "slices").iterdir()))
    scan = source.open(tmp_path)
    np.testing.assert_array_equal(voxels(scan), voxels(wanted))
    dicom_seg.write(tmp_path / "seg.dcm", labels(scan), scan)
    check_segmentation(tmp_path / "seg.dcm", scan)
    paths[2].unlink()
    (source,) = find.find([tmp_path / "in"])
    with pytest.raises(ValueError, match=r"in 3 files \(a concatenation\), of which number 3 is missing"):
        source.open(tmp_path)


def labels(scan):
    """Returns labels in which all axes and directions differ, in the grid of a scan."""
    stored = np.zeros(scan.grid.shape, np.uint8)
    stored[2:7, 3:6, 2:5], stored[6:10, 5:9, 4:8] = 1, 2
    return stored


def check_segmentation(path, scan):
    """Checks with highdicom that the segments lie where the labels of a scan do."""
    volume = hd.seg.segread(path).get_volume(combine_segments=True, allow_missing_positions=True)
    to_ras = np.diag([-1.0, -1, 1, 1])
    found = {
        tuple(np.round((to_ras @ volume.affine @ [*index, 1])[:3], 2)): int(volume.array[tuple(index)])
        for index in np.argwhere(volume.array > 0)
    }
    stored = labels(scan)
    wanted = {
        tuple(np.round((scan.grid.affine @ [*index, 1])[:3], 2)): int(stored[tuple(index)])
        for index in np.argwhere(stored > 0)
    }
    assert found == wanted


@pytest.mark.parametrize("legacy", [False, True])
def test_a_segmentation_refers_to_the_frames(tmp_path, legacy):
    slices = classic(tmp_path / "slices", even())
    whole = (
        hd.legacy.LegacyConvertedEnhancedCTImage(slices, uid.generate_uid(), 9, uid.generate_uid(), 1)
        if legacy
        else enhanced(slices)
    )
    path = save(whole, tmp_path / "in/whole.dcm")
    scan = dicom.read([path])
    dicom_seg.write(tmp_path / "seg.dcm", labels(scan), scan)
    check_segmentation(tmp_path / "seg.dcm", scan)
    segmentation = pydicom.dcmread(tmp_path / "seg.dcm")
    for group in segmentation.PerFrameFunctionalGroupsSequence:
        source = group.DerivationImageSequence[0].SourceImageSequence[0]
        assert source.ReferencedSOPInstanceUID == whole.SOPInstanceUID
        frame = whole.PerFrameFunctionalGroupsSequence[int(source.ReferencedFrameNumber) - 1]
        assert (
            frame.PlanePositionSequence[0].ImagePositionPatient == group.PlanePositionSequence[0].ImagePositionPatient
        )


def phases(tmp_path, name=None, count=3):
    """Writes the chest at several phases in one file; phase k is 100 k HU lighter."""
    slices = []
    for phase in range(count):
        for one in classic(tmp_path / f"slices{phase}", (even() + 100 * phase).clip(-1024, 2000)):
            one.phase = phase
            slices.append(one)

    def change(group, k):
        if name == "temporal":
            group.TemporalPositionSequence = item(TemporalPositionTimeOffset=1.0)
            group.FrameContentSequence[0].TemporalPositionIndex = slices[k].phase + 1
        elif name == "cardiac":
            group.CardiacSynchronizationSequence = item(NominalPercentageOfCardiacPhase=10.0 * slices[k].phase + 70)

    order = [k + phase * 9 for k in (3, 0, 8, 1, 2, 7, 6, 4, 5) for phase in range(count)]
    return save(enhanced(slices, order, change), tmp_path / "in/whole.dcm")


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("temporal", "1: TemporalPositionIdentifier 1; 2: TemporalPositionIdentifier 2; 3: "),
        ("cardiac", "1: NominalPercentageOfCardiacPhase 70.0; 2: NominalPercentageOfCardiacPhase 80.0; 3: "),
        (None, "1: FrameNumber 1; 2: FrameNumber 2; 3: FrameNumber 3"),  # a cine
    ],
)
def test_of_several_phases_one_is_chosen(tmp_path, name, told):
    path = phases(tmp_path, name)
    (source,) = find.find([path])
    with pytest.raises(ValueError, match=rf"whole\.dcm holds 3 phases \({told}.*\); choose one with --phase=K"):
        source.open(tmp_path)
    sources = find.find([path], choice=find.Choice(phase=2))
    (chosen,) = [source for source in sources if not source.left_out]
    assert len(sources) == 3
    wanted = (even() + 100).clip(-1024, 2000).transpose(2, 1, 0)
    scan = chosen.open(tmp_path)
    np.testing.assert_array_equal(voxels(scan), wanted)
    dicom_seg.write(tmp_path / "seg.dcm", labels(scan), scan)
    check_segmentation(tmp_path / "seg.dcm", scan)
    chosen = {image.index + 1 for image in scan.files}
    for group in pydicom.dcmread(tmp_path / "seg.dcm").PerFrameFunctionalGroupsSequence:
        assert group.DerivationImageSequence[0].SourceImageSequence[0].ReferencedFrameNumber in chosen
    for source in find.find([path], choice=find.Choice(phase=4)):
        with pytest.raises(ValueError, match="holds 3 phases, so there is no --phase=4"):
            source.open(tmp_path)


def test_a_copy_of_a_multi_frame_image_is_no_phase(tmp_path):
    path = save(enhanced(classic(tmp_path / "slices", even())), tmp_path / "in/whole.dcm")
    shutil.copy(path, tmp_path / "in/copy.dcm")
    (source,) = find.find([tmp_path / "in"])
    scan = source.open(tmp_path)
    assert scan.num_slices == 9
    assert scan.notes == ("9 copies of other images were left out",)


def set_frames(**changes):
    def change(whole):
        for name, value in changes.items():
            setattr(whole, name, value)

    return change


@pytest.mark.parametrize(
    ("change", "shared", "reason"),
    [
        (None, set_frames(PixelPresentation="MIXED"), "has frames in colour .PixelPresentation MIXED."),
        (None, set_frames(PerFrameFunctionalGroupsSequence=[]), "of 9 frames with functional groups for 0"),
        (
            lambda group, k: setattr(group, "PlanePositionSequence", []),
            None,
            r"whole\.dcm \(frame 1\) has no ImagePositionPatient",
        ),
        (
            lambda group, k: setattr(group.PixelValueTransformationSequence[0], "RescaleType", "US_PERFUSION"),
            None,
            "is not in HU",
        ),
        (
            lambda group, k: setattr(
                group.CTImageFrameTypeSequence[0], "FrameType", ["DERIVED", "PRIMARY", "PERFUSION", "QUANTITY"]
            ),
            None,
            "is a derived map .image type DERIVED/PRIMARY/PERFUSION/QUANTITY.",
        ),
        (
            lambda group, k: setattr(
                group.CTImageFrameTypeSequence[0], "FrameType", ["ORIGINAL", "PRIMARY", "LOCALIZER", "NONE"]
            ),
            None,
            "is a scout",
        ),
    ],
)
def test_frames_that_are_no_ct_volume_are_refused(tmp_path, change, shared, reason):
    path = save(enhanced(classic(tmp_path / "slices", even()), change=change, shared=shared), tmp_path / "in/whole.dcm")
    with pytest.raises(ValueError, match=reason):
        find.find([path])[0].open(tmp_path)


def test_an_element_that_is_no_number_names_the_file(tmp_path):
    path = save(enhanced(classic(tmp_path / "slices", even())), tmp_path / "in/whole.dcm")
    data = path.read_bytes()
    path.write_bytes(data.replace(b"-2000", b"-2T00", 1))
    with pytest.raises(ValueError, match=r"whole\.dcm (has damaged functional groups|\(frame 1\) has Rescale)"):
        find.find([path])[0].open(tmp_path)


def test_a_missing_frame_is_a_gap(tmp_path):
    slices = classic(tmp_path / "slices", even())
    del slices[4]
    path = save(enhanced(slices), tmp_path / "in/whole.dcm")
    with pytest.raises(ValueError, match=r"whole\.dcm lacks about 1 slices: between whole\.dcm \(frame \d\)"):
        find.find([path])[0].open(tmp_path)
