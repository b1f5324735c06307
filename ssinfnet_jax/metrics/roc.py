"""Receiver operating characteristic of pixel probabilities, with scikit-learn."""

import math

import numpy as np
import pandas as pd
from sklearn import metrics


def auc(probs: np.ndarray, truth: np.ndarray) -> float:
    """Computes the area under the ROC curve of a slice; NaN if truth has one class.

    Args:
      probs: float[H,W] in [0,1], or of the pixels that count, float[N].
      truth: bool of the same shape.
    """
    flat = truth.ravel()
    if flat.all() or not flat.any():
        return math.nan
    return float(metrics.roc_auc_score(flat, probs.ravel()))


def curve(probs: np.ndarray, truth: np.ndarray, *, num_points: int = 200) -> pd.DataFrame:
    """Computes the ROC curve of pooled pixels.

    Args:
      probs: float[N] in [0, 1].
      truth: bool[N].
      num_points: maximum number of points; longer curves are thinned.
    Returns: table with columns fpr, tpr, threshold; empty if the truth has only one class.
    """
    if truth.all() or not truth.any():
        return pd.DataFrame(columns=["fpr", "tpr", "threshold"])
    # Steps of 1/1000 in probability are finer than any plot, and keep the sort fast.
    fpr, tpr, threshold = metrics.roc_curve(truth, np.round(probs, 3))
    chosen = np.unique(np.linspace(0, len(fpr) - 1, min(num_points, len(fpr))).astype(int))
    return pd.DataFrame({"fpr": fpr[chosen], "tpr": tpr[chosen], "threshold": threshold[chosen]})
