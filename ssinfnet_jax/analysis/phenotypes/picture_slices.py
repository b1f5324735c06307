"""Reads a slice and its mask from pictures, in the worker that measures them."""

import pathlib

import numpy as np

from ssinfnet_jax.data import ct, labels


def read(
    image: pathlib.Path, mask: pathlib.Path, spacing_mm: tuple[float, float]
) -> tuple[np.ndarray, np.ndarray, tuple[float, float]]:
    """Grey levels uint8[H, W], classes uint8[H, W], and the spacing as given.

    Raises: ValueError for unreadable files, files of different size, and masks with values other than 0, 1, 2.
    """
    grey, classes = ct.read_image(image), labels.read_classes(mask)
    labels.check_same_size(grey, classes, image, mask)
    return grey, classes, spacing_mm
