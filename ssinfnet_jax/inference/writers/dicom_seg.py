"""Writes DICOM Segmentation objects, for viewers such as 3D Slicer and OHIF."""

import pathlib
import warnings
from collections.abc import Sequence
from typing import Any

import highdicom as hd
import numpy as np
import pydicom
from pydicom import valuerep
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code

import ssinfnet_jax
from ssinfnet_jax import rundir
from ssinfnet_jax.data.readers.dicom import frames as dicom_frames
from ssinfnet_jax.data.readers.scan import Scan

# Codes of the DICOM standard: the finding in CID 6102, its category in CID 7150, its location in SNOMED CT.
_CATEGORY = Code("49755003", "SCT", "Morphologically Altered Structure")
_TYPES = {
    1: ("GGO", Code("112120", "DCM", "Ground glass opacity"), (86, 180, 233)),
    2: ("Consolidation", Code("95436008", "SCT", "Pulmonary consolidation"), (230, 159, 0)),
}
_LUNG = Code("39607008", "SCT", "Lung")
_UTF_8 = "ISO_IR 192"
_SERIES_NUMBER = 9001  # above those of scanners
# Elements that must be present but may be empty; anonymised copies lack some.
_MAY_BE_EMPTY = (
    "PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyID", "StudyDate", "StudyTime",
    "AccessionNumber", "ReferringPhysicianName",
)  # fmt: skip
# Those of them whose values are checked; anonymised copies hold values such as 00000000.
_FORMS = {
    "PatientBirthDate": valuerep.DA,
    "StudyDate": valuerep.DA,
    "StudyTime": valuerep.TM,
    "PatientSex": hd.PatientSexValues,
}


def write(path: pathlib.Path, labels: np.ndarray, scan: Scan) -> None:
    """Writes GGO and consolidation as two binary segments that refer to the source images, complete or not at all.

    Args:
      path: ending in .dcm.
      labels: uint8[columns, rows, slices] of {0, 1, 2}, in the grid of the scan.
      scan: a DICOM series.
    Raises: ValueError if the series lacks data that a DICOM-SEG requires.
    """
    slices = [labels[scan.grid.source_slice(index)][:, :, 0].T for index in range(scan.num_slices)]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about the format of the patient's name
            if isinstance(scan.files[0], dicom_frames.Frame):
                slice_of = dict(zip(scan.files, slices, strict=True))
                source, numbers = _multi_frame(scan)
                segmentation = _make([source], np.stack([slice_of[image] for image in numbers]))
                _refer(segmentation, list(numbers.values()))
            else:
                segmentation = _make([_source(file, scan) for file in scan.files], np.stack(slices))
    except Exception as error:  # pydicom and highdicom raise many kinds of errors for odd series
        raise ValueError(f"no DICOM-SEG could be written for {scan.source}: {error}") from error
    with rundir.writing(path) as partial:
        segmentation.save_as(partial)


def _multi_frame(scan: Scan) -> tuple[pydicom.Dataset, dict[dicom_frames.Frame, int]]:
    """Returns the multi-frame source image with the frames of a scan alone, and their numbers in the file.

    The files of a concatenation are joined under the UID of the image that it divides.
    """
    parts = [(path, _source(path, scan)) for path in dicom_frames.files_of(scan.files)]
    parts.sort(key=lambda part: int(part[1].get("InConcatenationNumber") or 0))
    groups = {
        dicom_frames.Frame(path, k): group
        for path, part in parts
        for k, group in enumerate(part.PerFrameFunctionalGroupsSequence)
    }
    numbers = {image: number for number, image in enumerate(groups, 1) if image in set(scan.files)}
    whole = parts[0][1]
    if len(parts) > 1:
        whole.SOPInstanceUID = whole.get("SOPInstanceUIDOfConcatenationSource") or whole.SOPInstanceUID
    whole.PerFrameFunctionalGroupsSequence = [groups[image] for image in numbers]
    whole.NumberOfFrames = len(numbers)
    return whole, numbers


def _refer(segmentation: pydicom.Dataset, numbers: Sequence[int]) -> None:
    """Makes references to the frames 1, 2, ... refer to the frames of these numbers."""
    sources = {  # by identity, since frames of several segments share them
        id(source): source
        for group in segmentation.PerFrameFunctionalGroupsSequence
        for derivation in group.get("DerivationImageSequence", ())
        for source in derivation.SourceImageSequence
    }
    for source in sources.values():
        source.ReferencedFrameNumber = numbers[int(source.ReferencedFrameNumber) - 1]


def _source(file: pathlib.Path, scan: Scan) -> pydicom.Dataset:
    """Reads a source image without pixels, adds required elements, and converts its texts to UTF-8."""
    source = scan.load(file, pixels=False)
    source.decode()
    source.SpecificCharacterSet = _UTF_8  # highdicom supports few others
    for name in _MAY_BE_EMPTY:
        if name not in source or not _is_valid(name, source.get(name)):
            setattr(source, name, None)
    is_single = "PerFrameFunctionalGroupsSequence" not in source
    if is_single and not isinstance(source.get("SliceThickness"), float):  # absent, or not a number
        source.SliceThickness = scan.grid.spacing_mm[0]
    return source


def _is_valid(name: str, value: Any) -> bool:
    """Whether an element that may be empty has a value that is valid in a new object."""
    try:
        return not value or name not in _FORMS or bool(_FORMS[name](value))
    except ValueError:
        return False


def _make(sources: list[pydicom.Dataset], frames: np.ndarray) -> hd.seg.Segmentation:
    return hd.seg.Segmentation(
        source_images=sources,
        pixel_array=frames,
        segmentation_type=hd.seg.SegmentationTypeValues.BINARY,
        segment_descriptions=[_describe(number) for number in _TYPES],
        series_instance_uid=hd.UID(),
        series_number=_SERIES_NUMBER,
        sop_instance_uid=hd.UID(),
        instance_number=1,
        manufacturer="ssinfnet_jax",
        manufacturer_model_name="InfNet and multi network",
        software_versions=ssinfnet_jax.__version__,
        device_serial_number="0",
        content_label="COVID19_LESIONS",
        content_description="Lesions found by a network, for research",
        series_description="GGO and consolidation (network, for research)",
        omit_empty_frames=bool(frames.any()),
    )


def _describe(number: int) -> hd.seg.SegmentDescription:
    label, finding, colour = _TYPES[number]
    return hd.seg.SegmentDescription(
        segment_number=number,
        segment_label=label,
        segmented_property_category=_CATEGORY,
        segmented_property_type=finding,
        algorithm_type=hd.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
        algorithm_identification=hd.AlgorithmIdentificationSequence(
            name="ssinfnet_jax", version=ssinfnet_jax.__version__, family=codes.cid7162.ArtificialIntelligence
        ),
        anatomic_regions=[_LUNG],
        display_color=hd.color.CIELabColor.from_rgb(*colour),
    )
