"""Reads the elements that identify and place a DICOM image, from files with or without a preamble."""

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, BinaryIO

import numpy as np
import pydicom
from pydicom import uid
from pydicom.valuerep import STANDARD_VR

# Reconstructions that an exporter put under one SeriesInstanceUID differ in one of these.
TELLING = (
    "ConvolutionKernel", "SeriesNumber", "AcquisitionNumber", "SeriesDescription", "ProtocolName", "ImageType",
    "SliceThickness", "KVP", "FilterType", "ReconstructionDiameter", "PixelSpacing", "Rows", "Columns",
    "NominalPercentageOfCardiacPhase", "TemporalPositionIdentifier", "SeriesDate", "SeriesTime", "StudyInstanceUID",
    "FrameOfReferenceUID", "StackID", "ConcatenationUID", "FrameNumber",
)  # fmt: skip
DERIVED = ("FrameNumber",)  # no elements of DICOM; see `dicom_frames`
_TELLING_TAGS = tuple(name for name in TELLING if name not in DERIVED)
TAGS = (
    *_TELLING_TAGS, "SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "Modality", "PatientID", "RescaleSlope",
    "RescaleIntercept", "RescaleType", "NumberOfFrames", "SamplesPerPixel", "ImageOrientationPatient",
    "ImagePositionPatient", "InstanceNumber", "PatientPosition",
)  # fmt: skip
_IDENTIFYING = ("SOPClassUID", "Modality")  # at least one is in every image
_FIRST_GROUPS = (0x0002, 0x0008)  # of a file without preamble: meta information or data set
_LAST_FIRST_ELEMENT = 0x0018  # SOPInstanceUID: no data set starts with a later element
_PIXEL_DATA = (b"\xe0\x7f\x10\x00", b"\x7f\xe0\x00\x10")  # the tag, little and big endian
_META_BYTES = 1024  # contain the meta information's SOP class
_MOST_FIRST_BYTES = 1024  # of the first element's value


def is_dicom(path: pathlib.Path) -> bool:
    """Whether a file is DICOM by its content: "DICM" after a preamble, or a data set without one."""
    try:
        with path.open("rb") as file:
            return is_dicom_file(file)
    except OSError:
        return False


def is_dicom_file(file: BinaryIO) -> bool:
    """Whether an open file is DICOM, as `is_dicom`."""
    start = file.read(132)
    if start[128:] == b"DICM":
        return True
    if not _starts_with_element(start):
        return False
    file.seek(0)
    try:
        found = pydicom.dcmread(file, stop_before_pixels=True, force=True, specific_tags=list(_IDENTIFYING))
    except Exception:  # pydicom raises many kinds of errors for other files
        return False
    return any(name in found for name in _IDENTIFYING)


def is_directory(path: pathlib.Path) -> bool:
    """Whether a DICOM file is the directory of a medium, whatever its name (usually DICOMDIR)."""
    with path.open("rb") as file:
        if uid.MediaStorageDirectoryStorage.encode() not in file.read(_META_BYTES):
            return False
    try:
        meta = read_dataset(path, pixels=False, tags=("SOPClassUID",)).file_meta
    except ValueError:
        return False
    return meta.get("MediaStorageSOPClassUID") == uid.MediaStorageDirectoryStorage


def read_dataset(
    path: pathlib.PurePath,
    *,
    pixels: bool = True,
    tags: Sequence[str] | None = None,
    file: BinaryIO | None = None,
) -> pydicom.Dataset:
    """Reads a DICOM file, even without preamble or meta information; from `file` if that is already open.

    Raises: ValueError naming the file; FileNotFoundError.
    """
    try:
        dataset = pydicom.dcmread(
            path if file is None else file,
            stop_before_pixels=not pixels,
            force=True,
            specific_tags=tags and list(tags),
        )
    except FileNotFoundError:
        raise
    except Exception as error:  # pydicom raises many kinds of errors for damaged files
        raise ValueError(f"{path} cannot be read as DICOM ({error}); copy or export it again.") from error
    if "TransferSyntaxUID" not in dataset.file_meta:
        implicit, little = dataset.original_encoding
        explicit = uid.ExplicitVRLittleEndian if little else uid.ExplicitVRBigEndian
        dataset.file_meta.TransferSyntaxUID = uid.ImplicitVRLittleEndian if implicit else explicit
    return dataset


def read(path: pathlib.PurePath, file: BinaryIO | None = None) -> dict[str, Any]:
    """Reads the elements by name: None if absent, the raw text if it is not a valid value, such as a decimal comma.

    Raises: ValueError naming the file; FileNotFoundError.
    """
    return elements(read_dataset(path, pixels=False, tags=TAGS, file=file))


def elements(dataset: pydicom.Dataset) -> dict[str, Any]:
    """Returns the elements of `read` from a data set."""
    return {name: _value(dataset, name) for name in TAGS} | dict.fromkeys(DERIVED)


def need(header: Mapping[str, Any], name: str, path: pathlib.Path) -> Any:
    """Returns the value of an element; raises ValueError if it has none."""
    if header[name] in (None, ""):
        check_whole(path)
        raise ValueError(f"{path} has no {name}; export the original series, not a copy without it.")
    return header[name]


def check_whole(path: pathlib.Path) -> None:
    """Raises ValueError if a file ends before its pixels, which explains a missing element."""
    data = path.read_bytes()
    if not any(tag in data for tag in _PIXEL_DATA):
        raise ValueError(f"{path} ends before its pixels: it is truncated or not an image; copy or export it again.")


def numbers(header: Mapping[str, Any], name: str, count: int, path: pathlib.Path) -> np.ndarray:
    """Returns the `count` finite numbers of an element, float64[count]; raises ValueError for anything else."""
    value = need(header, name, path)
    try:
        found = np.asarray(value, dtype=np.float64).reshape(-1)
    except (TypeError, ValueError, OverflowError):
        found = np.zeros(0)
    if found.shape != (count,) or not np.isfinite(found).all():
        shown = value if isinstance(value, str) or not isinstance(value, Sequence) else "\\".join(map(str, value))
        raise ValueError(
            f"{path} has {name} {shown}; expected {count} number{'s' * (count > 1)}. DICOM numbers have a decimal "
            "point, not a comma, and are separated by backslashes; correct the element, or export the series again."
        )
    return found


def _value(dataset: pydicom.Dataset, name: str) -> Any:
    try:
        return dataset.get(name)
    except Exception:  # pydicom converts values on access, which may raise anything
        raw = dataset.get_item(name, keep_deferred=True).value
        return raw.decode("ascii", "replace").strip("\0 ") if isinstance(raw, bytes) else raw


def _starts_with_element(start: bytes) -> bool:
    """Whether bytes look like the first element of a data set, in any encoding."""
    for order in ("little", "big"):
        group, element = (int.from_bytes(start[k : k + 2], order) for k in (0, 2))
        if len(start) < 8 or group not in _FIRST_GROUPS or element > _LAST_FIRST_ELEMENT:
            continue
        explicit = start[4:6].decode("latin-1") in STANDARD_VR
        if explicit or (order == "little" and int.from_bytes(start[4:8], order) <= _MOST_FIRST_BYTES):
            return True
    return False
