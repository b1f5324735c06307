"""Measures a segmented scan, per slice and in total."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy import ndimage

from ssinfnet_jax.data.readers.scan import Scan
from ssinfnet_jax.data.survey import Survey

CLASSES = {1: "ggo", 2: "consolidation"}


def remove_islands(pred: np.ndarray, min_pixels: float) -> np.ndarray:
    """Removes small lesions from the label map of a slice; touching GGO and consolidation count as one lesion.

    Args:
      pred: uint8[H,W] of {0, 1, 2}.
      min_pixels: lesions of at least this many pixels stay.
    """
    if min_pixels <= 1 or not pred.any():
        return pred
    parts, num_parts = ndimage.label(pred > 0, structure=np.ones((3, 3)))
    sizes = np.bincount(parts.ravel(), minlength=num_parts + 1)
    return np.where((sizes >= min_pixels)[parts], pred, np.uint8(0))


def count(index: int, pred: np.ndarray, lung: np.ndarray | None) -> dict[str, Any]:
    """Counts pixels of a slice: ggo_px, consolidation_px, lesion_px, lung_approx_px (lung mask and lesions)."""
    row: dict[str, Any] = {"slice": index}
    row |= {f"{name}_px": int((pred == number).sum()) for number, name in CLASSES.items()}
    lesion = pred > 0
    return row | {
        "lesion_px": int(lesion.sum()),
        "lung_approx_px": None if lung is None else int((lung | lesion).sum()),
    }


def summarize(scan: Scan, survey: Survey, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Summarizes a scan in one row, from `count` of its slices.

    Volumes are in millilitres if the spacing is known and there are several slices; pixels are always counted. The
    share of the lung refers to an approximate mask: air by a threshold, closed, with the lesions added; None without
    such a mask.
    """
    total = {
        name: None if any(row[name] is None for row in rows) else sum(row[name] for row in rows)
        for name in ("ggo_px", "consolidation_px", "lesion_px", "lung_approx_px")
    }
    volume = scan.grid.voxel_ml if scan.grid is not None and scan.num_slices > 1 else None
    return {
        "format": scan.format,
        "kind": survey.kind,
        "slices": scan.num_slices,
        "slices_affected": sum(row["lesion_px"] > 0 for row in rows),
        **{
            name.replace("_px", "_ml"): None if None in (value, volume) else round(value * volume, 3)
            for name, value in total.items()
        },
        **total,
        "lesion_share_of_lung_approx": None
        if total["lung_approx_px"] is None
        else round(total["lesion_px"] / total["lung_approx_px"], 5),
        **dict(zip(("slice_mm", "row_mm", "column_mm"), _spacing(scan), strict=True)),
        "lowest_value": survey.low,
        "highest_value": survey.high,
        "mean_value": round(survey.mean, 2),
        "empty": total["lesion_px"] == 0,
    }


def _spacing(scan: Scan) -> Sequence[float | None]:
    return [None] * 3 if scan.grid is None else [round(value, 5) for value in scan.grid.spacing_mm]
