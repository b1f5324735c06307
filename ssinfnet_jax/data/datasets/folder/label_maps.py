"""From the values of masks to lesion, classes and ignored pixels."""

import pathlib
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

_ROUNDING = 1e-3  # of whole numbers stored with a slope
_SHOWN = 8
CLASSES = {"ggo": 1, "consolidation": 2}
# Values that a lesion mask may hold besides 0 and one other: those of classes.
_LESION_VALUES = {0, 1, 2}


class Mask(NamedTuple):
    """An open mask.

    Attributes:
      path: its file.
      read: function (index of a slice) -> values [H, W].
      meanings: meaning by value of a label map; None for a mask of one class, which is where it is not 0.
    """

    path: pathlib.Path
    read: Callable[[int], np.ndarray]
    meanings: Mapping[int, str] | None


def check_values(values: np.ndarray, kind: str, mask: Mask) -> tuple[str, str, str] | None:
    """What is wrong with the distinct values of a mask: kind of finding, text and remedy; None if nothing is."""
    whole = np.rint(values)
    if not np.allclose(values, whole, rtol=0, atol=_ROUNDING):
        fraction = values[~np.isclose(values, whole, rtol=0, atol=_ROUNDING)]
        remedy = "save the labels themselves as whole numbers, resampled by nearest neighbour"
        return (
            "float labels",
            f"holds {_listed(fraction)}, which are no whole numbers: interpolated or probabilities",
            remedy,
        )
    found = {int(value) for value in whole}
    if mask.meanings is None:
        others = found - {0}
        if len(others) > 1 and not (kind == "lesion" and found <= _LESION_VALUES):
            remedy = "give the pattern as `classes`, and say in `labels` what each value means"
            return "unnamed label", f"is a {kind} mask but holds the values {_listed(sorted(others))}", remedy
        return None
    unnamed = sorted(found - {0, *mask.meanings})
    if unnamed:
        named = ", ".join(f"{value}: {meaning}" for value, meaning in mask.meanings.items())
        remedy = f"add to `labels` what each means, such as {unnamed[0]}: background, or correct the mask"
        return "unnamed label", f"holds the values {_listed(unnamed)}, which labels ({named}) do not name", remedy
    return None


def has_classes(masks: Mapping[str, Mask]) -> bool:
    """Whether masks tell GGO from consolidation."""
    meanings = set(masks["classes"].meanings.values()) if "classes" in masks else set()
    return bool(set(CLASSES) & (meanings | {*masks}))


def translate(values: Mapping[str, np.ndarray], masks: Mapping[str, Mask]) -> dict[str, np.ndarray]:
    """The labels of a slice.

    Args:
      values: of each kind of mask, [H, W], as checked by `check_values`.
      masks: the same.
    Returns: lesion uint8 {0, 1}, ignore uint8 {0, 1}, and classes uint8 {0, 1, 2} if the masks tell them; [H, W].
      Where GGO and consolidation masks overlap, it is consolidation.
    """
    shape = next(iter(values.values())).shape
    means = {meaning: np.zeros(shape, bool) for meaning in ("ggo", "consolidation", "lesion", "ignore")}
    for kind, found in values.items():
        if kind == "classes":
            whole = np.rint(found)
            for value, meaning in masks[kind].meanings.items():
                if meaning in means:
                    means[meaning] |= whole == value
        elif kind in means and kind != "lesion":
            means[kind] |= found != 0
    classes = np.where(means["consolidation"], 2, means["ggo"]).astype(np.uint8)
    lesion = values["lesion"] != 0 if "lesion" in values else means["lesion"] | (classes > 0)
    arrays = {"lesion": lesion.astype(np.uint8), "ignore": means["ignore"].astype(np.uint8)}
    return arrays | ({"classes": classes} if has_classes(masks) else {})


def _listed(values) -> str:
    shown = [np.format_float_positional(value, trim="-", precision=4) for value in values[:_SHOWN]]
    return ", ".join(shown) + (f" and {len(values) - _SHOWN} more" if len(values) > _SHOWN else "")
