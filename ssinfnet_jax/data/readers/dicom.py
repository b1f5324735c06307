"""Reads CT series in DICOM: groups files, sorts them by position, and rescales them to HU, file by file."""

import dataclasses
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from pydicom import uid

from ssinfnet_jax.data.readers import dicom_geometry, dicom_header, dicom_parts, dicom_pixels, scan

_NO_VOLUME = {"LOCALIZER": "a scout", "MIP": "a projection", "MINIP": "a projection", "SCREEN SAVE": "a screen shot"}
# RescaleTypes besides "HU" that exporters write for CT images in HU. The standard's US means unspecified.
_AS_HU = ("H", "US", "UNSPECIFIED", "UNKNOWN", "UNDEFINED", "NONE")
_MOST_ODD = 3  # images of a series that face another way than the others: its scouts
_SAME_WAY = 0.999  # cosine between normals: 2.6 degrees

_Headers = dict[pathlib.Path, dict[str, Any]]


class LeftOutError(ValueError):
    """A series of an examination that is not a CT volume: a scout, a secondary capture, a report."""


@dataclasses.dataclass(frozen=True)
class Series:
    """The files of a series, or of one set of slices in it.

    Attributes:
      files: in the order given.
      uid, number: of the series; the number is its number in the examination.
      part: what distinguishes the set from others in the series, such as (("ConvolutionKernel", "B70f"),).
    """

    files: tuple[pathlib.Path, ...]
    uid: str
    number: str
    part: dicom_parts.Part = ()


def find_series(files: Sequence[pathlib.Path]) -> tuple[list[Series], dict[pathlib.Path, str]]:
    """Groups DICOM files into series, ordered by number; also returns the unreadable files."""
    headers, unreadable = {}, {}
    for path in files:
        try:
            headers[path] = dicom_header.read(path)
        except ValueError as error:
            unreadable[path] = str(error)
    series, others = group(headers)
    return series, unreadable | others


def group(headers_of: _Headers) -> tuple[list[Series], dict[pathlib.Path, str]]:
    """Groups headers into series, like `find_series`."""
    found: dict[tuple[str, str], _Headers] = {}
    unreadable = {}
    for path, header in headers_of.items():
        try:
            series_uid = str(dicom_header.need(header, "SeriesInstanceUID", path))
        except ValueError as error:
            unreadable[path] = str(error)
            continue
        # Some anonymisers assign the same UIDs to all patients.
        found.setdefault((series_uid, str(header["PatientID"])), {})[path] = header
    series = [
        Series(tuple(paths), series_uid, str(headers[paths[0]]["SeriesNumber"] or "0"), part)
        for (series_uid, _), headers in found.items()
        for part, paths in _parts(headers).items()
    ]
    return sorted(series, key=lambda one: (len(one.number), one.number, one.uid)), unreadable


def read(files: Sequence[pathlib.Path]) -> scan.Scan:
    """Opens a series, given its files in any order; pixels are read on demand.

    Raises:
      LeftOutError: the series is not a CT volume.
      ValueError: not HU, not axial, slices missing or duplicated; names the file or the gap.
    """
    headers, notes, left_out = _slices({path: dicom_header.read(path) for path in files})
    paths, grid = dicom_geometry.geometry(headers)
    view = range(len(paths)) if grid.source_slice(0)[2].start == 0 else range(len(paths) - 1, -1, -1)
    ordered = tuple(paths[k] for k in view)

    def read_slice(index: int) -> np.ndarray:
        return grid.to_view(dicom_pixels.read_hu(ordered[index], grid.shape[:2]).T[:, :, None])

    first = headers[paths[0]]
    return scan.Scan(
        source=paths[0].parent,
        format="dicom",
        kind="hu",
        num_slices=len(paths),
        read=read_slice,
        grid=grid,
        files=ordered,
        patient_id=str(first.get("PatientID") or paths[0].parent.name),
        notes=notes,
        left_out=left_out,
    )


def _parts(headers: _Headers) -> dict[dicom_parts.Part, list[pathlib.Path]]:
    """Splits a series into sets of slices (`dicom_parts.split`); copies join their set, other files the first set."""
    try:
        parts = dicom_parts.split(_slices(headers)[0])
    except ValueError:  # `read` reports the reason
        return {(): list(headers)}
    first, taken = next(iter(parts)), {path for part in parts.values() for path in part}
    for path in [path for path in headers if path not in taken]:
        part = dicom_parts.part_of(headers[path], [name for name, _ in first])
        parts[part if part in parts else first].append(path)
    return parts


def _slices(headers: _Headers) -> tuple[_Headers, tuple[str, ...], dict[pathlib.Path, str]]:
    """Selects the headers of a volume's slices, each once; also returns notes, and reasons for files left out.

    Raises: LeftOutError if no file is a slice; ValueError for a slice that cannot be used.
    """
    kept, others, notes = {}, {}, []
    for path, header in headers.items():
        try:
            _check_kind(header, path)
            kept[path] = header
        except LeftOutError as error:
            others[path] = error
    if not kept:
        raise next(iter(others.values()))
    kept, odd = _without_odd(kept)
    others |= odd
    for path, header in kept.items():
        notes += _check_pixels(header, path)
    kept, copies = _without_copies(kept)
    notes += [copies] if copies else []
    if others:
        notes.append(f"{len(others)} images of the series were left out, such as: {next(iter(others.values()))}")
    left_out = dict.fromkeys(headers.keys() - kept.keys(), "a copy of another image")
    left_out |= {path: str(error) for path, error in others.items()}
    return kept, tuple(dict.fromkeys(notes)), left_out


