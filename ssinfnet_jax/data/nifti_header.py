"""Checks the stored header of a NIfTI file: nibabel silently accepts some impossible values."""

import gzip
import math
import os
import zlib

import nibabel as nib

_LARGEST = nib.Nifti2Header.template_dtype.itemsize  # bytes


def check_voxels(path: str | os.PathLike) -> None:
    """Raises ValueError if the voxels would start inside the header, or if their scaling is not finite.

    A `scl_slope` of 0 or NaN means no scaling. Files that are not NIfTI pass; opening them fails later.
    """
    header = _stored(path)
    if header is None:
        return
    offset, slope, intercept = (float(header[name]) for name in ("vox_offset", "scl_slope", "scl_inter"))
    first = header.single_vox_offset
    if not (math.isfinite(offset) and offset >= first and offset == int(offset)):
        raise ValueError(
            f"{os.fspath(path)} says that its voxels start at byte {offset:g} (vox_offset), but its header ends at "
            f"byte {first}: bytes of the header would be read as voxels. Correct vox_offset, or rewrite the file."
        )
    if math.isinf(slope) or (slope and not math.isnan(slope) and not math.isfinite(intercept)):
        raise ValueError(
            f"{os.fspath(path)} scales its voxels by scl_slope {slope:g} and scl_inter {intercept:g}; both must be "
            "finite. Correct them, or rewrite the file."
        )


def _stored(path: str | os.PathLike) -> nib.Nifti1Header | None:
    """Reads the header of a file without checks; None if there is none."""
    opened = gzip.open if os.fspath(path).lower().endswith(".gz") else open
    try:
        with opened(path, "rb") as file:
            start = file.read(_LARGEST)
    except (OSError, EOFError, zlib.error):
        return None
    for kind in (nib.Nifti1Header, nib.Nifti2Header):
        length = kind.template_dtype.itemsize
        if length in (int.from_bytes(start[:4], order) for order in ("little", "big")) and len(start) >= length:
            return kind(start[:length], check=False)
    return None
