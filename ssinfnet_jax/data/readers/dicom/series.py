"""Reads CT series in DICOM: groups files, sorts them by position, and rescales them to HU, file by file."""

import dataclasses
import functools
import itertools
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pydicom
from pydicom import uid

from ssinfnet_jax.data.readers import scan
from ssinfnet_jax.data.readers.dicom import contradictions as dicom_contradictions
from ssinfnet_jax.data.readers.dicom import frames as dicom_frames
from ssinfnet_jax.data.readers.dicom import geometry as dicom_geometry
from ssinfnet_jax.data.readers.dicom import header as dicom_header
from ssinfnet_jax.data.readers.dicom import parts as dicom_parts
from ssinfnet_jax.data.readers.dicom import pixels as dicom_pixels

_NO_VOLUME = {"LOCALIZER": "a scout", "MIP": "a projection", "MINIP": "a projection", "SCREEN SAVE": "a screen shot"}
_MAPS = {  # words of image types of derived images whose values are no HU of the chest, though they may look so
    "PERFUSION", "CBF", "CBV", "RCBF", "RCBV", "MTT", "TTP", "TMAX", "PBV", "PERMEABILITY", "IODINE", "EFF_Z",
    "QUANTITY", "SUBTRACTION", "DIVISION", "MULTIPLICATION", "ADDITION", "MASKED", "MAXIMUM", "MINIMUM",
    "STD_DEVIATION",
}  # fmt: skip
# RescaleTypes besides "HU" that exporters write for CT images in HU. The standard's US means unspecified.
_AS_HU = ("H", "US", "UNSPECIFIED", "UNKNOWN", "UNDEFINED", "NONE")
_MOST_ODD = 3  # images of a series that face another way than the others: its scouts
_SAME_WAY = 0.999  # cosine between normals: 2.6 degrees

_Headers = dict[Any, dict[str, Any]]  # pathlib.PurePath of an image, or dicom_frames.Frame -> header


class LeftOutError(ValueError):
    """A series of an examination that is not a CT volume: a scout, a secondary capture, a report."""


@dataclasses.dataclass(frozen=True)
class Series:
    """The files of a series, or of one set of slices in it.

    Attributes:
      files: in the order given.
      uid, number: of the series; the number is its number in the examination.
      part: what distinguishes the set from others in the series, such as (("ConvolutionKernel", "B70f"),).
      select: the part if the files hold other sets as well, as multi-frame files do; else empty.
      phase: of a series with several: its number, from 1; else 0.
      phases: of the series: what they are called.
      kernel: of the reconstruction; "" if unknown.
    """

    files: tuple[pathlib.Path, ...]
    uid: str
    number: str
    part: dicom_parts.Part = ()
    select: dicom_parts.Part = ()
    phase: int = 0
    phases: tuple[str, ...] = ()
    kernel: str = ""

    @property
    def phase_part(self) -> dicom_parts.Part:
        """The elements of `part` that tell phases."""
        return _phase(self.part)


def find_series(files: Sequence[pathlib.Path]) -> tuple[list[Series], dict[pathlib.Path, str]]:
    """Groups DICOM files into series, ordered by number; also returns the unreadable files."""
    headers, unreadable = {}, {}
    for path in files:
        try:
            headers |= dicom_frames.read(path)
        except ValueError as error:
            unreadable[path] = str(error)
    series, others = group(headers)
    return series, unreadable | others


def group(headers_of: _Headers) -> tuple[list[Series], dict[pathlib.Path, str]]:
    """Groups headers into series, like `find_series`."""
    found: dict[tuple[str, str], _Headers] = {}
    unreadable = {}
    for image, header in headers_of.items():
        try:
            series_uid = str(dicom_header.need(header, "SeriesInstanceUID", image))
        except ValueError as error:
            unreadable[dicom_frames.path_of(image)] = str(error)
            continue
        # Some anonymisers assign the same UIDs to all patients.
        found.setdefault((series_uid, str(header["PatientID"])), {})[image] = header
    series = [one for (series_uid, _), headers in found.items() for one in _sets(series_uid, headers)]
    return sorted(series, key=lambda one: (len(one.number), one.number, one.uid)), unreadable


def _sets(series_uid: str, headers: _Headers) -> list[Series]:
    """Returns the sets of slices of a series."""
    headers = dicom_frames.with_phases(headers)
    parts = _parts(headers)
    phases = _phases(list(parts))
    found = []
    for part, images in parts.items():
        told, first = _phase(part), headers[images[0]]
        several = len(parts) > 1 and any(isinstance(image, dicom_frames.Frame) for image in images)
        found.append(
            Series(
                tuple(dicom_frames.files_of(images)),
                series_uid,
                str(first["SeriesNumber"] or "0"),
                part,
                select=part if several else (),
                phase=phases.index(told) + 1 if phases else 0,
                phases=tuple(", ".join(f"{name} {value}" for name, value in one) for one in phases),
                kernel=dicom_parts.text(first["ConvolutionKernel"]),
            )
        )
    return found


