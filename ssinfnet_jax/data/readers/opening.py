"""Opens a file by its content, whatever its name says."""

import pathlib

import nibabel as nib

from ssinfnet_jax.data.readers import dicom, dicom_header, nifti, nifti_header, pictures, scan

_BY_SUFFIX = {**dict.fromkeys(nifti.SUFFIXES, "nifti"), **dict.fromkeys(pictures.SUFFIXES, "pictures")}
_PICTURES = (b"\x89PNG", b"\xff\xd8\xff")


def format_of(path: pathlib.Path) -> str:
    """Returns "nifti", "dicom" or "pictures" by the content of a file, or by its suffix if it is damaged; else ""."""
    start = nifti_header.first_bytes(path, nib.Nifti2Header.template_dtype.itemsize)
    if _is_nifti(start):
        return "nifti"
    if start.startswith(_PICTURES):
        return "pictures"
    if dicom_header.is_dicom(path):
        return "dicom"
    name = path.name.lower()
    return next((kind for suffix, kind in _BY_SUFFIX.items() if name.endswith(suffix)), "")


def open_scan(path: pathlib.Path, scratch_dir: pathlib.Path) -> scan.Scan:
    """Opens a file that holds a volume or a picture; slices are read on demand.

    Args:
      path: of the file.
      scratch_dir: for unpacked copies; the scan needs them as long as it is read.
    Raises: FileNotFoundError; ValueError, naming the file, if it holds no scan or is damaged.
    """
    kind = _kind(path)
    if kind == "nifti":
        return nifti.read(path, scratch_dir=scratch_dir)
    return dicom.read([path]) if kind == "dicom" else pictures.read([path], path)


def read_grid(path: pathlib.Path) -> tuple[scan.Grid, tuple[str, ...]]:
    """Reads where the voxels of a volume lie, and notes, from its header alone; raises as `open_scan`."""
    kind = _kind(path)
    if kind == "nifti":
        return nifti.read_grid(path)
    found = dicom.read([path]) if kind == "dicom" else pictures.read([path], path)
    if found.grid is None:
        raise ValueError(f"{path} is a picture, not a volume.")
    return found.grid, found.notes


def _kind(path: pathlib.Path) -> str:
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist; check its folder.")
    kind = format_of(path)
    if not kind:
        raise ValueError(f"{path} holds no scan: expected NIfTI or DICOM.")
    return kind


def _is_nifti(start: bytes) -> bool:
    """Whether bytes are the header of NIfTI-1, NIfTI-2, or Analyze 7.5."""
    sizes = {kind.template_dtype.itemsize for kind in (nib.Nifti1Header, nib.Nifti2Header)}
    return bool(sizes & {int.from_bytes(start[:4], order) for order in ("little", "big")})
