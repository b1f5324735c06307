"""Label maps: checked by their values, never guessed, and resized only by nearest neighbour.

Classes, here and everywhere: 0 background, 1 ground-glass opacity (GGO), 2 consolidation. The lesion is classes 1
and 2.
"""

import os

import numpy as np
from PIL import Image

from ssinfnet_jax.data import ct
from ssinfnet_jax.data.readers import suffixes

_ROUNDING = 1e-3  # of whole numbers stored with a slope
_SHOWN = 12


def check_classes(values: np.ndarray, source: str) -> np.ndarray:
    """Checks that a label map holds classes and nothing else.

    Args:
      values: number[...], as stored; whole numbers to within 1e-3, since scaling by a slope rounds.
      source: file name for the error message.
    Returns: uint8[...] of {0 background, 1 GGO, 2 consolidation}.
    Raises: ValueError that names the file, the values found, and the remedy.
    """
    found = np.unique(values)
    whole = np.rint(found)
    if np.allclose(found, whole, rtol=0, atol=_ROUNDING) and set(whole.tolist()) <= {0, 1, 2}:
        return np.rint(values).astype(np.uint8)
    shown = [np.format_float_positional(value, trim="-") for value in found[:_SHOWN]]
    shown += ["..."] if len(found) > _SHOWN else []
    form = "whole numbers" if source.lower().endswith(suffixes.VOLUMES) else "PNG"
    raise ValueError(
        f"Label {source} holds the values {{{', '.join(shown)}}}; expected 0 background, 1 GGO, 2 consolidation. Save "
        f"labels as {form} without interpolation or JPEG compression, with these values alone."
    )


def read_classes(path: str | os.PathLike) -> np.ndarray:
    """Reads a class map; in a palette PNG the indices are the classes, whatever its colours.

    Returns: uint8[H, W] in {0 background, 1 GGO, 2 consolidation}.
    Raises: FileNotFoundError or ValueError, naming the file.
    """
    return check_classes(read_values(path), os.fspath(path))


def check_same_size(image: np.ndarray, label: np.ndarray, image_path, label_path) -> None:
    """Raises ValueError, naming both files, if a label [H, W] and its image [H, W] differ in size."""
    if image.shape != label.shape:
        raise ValueError(
            f"Label {label_path} is {label.shape[0]}x{label.shape[1]} but its image {image_path} is "
            f"{image.shape[0]}x{image.shape[1]} (rows x columns). A label must be drawn on the image itself; "
            "export both in the same size."
        )


def resize_label(label: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resizes a label map by nearest neighbour.

    Interpolating class numbers would create GGO (1) along every border between consolidation (2) and background
    (0).

    Args:
      label: uint8[h, w].
      size: (H, W).

    Returns: uint8[H, W] with values of `label` only.
    Raises: ValueError for another rank or type.
    """
    return _resize(label, size, Image.Resampling.NEAREST)


def resize_image(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resizes an image bilinearly, averaging over the footprint when it shrinks (antialiasing).

    Args:
      image: uint8[h, w].
      size: (H, W).

    Returns: uint8[H, W].
    Raises: ValueError for another rank or type.
    """
    return _resize(image, size, Image.Resampling.BILINEAR)


def _resize(values: np.ndarray, size: tuple[int, int], resample: Image.Resampling) -> np.ndarray:
    if values.ndim != 2 or values.dtype != np.uint8:
        raise ValueError(f"Expected uint8[H, W]; got {values.dtype}{list(values.shape)}.")
    if values.shape == tuple(size):
        return values
    height, width = size
    return np.array(Image.fromarray(values).resize((width, height), resample))


def read_values(path: str | os.PathLike) -> np.ndarray:
    """Reads the values of a label picture as stored: number[H, W]; of a palette PNG the indices.

    Raises: FileNotFoundError; ValueError, naming the file, for one that is no picture, or in colour.
    """
    image = ct.open_image(path)
    if image.mode == "1":
        image = image.convert("L")
    if image.mode in ("L", "P"):  # in mode P the array holds the indices
        return np.array(image)
    if image.mode == "I;16":
        return np.array(image).astype(np.int32)
    if image.mode in ("I", "F"):
        return np.array(image)
    if image.mode in ("LA", "RGB", "RGBA"):
        channels = np.array(image.convert("RGB"))
        if (channels == channels[..., :1]).all():
            return channels[..., 0]
    raise ValueError(
        f"Label {os.fspath(path)} is in colour (Pillow mode {image.mode!r}); classes must be grey values "
        "or palette indices. Save it as a palette PNG with 0 background, 1 GGO, 2 consolidation."
    )
