"""A slice of a NIfTI volume and of its mask, read by the worker that measures it."""

import functools
import os
import pathlib

import numpy as np

from ssinfnet_jax.analysis.phenotypes.settings import HU
from ssinfnet_jax.data import ct, labels, nifti


def read(
    image: pathlib.Path, mask: pathlib.Path, index: int, preset: str, version: str
) -> tuple[np.ndarray, np.ndarray, tuple[float, float]]:
    """Values [H, W] of axial slice `index` (HU, or grey levels by another preset), classes [H, W], spacing in mm.

    Raises: ValueError for files that cannot be read, of two shapes, whose values do not fit the preset, or masks
      with other values than 0, 1, 2.
    """
    values, classes, spacing_mm = _read_volumes(image, mask, preset, version)
    return values[index], classes[index], spacing_mm


@functools.lru_cache(maxsize=1)
def _read_volumes(image: pathlib.Path, mask: pathlib.Path, preset: str, version: str):
    """Kept for the next slice of the same files; `version` tells when they have changed."""
    values, classes = nifti.read(image), nifti.read(mask)
    if values.shape != classes.shape:
        raise ValueError(
            f"Mask {mask} has (slices, rows, columns) {classes.shape}, but its image {image} {values.shape}; "
            "it must be drawn on the image itself."
        )
    classes, _ = labels.recognise(classes, (labels.OUR_CLASSES,), os.fspath(mask))
    if preset != HU.name:
        values, _ = ct.to_grey(values, os.fspath(image))
    elif values.min() > ct.MOST_AIR_HU:
        raise ValueError(
            f"{image} holds values from {values.min():g} to {values.max():g}, not HU of a chest CT (air, below "
            f"{ct.MOST_AIR_HU:g}); use the preset eight_bit for grey levels."
        )
    return values, np.ascontiguousarray(classes), nifti.spacing_mm(image)[1:]
