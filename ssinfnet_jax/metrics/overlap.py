"""Overlap of a predicted and a true mask of a slice."""

import math

import numpy as np

METRICS = ("dice", "iou", "recall", "precision", "auc")


def counted(ignore: np.ndarray | None, *maps: np.ndarray) -> list[np.ndarray]:
    """The pixels of maps [H, W, ...] that count in metrics: [N, ...] without the ignored ones, or the maps themselves.

    Args:
      ignore: [H, W], not 0 where a pixel does not count; None if all do.
    """
    return [*maps] if ignore is None else [values[ignore == 0] for values in maps]


def overlap(pred: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """Computes Dice (F1), intersection over union, recall and precision of one class on one slice.

    A ratio whose denominator is 0 is undefined and NaN: all four if the class is in neither mask,
    recall if it is not in the truth, precision if it was not predicted (Dice and IoU are 0 then).

    Args:
      pred: bool[H, W], or of the pixels that count, bool[N].
      truth: the same.
    Returns: {"dice", "iou", "recall", "precision"}, each in [0, 1] or NaN.
    Raises: ValueError for unequal shapes.
    Source: the paper, eqs. 8-11.
    """
    if pred.shape != truth.shape:
        raise ValueError(f"Prediction and truth differ in shape: {pred.shape} and {truth.shape}.")
    num_both = int(np.count_nonzero(pred & truth))
    num_pred, num_truth = int(np.count_nonzero(pred)), int(np.count_nonzero(truth))
    return {
        "dice": _ratio(2 * num_both, num_pred + num_truth),
        "iou": _ratio(num_both, num_pred + num_truth - num_both),
        "recall": _ratio(num_both, num_truth),
        "precision": _ratio(num_both, num_pred),
    }


def _ratio(numerator: int, denominator: int) -> float:
    return numerator / denominator if denominator else math.nan
