"""Reads NIfTI volumes as stacks of axial slices in the radiologist's view, and their geometry."""

import dataclasses
import itertools
import os
import zlib

import nibabel as nib
import numpy as np

from ssinfnet_jax.data import nifti_header

# In units of the smallest side of a voxel. Headers store float32, so copies differ by about 1e-6.
_SAME_PLACE = 1e-3
# A qform is a float32 quaternion, whose rounding can move the far corner of a volume by some tenths of a voxel.
_SAME_FORMS = 0.5
_TO_MM = {"meter": 1000.0, "micron": 0.001}


@dataclasses.dataclass(frozen=True)
class Geometry:
    """Where the voxels of a volume lie.

    Attributes:
      shape: (slices, rows, columns) of the stack that `read` returns.
      spacing_mm: distance between slices, rows and columns of that stack.
      affine: float64[4,4], voxel (i, j, k) as stored -> mm, RAS+.
      stored_shape: three numbers, as stored.
      axes: stored orientation, such as "LPS".
      notes: what the user should know about the header.
    """

    shape: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]
    affine: np.ndarray
    stored_shape: tuple[int, int, int]
    axes: str
    notes: tuple[str, ...]

    @property
    def view_affine(self) -> np.ndarray:
        """float64[4,4], (column, row, slice) of the stack that `read` returns -> mm, RAS+."""
        to_lps = _to_lps(self.affine)
        return self.affine @ nib.orientations.inv_ornt_aff(to_lps, self.stored_shape)


def read(path: str | os.PathLike, *, like: str | os.PathLike | None = None) -> np.ndarray:
    """Reads a NIfTI volume as a stack of axial slices in the radiologist's view.

    The voxel axes are flipped and permuted (never resampled) to the closest anatomical axes, so the result
    does not depend on the storage order: slice 0 is the lowest (inferior to superior), row 0 is
    anterior, column 0 is the patient's right. A file without orientation (qform and sform codes both 0) gets
    its header's default affine, as in nibabel. A 2-D file is one slice.

    Args:
      path: of the file.
      like: a volume whose header gives the orientation in place of the file's own.
    Returns: float32[num_slices, H, W], with the file's scaling (slope, intercept) applied: HU for a CT.
    Raises:
      FileNotFoundError: no such file.
      ValueError: the file is not NIfTI, truncated, not 2-D or 3-D, or its affine does not place voxels in space; names
        the file.
    """
    volume = _open(path)
    turned = path if like is None else like
    affine, _ = affine_mm((volume if like is None else _open(like)).header, turned)
    try:
        voxels = np.asarray(volume.dataobj, dtype=np.float32).reshape(_shape_3d(volume, path))
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise ValueError(f"{os.fspath(path)} is truncated or damaged ({error}); copy or download it again.") from error
    return np.ascontiguousarray(nib.orientations.apply_orientation(voxels, _to_lps(affine)).transpose(2, 1, 0))


def geometry(path: str | os.PathLike) -> Geometry:
    """Reads the geometry of a volume from its header alone.

    Raises: as `read`, except for damage after the header.
    """
    volume = _open(path)
    stored_shape = _shape_3d(volume, path)
    affine, notes = affine_mm(volume.header, path)
    sizes = nib.affines.voxel_sizes(affine)
    place = [int(axis) for axis, _ in _to_lps(affine)]  # index of each stored axis in left, posterior, superior
    columns, rows, slices = (place.index(axis) for axis in range(3))
    return Geometry(
        shape=(stored_shape[slices], stored_shape[rows], stored_shape[columns]),
        spacing_mm=(float(sizes[slices]), float(sizes[rows]), float(sizes[columns])),
        affine=affine,
        stored_shape=stored_shape,
        axes="".join(nib.aff2axcodes(affine)),
        notes=notes,
    )


def affine_mm(header: nib.Nifti1Header, source: str | os.PathLike) -> tuple[np.ndarray, tuple[str, ...]]:
    """Reads a header's affine and notes on it; all programs use this one rule.

    The sform is used if its code is not 0, else the qform if its code is not 0, else pixdim. The voxel size is
    that of this affine, whatever pixdim says.

    Returns: float64[4,4], voxel (i, j, k) as stored -> mm, RAS+; notes if the header contradicts itself (with both
      values) or gives no orientation.
    Raises: ValueError, naming the file, for an affine that does not place voxels in space.
    """
    try:
        factor = _TO_MM.get(header.get_xyzt_units()[0], 1.0)
    except KeyError:  # a code without a unit
        factor = 1.0
    form = "sform" if header["sform_code"] else "qform" if header["qform_code"] else "pixdim"
    affine = np.diag([factor, factor, factor, 1.0]) @ np.asarray(header.get_best_affine(), np.float64)
    check_affine(affine, source, form)
    notes = []
    if form == "pixdim":
        notes.append("the file gives no orientation (sform and qform codes are 0): nibabel's default was used")
    sizes = nib.affines.voxel_sizes(affine)
    told = np.asarray(header.get_zooms()[:3], np.float64) * factor
    if not np.allclose(told, sizes[: len(told)], rtol=_SAME_PLACE, atol=0):
        notes.append(
            f"the header gives two voxel sizes, {_by(sizes[: len(told)])} mm in its {form} and {_by(told)} mm in "
            f"pixdim: the {form} was used"
        )
    elif form == "sform" and header["qform_code"]:
        shape = [*header.get_data_shape()[:3], 1, 1][:3]
        distance = _distance_mm(affine, np.diag([factor, factor, factor, 1.0]) @ _qform(header), shape)
        if not distance <= _SAME_FORMS * sizes.min():
            notes.append(
                f"the header's qform places voxels up to {distance:.3g} mm away from its sform: the sform was used"
            )
    return affine, tuple(notes)


