"""CT series in DICOM: found in a folder, sorted by position, rescaled to Hounsfield units, read file by file."""

import dataclasses
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import pydicom
from pydicom import uid
from pydicom.pixels import apply_rescale

from ssinfnet_jax.inference.readers import scan

_AIR_HU = -1024.0
_NO_VOLUME = {"LOCALIZER": "a scout", "MIP": "a projection", "MINIP": "a projection", "SCREEN SAVE": "a screen shot"}
_TAGS = (
    "SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "SeriesNumber", "SeriesDescription", "Modality", "ImageType",
    "PatientID", "RescaleSlope", "RescaleIntercept", "RescaleType", "NumberOfFrames", "SamplesPerPixel", "Rows",
    "Columns", "PixelSpacing", "ImageOrientationPatient", "ImagePositionPatient", "InstanceNumber",
)  # fmt: skip
_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


class LeftOutError(ValueError):
    """A series that belongs to an examination but is no CT volume: a scout, a secondary capture, a report."""


@dataclasses.dataclass(frozen=True)
class Series:
    """The files of a series, and its number in the examination."""

    files: tuple[pathlib.Path, ...]
    uid: str
    number: str


def is_dicom(path: pathlib.Path) -> bool:
    """Whether a file begins as DICOM files do (128 bytes and "DICM")."""
    with path.open("rb") as file:
        file.seek(128)
        return file.read(4) == b"DICM"


def find_series(files: Sequence[pathlib.Path]) -> tuple[list[Series], dict[pathlib.Path, str]]:
    """The series that DICOM files belong to, in the order of their numbers, and the files that cannot be read."""
    found: dict[tuple[str, str], list[tuple[pathlib.Path, str]]] = {}
    unreadable = {}
    for path in files:
        try:
            header = _header(path)
            series_uid = str(_need(header, "SeriesInstanceUID", path))
            number = str(header.get("SeriesNumber") or "0")
        except ValueError as error:
            unreadable[path] = str(error)
            continue
        # Some anonymisers give all patients the same UIDs.
        found.setdefault((series_uid, str(header["PatientID"])), []).append((path, number))
    series = [Series(tuple(path for path, _ in rows), key[0], rows[0][1]) for key, rows in found.items()]
    return sorted(series, key=lambda one: (len(one.number), one.number, one.uid)), unreadable


def read(files: Sequence[pathlib.Path]) -> scan.Scan:
    """Opens a series, in any order of its files; pixels are read when they are asked for.

    Raises:
      LeftOutError: what is no CT volume.
      ValueError: not HU, not axial, slices missing or twice; names the file or the gap.
    """
    headers, others = {}, []
    for path in files:
        header = _header(path)
        try:
            _check_header(header, path)
            headers[path] = header
        except LeftOutError as error:
            others.append(error)
    if not headers:
        raise others[0]
    headers, notes = _without_copies(headers)
    if others:
        notes = (*notes, f"{len(others)} images of the series were left out, such as: {others[0]}")
    paths, grid = _geometry(headers)
    view = range(len(paths)) if grid.source_slice(0)[2].start == 0 else range(len(paths) - 1, -1, -1)
    ordered = tuple(paths[k] for k in view)

    def read_slice(index: int) -> np.ndarray:
        return grid.to_view(_pixels_hu(ordered[index], grid.shape).T[:, :, None])

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
    )


def _header(path: pathlib.Path) -> dict[str, Any]:
    """The elements that say what a file is and where it lies."""
    try:
        dataset = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=list(_TAGS))
        return {name: dataset.get(name) for name in _TAGS}
    except FileNotFoundError:
        raise
    except Exception as error:  # pydicom raises whatever the file gave it
        raise ValueError(f"{path} cannot be read as DICOM ({error}); copy or export it again.") from error


def _need(header: dict[str, Any], name: str, path: pathlib.Path) -> Any:
    if header[name] in (None, ""):
        raise ValueError(f"{path} has no {name}; export the original series, not a copy without it.")
    return header[name]


