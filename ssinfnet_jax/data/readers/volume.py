"""A volume in memory, from a file of any format that holds one, or the folder of a DICOM series."""

import dataclasses
import os
import pathlib
import tempfile

import numpy as np

from ssinfnet_jax.data.readers import find, opening, scan


@dataclasses.dataclass(frozen=True)
class Volume:
    """A stack of axial slices in the radiologist's view.

    Slice 0 is the lowest (inferior to superior), row 0 is anterior, column 0 is the patient's right.

    Attributes:
      voxels: float32[num_slices, H, W], HU for a CT: the file's scaling (slope, intercept) is applied.
      grid: where the voxels lie; `grid.spacing_mm` is that of slices, rows and columns.
      source: the file.
      notes: what the user should know about its header.
    """

    voxels: np.ndarray
    grid: scan.Grid
    source: pathlib.Path
    notes: tuple[str, ...]


def load(path: str | os.PathLike, *, like: str | os.PathLike | None = None) -> Volume:
    """Reads a volume: NIfTI, NRRD, MetaImage, DICOM in one file, or a DICOM series in a folder or zip archive.

    The voxel axes are flipped and permuted (never resampled) to the closest anatomical axes, so the result does not
    depend on the storage order. A file without orientation gets the default of its format, with a note. A 2-D file is
    one slice.

    Args:
      path: of the file, whose content says what it is, not its name; or of the folder of a DICOM series.
      like: a volume whose header gives the orientation in place of the file's own.
    Raises:
      FileNotFoundError: no such file.
      ValueError: the file is no volume, truncated, not 2-D or 3-D, or its affine does not place voxels in space; names
        the file.
    """
    path = pathlib.Path(path)
    with tempfile.TemporaryDirectory() as scratch:
        affine = None if like is None else read_grid(like)[0].affine
        found = find.open_series(path) if path.is_dir() else opening.open_scan(path, pathlib.Path(scratch), affine)
        if found.grid is None:
            raise ValueError(f"{path} is a picture, not a volume.")
        voxels = np.empty(found.grid.view_shape, np.float32)
        for index in range(found.num_slices):
            voxels[index] = found.read(index)
    return Volume(voxels, found.grid, path, found.notes)


def read_grid(path: str | os.PathLike) -> tuple[scan.Grid, tuple[str, ...]]:
    """Reads where the voxels of a volume lie, and notes, from its header alone.

    Raises: as `load`, except for damage after the header.
    """
    path = pathlib.Path(path)
    if path.is_dir():
        series = find.open_series(path)
        return series.grid, series.notes
    return opening.read_grid(path)


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
    Raises: ValueError that names both files and affines, and the distance; or as `read_grid`.
    """
    ours, _ = read_grid(image)
    theirs, _ = opening.read_grid(pathlib.Path(label), ours.affine if voxel_by_voxel else None)
    check_same_place(ours, theirs, image, label, voxel_by_voxel=voxel_by_voxel, remedy=remedy)


def check_same_place(
    ours: scan.Grid,
    theirs: scan.Grid,
    image: str | os.PathLike,
    label: str | os.PathLike,
    *,
    voxel_by_voxel: bool = False,
    remedy: str,
) -> None:
    """`check_same_grid` of the grids of an image and of a label; `image` and `label` name them in errors."""
    same_stored = ours.shape == theirs.shape
    if voxel_by_voxel:
        if not same_stored:
            raise ValueError(
                f"Label {label} is stored as {theirs.shape} voxels, but its image {image} as {ours.shape}."
            )
        return
    if ours.view_shape == theirs.view_shape:
        distance = scan.distance_mm(ours.view_affine, theirs.view_affine, ours.view_shape[::-1])
    elif same_stored:
        distance = scan.distance_mm(ours.affine, theirs.affine, ours.shape)
    else:
        raise ValueError(
            f"Label {label} has {theirs.view_shape} voxels (slices, rows, columns), but its image {image} has "
            f"{ours.view_shape}; draw or resample the label on the image's own grid."
        )
    if not distance <= scan.SAME_PLACE * min(ours.spacing_mm):
        raise ValueError(
            f"Label {label} does not lie on its image {image}: corresponding voxels are up to {distance:.3g} mm apart. "
            f"Affine of the label: {scan.rows(theirs.affine)} ({theirs.axes}), of the image: {scan.rows(ours.affine)} "
            f"({ours.axes}). Draw or resample the label on the image's own grid."
            + (f" {remedy}" if same_stored else "")
        )
