"""Reads the pixels of a CT image in Hounsfield units, for every transfer syntax."""

import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import pydicom
from pydicom.pixels import pixel_array

from ssinfnet_jax.data.readers import scan
from ssinfnet_jax.data.readers.dicom import frames as dicom_frames
from ssinfnet_jax.data.readers.dicom import header as dicom_header


def read_hu(
    image: pathlib.PurePath | dicom_frames.Frame,
    shape: tuple[int, int],
    dataset: pydicom.Dataset,
    header: Mapping[str, Any],
) -> np.ndarray:
    """Reads a slice; padding becomes air.

    Args:
      image: an image or a frame accepted by `dicom.read`.
      shape: (columns, rows) of the volume.
      dataset: its file.
      header: its elements, as of `dicom_frames.read`.
    Returns: float32[rows, columns], HU.
    Raises: ValueError for pixels that cannot be decoded, naming the file; FileNotFoundError.
    """
    if "PixelData" not in dataset:
        raise ValueError(f"{image} is truncated: it ends before or within its pixels; copy or export it again.")
    slope, intercept = (
        dicom_header.numbers(header, name, 1, image)[0] for name in ("RescaleSlope", "RescaleIntercept")
    )
    try:
        if (dataset.Columns, dataset.Rows) != shape:
            raise ValueError(f"{dataset.Columns} x {dataset.Rows} pixels, {shape[0]} x {shape[1]} before")
        words = _words(dataset, image.index if isinstance(image, dicom_frames.Frame) else None)
        stored = _stored(words, dataset)
        padded = _padded(words, stored, dataset)
    except Exception as error:  # pydicom and its decoders raise many kinds of errors for damaged files
        raise ValueError(
            f"The pixels of {image} cannot be decoded ({error}); copy the file again, or export the series "
            "uncompressed."
        ) from error
    if stored.shape != shape[::-1]:
        raise ValueError(f"The pixels of {image} have shape {stored.shape}, not {shape[::-1]}; export it again.")
    return np.where(padded, scan.AIR_HU, stored * slope + intercept).astype(np.float32)


def _words(dataset: pydicom.Dataset, index: int | None) -> np.ndarray:
    """Returns int64[rows, columns] >= 0: the words of BitsAllocated as stored, including unused bits."""
    array = pixel_array(dataset, index=index, correct_unused_bits=False)
    if array.dtype.kind not in "iu":
        raise ValueError(f"they are {array.dtype}, not whole numbers")
    return array.view(f"{array.dtype.byteorder}u{array.dtype.itemsize}").astype(np.int64)


def _stored(words: np.ndarray, dataset: pydicom.Dataset) -> np.ndarray:
    """Extracts the numbers in the BitsStored bits that end at HighBit; other bits may hold anything (PS3.5, 8.1.1)."""
    bits, allocated = int(dataset.BitsStored), int(dataset.BitsAllocated)
    high = int(dataset.get("HighBit") or bits - 1)
    if not 0 < bits <= high + 1 <= allocated:
        raise ValueError(f"HighBit {high} does not fit {bits} of {allocated} bits")
    return _interpreted(words >> (high + 1 - bits), dataset)


def _interpreted(words: np.ndarray, dataset: pydicom.Dataset) -> np.ndarray:
    """Interprets the lowest BitsStored bits as numbers, signed if PixelRepresentation says so."""
    bits = int(dataset.BitsStored)
    values = words & (2**bits - 1)
    return values - ((values >> (bits - 1)) << bits) if dataset.PixelRepresentation else values


def _padded(words: np.ndarray, stored: np.ndarray, dataset: pydicom.Dataset) -> np.ndarray:
    """Returns a bool mask of pixels in the range of padding.

    PixelPaddingValue and PixelPaddingRangeLimit may be signed or unsigned regardless of the pixels: -2000 and
    63536 are the same word.
    """
    if dataset.get("PixelPaddingValue") is None:
        return np.zeros(words.shape, bool)
    names = [name for name in ("PixelPaddingValue", "PixelPaddingRangeLimit") if dataset.get(name) is not None]
    size = 2 ** int(dataset.BitsAllocated)
    ends = np.array([_whole(dataset, name) % size for name in names])
    values = _interpreted(ends, dataset)
    if ((values % size == ends) | (ends < 2 ** int(dataset.BitsStored))).all():
        return (stored >= values.min()) & (stored <= values.max())
    # BitsStored cannot hold such a value (63536 with 12 unsigned bits), so it also uses the unused bits.
    return (words >= ends.min()) & (words <= ends.max())


def _whole(dataset: pydicom.Dataset, name: str) -> int:
    value = dataset.get(name)
    if not isinstance(value, int):
        raise ValueError(f"{name} is {value!r}, not a whole number")
    return value