def _numbers(header: dict[str, Any], name: str, count: int, path: pathlib.Path) -> np.ndarray:
    """`count` finite numbers of an element."""
    value = _need(header, name, path)
    try:
        numbers = np.asarray(value, dtype=np.float64).reshape(-1)
    except (TypeError, ValueError, OverflowError):
        numbers = np.zeros(0)
    if numbers.shape != (count,) or not np.isfinite(numbers).all():
        raise ValueError(f"{path} has {name} {value}; expected {count} numbers. Export the series again.")
    return numbers


def _check_header(header: dict[str, Any], path: pathlib.Path) -> None:
    """Raises LeftOutError or ValueError for what is not a slice of a CT volume in HU."""
    sop_class = uid.UID(str(_need(header, "SOPClassUID", path)))
    if sop_class == uid.EnhancedCTImageStorage:
        raise ValueError(
            f"{path} is a multi-frame CT (Enhanced CT Image Storage); convert it to single-frame CT images or to NIfTI "
            "(dcm2niix) first."
        )
    if sop_class != uid.CTImageStorage or header["Modality"] != "CT":
        raise LeftOutError(f"{path} is {sop_class.name} of modality {header['Modality']}, not a CT image.")
    image_type = [str(part).strip() for part in np.atleast_1d(header["ImageType"] or [])]
    kind = next((_NO_VOLUME[part] for part in image_type if part in _NO_VOLUME), None)
    if kind:
        raise LeftOutError(f"{path} is {kind} (image type {'/'.join(image_type)}), not a slice of a CT volume.")
    rescale_type = str(header["RescaleType"] or "HU").strip()
    if rescale_type not in ("HU", "US") or None in (header["RescaleSlope"], header["RescaleIntercept"]):
        raise ValueError(
            f"{path} is not in HU (rescale slope {header['RescaleSlope']}, intercept {header['RescaleIntercept']}, "
            f"type {rescale_type}); export the original series of the scanner."
        )
    frames, samples = (int(header[name] or 1) for name in ("NumberOfFrames", "SamplesPerPixel"))
    if (frames, samples) != (1, 1):
        raise ValueError(f"{path} has {frames} frames of {samples} samples per pixel; expected one frame in grey.")


def _without_copies(headers: dict[pathlib.Path, dict[str, Any]]):
    """The headers without copies of the same image, and a note if there were any.

    Raises: ValueError for images that share a SOPInstanceUID and are no copies.
    """
    images: dict[str, dict[tuple, pathlib.Path]] = {}  # SOPInstanceUID -> place -> the first file
    for path, header in headers.items():
        place = (*_numbers(header, "ImagePositionPatient", 3, path), str(header["InstanceNumber"]))
        images.setdefault(str(_need(header, "SOPInstanceUID", path)), {}).setdefault(place, path)
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
    return kept, (f"{copies} copies of images that are there already",) if copies else ()


def _geometry(headers: dict[pathlib.Path, dict[str, Any]]) -> tuple[list[pathlib.Path], scan.Grid]:
    """Files sorted by position along the normal of the slices, and the grid (column, row, slice) of the series."""
    paths = list(headers)
    shared = ("Rows", "Columns"), ("PixelSpacing",), ("ImageOrientationPatient",)
    rows = {
        names: np.stack(
            [np.concatenate([_numbers(headers[path], name, count, path) for name in names]) for path in paths]
        )
        for names, count in zip(shared, (1, 2, 6), strict=True)
    }
    for names, values in rows.items():
        differing = np.flatnonzero(np.abs(values - values[0]).max(axis=1) > 1e-3)
        if len(differing):
            other = differing[0]
            raise ValueError(
                f"Slices of one series differ in {', '.join(names)}: {values[0].tolist()} in {paths[0]}, "
                f"{values[other].tolist()} in {paths[other]}. Put each reconstruction into a folder of its own."
            )
    (num_rows, num_columns), spacing, orientation = (values[0] for values in rows.values())
    along_row, along_column = orientation[:3], orientation[3:]
    lengths = np.linalg.norm(along_row), np.linalg.norm(along_column)
    if max(abs(length - 1) for length in lengths) > 0.01 or abs(along_row @ along_column) > 0.01:
        raise ValueError(f"{paths[0]} has ImageOrientationPatient {orientation.tolist()}: not two perpendicular units.")
    normal = np.cross(along_row, along_column)
    if abs(normal[2]) < np.sqrt(0.5):
        raise ValueError(
            f"{paths[0]} is not axial (its slices face {np.round(normal, 2).tolist()}, patient coordinates); give the "
            "axial series of the examination."
        )
    positions = np.stack([_numbers(headers[path], "ImagePositionPatient", 3, path) for path in paths])
    order = np.argsort(positions @ normal, kind="stable")
    paths, positions = [paths[k] for k in order], positions[order]
    affine = np.eye(4)
    affine[:3, 0], affine[:3, 1] = along_row * spacing[1], along_column * spacing[0]
    affine[:3, 2] = _step(paths, positions, normal)
    affine[:3, 3] = positions[0]
    shape = (int(num_columns), int(num_rows), len(paths))
    return paths, scan.check_grid(_TO_RAS @ affine, shape, str(paths[0].parent))


