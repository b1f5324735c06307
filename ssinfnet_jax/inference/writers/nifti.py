"""Writes NIfTI volumes in the voxel grid of their source."""

import gzip
import pathlib

import nibabel as nib
import numpy as np

from ssinfnet_jax import rundir
from ssinfnet_jax.data.readers.scan import Scan

_PLACE = (
    "qform_code", "sform_code", "quatern_b", "quatern_c", "quatern_d", "qoffset_x", "qoffset_y", "qoffset_z",
    "srow_x", "srow_y", "srow_z", "xyzt_units",
)  # fmt: skip


def write(path: pathlib.Path, volume: np.ndarray, scan: Scan, *, slope: float = 1.0, description: str) -> None:
    """Writes a volume, complete or not at all, with the affine of the source (bit for bit for NIfTI sources).

    Only the geometry is copied from the source's header, since headers can identify the patient.

    Args:
      path: ending in .nii.gz.
      volume: [I,J,K] in the grid of the source; a memory map is read slice by slice.
      scan: the source scan.
      slope: of the stored numbers, such as 1/255 for probabilities.
      description: at most 79 characters, for the header.
    """
    header = _header(scan)
    header.set_data_dtype(volume.dtype)
    header.set_data_shape(volume.shape)
    header["pixdim"][1:4] = nib.affines.voxel_sizes(scan.grid.affine)
    if scan.header is not None:
        header["pixdim"][:4] = scan.header["pixdim"][:4]
        for name in _PLACE:
            header[name] = scan.header[name]
    header.set_slope_inter(slope, 0)
    header["descrip"] = description.encode()
    header.set_data_offset(header.single_vox_offset)
    # A fixed time in the gzip header, so that equal results are equal files.
    with (
        rundir.writing(path) as partial,
        partial.open("wb") as raw,
        gzip.GzipFile(filename="", mode="wb", fileobj=raw, compresslevel=1, mtime=0) as file,
    ):
        header.write_to(file)
        for k in range(volume.shape[2]):
            file.write(np.asarray(volume[:, :, k]).tobytes(order="F"))


def _header(scan: Scan) -> nib.Nifti1Header:
    if scan.header is not None:
        return nib.Nifti2Header() if isinstance(scan.header, nib.Nifti2Header) else nib.Nifti1Header()
    header = nib.Nifti1Header()
    header.set_xyzt_units("mm")
    header.set_sform(scan.grid.affine, code="scanner")
    axes = scan.grid.affine[:3, :3] / nib.affines.voxel_sizes(scan.grid.affine)
    if np.allclose(axes.T @ axes, np.eye(3), atol=1e-4):  # a tilted gantry shears the grid, which a qform cannot hold
        header.set_qform(scan.grid.affine, code="scanner")
    return header
