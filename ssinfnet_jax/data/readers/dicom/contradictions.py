"""What the headers of a CT series say against each other: notes for the user, since either may be wrong."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ssinfnet_jax.data.readers import scan

_THICK, _THIN = 3.0, 1.5  # slices thicker than 3 spacings, or with a spacing of more than 1.5 thicknesses
_SAME_SIZE = 0.05  # of the reconstruction's diameter
_FIELD_MM = (80.0, 1000.0)  # of view; a child's chest and the widest bore
_LEAST_PIXELS = 64  # smaller images are parts of slices
_UPRIGHT = 0.7  # cosine: within 45 degrees
_BACK = {"HFS": 1, "FFS": 1, "HFP": -1, "FFP": -1}  # y of the way down the image: the back of supine patients is low


def notes(headers: Sequence[Mapping[str, Any]], grid: scan.Grid) -> tuple[str, ...]:
    """Returns notes on a series.

    Args:
      headers: of its slices (`dicom_header.read`).
      grid: of the volume.
    """
    first = headers[0]
    told = [*_thickness(headers, grid), *_position(first)]
    if min(grid.shape[:2]) >= _LEAST_PIXELS:
        told += _size(first, grid)
    return tuple(told)


def _thickness(headers: Sequence[Mapping[str, Any]], grid: scan.Grid) -> list[str]:
    found = [number for header in headers if (number := _number(header, "SliceThickness"))]
    spacing = grid.spacing_mm[0]
    if len(headers) < 2 or not found or spacing / _THIN <= np.median(found) <= _THICK * spacing:
        return []
    thickness = float(np.median(found))
    why = "what lies between them is not seen" if thickness < spacing else "they overlap, or one of the two is wrong"
    return [f"the slices are {spacing:.4g} mm apart, but {thickness:.4g} mm thick (SliceThickness): {why}"]


def _size(header: Mapping[str, Any], grid: scan.Grid) -> list[str]:
    width, height = (
        side * size for side, size in zip(grid.shape[:2], np.linalg.norm(grid.affine[:3, :2], axis=0), strict=True)
    )
    diameter = _number(header, "ReconstructionDiameter")
    if not all(_FIELD_MM[0] <= side <= _FIELD_MM[1] for side in (width, height)):
        return [
            f"the images are {width:.4g} x {height:.4g} mm by PixelSpacing and their size, which no chest CT is: "
            "millilitres may be wrong"
        ]
    if diameter and abs(max(width, height) / diameter - 1) > _SAME_SIZE and max(width, height) > diameter:
        return [
            f"the images are {width:.4g} x {height:.4g} mm by PixelSpacing and their size, but were reconstructed with "
            f"a diameter of {diameter:.4g} mm (ReconstructionDiameter): the size was taken from PixelSpacing"
        ]
    return []


def _position(header: Mapping[str, Any]) -> list[str]:
    position = str(header["PatientPosition"] or "").strip()
    orientation = np.asarray(header["ImageOrientationPatient"], float)
    down = orientation[4]  # y of the columns' direction; positive towards the patient's back
    if abs(down) < _UPRIGHT or position not in _BACK or down * _BACK[position] > 0:
        return []
    lies = "on the back" if _BACK[position] > 0 else "on the face"
    return [
        f"PatientPosition {position} says that the patient lies {lies}, but ImageOrientationPatient "
        f"{orientation.tolist()} turns the images upside down: check the sides; ImageOrientationPatient was used"
    ]


def _number(header: Mapping[str, Any], name: str) -> float:
    try:
        number = float(header[name])
    except (TypeError, ValueError):
        return 0.0
    return number if np.isfinite(number) and number > 0 else 0.0
