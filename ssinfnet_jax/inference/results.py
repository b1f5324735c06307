"""Reads the results of a scan as slices for viewing."""

import json
import pathlib
import tempfile
from collections.abc import Callable

import numpy as np
import pandas as pd
from PIL import Image

from ssinfnet_jax.data import ct
from ssinfnet_jax.data.readers import nifti


def load_views(
    out_dir: pathlib.Path, name: str, window_hu: tuple[float, float]
) -> tuple[np.ndarray, np.ndarray, list[int]]:
    """Loads slices and label maps of a segmented scan, in the radiologist's view.

    Args:
      out_dir: as passed to `segment_scans.run`.
      name: of the scan.
      window_hu: (low, high) for the display of HU.
    Returns: slices uint8[N,H,W], label maps uint8[N,H,W] of {0, 1, 2}, and N numbers of pixels before padding: pictures
      of different sizes are padded with black.
    """
    folder = out_dir / "scans" / name
    row = json.loads((folder / "scan.json").read_text())
    if row["format"] == "pictures":
        files = pd.read_csv(folder / "slices.csv", dtype={"file": str})["file"]
        stacks = [[_picture(out_dir / kind / file) for file in files] for kind in ("images", "masks")]
        shape = np.max([view.shape for view in stacks[0]], axis=0)
        images, classes = (np.stack([_filled(view, shape) for view in stack]) for stack in stacks)
        return images, classes, [view.size for view in stacks[0]]

    def windowed(view: np.ndarray) -> np.ndarray:
        return ct.window_hu(view, *window_hu) if row["kind"] == "hu" else view

    images = _volume(out_dir / "images" / f"{name}.nii.gz", windowed)
    classes = _volume(out_dir / "masks" / f"{name}.nii.gz", np.rint)
    return images, classes, [images[0].size] * len(images)


def _volume(path: pathlib.Path, change: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Reads uint8[N,H,W] slice by slice, since a photon-counting CT takes gigabytes."""
    with tempfile.TemporaryDirectory() as scratch:
        scan = nifti.read(path, scratch_dir=pathlib.Path(scratch))
        views = np.empty(scan.grid.view_shape, np.uint8)
        for index in range(scan.num_slices):
            views[index] = change(scan.read(index))
    return views


def _picture(path: pathlib.Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.array(image)


def _filled(view: np.ndarray, shape: np.ndarray) -> np.ndarray:
    return np.pad(view, [(0, int(side - own)) for side, own in zip(shape, view.shape, strict=True)])
