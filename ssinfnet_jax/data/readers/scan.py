"""A scan: axial slices in the radiologist's view, read one by one, and the mapping back to the source's grid."""

import dataclasses
import functools
import itertools
import os
import pathlib
import re
from collections.abc import Callable, Mapping
from typing import Any

import nibabel as nib
import numpy as np
import pydicom

from ssinfnet_jax.data.readers import suffixes

MAX_SIDE = 4096  # pixels; CT has 512 to 1024, and a damaged header can claim anything
MAX_VOXELS = 2**31  # 2048 slices of 1024 x 1024; streaming them takes 12 GiB of disk
KINDS = ("hu", "uint8")
SAME_PLACE = 1e-3  # of the smallest side of a voxel; headers store float32, so copies differ by about 1e-6
AIR_HU = -1024.0  # for unmeasured voxels: padding, NaN


@dataclasses.dataclass(frozen=True)
class Grid:
    """Where the voxels of a source lie, and how its axes are flipped and permuted (never resampled) for the view.

    In the view, slices run from inferior to superior, rows from anterior to posterior, columns from the patient's right
    to the left, along the closest voxel axes.

    Attributes:
      affine: float64[4,4], voxel (i, j, k) of the source -> mm, RAS+ as in NIfTI; may be oblique or sheared.
      shape: of the source, in voxels.
    """

    affine: np.ndarray
    shape: tuple[int, int, int]

    @functools.cached_property
    def _to_lps(self) -> np.ndarray:
        """Orientation of the source's axes in (left, posterior, superior): row k = (axis of the view, 1 or -1)."""
        stored = nib.orientations.io_orientation(self.affine)
        return nib.orientations.ornt_transform(stored, nib.orientations.axcodes2ornt("LPS"))

    @functools.cached_property
    def _from_lps(self) -> np.ndarray:
        """The inverse of `_to_lps`."""
        stored = nib.orientations.io_orientation(self.affine)
        return nib.orientations.ornt_transform(nib.orientations.axcodes2ornt("LPS"), stored)

    @functools.cached_property
    def slice_axis(self) -> int:
        """The axis of the source along which axial slices lie."""
        return int(np.flatnonzero(self._to_lps[:, 0] == 2)[0])

    @property
    def view_shape(self) -> tuple[int, int, int]:
        """(slices, rows, columns) of the view."""
        lps = {int(axis): self.shape[k] for k, (axis, _) in enumerate(self._to_lps)}
        return lps[2], lps[1], lps[0]

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Distances between (slices, rows, columns) along the voxel axes."""
        sizes = nib.affines.voxel_sizes(self.affine)
        lps = {int(axis): float(sizes[k]) for k, (axis, _) in enumerate(self._to_lps)}
        return lps[2], lps[1], lps[0]

    @property
    def voxel_ml(self) -> float:
        """Volume of a voxel, also for sheared grids (gantry tilt)."""
        return float(abs(np.linalg.det(self.affine[:3, :3]))) / 1000

    @property
    def axes(self) -> str:
        """The source's axes by the closest anatomical directions, such as "LPS"."""
        return "".join(nib.aff2axcodes(self.affine))

    @property
    def view_affine(self) -> np.ndarray:
        """float64[4,4], (column, row, slice) of the view -> mm, RAS+."""
        return self.affine @ nib.orientations.inv_ornt_aff(self._to_lps, self.shape)

    def source_slice(self, index: int) -> tuple[slice, slice, slice]:
        """Locates slice `index` of the view in the source."""
        axis = self.slice_axis
        at = index if self._to_lps[axis, 1] == 1 else self.shape[axis] - 1 - index
        return tuple(slice(at, at + 1) if k == axis else slice(None) for k in range(3))

    def to_view(self, block: np.ndarray) -> np.ndarray:
        """Turns a slice of the source, one voxel thick, into [rows, columns] of the view."""
        return nib.orientations.apply_orientation(block, self._to_lps)[:, :, 0].T

    def to_source(self, view: np.ndarray) -> np.ndarray:
        """Turns [rows, columns] of the view into a slice of the source, one voxel thick; the inverse of `to_view`."""
        return nib.orientations.apply_orientation(view.T[:, :, None], self._from_lps)


