"""What was seen of an image and its masks."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from ssinfnet_jax.data import ct
from ssinfnet_jax.data.datasets.folder.pairing import Item
from ssinfnet_jax.data.readers.scan import AIR_HU
from ssinfnet_jax.data.stage_files import VOLUME

COUNTS = ("lesion", "ggo", "consolidation", "ignore")


@dataclasses.dataclass
class Seen:
    """What was seen of an image and its masks.

    Attributes:
      item: the image with its masks.
      num_slices, shape: slices, and (rows, columns) of the first.
      spacing_mm: between slices, rows and columns; None for pictures.
      values: "hu", "grey" (0..255) or "unit" (0..1).
      low, high: of the values.
      has_classes: whether the masks tell GGO from consolidation.
      lung_box: rows and columns that hold the lungs; None where they are not found, or in a picture.
      clinical: of the patient, as for `slice_builder.Slice`.
      counts: pixels of each of `COUNTS` by slice.
      grey: sum of the grey levels of GGO and of consolidation.
      digest: of the image's values.
    """

    item: Item
    num_slices: int = 0
    shape: tuple[int, int] = (0, 0)
    spacing_mm: tuple[float, float, float] | None = None
    values: str = ""
    low: float = np.nan
    high: float = np.nan
    has_classes: bool = False
    lung_box: tuple[slice, slice] | None = None
    clinical: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    counts: list[dict[str, int]] = dataclasses.field(default_factory=list)
    grey: dict[str, float] = dataclasses.field(default_factory=lambda: {"ggo": 0.0, "consolidation": 0.0})
    digest: str = ""

    @property
    def has_lesion(self) -> bool:
        """Whether its slices are labeled."""
        return bool({*self.item.masks} - {"lung", "ignore"}) or (
            self.item.is_labeled and self.item.group.without_mask == "empty"
        )

    def slice_id(self, index: int) -> str:
        """The id of a slice."""
        return self.item.name if self.spacing_mm is None else f"{self.item.name}_{index:03d}"

    def patient_id(self, index: int) -> str:
        """The patient of a slice."""
        return self.slice_id(index) if self.item.group.slices_are_patients else self.item.patient

    @property
    def volume(self) -> Mapping[str, Any]:
        """The columns `stage_files.VOLUME` of its slices; empty for pictures and for slices of several patients."""
        if self.spacing_mm is None or self.item.group.slices_are_patients:
            return {}
        return dict(zip(VOLUME, (self.item.name, *self.spacing_mm), strict=True))

    def to_grey(self, values: np.ndarray) -> np.ndarray:
        """Maps values of its image to the grey levels of `data.ct`: uint8 of the same shape."""
        window = self.item.group.window_hu
        if self.values == "hu":
            return ct.window_hu(np.where(values >= ct.LEAST_HU, values, AIR_HU))
        grey = np.rint((values * 255 if self.values == "unit" else values).astype(np.float64))
        return (
            grey.astype(np.uint8) if window is None else ct.window_hu(window[0] + (window[1] - window[0]) * grey / 255)
        )
