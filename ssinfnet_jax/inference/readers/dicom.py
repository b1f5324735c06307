"""CT series in DICOM: found in a folder, sorted by position, rescaled to Hounsfield units, read file by file."""

import dataclasses
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from pydicom import uid

from ssinfnet_jax.inference.readers import dicom_geometry, dicom_header, dicom_parts, dicom_pixels, scan

_NO_VOLUME = {"LOCALIZER": "a scout", "MIP": "a projection", "MINIP": "a projection", "SCREEN SAVE": "a screen shot"}
# Besides "HU": what exporters write there for a CT image in HU. The standard's US says that the type is unspecified.
_AS_HU = ("H", "US", "UNSPECIFIED", "UNKNOWN", "UNDEFINED", "NONE")
_MOST_ODD = 3  # images of a series that face another way than all others: its scouts
_SAME_WAY = 0.999  # the cosine between normals: 2.6 degrees

_Headers = dict[pathlib.Path, dict[str, Any]]


class LeftOutError(ValueError):
    """A series that belongs to an examination but is no CT volume: a scout, a secondary capture, a report."""


@dataclasses.dataclass(frozen=True)
class Series:
    """The files of a series, or of a set of slices in it.

    Attributes:
      files: in the order given.
      uid, number: of the series; the number is that in the examination.
      part: what tells the set from others of the series, such as (("ConvolutionKernel", "B70f"),).
    """

    files: tuple[pathlib.Path, ...]
    uid: str
    number: str
    part: dicom_parts.Part = ()


def find_series(files: Sequence[pathlib.Path]) -> tuple[list[Series], dict[pathlib.Path, str]]:
    """The series that DICOM files belong to, in the order of their numbers, and the files that cannot be read."""
    found: dict[tuple[str, str], _Headers] = {}
    unreadable = {}
    for path in files:
        try:
            header = dicom_header.read(path)
            series_uid = str(dicom_header.need(header, "SeriesInstanceUID", path))
        except ValueError as error:
            unreadable[path] = str(error)
            continue
        # Some anonymisers give all patients the same UIDs.
        found.setdefault((series_uid, str(header["PatientID"])), {})[path] = header
    series = [
        Series(tuple(paths), series_uid, str(headers[paths[0]]["SeriesNumber"] or "0"), part)
        for (series_uid, _), headers in found.items()
        for part, paths in _parts(headers).items()
    ]
    return sorted(series, key=lambda one: (len(one.number), one.number, one.uid)), unreadable


def read(files: Sequence[pathlib.Path]) -> scan.Scan:
    """Opens a series, in any order of its files; pixels are read when they are asked for.

    Raises:
      LeftOutError: what is no CT volume.
      ValueError: not HU, not axial, slices missing or twice; names the file or the gap.
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
    """The sets of slices in a series, see `dicom_parts.split`; copies go with their set, other files with the first."""
    try:
        parts = dicom_parts.split(_slices(headers)[0])
    except ValueError:  # `read` says why
        return {(): list(headers)}
    first, taken = next(iter(parts)), {path for part in parts.values() for path in part}
    for path in [path for path in headers if path not in taken]:
        part = dicom_parts.part_of(headers[path], [name for name, _ in first])
        parts[part if part in parts else first].append(path)
    return parts


def _slices(headers: _Headers) -> tuple[_Headers, tuple[str, ...], dict[pathlib.Path, str]]:
    """The headers of the slices of a volume among those of a series, each once, notes, and why others are left out.

    Raises: LeftOutError where none is a slice; ValueError for one that cannot be used.
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
    left_out = dict.fromkeys(headers.keys() - kept.keys(), "a copy of an image that is there already")
    left_out |= {path: str(error) for path, error in others.items()}
    return kept, tuple(dict.fromkeys(notes)), left_out


def _check_kind(header: dict[str, Any], path: pathlib.Path) -> None:
    """Raises LeftOutError for what is not a CT image of a volume, ValueError for one that is not read."""
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
    """What to say of how a slice becomes HU; raises ValueError where it does not."""
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
        raise ValueError(f"{path} has RescaleSlope 0, which makes all its pixels one value; export the series again.")
    return [] if found == "HU" else [f"RescaleType {found} is taken for HU: the images are CT with slope and intercept"]


def _without_copies(headers: _Headers) -> tuple[_Headers, str]:
    """The headers without copies of the same image, and a note if there were any.

    Raises: ValueError for images that share a SOPInstanceUID and are no copies.
    """
    images: dict[str, dict[tuple, pathlib.Path]] = {}  # SOPInstanceUID -> place -> the first file
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
            f"SOPInstanceUID, such as {one} and {other}: they are no copies, an anonymiser may have overwritten it. "
            "Export the series again, with another SOPInstanceUID for every image."
        )
    kept = {path: headers[path] for places in images.values() for path in places.values()}
    copies = len(headers) - len(kept)
    return kept, f"{copies} copies of images that are there already" if copies else ""


def _without_odd(headers: _Headers) -> tuple[_Headers, dict[pathlib.Path, LeftOutError]]:
    """The headers without the few images that face another way than all others, and an error for each of these.

    Scouts need not say that they are: some exports lack the image type.
    """
    normals = np.stack([_normal(header, path) for path, header in headers.items()])
    usual = max(np.unique(normals.round(3), axis=0), key=lambda normal: (normals @ normal > _SAME_WAY).sum())
    same = dict(zip(headers, normals @ usual > _SAME_WAY, strict=True))
    odd = [path for path in headers if not same[path]]
    if len(odd) > _MOST_ODD or 2 * len(odd) >= len(headers):
        return headers, {}
    reason = "faces another way (ImageOrientationPatient {}) than the other {} images of the series, as a scout does."
    told = {
        path: LeftOutError(
            f"{path} " + reason.format(headers[path]["ImageOrientationPatient"], len(headers) - len(odd))
        )
        for path in odd
    }
    return {path: header for path, header in headers.items() if same[path]}, told


def _normal(header: dict[str, Any], path: pathlib.Path) -> np.ndarray:
    """float64[3], of the image; zeros where it does not say how it lies."""
    if header["ImageOrientationPatient"] is None:
        return np.zeros(3)
    numbers = dicom_header.numbers(header, "ImageOrientationPatient", 6, path)
    return np.cross(numbers[:3], numbers[3:])