@dataclasses.dataclass(frozen=True)
class Scan:
    """A scan to segment: a series, a volume, or the pictures of a folder.

    Attributes:
      source: its file or folder.
      format: "dicom" | "nifti" | "nrrd" | "metaimage" | "pictures".
      kind: "hu" or "uint8" (windowed); None if the format does not tell.
      num_slices: number of slices.
      read: index -> the slice in the view: float32[H,W], or uint8[H,W] for pictures.
      grid: None for pictures.
      files: of the slices, in the order of the view: paths, or frames of multi-frame DICOM; empty for a volume.
      load: reads the file of a DICOM image, with or without pixels; None for other formats.
      header: of a NIfTI source.
      patient_id: from the file, else derived from its name.
      notes: what to tell the user about how it was read.
      left_out: files that are not slices of it, with reasons.
    """

    source: pathlib.Path
    format: str
    kind: str | None
    num_slices: int
    read: Callable[[int], np.ndarray]
    grid: Grid | None = None
    files: tuple[Any, ...] = ()
    load: Callable[..., pydicom.Dataset] | None = None
    header: nib.Nifti1Header | None = None
    patient_id: str = ""
    notes: tuple[str, ...] = ()
    left_out: Mapping[pathlib.Path, str] = dataclasses.field(default_factory=dict)


def stem(path: pathlib.Path) -> str:
    """Returns a file's name without the suffix of a volume, ignoring case."""
    return re.sub(rf"({'|'.join(map(re.escape, suffixes.VOLUMES))})\Z", "", path.name, flags=re.IGNORECASE)


def check_grid(affine: np.ndarray, shape: tuple[int, ...], source: str) -> Grid:
    """Checks the size and affine of a source and returns its grid.

    Raises: ValueError for a size or an affine that no scan has.
    """
    if any(not 1 <= side <= MAX_SIDE for side in shape) or np.prod(shape, dtype=float) > MAX_VOXELS:
        raise ValueError(
            f"{source} has {' x '.join(map(str, shape))} voxels; a side has at most {MAX_SIDE}, a scan {MAX_VOXELS} "
            "(2048 slices of 1024 x 1024). If the header is damaged, copy the file again; else crop or resample it."
        )
    affine = np.asarray(affine, np.float64)
    check_affine(affine, source)
    return Grid(affine, tuple(int(side) for side in shape))


def check_affine(affine: np.ndarray, source: str | os.PathLike, form: str = "affine") -> None:
    """Raises ValueError for an affine [4,4] that no scanner produces; `form` is its name in the message."""
    sizes = np.linalg.norm(affine[:3, :3], axis=0) if np.isfinite(affine).all() else np.zeros(3)
    # Axes at an angle below 30 degrees (volume below half of the box) are not a scanner's geometry.
    if not (sizes > 1e-3).all() or sizes.max() > 1e3 or abs(np.linalg.det(affine[:3, :3])) < 0.5 * sizes.prod():
        raise ValueError(
            f"{os.fspath(source)} has an affine that does not place voxels in space ({form}: {rows(affine)}); rewrite "
            "the file with the spacing and orientation of the scanner."
        )


def distance_mm(one: np.ndarray, other: np.ndarray, shape) -> float:
    """Returns the largest distance between two affines' positions of the same corner voxel."""
    corners = np.array([(*corner, 1) for corner in itertools.product(*((0, side - 1) for side in shape))], np.float64)
    return float(np.linalg.norm(corners @ (one - other).T[:, :3], axis=1).max())


def rows(affine: np.ndarray) -> str:
    """Prints an affine [4,4] on one line."""
    return " ".join(f"[{' '.join(f'{number:.5g}' for number in row)}]" for row in affine[:3] + 0.0)
