"""Separates reconstructions or acquisitions under one SeriesInstanceUID by the elements in which they differ."""

import itertools
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ssinfnet_jax.data.readers.dicom import geometry as dicom_geometry
from ssinfnet_jax.data.readers.dicom import header as dicom_header

_WIDE = 1.5  # times the thickness of a slice
_Headers = Mapping[pathlib.Path, Mapping[str, Any]]


# What distinguishes a set of slices in a series: names of elements and their values; empty if there is only one set.
Part = tuple[tuple[str, str], ...]


def split(headers: _Headers) -> dict[Part, list[pathlib.Path]]:
    """Splits a series into sets of slices, and returns the files of each.

    An element separates sets if they overlap along the patient (slabs of one volume do not) and each is a regular
    volume on its own; if slices share a position, one regular set is enough. Slices that no element separates are one
    set.
    """
    doubled = _doubled(headers)
    telling = []
    for name in dicom_header.TELLING:
        groups = list(_groups(headers, [name]).values())
        if len(groups) > 1 and _overlap(headers, groups):
            sound = [_is_volume(headers, group) for group in groups]
            alternate = name == "ConvolutionKernel" and not doubled and _alternate(headers, groups)
            if (all(sound) or (doubled and any(sound))) and not alternate:
                telling.append(name)
    if not telling:
        return {(): list(headers)}
    found = _groups(headers, telling)
    return found if all(len(group) > 1 for group in found.values()) else _groups(headers, telling[:1])


def part_of(header: Mapping[str, Any], names: Sequence[str]) -> Part:
    """Returns the set of slices that a file belongs to if these elements separate sets."""
    return tuple((name, text(header[name])) for name in names)


def in_order(headers: _Headers) -> list[Any]:
    """Returns the images of a set sorted along the patient."""
    along = _along(headers)
    return sorted(along, key=along.get)


def _alternate(headers: _Headers, groups: Sequence[Sequence[Any]]) -> bool:
    """Whether sets are parts of one volume: regular together, and alone with gaps wider than their slices are thick."""
    if not _is_volume(headers, list(headers)):
        return False
    for group in groups:
        own = {image: headers[image] for image in group}
        thickness = [_thickness(header) for header in own.values()]
        distances = np.diff(np.sort(list(_along(own).values())))
        if not len(distances) or np.median(distances) < _WIDE * max(thickness):
            return False
    return True


def _thickness(header: Mapping[str, Any]) -> float:
    """Returns the thickness of a slice in mm; infinite if it is unknown."""
    try:
        return float(header["SliceThickness"]) or np.inf
    except (TypeError, ValueError):
        return np.inf


def _groups(headers: _Headers, names: Sequence[str]) -> dict[Part, list[pathlib.Path]]:
    found: dict[Part, list[pathlib.Path]] = {}
    for path, header in headers.items():
        found.setdefault(part_of(header, names), []).append(path)
    return found


def text(value: Any) -> str:
    """Prints the value of an element, several with slashes; "" if it is absent."""
    several = isinstance(value, Sequence) and not isinstance(value, str)
    return "/".join(str(part).strip() for part in value) if several else str(value or "").strip()


def _is_volume(headers: _Headers, group: Sequence[pathlib.Path]) -> bool:
    if len(group) < 2:
        return False
    try:
        dicom_geometry.geometry({path: headers[path] for path in group})
    except ValueError:
        return False
    return True


def _overlap(headers: _Headers, groups: Sequence[Sequence[pathlib.Path]]) -> bool:
    """Whether any two groups cover the same stretch of the patient."""
    along = _along(headers)
    ranges = sorted((min(along[path] for path in group), max(along[path] for path in group)) for group in groups)
    return any(after[0] <= before[1] for before, after in itertools.pairwise(ranges))


def _doubled(headers: _Headers) -> bool:
    return bool(dicom_geometry.share_positions(np.sort(list(_along(headers).values()))).any())


def _along(headers: _Headers) -> dict[pathlib.Path, float]:
    """Returns positions along the normal of the first slice, mm."""
    first, *_ = headers
    orientation = dicom_header.numbers(headers[first], "ImageOrientationPatient", 6, first)
    normal = np.cross(orientation[:3], orientation[3:])
    return {
        path: float(dicom_header.numbers(header, "ImagePositionPatient", 3, path) @ normal)
        for path, header in headers.items()
    }
