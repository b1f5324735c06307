"""A scan: axial slices in the radiologist's view, read one by one, and the way back to the grid of the source."""

import dataclasses
import functools
import pathlib
from collections.abc import Callable, Mapping

import nibabel as nib
import numpy as np

from ssinfnet_jax.data import nifti

MAX_SIDE = 4096  # pixels; CT has 512 to 1024, and a damaged header can claim anything
MAX_VOXELS = 2**31  # 2048 slices of 1024 x 1024: slices are streamed, over 12 GiB of disk
KINDS = ("hu", "uint8")
AIR_HU = -1024.0  # for what was not measured: padding, NaN


@dataclasses.dataclass(frozen=True)
class Grid:
    """Where the voxels of a source lie, and how its axes are flipped and permuted (never resampled) for the view.

    In the view slices go from inferior to superior, rows from anterior to posterior, columns from the patient's right
    to the left, along the voxel axes that are closest to these.

    Attributes:
      affine: float64[4,4], voxel (i, j, k) of the source -> mm, RAS+ as in NIfTI; may be oblique or sheared.
      shape: of the source, voxels.
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
        """Distance of (slices, rows, columns) along the voxel axes."""
        sizes = nib.affines.voxel_sizes(self.affine)
        lps = {int(axis): float(sizes[k]) for k, (axis, _) in enumerate(self._to_lps)}
        return lps[2], lps[1], lps[0]

    @property
    def voxel_ml(self) -> float:
        """Volume of a voxel; right for sheared grids (gantry tilt) too."""
        return float(abs(np.linalg.det(self.affine[:3, :3]))) / 1000

    def source_slice(self, index: int) -> tuple[slice, slice, slice]:
        """Where slice `index` of the view lies in the source."""
        axis = self.slice_axis
        at = index if self._to_lps[axis, 1] == 1 else self.shape[axis] - 1 - index
        return tuple(slice(at, at + 1) if k == axis else slice(None) for k in range(3))

    def to_view(self, block: np.ndarray) -> np.ndarray:
        """A slice of the source, one voxel thick, as [rows, columns] of the view."""
        return nib.orientations.apply_orientation(block, self._to_lps)[:, :, 0].T

    def to_source(self, view: np.ndarray) -> np.ndarray:
        """[rows, columns] of the view as a slice of the source, one voxel thick: the inverse of `to_view`."""
        return nib.orientations.apply_orientation(view.T[:, :, None], self._from_lps)


@dataclasses.dataclass(frozen=True)
class Scan:
    """What is segmented as one: a series, a volume, or the pictures of a folder.

    Attributes:
      source: file or folder that it is from.
      format: "dicom" | "nifti" | "pictures".
      kind: "hu" or "uint8" (windowed); None where the file does not tell.
      num_slices: how many.
      read: index -> the slice as a view: float32[H,W], or uint8[H,W] of pictures.
      grid: None for pictures.
      files: of the slices in the order of the view; empty for a volume.
      header: of a NIfTI source.
      patient_id: as the file says, else a name of the file.
      notes: what a user should know of how it was read.
      left_out: files that are no slices of it, and why.
    """

    source: pathlib.Path
    format: str
    kind: str | None
    num_slices: int
    read: Callable[[int], np.ndarray]
    grid: Grid | None = None
    files: tuple[pathlib.Path, ...] = ()
    header: nib.Nifti1Header | None = None
    patient_id: str = ""
    notes: tuple[str, ...] = ()
    left_out: Mapping[pathlib.Path, str] = dataclasses.field(default_factory=dict)


def check_grid(affine: np.ndarray, shape: tuple[int, ...], source: str) -> Grid:
    """The grid of a source.

    Raises: ValueError for a size or an affine that no scan has.
    """
    if any(not 1 <= side <= MAX_SIDE for side in shape) or np.prod(shape, dtype=float) > MAX_VOXELS:
        raise ValueError(
            f"{source} has {' x '.join(map(str, shape))} voxels; a side has at most {MAX_SIDE}, a scan {MAX_VOXELS} "
            "(2048 slices of 1024 x 1024). If the header is not damaged, cut or resample the scan; else copy it again."
        )
    affine = np.asarray(affine, np.float64)
    nifti.check_affine(affine, source)
    return Grid(affine, tuple(int(side) for side in shape))
