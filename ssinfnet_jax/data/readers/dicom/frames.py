"""The frames of multi-frame CT (Enhanced, and Legacy Converted Enhanced) as if each were an image of its own."""

import dataclasses
import pathlib
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, BinaryIO

import numpy as np
import pydicom
from pydicom import uid

from ssinfnet_jax.data.readers.dicom import header as dicom_header

SOP_CLASSES = (uid.EnhancedCTImageStorage, uid.LegacyConvertedEnhancedCTImageStorage)
PHASES = ("NominalPercentageOfCardiacPhase", "TemporalPositionIdentifier", "FrameNumber")  # elements that tell them
_GROUPS = ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence")
_CONCATENATION = ("ConcatenationUID", "InConcatenationNumber", "InConcatenationTotalNumber")
_AS = {  # elements of frames -> those of images with the same meaning
    "FrameType": "ImageType",
    "FrameAcquisitionNumber": "AcquisitionNumber",
    "TemporalPositionIndex": "TemporalPositionIdentifier",
}
_SAME_MM = 0.01

Images = Mapping[Any, Mapping[str, Any]]  # pathlib.PurePath or Frame -> header


@dataclasses.dataclass(frozen=True)
class Frame:
    """A frame of a multi-frame image; stands where the path of a single image does.

    Attributes:
      path: of the image.
      index: of the frame, from 0.
    """

    path: pathlib.PurePath
    index: int

    def __str__(self) -> str:
        return f"{self.path} (frame {self.index + 1})"

    @property
    def name(self) -> str:
        """The name in errors."""
        return f"{self.path.name} (frame {self.index + 1})"

    @property
    def parent(self) -> pathlib.PurePath:
        """The image, as the folder of its frames."""
        return self.path

    def read_bytes(self) -> bytes:
        """Reads the whole image."""
        return self.path.read_bytes()


def path_of(image: pathlib.PurePath | Frame) -> pathlib.PurePath:
    """Returns the file of an image or a frame."""
    return image.path if isinstance(image, Frame) else image


def read(path: pathlib.PurePath, file: BinaryIO | None = None) -> dict[Any, dict[str, Any]]:
    """Reads the headers in a file, as `dicom_header.read`: its own, or one per frame.

    Elements of the shared and the per-frame functional groups, and of those of a conversion, stand for the elements of
    a single image.

    Raises: ValueError naming the file; FileNotFoundError.
    """
    tags = (*dicom_header.TAGS, *_GROUPS, *_CONCATENATION, "PixelPresentation")
    dataset = dicom_header.read_dataset(path, pixels=False, tags=tags, file=file)
    header = dicom_header.elements(dataset)
    if header["SOPClassUID"] not in SOP_CLASSES:
        return {path: header}
    try:
        shared, per_frame = ([_elements(group) for group in dataset.get(name) or []] for name in _GROUPS)
    except Exception as error:  # pydicom converts values on access, which may raise anything
        raise ValueError(f"{path} has damaged functional groups ({error}); copy or export it again.") from error
    return _frames(path, dataset, header, shared, per_frame)


def _frames(
    path: pathlib.PurePath,
    dataset: pydicom.Dataset,
    header: dict[str, Any],
    shared: list[dict[str, Any]],
    per_frame: list[dict[str, Any]],
) -> dict[Any, dict[str, Any]]:
    """Returns the header of each frame: of the image, with the elements of the shared and the per-frame groups."""
    count = int(dicom_header.numbers(header, "NumberOfFrames", 1, path)[0])
    if len(per_frame) != count or count < 1:
        raise ValueError(
            f"{path} is a multi-frame CT of {count} frames with functional groups for {len(per_frame)}; export it "
            "again."
        )
    if str(dataset.get("PixelPresentation") or "MONOCHROME") != "MONOCHROME":
        raise ValueError(
            f"{path} has frames in colour (PixelPresentation {dataset.PixelPresentation}), which are no HU; use the "
            "original series."
        )
    own = header | {"InstanceNumber": None, "NumberOfFrames": None, "SOPClassUID": uid.CTImageStorage}
    own["ConcatenationUID"] = str(dataset.get("ConcatenationUID") or header["SOPInstanceUID"])
    own["Concatenation"] = tuple(dataset.get(name) for name in _CONCATENATION)
    for group in shared[:1]:
        own |= group
    found = {}
    for index, group in enumerate(per_frame):
        told = own | group
        told["SOPInstanceUID"], told["FrameNumber"] = f"{header['SOPInstanceUID']}:{index}", None
        found[Frame(path, index)] = told
    return found


def _elements(group: pydicom.Dataset) -> dict[str, Any]:
    """Returns the elements of `dicom_header.TAGS` in the first items of a group's sequences."""
    found = {}
    for sequence in group:
        if sequence.VR != "SQ" or not sequence.value:
            continue
        for element in sequence.value[0]:
            name = _AS.get(element.keyword, element.keyword)
            if name in dicom_header.TAGS and element.VR != "SQ":
                found[name] = element.value
    return found


def check_concatenations(headers: Images) -> None:
    """Raises ValueError for a concatenation (one image in several files) that lacks a file."""
    known: dict[str, dict[int, tuple[pathlib.PurePath, Any]]] = {}
    for image, header in headers.items():
        name, number, total = header.get("Concatenation") or (None, None, None)
        if name is not None and number is not None:
            known.setdefault(str(name), {})[int(number)] = path_of(image), total
    for parts in known.values():
        total = max([int(total or 0) for _, total in parts.values()] + [*parts])
        missing = sorted(set(range(1, total + 1)) - set(parts))
        if missing:
            path, _ = next(iter(parts.values()))
            shown = ", ".join(map(str, missing))
            raise ValueError(
                f"{path} is a part of a multi-frame CT in {total} files (a concatenation), of which number {shown} is "
                "missing; copy or export all of them."
            )


def with_phases(headers: Images) -> dict[Any, dict[str, Any]]:
    """Numbers frames that share a position with nothing to tell them apart: element `FrameNumber`, from 1.

    That is a cine, or phases that the file does not name. Frames keep their order in the file; a copy has the number of
    its original.
    """
    told = {image: dict(header) for image, header in headers.items()}
    places = {header["SOPInstanceUID"]: _place(header) for image, header in told.items() if isinstance(image, Frame)}
    counts = Counter(places.values())
    if len(set(counts.values())) != 1 or max(counts.values()) == 1:
        return told
    seen, numbers = Counter(), {}
    for name, place in places.items():
        seen[place] += 1
        numbers[name] = seen[place]
    for header in told.values():
        header["FrameNumber"] = numbers.get(header["SOPInstanceUID"])
    return told


def _place(header: Mapping[str, Any]) -> tuple:
    """Returns what places a frame and tells it apart: its position, and every telling element."""
    position = header["ImagePositionPatient"]
    try:
        place = tuple(np.round(np.asarray(position, float) / _SAME_MM).tolist())
    except (TypeError, ValueError):  # absent or no numbers: `dicom.open_images` says so
        place = (str(position),)
    return place, tuple(str(header.get(name)) for name in dicom_header.TELLING)


def files_of(images: Iterable[pathlib.PurePath | Frame]) -> list[pathlib.PurePath]:
    """Returns the files of images and frames, each once, in their order."""
    return list(dict.fromkeys(map(path_of, images)))
