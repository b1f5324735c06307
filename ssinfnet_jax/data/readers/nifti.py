"""Reads NIfTI volumes slice by slice from disk, and Analyze 7.5; single files, gzipped or not, and .hdr/.img pairs."""

import gzip
import pathlib
import zlib

import nibabel as nib
import numpy as np
from nibabel.fileholders import FileHolder

from ssinfnet_jax.data.readers import nifti_header, scan

SUFFIXES = (".nii", ".nii.gz")
_PAIR = (".hdr", ".img")
_CHUNK = 2**22  # bytes
_NO_ORIENTATION = (
    "Analyze 7.5 stores no orientation: nibabel's default was used (the first axis runs from the patient's right to "
    "the left), so check the sides"
)


def files(path: pathlib.Path) -> tuple[pathlib.Path, ...]:
    """Returns the files of a volume: itself, or the header and the voxels of a pair."""
    if path.suffix.lower() not in _PAIR or nifti_header.magic(path).startswith(b"n+"):
        return (path,)
    upper = path.suffix.isupper()
    return tuple(path.with_suffix(suffix.upper() if upper else suffix) for suffix in _PAIR)


def is_voxels(path: pathlib.Path) -> bool:
    """Whether a file holds the voxels of a pair, whose header is beside it."""
    header = files(path)[0]
    return header != path and header.is_file() and nifti_header.is_header(nifti_header.first_bytes(header))


def read_grid(path: pathlib.Path, affine: np.ndarray | None = None) -> tuple[scan.Grid, tuple[str, ...]]:
    """Reads where the voxels of a volume lie, and notes on its header; raises ValueError as `read`.

    An `affine`, float64[4,4], takes the place of the header's.
    """
    image = _open(path)
    shape = _shape_3d(image.shape, path)
    if affine is not None:
        return scan.check_grid(affine, shape, str(path)), ()
    if not isinstance(image.header, nib.Nifti1Header):
        return scan.check_grid(image.affine, shape, str(path)), (_NO_ORIENTATION,)
    affine, notes = nifti_header.affine_mm(image.header, path)
    return scan.check_grid(affine, shape, str(path)), notes


def read(path: pathlib.Path, *, scratch_dir: pathlib.Path, affine: np.ndarray | None = None) -> scan.Scan:
    """Opens a volume; slices are read on demand.

    A gzipped file has no random access, so it is unpacked into `scratch_dir`, in chunks. An `affine`
    takes the place of the header's.

    Returns: a scan of unknown kind, with the file's scaling (slope, intercept) applied.
    Raises: ValueError, naming the file, unless it is one undamaged 3-D volume of numbers.
    """
    grid, notes = read_grid(path, affine)
    image = _open(path)
    dtype = image.get_data_dtype()
    if dtype.kind not in "iuf":
        raise ValueError(f"{path} holds {dtype} voxels; a CT volume holds integers or floats. Export it as greyscale.")
    num_bytes = image.dataobj.offset + int(np.prod(grid.shape)) * dtype.itemsize
    if nifti_header.is_gzipped(path):
        unpacked = scratch_dir / "unpacked.nii"
        is_longer = _unpack(path, unpacked, num_bytes)
        image = _open(unpacked)
    else:
        size = files(path)[-1].stat().st_size
        if size < num_bytes:
            raise _too_short(files(path)[-1], size, num_bytes)
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
        header=image.header if isinstance(image.header, nib.Nifti1Header) else None,
        patient_id=scan.stem(path),
        notes=notes,
    )


def check_mm(header: nib.Nifti1Header, path: pathlib.Path) -> None:
    """Raises ValueError for a spacing in another unit than mm; results copy the header, and viewers ignore the unit."""
    try:
        unit = header.get_xyzt_units()[0]
    except KeyError:
        unit = f"unit number {int(header['xyzt_units'])}"
    if unit not in ("mm", "unknown"):
        raise ValueError(f"{path} gives its spacing in {unit}; rewrite it in mm, as viewers expect.")


def _open(path: pathlib.Path):
    header = files(path)[0]
    if not header.exists():
        raise FileNotFoundError(f"{header} does not exist; it is the header of {path}.")
    nifti_header.check_voxels(header)
    magic = nifti_header.magic(header)
    try:
        if magic.startswith(b"n+"):
            kind = nib.Nifti2Image if magic.startswith(b"n+2") else nib.Nifti1Image
            # The image keeps the file open, for as long as its voxels are read.
            file = gzip.open(path) if nifti_header.is_gzipped(path) else path.open("rb")  # noqa: SIM115
            return kind.from_file_map({"image": FileHolder(fileobj=file)})
        if header.suffix.lower() != _PAIR[0]:
            raise ValueError("it has no magic number; the header of a pair must be named NAME.hdr, beside NAME.img")
        if not files(path)[1].exists():
            raise ValueError(f"its voxels, {files(path)[1].name}, are not beside it")
        if magic.startswith(b"ni"):
            return (nib.Nifti2Pair if magic.startswith(b"ni2") else nib.Nifti1Pair).from_filename(header)
        return nib.AnalyzeImage.from_filename(header)
    except Exception as error:  # nibabel raises many kinds of errors for damaged headers
        raise ValueError(f"{path} cannot be read as NIfTI ({error}); copy or download it again.") from error


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
