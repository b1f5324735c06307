"""A slice of a volume and of its mask, read by the worker that measures it."""

import functools
import os
import pathlib

import numpy as np

from ssinfnet_jax.analysis.phenotypes.settings import HU
from ssinfnet_jax.data import ct, labels
from ssinfnet_jax.data.readers import segments, volume

_REMEDY = "If only its header is wrong, --ignore_mask_geometry pairs the voxels as they are stored."


def read(
    image: pathlib.Path, mask: pathlib.Path, index: int, preset: str, voxel_by_voxel: bool, version: str
) -> tuple[np.ndarray, np.ndarray, tuple[float, float]]:
    """Values [H, W] of axial slice `index` (HU, or grey levels by another preset), classes [H, W], spacing in mm.

    Args:
      image, mask: files.
      index: of the slice.
      preset: name of the settings' preset.
      voxel_by_voxel: pairs the voxels as they are stored, and takes no notice of where the mask says that they lie.
      version: of both files.
    Raises: ValueError for files that cannot be read, a mask on another grid, values that do not fit the preset, or
      masks with other values than 0, 1, 2.
    """
    values, classes, spacing_mm = _read_volumes(image, mask, preset, voxel_by_voxel, version)
    return values[index], classes[index], spacing_mm


@functools.lru_cache(maxsize=1)
def _read_volumes(image: pathlib.Path, mask: pathlib.Path, preset: str, voxel_by_voxel: bool, version: str):
    """Kept for the next slice of the same files; `version` tells when they have changed."""
    found = volume.load(image)
    values = found.voxels
    if segments.holds_segments(mask):
        classes, _ = segments.load_classes(mask, found.grid)
    else:
        volume.check_same_grid(image, mask, voxel_by_voxel=voxel_by_voxel, remedy=_REMEDY)
        stored = volume.load(mask, like=image if voxel_by_voxel else None).voxels
        classes = labels.check_classes(stored, os.fspath(mask))
    finite = np.isfinite(values)
    if not finite.any():
        raise ValueError(f"{image} holds no finite value; export it again.")
    low, high = values.min(where=finite, initial=np.inf), values.max(where=finite, initial=-np.inf)
    if preset != HU.name:
        grey, _ = ct.to_grey(np.where(finite, values, low), os.fspath(image))
        # NaN around the body changes no phenotype; in a region it is refused, slice by slice.
        values = grey if finite.all() else np.where(finite, grey, values)
    elif low > ct.MOST_AIR_HU:
        raise ValueError(
            f"{image} holds values from {low:g} to {high:g}, not HU of a chest CT (air, below "
            f"{ct.MOST_AIR_HU:g}); use the preset eight_bit for grey levels."
        )
    return values, np.ascontiguousarray(classes), found.grid.spacing_mm[1:]
