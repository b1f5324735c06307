"""The region of a scan in which lesions can be; detections elsewhere are false alarms."""

from collections.abc import Sequence

import numpy as np
from scipy import ndimage

MARGIN_MM = 10.0  # around the lungs in a slice
REACH_MM = 15.0  # above and below, since the lowest part of a lung may hold no air
LEAST_INSIDE = 0.1  # of a lesion's area
_LEAST_SIDE = 0.35  # of the other lung; below that, most of this lung may hold no air


def about_lungs(lungs: np.ndarray, middle: int, spacing_mm: Sequence[float]) -> np.ndarray:
    """Returns the region of the lungs, including what they enclose and a margin.

    Left and right of the middle, each row and each column is filled between its first and last lung pixel, so
    that consolidated parts, which hold no air, are inside and the heart is not. A side with hardly any lung
    is inside as a whole.

    Args:
      lungs: bool[N,H,W], the air of the lungs; at least one pixel.
      middle: column of the body's middle.
      spacing_mm: between slices, rows and columns; 0 if unknown, which gives no margin.
    Returns: bool[N,H,W]; slices far from any lung are empty.
    """
    slice_mm, row_mm, column_mm = spacing_mm
    volumes = lungs[..., :middle].sum(), lungs[..., middle:].sum()
    region = np.zeros_like(lungs)
    for side, volume in zip((np.s_[..., :middle], np.s_[..., middle:]), volumes, strict=True):
        if volume < _LEAST_SIDE * max(volumes):
            region[side] = lungs.any(axis=(1, 2), keepdims=True)
        else:
            region[side] = _filled(lungs[side], 1) | _filled(lungs[side], 2)
    if row_mm and column_mm:
        reach = np.array([MARGIN_MM / row_mm, MARGIN_MM / column_mm])
        rows, cols = (np.arange(-int(r), int(r) + 1) / max(r, 1) for r in reach)
        disk = rows[:, None] ** 2 + cols**2 <= 1
        region = ndimage.binary_dilation(region, disk[None])
    if slice_mm and (steps := int(REACH_MM / slice_mm)):
        region = ndimage.binary_dilation(region, np.ones((2 * steps + 1, 1, 1), bool))
    return region


def _filled(mask: np.ndarray, axis: int) -> np.ndarray:
    """Fills a mask between its first and last pixel along an axis."""
    forward = np.logical_or.accumulate(mask, axis=axis)
    backward = np.flip(np.logical_or.accumulate(np.flip(mask, axis), axis=axis), axis)
    return forward & backward


def remove_outside(pred: np.ndarray, region: np.ndarray) -> np.ndarray:
    """Removes lesions outside a region from the label map of a slice; touching classes count as one lesion.

    A lesion with at least `LEAST_INSIDE` of its area inside stays whole: its border with the chest wall is uncertain.

    Args:
      pred: uint8[H,W] of {0, 1, 2}.
      region: bool[H,W].
    """
    if not pred.any():
        return pred
    parts, _ = ndimage.label(pred > 0, structure=np.ones((3, 3)))
    areas, inside = np.bincount(parts.ravel()), np.bincount(parts[region], minlength=parts.max() + 1)
    return np.where((inside >= LEAST_INSIDE * areas)[parts], pred, np.uint8(0))