def _phase(part: dicom_parts.Part) -> dicom_parts.Part:
    return tuple((name, value) for name, value in part if name in dicom_frames.PHASES)


def _phases(parts: list[dicom_parts.Part]) -> list[dicom_parts.Part]:
    """Returns the phases of a series in the order of their numbers; empty if there are not several."""

    def order(phase: dicom_parts.Part) -> list[tuple[float, str]]:
        values = [value for _, value in phase]
        return [(float(value) if value.replace(".", "", 1).isdigit() else 0.0, value) for value in values]

    found = sorted({_phase(part) for part in parts}, key=order)
    return found if len(found) > 1 else []


def read(files: Sequence[pathlib.Path], select: dicom_parts.Part = ()) -> scan.Scan:
    """Opens a series, given its files in any order; pixels are read on demand.

    Args:
      files: of the series: an image each, or multi-frame images, which are kept in memory while they are read.
      select: the set of frames, where multi-frame images hold several; see `Series`.
    Raises:
      LeftOutError: the series is not a CT volume.
      ValueError: not HU, not axial, slices missing or duplicated; names the file or the gap.
    """
    headers = {image: header for path in files for image, header in dicom_frames.read(path).items()}
    return open_images(headers, dicom_header.read_dataset, select)


def open_images(
    every: _Headers, load: Callable[[pathlib.PurePath], pydicom.Dataset], select: dicom_parts.Part = ()
) -> scan.Scan:
    """Opens a series, given the headers of its images, and what reads the file of one; else as `read`."""
    dicom_frames.check_concatenations(every)
    every = dicom_frames.with_phases(every)
    if select:
        names = [name for name, _ in select]
        every = {image: header for image, header in every.items() if dicom_parts.part_of(header, names) == select}
    headers, notes, left_out = _slices(every)
    notes += _check_kernels(headers)
    images, grid = dicom_geometry.geometry(headers)
    notes += dicom_contradictions.notes([headers[image] for image in images], grid)
    view = range(len(images)) if grid.source_slice(0)[2].start == 0 else range(len(images) - 1, -1, -1)
    ordered = tuple(images[k] for k in view)
    load_once = functools.lru_cache(maxsize=1)(load)  # for the frames of a multi-frame image

    def read_slice(index: int) -> np.ndarray:
        image = ordered[index]
        hu = dicom_pixels.read_hu(image, grid.shape[:2], load_once(dicom_frames.path_of(image)), headers[image])
        return grid.to_view(hu.T[:, :, None])

    first, used = headers[images[0]], dicom_frames.files_of(images)
    source = used[0] if isinstance(images[0], dicom_frames.Frame) and len(used) == 1 else used[0].parent
    return scan.Scan(
        source=source,
        format="dicom",
        kind="hu",
        num_slices=len(images),
        read=read_slice,
        grid=grid,
        files=ordered,
        load=load,
        patient_id=str(first.get("PatientID") or scan.stem(source)),
        notes=notes,
        left_out={path: reason for path, reason in left_out.items() if isinstance(path, pathlib.PurePath)},
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
    if sop_class != uid.CTImageStorage or header["Modality"] != "CT":
        raise LeftOutError(f"{path} is {sop_class.name} of modality {header['Modality']}, not a CT image.")
    image_type = [str(part).strip() for part in np.atleast_1d(header["ImageType"] or [])]
    kind = next((_NO_VOLUME[part] for part in image_type if part in _NO_VOLUME), None)
    if kind is None and image_type[:1] == ["DERIVED"] and _MAPS & set(image_type[2:]):
        kind = "a derived map"
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


def _check_kernels(headers: _Headers) -> tuple[str, ...]:
    """Returns a note if the kernel changes along a volume; raises ValueError if kernels alternate."""
    kernels = {image: dicom_parts.text(header["ConvolutionKernel"]) for image, header in headers.items()}
    ordered = dicom_parts.in_order(headers)
    changes = [(one, other) for one, other in itertools.pairwise(ordered) if kernels[one] != kernels[other]]
    if not changes:
        return ()
    one, other = changes[0]
    told = f"{kernels[one] or 'no kernel'} in {one.name} and {kernels[other] or 'no kernel'} in {other.name}"
    if len(changes) >= len(set(kernels.values())):
        raise ValueError(
            f"The kernels of {dicom_frames.path_of(one).parent} alternate, such as {told}: slices of several "
            "reconstructions are mixed. Export one reconstruction."
        )
    return (f"the kernel changes along the patient: {told}",)


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
