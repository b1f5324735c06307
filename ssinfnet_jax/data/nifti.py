"""NIfTI volumes as stacks of axial slices in the radiologist's view."""

import os
import zlib

import nibabel as nib
import numpy as np

from ssinfnet_jax.data import nifti_header


def read(path: str | os.PathLike) -> np.ndarray:
    """Reads a NIfTI volume as a stack of axial slices in the radiologist's view.

    The voxel axes are flipped and permuted (never resampled) to the closest anatomical axes, so the result
    does not depend on how the file stores them: slice 0 is the lowest (inferior to superior), row 0 is
    anterior, column 0 is the patient's right. A file without orientation (qform and sform codes both 0) is
    taken by its header's default affine, as nibabel does. A 2-D file gives one slice.

    Returns: float32[num_slices, H, W], with the file's scaling (slope, intercept) applied: HU for a CT.
    Raises:
      FileNotFoundError: no such file.
      ValueError: not NIfTI, truncated, or not 2-D or 3-D; names the file.
    """
    volume, to_lps = _open(path)
    try:
        voxels = np.asarray(volume.dataobj, dtype=np.float32).reshape(_shape_3d(volume, path))
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise ValueError(f"{os.fspath(path)} is truncated or damaged ({error}); copy or download it again.") from error
    return np.ascontiguousarray(nib.orientations.apply_orientation(voxels, to_lps).transpose(2, 1, 0))


def layout(path: str | os.PathLike) -> tuple[tuple[int, int, int], str]:
    """Shape (num_slices, H, W) that `read` will give, and the stored orientation such as "LPS"."""
    volume, to_lps = _open(path)
    shape = _shape_3d(volume, path)
    oriented = {int(axis): shape[k] for k, (axis, _) in enumerate(to_lps)}
    return (oriented[2], oriented[1], oriented[0]), "".join(nib.aff2axcodes(volume.affine))


def spacing_mm(path: str | os.PathLike) -> tuple[float, float, float]:
    """Distance of slices, of rows and of columns in mm, of the stack that `read` gives.

    Raises: ValueError for a distance that is not > 0, naming the file.
    """
    volume, to_lps = _open(path)
    to_mm = {"meter": 1000.0, "micron": 0.001}.get(volume.header.get_xyzt_units()[0], 1.0)
    zooms = [float(zoom) * to_mm for zoom in volume.header.get_zooms()] + [1.0]
    oriented = {int(axis): zooms[k] for k, (axis, _) in enumerate(to_lps)}
    if not all(np.isfinite(zoom) and zoom > 0 for zoom in oriented.values()):
        raise ValueError(
            f"{os.fspath(path)} says that its voxels are {tuple(oriented[axis] for axis in (2, 1, 0))} mm in size; "
            "all three must be > 0. Correct pixdim in its header."
        )
    return oriented[2], oriented[1], oriented[0]


def _open(path: str | os.PathLike):
    name = os.fspath(path)
    if not os.path.exists(name):
        raise FileNotFoundError(f"NIfTI file {name} does not exist; check the dataset folder.")
    nifti_header.check_voxels(name)
    try:
        volume = nib.load(name)
    except (nib.filebasedimages.ImageFileError, OSError, EOFError, ValueError, zlib.error) as error:
        raise ValueError(f"{name} cannot be read as NIfTI ({error}); copy or download it again.") from error
    stored = nib.orientations.io_orientation(volume.affine)
    return volume, nib.orientations.ornt_transform(stored, nib.orientations.axcodes2ornt("LPS"))


def _shape_3d(volume, path: str | os.PathLike) -> tuple[int, int, int]:
    shape = tuple(volume.shape)
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    if len(shape) == 2:
        shape = (*shape, 1)
    if len(shape) != 3:
        raise ValueError(
            f"{os.fspath(path)} has shape {shape}; expected one 3-D volume. Split series into single files."
        )
    return shape
