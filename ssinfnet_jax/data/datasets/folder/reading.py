"""Reads the slices of images that were inspected, as records hold them."""

import contextlib
from collections.abc import Mapping

import numpy as np

from ssinfnet_jax.data.datasets.folder import label_maps, sources
from ssinfnet_jax.data.datasets.folder.seen import Seen


class Reader:
    """Reads slices of images that were inspected; the image of the last slice stays open.

    Args:
      voxel_by_voxel: as for `sources.opened`.
      view: "lungs" crops volumes to the lungs, "frame" does not.
    """

    def __init__(self, *, voxel_by_voxel: bool, view: str):
        self._voxel_by_voxel, self._view = voxel_by_voxel, view
        self._item, self._opened, self._files = None, None, contextlib.ExitStack()

    def read(self, seen: Seen, index: int) -> Mapping[str, np.ndarray]:
        """The arrays of a slice, as `slice_builder.Slice.read` gives them."""
        if self._item is not seen.item:
            self._files.close()
            opening = sources.opened(seen.item, voxel_by_voxel=self._voxel_by_voxel)
            self._opened, self._item = self._files.enter_context(opening), seen.item
        opened = self._opened
        arrays = {"image": seen.to_grey(opened.scan.read(index))}
        values = opened.read_masks(index, arrays["image"].shape)
        if values.keys() - {"lung", "ignore"}:
            arrays |= label_maps.translate(values, opened.masks)
        elif seen.has_lesion:  # an image without masks that has no lesion
            kinds = ("lesion", "classes") if seen.has_classes else ("lesion",)
            arrays |= dict.fromkeys(kinds, np.zeros_like(arrays["image"]))
        if index == seen.num_slices - 1:
            self._files.close()
            self._item = None
        if self._view == "lungs" and seen.lung_box is not None and opened.scan.grid is not None:
            arrays = {name: np.ascontiguousarray(array[seen.lung_box]) for name, array in arrays.items()}
        return arrays
