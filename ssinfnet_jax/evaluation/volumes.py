"""Metrics of whole scans, from their slices as the networks segment them one after another."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from ssinfnet_jax.data.stage_files import VOLUME
from ssinfnet_jax.evaluation import columns
from ssinfnet_jax.inference.segmenter import Segmentation
from ssinfnet_jax.metrics import volume

Masks = dict[tuple[str, str], np.ndarray]  # by network and class

CLASSES = {"ggo": 1, "consolidation": 2}


class Volumes:
    """Collects the slices of a volume, and measures it when the first slice of another one comes.

    Args:
      slices: the slice table; without the columns `stage_files.VOLUME`, or where they are empty, there are no volumes.
    """

    def __init__(self, slices: pd.DataFrame):
        self._slices = slices if VOLUME[0] in slices else None
        self._rows: dict[str, list[dict[str, object]]] = {"single": [], "multi": []}
        self._row: Mapping[str, object] | None = None  # of the last slice
        self._masks: list[tuple[Masks, Masks]] = []  # predicted and true, of each slice of its volume

    def add(self, position: int, result: Segmentation) -> None:
        """Adds a segmented labeled slice, by its position in the slice table; slices of a volume come in order."""
        if self._slices is None or pd.isna(self._slices[VOLUME[0]].iloc[position]):
            return
        row = self._slices.iloc[position]
        if self._row is not None and row[VOLUME[0]] != self._row[VOLUME[0]]:
            self._measure()
        self._row = row
        self._masks.append(_masks(result))

    def tables(self) -> dict[str, pd.DataFrame]:
        """Measures the last volume; returns a table of `columns.VOLUMES` by network, empty without volumes."""
        if self._masks:
            self._measure()
        return {name: pd.DataFrame(rows, columns=list(columns.VOLUMES)) for name, rows in self._rows.items()}

    def _measure(self) -> None:
        ids = {name: self._row[name] for name in ("volume_id", "patient_id")}
        spacing_mm = [float(self._row[name]) for name in VOLUME[1:]]
        # A class that only some slices have labels for cannot be measured in the volume.
        known = [key for key in self._masks[0][1] if all(key in truth for _, truth in self._masks)]
        for network, kind in known:
            pred, truth = (np.stack([pair[side][network, kind] for pair in self._masks]) for side in (0, 1))
            measured = volume.measure(pred, truth, spacing_mm)
            self._rows[network].append({**ids, "class": kind, "num_slices": len(truth), **measured})
        self._masks = []


def _masks(result: Segmentation) -> tuple[Masks, Masks]:
    """Predicted and true masks of a slice, bool[H, W] without ignored pixels."""
    record = result.record
    counts = record["ignore"] == 0 if "ignore" in record else True
    pred: Masks = {("single", "lesion"): (result.lesion_probs > 0.5) & counts}
    truth: Masks = {("single", "lesion"): (record["lesion"] > 0) & counts}
    if "classes" in record and result.class_probs is not None:
        for found, labels in ((pred, result.pred), (truth, record["classes"])):
            found["multi", "lesion"] = (labels > 0) & counts
            found.update({("multi", name): (labels == value) & counts for name, value in CLASSES.items()})
    return pred, truth