def _step(paths: list[pathlib.Path], positions: np.ndarray, normal: np.ndarray) -> np.ndarray:
    """From one slice to the next, mm; with a tilted gantry not along the normal.

    Raises: ValueError for slices in the same place, missing, or at uneven distances.
    """
    if len(paths) == 1:
        return normal  # of unknown thickness; nothing is measured across slices
    distances = np.diff(positions @ normal)
    typical = float(np.median(distances))
    twice = np.flatnonzero(distances < 0.01)
    if len(twice):
        one, other = paths[twice[0]], paths[twice[0] + 1]
        raise ValueError(
            f"{len(np.union1d(twice, twice + 1))} slices of {paths[0].parent} share a position, such as {one} and "
            f"{other}: two acquisitions or reconstructions in one series. Put each into a folder of its own."
        )
    gaps = np.flatnonzero(distances > 1.5 * typical)
    if len(gaps):
        k = gaps[0]
        missing = sum(round(distance / typical) - 1 for distance in distances[gaps])
        raise ValueError(
            f"{paths[0].parent} lacks about {missing} slices: between {paths[k].name} and {paths[k + 1].name} are "
            f"{distances[k]:.2f} mm, elsewhere {typical:.2f} mm. Copy or export the series again, whole."
        )
    step = (positions[-1] - positions[0]) / (len(paths) - 1)
    uneven = np.abs(positions - positions[0] - np.arange(len(paths))[:, None] * step).max()
    if uneven > 0.1 * typical + 0.05:
        raise ValueError(
            f"The slices of {paths[0].parent} do not lie on a regular grid: they are up to {uneven:.2f} mm beside it "
            f"(distances {distances.min():.2f} to {distances.max():.2f} mm). Give another series of the examination."
        )
    return step


def _pixels_hu(path: pathlib.Path, shape: tuple[int, int, int]) -> np.ndarray:
    """float32[rows, columns] in HU; padding becomes air."""
    try:
        dataset = pydicom.dcmread(path)
        if (dataset.Columns, dataset.Rows) != shape[:2]:
            raise ValueError(f"{dataset.Columns} x {dataset.Rows} pixels, {shape[0]} x {shape[1]} before")
        stored = dataset.pixel_array
        values = np.asarray(apply_rescale(stored, dataset), np.float32)
        padding = dataset.get("PixelPaddingValue")
        ends = sorted((padding, dataset.get("PixelPaddingRangeLimit", padding))) if padding is not None else (1, 0)
        padded = (stored >= ends[0]) & (stored <= ends[1])
    except Exception as error:  # pydicom and its decoders raise whatever the file gave them
        raise ValueError(
            f"The pixels of {path} cannot be decoded ({error}); copy the file again, or export the series uncompressed."
        ) from error
    if values.shape != (shape[1], shape[0]):
        raise ValueError(f"The pixels of {path} are {values.shape}, not {(shape[1], shape[0])}; export it again.")
    values[padded] = _AIR_HU
    return values
