"""The geometry of a CT series: slices sorted by position on one regular grid."""

import itertools
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from ssinfnet_jax.data.readers import scan
from ssinfnet_jax.data.readers.dicom import header as dicom_header

_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
_SAME_MM = 0.01  # slices within this distance share a position
_MOST_SETS = 4  # interleaved reconstructions to look for in the instance numbers
_APART = "copy each set to its own folder, and segment the folders in separate calls"


def geometry(headers: Mapping[pathlib.Path, Mapping[str, Any]]) -> tuple[list[pathlib.Path], scan.Grid]:
    """Sorts files by position along the normal of the slices, and returns the grid (column, row, slice) of the series.

    Raises: ValueError for slices that differ in size or direction, are not axial, share a position, are missing, or are
      unevenly spaced; names the element and the files.
    """
    paths = list(headers)
    shared = ("Rows", "Columns"), ("PixelSpacing",), ("ImageOrientationPatient",)
    rows = {
        names: np.stack(
            [
                np.concatenate([dicom_header.numbers(headers[path], name, count, path) for name in names])
                for path in paths
            ]
        )
        for names, count in zip(shared, (1, 2, 6), strict=True)
    }
    for names, values in rows.items():
        differing = np.flatnonzero(np.abs(values - values[0]).max(axis=1) > 1e-3)
        if len(differing):
            other = differing[0]
            raise ValueError(
                f"Slices of one series differ in {', '.join(names)}: {values[0].tolist()} in {paths[0]}, "
                f"{values[other].tolist()} in {paths[other]}: {_APART}."
            )
    (num_rows, num_columns), spacing, orientation = (values[0] for values in rows.values())
    along_row, along_column = orientation[:3], orientation[3:]
    lengths = np.linalg.norm(along_row), np.linalg.norm(along_column)
    if max(abs(length - 1) for length in lengths) > 0.01 or abs(along_row @ along_column) > 0.01:
        raise ValueError(
            f"{paths[0]} has ImageOrientationPatient {orientation.tolist()}; it must be two perpendicular unit "
            "vectors. Export the series again."
        )
    normal = np.cross(along_row, along_column)
    if abs(normal[2]) < np.sqrt(0.5):
        raise ValueError(
            f"{paths[0]} is not axial (its slices face {np.round(normal, 2).tolist()}, patient coordinates); use the "
            "axial series of the examination."
        )
    positions = np.stack([dicom_header.numbers(headers[path], "ImagePositionPatient", 3, path) for path in paths])
    order = np.argsort(positions @ normal, kind="stable")
    paths, positions = [paths[k] for k in order], positions[order]
    affine = np.eye(4)
    affine[:3, 0], affine[:3, 1] = along_row * spacing[1], along_column * spacing[0]
    affine[:3, 2] = _step(paths, positions, normal)
    affine[:3, 3] = positions[0]
    _check_one_set([str(headers[path]["InstanceNumber"]) for path in paths], paths)
    shape = (int(num_columns), int(num_rows), len(paths))
    return paths, scan.check_grid(_TO_RAS @ affine, shape, str(paths[0].parent))


def share_positions(positions_mm: np.ndarray) -> np.ndarray:
    """Returns bool[N - 1]: whether neighbours in sorted positions share a position."""
    return np.diff(positions_mm) < _SAME_MM


def _step(paths: list[pathlib.Path], positions: np.ndarray, normal: np.ndarray) -> np.ndarray:
    """Returns the vector from one slice to the next in mm; with a tilted gantry it is not along the normal.

    Raises: ValueError for slices that share a position, are missing, or are unevenly spaced.
    """
    if len(paths) == 1:
        return normal  # the thickness is unknown; nothing is measured across slices
    along = positions @ normal
    distances = np.diff(along)
    twice = np.flatnonzero(share_positions(along))
    if len(twice):
        one, other = paths[twice[0]], paths[twice[0] + 1]
        raise ValueError(
            f"{len(np.union1d(twice, twice + 1))} slices of {paths[0].parent} share a position, such as {one} and "
            f"{other}: two acquisitions or reconstructions in one series; {_APART}."
        )
    typical = float(np.median(distances))
    multiples = distances / typical
    gaps = np.flatnonzero(multiples > 1.5)
    if len(gaps) and np.abs(multiples - np.rint(multiples)).max() < 0.1:
        k = gaps[0]
        raise ValueError(
            f"{paths[0].parent} lacks about {round(float((multiples[gaps] - 1).sum()))} slices: between "
            f"{paths[k].name} and {paths[k + 1].name} are {distances[k]:.2f} mm, elsewhere {typical:.2f} mm. Copy or "
            "export the complete series again."
        )
    step = (positions[-1] - positions[0]) / (len(paths) - 1)
    beside = positions - positions[0] - np.arange(len(paths))[:, None] * step
    limit = 0.1 * typical + 0.05
    if np.abs(beside @ normal).max() > limit:
        k = int(np.abs(distances - typical).argmax())
        raise ValueError(
            f"The slices of {paths[0].parent} are unevenly spaced: {paths[k].name} at {along[k]:.2f} mm and "
            f"{paths[k + 1].name} at {along[k + 1]:.2f} mm along their normal are {distances[k]:.2f} mm apart, but the "
            f"median is {typical:.2f} mm ({distances.min():.2f} to {distances.max():.2f} mm). Use a series with even "
            "spacing, or resample it to NIfTI with even spacing."
        )
    if np.abs(beside).max() > limit:
        raise ValueError(
            f"The slices of {paths[0].parent} do not lie on a regular grid: they are up to {np.abs(beside).max():.2f} "
            f"mm off (distances {distances.min():.2f} to {distances.max():.2f} mm). Use another series of the "
            "examination."
        )
    return step


def _check_one_set(instance_numbers: list[str], paths: list[pathlib.Path]) -> None:
    """Raises ValueError if the instance numbers show that several sets of slices interleave.

    A scanner numbers the slices of a set in order, so 1, 41, 2, 42, ... or 1, 1, 2, 2, ... along the patient are two
    sets.
    """
    try:
        numbers = np.array([int(number) for number in instance_numbers])
    except ValueError:
        return
    for num_sets in range(2, _MOST_SETS + 1):
        sets = [numbers[k::num_sets] for k in range(num_sets)]
        if len(sets[-1]) > 2 and all(map(_in_order, sets)) and _are_apart(sets):
            raise ValueError(
                f"{num_sets} sets of slices interleave in {paths[0].parent}: by position, InstanceNumber is "
                f"{', '.join(map(str, numbers[: 2 * num_sets]))}, ... in {paths[0].name}, {paths[1].name}, ... They "
                f"may be several reconstructions under one SeriesInstanceUID; {_APART}."
            )


def _in_order(numbers: np.ndarray) -> bool:
    steps = np.diff(numbers)
    return bool((steps > 0).all() or (steps < 0).all())


def _are_apart(sets: list[np.ndarray]) -> bool:
    """Whether the ranges of sets of numbers are consecutive, or all the same."""
    ranges = sorted((int(part.min()), int(part.max())) for part in sets)
    follow = all(before[1] < after[0] for before, after in itertools.pairwise(ranges))
    return follow or all(one == ranges[0] for one in ranges)