def _check_kind(header: dict[str, Any], path: pathlib.Path) -> None:
    """Raises LeftOutError for a file that is not a CT image of a volume, ValueError for an unsupported one."""
    sop_class = uid.UID(str(dicom_header.need(header, "SOPClassUID", path)))
    if sop_class in (uid.EnhancedCTImageStorage, uid.LegacyConvertedEnhancedCTImageStorage):
        raise ValueError(
            f"{path} is a multi-frame CT ({sop_class.name}); convert it to single-frame CT images or to NIfTI "
            "(dcm2niix) first."
        )
    if sop_class != uid.CTImageStorage or header["Modality"] != "CT":
        raise LeftOutError(f"{path} is {sop_class.name} of modality {header['Modality']}, not a CT image.")
    image_type = [str(part).strip() for part in np.atleast_1d(header["ImageType"] or [])]
    kind = next((_NO_VOLUME[part] for part in image_type if part in _NO_VOLUME), None)
    if kind:
        raise LeftOutError(f"{path} is {kind} (image type {'/'.join(image_type)}), not a slice of a CT volume.")


def _check_pixels(header: dict[str, Any], path: pathlib.Path) -> list[str]:
    """Returns notes on the conversion of a slice to HU; raises ValueError if it cannot be converted."""
    frames, samples = (
        int(dicom_header.numbers(header, name, 1, path)[0]) if header[name] is not None else 1
        for name in ("NumberOfFrames", "SamplesPerPixel")
    )
    if (frames, samples) != (1, 1):
        raise ValueError(f"{path} has {frames} frames of {samples} samples per pixel; expected one frame in grey.")
    found = str(header["RescaleType"] or "HU").strip()
    spelled = found.upper().replace(".", "")
    is_hu = spelled in ("HU", *_AS_HU) or spelled.startswith("HOUNSFIELD")
    if not is_hu or None in (header["RescaleSlope"], header["RescaleIntercept"]):
        dicom_header.check_whole(path)
        raise ValueError(
            f"{path} is not in HU (rescale slope {header['RescaleSlope']}, intercept {header['RescaleIntercept']}, "
            f"type {found}); export the original series of the scanner."
        )
    slope, _ = (dicom_header.numbers(header, name, 1, path)[0] for name in ("RescaleSlope", "RescaleIntercept"))
    if slope == 0:
        raise ValueError(f"{path} has RescaleSlope 0, which makes all pixels equal; export the series again.")
    return [] if found == "HU" else [f"RescaleType {found} is read as HU: the images are CT with slope and intercept"]


def _without_copies(headers: _Headers) -> tuple[_Headers, str]:
    """Drops copies of the same image; also returns a note if there were any.

    Raises: ValueError for images that share a SOPInstanceUID but are not copies.
    """
    images: dict[str, dict[tuple, pathlib.Path]] = {}  # SOPInstanceUID -> place -> first file
    for path, header in headers.items():
        position = dicom_header.numbers(header, "ImagePositionPatient", 3, path)
        place = (*position, str(header["InstanceNumber"]))
        sop_uid = str(dicom_header.need(header, "SOPInstanceUID", path))
        images.setdefault(sop_uid, {}).setdefault(place, path)
    mixed = [list(places.values()) for places in images.values() if len(places) > 1]
    if mixed:
        one, other = mixed[0][:2]
        raise ValueError(
            f"{sum(map(len, mixed))} images at different positions (ImagePositionPatient, InstanceNumber) share a "
            f"SOPInstanceUID, such as {one} and {other}: they are not copies; an anonymiser may have overwritten it. "
            "Export the series again with a unique SOPInstanceUID for every image."
        )
    kept = {path: headers[path] for places in images.values() for path in places.values()}
    copies = len(headers) - len(kept)
    return kept, f"{copies} copies of other images were left out" if copies else ""


def _without_odd(headers: _Headers) -> tuple[_Headers, dict[pathlib.Path, LeftOutError]]:
    """Drops the few images that face another way than the others, with an error for each.

    These are scouts that do not say so: some exports lack the image type.
    """
    normals = np.stack([_normal(header, path) for path, header in headers.items()])
    usual = max(np.unique(normals.round(3), axis=0), key=lambda normal: (normals @ normal > _SAME_WAY).sum())
    same = dict(zip(headers, normals @ usual > _SAME_WAY, strict=True))
    odd = [path for path in headers if not same[path]]
    if len(odd) > _MOST_ODD or 2 * len(odd) >= len(headers):
        return headers, {}
    reason = "faces another way (ImageOrientationPatient {}) than the other {} images of the series, like a scout."
    told = {
        path: LeftOutError(
            f"{path} " + reason.format(headers[path]["ImageOrientationPatient"], len(headers) - len(odd))
        )
        for path in odd
    }
    return {path: header for path, header in headers.items() if same[path]}, told


def _normal(header: dict[str, Any], path: pathlib.Path) -> np.ndarray:
    """Returns the normal of an image, float64[3]; zeros if its orientation is absent."""
    if header["ImageOrientationPatient"] is None:
        return np.zeros(3)
    numbers = dicom_header.numbers(header, "ImageOrientationPatient", 6, path)
    return np.cross(numbers[:3], numbers[3:])
