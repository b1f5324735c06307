"""Opens a file by its content, whatever its name says."""

import pathlib
import zipfile

import numpy as np

from ssinfnet_jax.data.readers import archive, itk, nifti, nifti_header, pictures, scan, suffixes
from ssinfnet_jax.data.readers.dicom import header as dicom_header
from ssinfnet_jax.data.readers.dicom import series as dicom

_BY_SUFFIX = {
    **dict.fromkeys(nifti.SUFFIXES, "nifti"),
    ".nrrd": itk.NRRD, ".nhdr": itk.NRRD, ".mha": itk.META_IMAGE, ".mhd": itk.META_IMAGE,
    ".dcm": "dicom", ".dicom": "dicom", ".zip": "zip",
    **dict.fromkeys(suffixes.PICTURES, "pictures"),
}  # fmt: skip
SUFFIXES = tuple(_BY_SUFFIX)  # of files meant as scans
VOLUMES = ("nifti", itk.NRRD, itk.META_IMAGE)  # formats of one volume per file, or per header
EXPECTED = "DICOM, NIfTI, NRRD, MetaImage, a zip archive of DICOM, PNG or JPG"
_PICTURES = (b"\x89PNG", b"\xff\xd8\xff")


def format_of(path: pathlib.Path) -> str:
    """Returns "nifti" (with Analyze 7.5), "nrrd", "metaimage", "dicom", "zip" or "pictures" by a file's content.

    Returns "" for anything else.
    """
    start = nifti_header.first_bytes(path)
    if nifti_header.is_header(start) or nifti.is_voxels(path):
        return "nifti"
    if kind := itk.format_of(start):
        return kind
    if start.startswith(_PICTURES):
        return "pictures"
    if dicom_header.is_dicom(path):
        return "dicom"
    return "zip" if zipfile.is_zipfile(path) else ""


def meant_as(path: pathlib.Path) -> str:
    """Returns the format that a file's suffix promises; "" if it promises none."""
    name = path.name.lower()
    return next((kind for suffix, kind in _BY_SUFFIX.items() if name.endswith(suffix)), "")


def files(path: pathlib.Path) -> tuple[pathlib.Path, ...]:
    """Returns the files of a volume: itself, or a header and its voxels. Raises ValueError if these are missing."""
    return nifti.files(path) if _kind(path) == "nifti" else itk.files(path)


def open_scan(path: pathlib.Path, scratch_dir: pathlib.Path, affine: np.ndarray | None = None) -> scan.Scan:
    """Opens a file that holds a volume or a picture; slices are read on demand.

    Args:
      path: of the file.
      scratch_dir: for unpacked copies; the scan needs them as long as it is read.
      affine: float64[4,4] in place of that of a volume's header.
    Raises: FileNotFoundError; ValueError, naming the file, if it holds no scan or is damaged.
    """
    kind = _kind(path)
    if kind == "nifti":
        return nifti.read(path, scratch_dir=scratch_dir, affine=affine)
    if kind in VOLUMES:
        return itk.read(path, scratch_dir=scratch_dir, affine=affine)
    return _open_images(path, kind)


def _open_images(path: pathlib.Path, kind: str) -> scan.Scan:
    """Opens DICOM in one file or archive, or a picture."""
    if kind == "zip":
        series, _ = archive.find_series(path)
        if len(series) != 1:
            raise ValueError(f"{path} holds {len(series)} DICOM series; expected one. Keep each in its own archive.")
        members = [file.relative_to(path).as_posix() for file in series[0].files]
        return archive.read(path, members)
    return dicom.read([path]) if kind == "dicom" else pictures.read([path], path)


def read_grid(path: pathlib.Path, affine: np.ndarray | None = None) -> tuple[scan.Grid, tuple[str, ...]]:
    """Reads where the voxels of a volume lie, and notes, from its header alone; raises as `open_scan`."""
    kind = _kind(path)
    if kind == "nifti":
        return nifti.read_grid(path, affine)
    if kind in VOLUMES:
        header = itk.read_header(path, affine)
        itk.check_one_value(path, header)
        return header.grid, header.notes
    found = _open_images(path, kind)
    if found.grid is None:
        raise ValueError(f"{path} is a picture, not a volume.")
    return found.grid, found.notes


def _kind(path: pathlib.Path) -> str:
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist; check its folder.")
    kind = format_of(path) or meant_as(path)
    if not kind:
        raise ValueError(f"{path} holds no scan: expected {EXPECTED}.")
    return kind
