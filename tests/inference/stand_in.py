"""Stand-in networks without training: they mark grey levels, so that the expected result is easy to compute."""

import numpy as np

from ssinfnet_jax.data import ct
from ssinfnet_jax.networks.decision import Decision

WINDOW_HU = (ct.LOW_HU, ct.HIGH_HU)
GGO_GREY, CONSOLIDATION_GREY = (60, 140), (141, 200)  # inclusive


class Thresholds:
    """Replaces `segment_scan.Networks`: decides every pixel with certainty, by its grey level alone."""

    window_hu = WINDOW_HU
    decision = Decision()

    def __init__(self):
        self.segmenter = self
        self.batch_size = 4

    def probabilities(self, records, positions, decision=None):
        """Like `Segmenter.probabilities`, at the slices' own size."""
        for position in positions:
            record = records[position]
            classes = np.eye(3, dtype=np.float32)[expected(record["image"])]
            yield record["slice_id"], (1 - classes[..., 0], classes)


def expected(grey: np.ndarray) -> np.ndarray:
    """Returns the expected labels, uint8 of {0, 1, 2}, for windowed grey levels."""
    ggo = (grey >= GGO_GREY[0]) & (grey <= GGO_GREY[1])
    consolidation = (grey >= CONSOLIDATION_GREY[0]) & (grey <= CONSOLIDATION_GREY[1])
    return (ggo + 2 * consolidation).astype(np.uint8)


def expected_of_hu(hu: np.ndarray) -> np.ndarray:
    """Returns the expected labels for Hounsfield units."""
    return expected(ct.window_hu(hu, *WINDOW_HU))
