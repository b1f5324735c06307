"""Agreement of a predicted and a true mask of a whole scan."""

import math
import warnings
from collections.abc import Sequence

import numpy as np
import surface_distance

from ssinfnet_jax.metrics import overlap

METRICS = ("dice", "surface_dice", "hausdorff95_mm", "volume_error_ml")
TOLERANCE_MM = 2.0  # of the surface Dice: how far two readers' borders of a lesion may lie apart


def measure(
    pred: np.ndarray, truth: np.ndarray, spacing_mm: Sequence[float], *, tolerance_mm: float = TOLERANCE_MM
) -> dict[str, float]:
    """Computes volumes, Dice, normalised surface Dice and the 95 % Hausdorff distance of one class in one scan.

    Undefined values are NaN: both Dice if the class is in neither mask (they are 0 if it is in one), the distance
    unless it is in both. The volume error is predicted minus true volume, and always defined.

    Args:
      pred: bool[slices, H, W].
      truth: the same.
      spacing_mm: between slices, rows and columns.
      tolerance_mm: the surface Dice is the share of both surfaces that lies within this distance of the other one.
    Returns: "truth_ml", "pred_ml" and METRICS: Dice in [0, 1], mm, ml.
    Raises: ValueError for unequal shapes.
    Source: Nikolov et al. 2018, arXiv:1809.04430, whose code computes the distances.
    """
    found = {"dice": overlap.overlap(pred, truth)["dice"], "surface_dice": math.nan, "hausdorff95_mm": math.nan}
    ml = math.prod(spacing_mm) / 1000
    truth_ml, pred_ml = (float(np.count_nonzero(mask) * ml) for mask in (truth, pred))
    if truth_ml and pred_ml:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # old names of SciPy's functions
            distances = surface_distance.compute_surface_distances(truth, pred, spacing_mm)
        found["surface_dice"] = float(surface_distance.compute_surface_dice_at_tolerance(distances, tolerance_mm))
        found["hausdorff95_mm"] = float(surface_distance.compute_robust_hausdorff(distances, 95))
    elif truth_ml or pred_ml:
        found["surface_dice"] = 0.0
    return {"truth_ml": truth_ml, "pred_ml": pred_ml, **found, "volume_error_ml": pred_ml - truth_ml}
