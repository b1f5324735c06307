"""Label maps: recognised by their values, never guessed, and resized only by nearest neighbour.

Classes, here and everywhere: 0 background, 1 ground-glass opacity (GGO), 2 consolidation. The lesion is classes 1
and 2.
"""

import dataclasses
import os
from collections.abc import Mapping

import numpy as np
from PIL import Image

from ssinfnet_jax.data import ct

_ROUNDING = 1e-3  # of whole numbers stored with a slope
_SHOWN = 12


@dataclasses.dataclass(frozen=True)
class Rule:
    """How to read the values of a label file; a file matches if it holds no value outside `values`."""

    name: str
    values: Mapping[int, int]  # value in the file -> our class


# Tried in order; the first match is used and reported. One line adds a convention.
LESION_RULES = (
    Rule("binary 0/255", {0: 0, 255: 1}),
    Rule("binary 0/1", {0: 0, 1: 1}),
    Rule("classes 0/1/2, any lesion", {0: 0, 1: 1, 2: 1}),
)
OUR_CLASSES = Rule("classes 0/1/2", {0: 0, 1: 1, 2: 2})
CLASS_RULES = (
    OUR_CLASSES,
    Rule("medseg 0/1/2/3, 3 = pleural effusion is background", {0: 0, 1: 1, 2: 2, 3: 0}),
)


def recognise(values: np.ndarray, rules: tuple[Rule, ...], source: str) -> tuple[np.ndarray, str]:
    """Translates a label map by the first rule that covers all of its values.

    Args:
      values: number[...], as stored; whole numbers to within 1e-3, since scaling by a slope rounds.
      rules: LESION_RULES, CLASS_RULES, or some of them.
      source: file name for the error message.

    Returns: (uint8[...] of our classes, name of the rule).
    Raises: ValueError that names the file, the values found, the rules and the remedy.
    """
    found = np.unique(values)
    whole = np.rint(found)
    if np.allclose(found, whole, rtol=0, atol=_ROUNDING):
        for rule in rules:
            if all(value in rule.values for value in whole.tolist()):
                table = np.zeros(256, np.uint8)
                for value, label in rule.values.items():
                    table[value] = label
                return table[np.rint(values).astype(np.uint8)], rule.name
    shown = [np.format_float_positional(value, trim="-") for value in found[:_SHOWN]]
    shown += ["..."] if len(found) > _SHOWN else []
    form = "PNG" if source.lower().endswith((".png", ".jpg", ".jpeg")) else "whole numbers"
    raise ValueError(
        f"Label {source} holds the values {{{', '.join(shown)}}}, which no rule covers: "
        + "; ".join(f"{rule.name} = {set(rule.values)}" for rule in rules)
        + f". Save labels as {form} without interpolation or JPEG compression, with one of these sets of values."
    )


def read_lesion(path: str | os.PathLike) -> tuple[np.ndarray, str]:
    """Reads a binary lesion map; see LESION_RULES.

    Returns: (uint8[H, W] in {0, 1}, name of the rule).
    Raises: FileNotFoundError or ValueError, naming the file.
    """
    return recognise(read_values(path), LESION_RULES, os.fspath(path))


def read_classes(path: str | os.PathLike, rules: tuple[Rule, ...] = CLASS_RULES) -> tuple[np.ndarray, str]:
    """Reads a class map; in a palette PNG the indices are the classes, whatever its colours.

    Args:
      path: of the file.
      rules: conventions to try. If the files of a folder may lack some classes, pass only one: file by file,
        {0, 2, 3} and {0, 1, 2} would match two conventions.

    Returns: (uint8[H, W] in {0 background, 1 GGO, 2 consolidation}, name of the rule).
    Raises: FileNotFoundError or ValueError, naming the file.
    """
    return recognise(read_values(path), rules, os.fspath(path))


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
