"""Reads a slice of a volume and of its mask, in the worker that measures it."""

import functools
import os
import pathlib

import numpy as np

from ssinfnet_jax.analysis.phenotypes.settings import HU
from ssinfnet_jax.data import ct, labels
from ssinfnet_jax.data.readers import segments, volume

_REMEDY = "If only the header is wrong, pass --ignore_mask_geometry, which pairs voxels in the order they are stored."


def read(
    image: pathlib.Path, mask: pathlib.Path, index: int, preset: str, voxel_by_voxel: bool, version: str
) -> tuple[np.ndarray, np.ndarray, tuple[float, float]]:
    """Values [H, W] of axial slice `index` (HU, or grey levels by another preset), classes [H, W], spacing in mm.

    Args:
      image, mask: files.
      index: of the slice.
      preset: name of the settings' preset.
      voxel_by_voxel: pairs voxels in the order they are stored, and ignores the geometry of the mask.
      version: of both files.
    Raises: ValueError for unreadable files, a mask on another grid, values that do not suit the preset, or masks with
      values other than 0, 1, 2.
    """
    values, classes, spacing_mm = _read_volumes(image, mask, preset, voxel_by_voxel, version)
    return values[index], classes[index], spacing_mm


@functools.lru_cache(maxsize=1)
def _read_volumes(image: pathlib.Path, mask: pathlib.Path, preset: str, voxel_by_voxel: bool, version: str):
    """Caches the volumes for the next slice; `version` changes when the files do."""
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
        raise ValueError(f"{image} has no finite value; export it again.")
    low, high = values.min(where=finite, initial=np.inf), values.max(where=finite, initial=-np.inf)
    if preset != HU.name:
        grey, _ = ct.to_grey(np.where(finite, values, low), os.fspath(image))
        # NaN around the body does not change phenotypes; within a region it fails the slice.
        values = grey if finite.all() else np.where(finite, grey, values)
    elif low > ct.MOST_AIR_HU:
        raise ValueError(
            f"{image} has values from {low:g} to {high:g}; a chest CT in HU has air, below {ct.MOST_AIR_HU:g}. Use the "
            "preset eight_bit for grey levels."
        )
    return values, np.ascontiguousarray(classes), found.grid.spacing_mm[1:]
