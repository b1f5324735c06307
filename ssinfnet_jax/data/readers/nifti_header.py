"""Reads the affine of a NIfTI header, and checks numbers that nibabel accepts in silence."""

import gzip
import math
import os
import zlib

import nibabel as nib
import numpy as np

from ssinfnet_jax.data.readers import scan

# A qform is a float32 quaternion, whose rounding can move the far corner of a volume by some tenths of a voxel.
_SAME_FORMS = 0.5  # of the smallest side of a voxel
_TO_MM = {"meter": 1000.0, "micron": 0.001}
_GZIP = b"\x1f\x8b"
_LARGEST = nib.Nifti2Header.template_dtype.itemsize  # bytes


def check_voxels(path: str | os.PathLike) -> None:
    """Raises ValueError if voxels would start before their first possible byte, or if their scaling is not finite.

    That byte is the end of the header, or of a pair the start of the other file. A `scl_slope` of 0 or NaN means no
    scaling; Analyze 7.5 has none. Files that are neither pass; opening them fails later.

    Args:
      path: of the file with the header.
    """
    header = _stored(path)
    if header is None:
        return
    kind = magic(path)
    offset, slope, intercept = (float(header[name]) for name in ("vox_offset", "scl_slope", "scl_inter"))
    first = header.single_vox_offset if kind.startswith(b"n+") else 0
    if not (math.isfinite(offset) and offset >= first and offset == int(offset)):
        ends = "bytes of the header would be read as voxels" if first else "they are in a file of their own"
        raise ValueError(
            f"{os.fspath(path)} says that its voxels start at byte {offset:g} (vox_offset), but "
            f"{'its header ends at' if first else 'the first possible is'} byte {first}: {ends}. Correct vox_offset, "
            "or rewrite the file."
        )
    if kind and (math.isinf(slope) or (slope and not math.isnan(slope) and not math.isfinite(intercept))):
        raise ValueError(
            f"{os.fspath(path)} scales its voxels by scl_slope {slope:g} and scl_inter {intercept:g}; both must be "
            "finite. Correct them, or rewrite the file."
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
        unit = header.get_xyzt_units()[0]
    except KeyError:  # a code without a unit
        unit = "unknown"
    factor = _TO_MM.get(unit, 1.0)
    form = "sform" if header["sform_code"] else "qform" if header["qform_code"] else "pixdim"
    affine = np.diag([factor, factor, factor, 1.0]) @ np.asarray(header.get_best_affine(), np.float64)
    scan.check_affine(affine, source, form if factor == 1 else f"{form} in {unit}")
    notes = []
    if form == "pixdim":
        notes.append("the file gives no orientation (sform and qform codes are 0): nibabel's default was used")
    sizes = nib.affines.voxel_sizes(affine)
    told = np.asarray(header.get_zooms()[:3], np.float64) * factor
    if not np.allclose(told, sizes[: len(told)], rtol=scan.SAME_PLACE, atol=0):
        notes.append(
            f"the header gives two voxel sizes, {_by(sizes[: len(told)])} mm in its {form} and {_by(told)} mm in "
            f"pixdim: the {form} was used"
        )
    if form == "sform" and header["qform_code"]:
        shape = [*header.get_data_shape()[:3], 1, 1][:3]
        distance = scan.distance_mm(affine, np.diag([factor, factor, factor, 1.0]) @ _qform(header), shape)
        if not distance <= _SAME_FORMS * sizes.min():
            notes.append(
                f"the header's qform places voxels up to {distance:.3g} mm away from its sform: the sform was used"
            )
    return affine, tuple(notes)


def magic(path: str | os.PathLike) -> bytes:
    """Returns b"n+1", b"n+2" (one file), b"ni1", b"ni2" (the header of a pair), or b"" for other files."""
    header = _stored(path)
    found = b"" if header is None else bytes(header["magic"].item())[:3]
    return found if found in (b"n+1", b"n+2", b"ni1", b"ni2") else b""


def is_gzipped(path: str | os.PathLike) -> bool:
    """Whether a file is gzipped by its content, whatever its name says."""
    with open(path, "rb") as file:
        return file.read(2) == _GZIP


def is_header(start: bytes) -> bool:
    """Whether bytes start the header of NIfTI-1, NIfTI-2, or Analyze 7.5."""
    sizes = {kind.template_dtype.itemsize for kind in (nib.Nifti1Header, nib.Nifti2Header)}
    return bool(sizes & {int.from_bytes(start[:4], order) for order in ("little", "big")})


def first_bytes(path: str | os.PathLike, count: int = _LARGEST) -> bytes:
    """Returns the first bytes of a file, unpacked if it is gzipped; none if it cannot be read."""
    try:
        with gzip.open(path) if is_gzipped(path) else open(path, "rb") as file:
            return file.read(count)
    except (OSError, EOFError, zlib.error):
        return b""


def _stored(path: str | os.PathLike) -> nib.Nifti1Header | None:
    """Reads the header of a file without checks; None if there is none."""
    start = first_bytes(path)
    for kind in (nib.Nifti1Header, nib.Nifti2Header):
        length = kind.template_dtype.itemsize
        if length in (int.from_bytes(start[:4], order) for order in ("little", "big")) and len(start) >= length:
            return kind(start[:length], check=False)
    return None


def _qform(header: nib.Nifti1Header) -> np.ndarray:
    """Reads the qform, float64[4,4]; NaN if it is damaged."""
    try:
        return header.get_qform()
    except (ValueError, nib.spatialimages.HeaderDataError):
        return np.full((4, 4), np.nan)


def _by(sizes: np.ndarray) -> str:
    return " x ".join(f"{size:.4g}" for size in sizes)
