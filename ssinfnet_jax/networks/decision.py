"""The rule that turns both networks' probabilities into a label map."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np

from ssinfnet_jax import config


class Decision(config.Decision):
    """How a pixel is labeled; the attributes are the config's.

    "likeliest": the likeliest of background, GGO and consolidation by the multi network alone, as in the paper.
    "joint": the single network finds the lesion, the multi network divides it. A pixel is lesion if
    (1 - multi_weight) lesion + multi_weight (ggo + consolidation) > lesion_threshold, and then consolidation if
    consolidation > consolidation_share (ggo + consolidation). A class that then has less than `least_share` of a
    slice's lesion is taken for an error of the multi network, and counts as the other class.
    """

    @classmethod
    def of(cls, table: Mapping[str, Any] | None, name: str) -> "Decision":
        """Reads a decision from a card or a file, called `name` in errors; the default is the paper's.

        Raises: ValueError for an unknown key, or a value out of range.
        """
        return config.read(cls, table or {}, name)

    def with_threshold(self, threshold: float) -> "Decision":
        """The same with another lesion threshold; for "likeliest", on the sum of the multi network's two classes."""
        if self.rule == "likeliest":
            return Decision("joint", threshold, multi_weight=1.0)
        return dataclasses.replace(self, lesion_threshold=threshold)

    @property
    def words(self) -> str:
        """The rule in a few words, for pages."""
        if self.rule == "likeliest":
            return "the likeliest class of the multi network"
        shares = ((1 - self.multi_weight, "single network"), (self.multi_weight, "multi network"))
        said = [name if share == 1 else f"{share:g} {name}" for share, name in shares if share]
        divided = f"; consolidation where its share is above {self.consolidation_share:g}"
        if self.least_share:
            divided += f"; a class with less than {self.least_share:.0%} of a slice's lesion counts as the other"
        return f"probability ({' + '.join(said)}) above {self.lesion_threshold:g}{divided}"

    def lesion_probs(self, lesion, classes):
        """The lesion probability that this decision thresholds, float[...]."""
        weight = 1.0 if self.rule == "likeliest" else self.multi_weight
        return (1 - weight) * lesion + weight * (classes[..., 1] + classes[..., 2])

    @property
    def excludes(self) -> float:
        """The single network's probability up to which no pixel is lesion, whatever the multi network says; or < 0."""
        if self.rule == "likeliest" or self.multi_weight == 1:
            return -1.0
        return (self.lesion_threshold - self.multi_weight) / (1 - self.multi_weight) - 1e-6  # rounding

    def labels(self, lesion, classes=None):
        """The label map.

        Args:
          lesion: float[...,H,W] in [0, 1], of the single network; or [N], some pixels of one slice.
          classes: float[...,H,W,3], of background, GGO and consolidation by the multi network, or None.
        Returns: uint8[...] of {0 background, 1 GGO, 2 consolidation}; {0, 1 lesion} without a multi network; a NumPy or
          JAX array, like the probabilities.
        """
        xp = np if isinstance(lesion, np.ndarray) else jnp
        if classes is None:
            return (lesion > self.lesion_threshold).astype(xp.uint8)
        if self.rule == "likeliest":
            return classes.argmax(axis=-1).astype(xp.uint8)
        found = self.lesion_probs(lesion, classes) > self.lesion_threshold
        dense = classes[..., 2] > self.consolidation_share * (classes[..., 1] + classes[..., 2])
        if self.least_share:
            of_slice = {"axis": (-2, -1) if found.ndim > 1 else -1, "keepdims": True}
            total, num_dense = found.sum(**of_slice), (found & dense).sum(**of_slice)
            few_dense, few_other = (number < self.least_share * total for number in (num_dense, total - num_dense))
            dense = (dense & ~few_dense) | few_other
        return xp.where(found, xp.where(dense, 2, 1), 0).astype(xp.uint8)