def check_affine(affine: np.ndarray, source: str | os.PathLike, form: str = "affine") -> None:
    """Raises ValueError for an affine [4,4] that no scanner produces; `form` is its name in the message."""
    sizes = np.linalg.norm(affine[:3, :3], axis=0) if np.isfinite(affine).all() else np.zeros(3)
    # Axes at an angle below 30 degrees (volume below half of the box) are not a scanner's geometry.
    if not (sizes > 1e-3).all() or sizes.max() > 1e3 or abs(np.linalg.det(affine[:3, :3])) < 0.5 * sizes.prod():
        raise ValueError(
            f"{os.fspath(source)} has an affine that does not place voxels in space ({form}: {_rows(affine)}); rewrite "
            "the file with the spacing and orientation of the scanner."
        )


def check_same_grid(
    image: str | os.PathLike, label: str | os.PathLike, *, voxel_by_voxel: bool = False, remedy: str
) -> None:
    """Raises ValueError if a label does not lie on the voxels of its image.

    The two may be stored along different axes: only the positions of voxels count. They match if each corner voxel of
    the volume has the same position in both, to within 1e-3 of the smallest side of a voxel.

    Args:
      image, label: files.
      voxel_by_voxel: compares the stored shapes only, not the affines.
      remedy: a sentence that tells the user how to pair voxel by voxel.
    Raises: ValueError that names both files and affines, and the distance; or as `geometry`.
    """
    if voxel_by_voxel:
        shapes = [_shape_3d(_open(path), path) for path in (label, image)]
        if shapes[0] != shapes[1]:
            raise ValueError(f"Label {label} is stored as {shapes[0]} voxels, but its image {image} as {shapes[1]}.")
        return
    ours, theirs = geometry(image), geometry(label)
    same_stored = ours.stored_shape == theirs.stored_shape
    if ours.shape == theirs.shape:
        distance = _distance_mm(ours.view_affine, theirs.view_affine, ours.shape[::-1])
    elif same_stored:
        distance = _distance_mm(ours.affine, theirs.affine, ours.stored_shape)
    else:
        raise ValueError(
            f"Label {label} has {theirs.shape} voxels (slices, rows, columns), but its image {image} has {ours.shape}; "
            "draw or resample the label on the image's own grid."
        )
    if not distance <= _SAME_PLACE * min(ours.spacing_mm):
        raise ValueError(
            f"Label {label} does not lie on its image {image}: corresponding voxels are up to {distance:.3g} mm apart. "
            f"Affine of the label: {_rows(theirs.affine)} ({theirs.axes}), of the image: {_rows(ours.affine)} "
            f"({ours.axes}). Draw or resample the label on the image's own grid."
            + (f" {remedy}" if same_stored else "")
        )


def _qform(header: nib.Nifti1Header) -> np.ndarray:
    """Reads the qform, float64[4,4]; NaN if it is damaged."""
    try:
        return header.get_qform()
    except (ValueError, nib.spatialimages.HeaderDataError):
        return np.full((4, 4), np.nan)


def _distance_mm(one: np.ndarray, other: np.ndarray, shape) -> float:
    """Returns the largest distance between two affines' positions of the same corner voxel."""
    corners = np.array([(*corner, 1) for corner in itertools.product(*((0, side - 1) for side in shape))], np.float64)
    return float(np.linalg.norm(corners @ (one - other).T[:, :3], axis=1).max())


def _by(sizes: np.ndarray) -> str:
    return " x ".join(f"{size:.4g}" for size in sizes)


def _rows(affine: np.ndarray) -> str:
    return " ".join(f"[{' '.join(f'{number:.5g}' for number in row)}]" for row in affine[:3] + 0.0)


def _to_lps(affine: np.ndarray) -> np.ndarray:
    stored = nib.orientations.io_orientation(affine)
    return nib.orientations.ornt_transform(stored, nib.orientations.axcodes2ornt("LPS"))


def _open(path: str | os.PathLike):
    name = os.fspath(path)
    if not os.path.exists(name):
        raise FileNotFoundError(f"NIfTI file {name} does not exist; check the dataset folder.")
    nifti_header.check_voxels(name)
    try:
        volume = nib.load(name)
    except Exception as error:  # nibabel raises many kinds of errors for damaged headers
        raise ValueError(f"{name} cannot be read as NIfTI ({error}); copy or download it again.") from error
    if not isinstance(volume, nib.Nifti1Pair):
        raise ValueError(f"{name} is not NIfTI but {type(volume).__name__}; convert it to .nii.gz.")
    return volume


def _shape_3d(volume, path: str | os.PathLike) -> tuple[int, int, int]:
    shape = tuple(volume.shape)
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    if len(shape) == 2:
        shape = (*shape, 1)
    if len(shape) != 3:
        raise ValueError(
            f"{os.fspath(path)} has shape {shape}; expected one 3-D volume. Split a series into one file per volume."
        )
    return shape
