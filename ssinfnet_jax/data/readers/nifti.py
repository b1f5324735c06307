"""Reads NIfTI volumes slice by slice from disk."""

import gzip
import pathlib
import re
import zlib

import nibabel as nib
import numpy as np

from ssinfnet_jax.data import nifti, nifti_header
from ssinfnet_jax.data.readers import scan

SUFFIXES = (".nii", ".nii.gz")
_CHUNK = 2**22  # bytes


def stem(path: pathlib.Path) -> str:
    """Returns the file name without .nii or .nii.gz, ignoring case."""
    return re.sub(r"\.nii(\.gz)?\Z", "", path.name, flags=re.IGNORECASE)


def read(path: pathlib.Path, *, scratch_dir: pathlib.Path) -> scan.Scan:
    """Opens a volume; slices are read on demand.

    A gzipped file has no random access, so it is unpacked into `scratch_dir`, in chunks.

    Returns: a scan of unknown kind, with the file's scaling (slope, intercept) applied.
    Raises: ValueError, naming the file, unless it is one undamaged 3-D volume of numbers.
    """
    image = _open(path)
    shape = _shape_3d(image.shape, path)
    dtype = image.get_data_dtype()
    if dtype.kind not in "iuf":
        raise ValueError(f"{path} holds {dtype} voxels; a CT volume holds integers or floats. Export it as greyscale.")
    unit = _unit(image.header)
    if unit not in ("mm", "unknown"):
        raise ValueError(f"{path} gives its spacing in {unit}; rewrite it in mm, as viewers expect.")
    num_bytes = image.dataobj.offset + int(np.prod(shape)) * dtype.itemsize
    affine, notes = nifti.affine_mm(image.header, path)
    grid = scan.check_grid(affine, shape, str(path))
    if path.suffix.lower() == ".gz":
        unpacked = scratch_dir / f"{stem(path)}.nii"
        is_longer = _unpack(path, unpacked, num_bytes)
        image = _open(unpacked)
    else:
        size = path.stat().st_size
        if size < num_bytes:
            raise _too_short(path, size, num_bytes)
        is_longer = size > num_bytes
    if is_longer:
        notes += (f"the file is longer than its header says ({num_bytes} bytes): are its shape and data type right?",)

    # Memory-mapped: if slices are stored along the first axis, nibabel reads the whole file for each slice.
    stored = np.asanyarray(image.dataobj.get_unscaled()).reshape(grid.shape, order="F")
    slope, intercept = image.dataobj.slope, image.dataobj.inter

    def read_slice(index: int) -> np.ndarray:
        block = nib.volumeutils.apply_read_scaling(stored[grid.source_slice(index)], slope, intercept)
        return grid.to_view(np.asarray(block, np.float32))

    return scan.Scan(
        source=path,
        format="nifti",
        kind=None,
        num_slices=grid.view_shape[0],
        read=read_slice,
        grid=grid,
        header=image.header,
        patient_id=stem(path),
        notes=notes,
    )


def _open(path: pathlib.Path):
    nifti_header.check_voxels(path)
    try:
        image = nib.load(path)
    except FileNotFoundError:
        raise
    except Exception as error:  # nibabel raises many kinds of errors for damaged headers
        raise ValueError(f"{path} cannot be read as NIfTI ({error}); copy or download it again.") from error
    if not isinstance(image, nib.Nifti1Pair):
        raise ValueError(f"{path} is not NIfTI but {type(image).__name__}; convert it to .nii.gz.")
    return image


def _unit(header: nib.Nifti1Header) -> str:
    """Returns the unit of the spacing: "mm", "meter", "micron", "unknown", or the number in a damaged header."""
    try:
        return header.get_xyzt_units()[0]
    except KeyError:
        return f"unit number {int(header['xyzt_units'])}"


def _shape_3d(shape: tuple[int, ...], path: pathlib.Path) -> tuple[int, int, int]:
    found = shape
    while len(found) > 3 and found[-1] == 1:
        found = found[:-1]
    if len(found) == 2:
        found = (*found, 1)
    if len(found) != 3:
        raise ValueError(f"{path} has shape {shape}; expected one 3-D volume. Split a series into one file per volume.")
    return found


def _unpack(path: pathlib.Path, unpacked: pathlib.Path, num_bytes: int) -> bool:
    """Unpacks exactly the header and the voxels; returns whether more bytes follow."""
    left = num_bytes
    try:
        with gzip.open(path) as file, unpacked.open("wb") as out:
            while left and (chunk := file.read(min(_CHUNK, left))):
                out.write(chunk)
                left -= len(chunk)
            is_longer = bool(file.read(1))
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(f"{path} is truncated or damaged ({error}); copy or download it again.") from error
    if left:
        raise _too_short(path, num_bytes - left, num_bytes)
    return is_longer


def _too_short(path: pathlib.Path, found: int, needed: int) -> ValueError:
    return ValueError(
        f"{path} is truncated: it holds {found} bytes (unpacked), its header says {needed}; copy or download it again."
    )
