"""Reads the results of a scan as slices for viewing."""

import json
import pathlib
import tempfile
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pandas as pd
from PIL import Image

from ssinfnet_jax.data import ct
from ssinfnet_jax.data.readers import nifti


class Views(NamedTuple):
    """N slices of a segmented scan, in the radiologist's view; pictures of different sizes are padded with black.

    Attributes:
      images: uint8[N,H,W], windowed.
      classes: uint8[N,H,W] of {0, 1, 2}, the label maps.
      areas: of each slice, pixels before padding.
      soft: uint8[N,h,w], in the window of soft tissue, reduced; None unless the scan is in HU.
      probability: uint8[N,h,w], 255 times the lesion's probability by the single network, reduced.
      files: of pictures, their names; None for volumes.
    """

    images: np.ndarray
    classes: np.ndarray
    areas: list[int]
    soft: np.ndarray | None
    probability: np.ndarray
    files: list[str] | None


def load_views(out_dir: pathlib.Path, name: str, window_hu: tuple[float, float], max_side: int = 384) -> Views:
    """Loads slices, label maps and probabilities of a segmented scan.

    Args:
      out_dir: as passed to `segment_scans.run`.
      name: of the scan.
      window_hu: (low, high) for the display of HU.
      max_side: to which soft-tissue slices and probabilities are reduced, pixels, since large scans take gigabytes.
    """
    folder = out_dir / "scans" / name
    row = json.loads((folder / "scan.json").read_text())
    if row["format"] == "pictures":
        table = pd.read_csv(folder / "slices.csv", dtype=str, keep_default_na=False)
        ends = [file.removeprefix(name) for file in table["file"]]
        read = (
            [out_dir / "images" / f"{name}{end}" for end in ends],
            [out_dir / "masks" / f"{name}{end}" for end in ends],
        )
        stacks = [[_picture(path) for path in paths] for paths in read]
        shape = np.max([view.shape for view in stacks[0]], axis=0)
        images, classes = (np.stack([_filled(view, shape) for view in stack]) for stack in stacks)
        probability = (_picture(folder / "probabilities" / f"lesion{end}") for end in ends)
        reduced = np.stack([_reduced(_filled(view, shape), max_side) for view in probability])
        files = table.get("picture", table["file"]).tolist()
        return Views(images, classes, [view.size for view in stacks[0]], None, reduced, files)

    def windowed(view: np.ndarray) -> np.ndarray:
        return ct.window_hu(view, *window_hu) if row["kind"] == "hu" else view

    def soft(view: np.ndarray) -> np.ndarray:
        return _reduced(ct.window_hu(view, *ct.SOFT_TISSUE_HU), max_side)

    def probability(view: np.ndarray) -> np.ndarray:
        return _reduced(np.rint(255 * view).astype(np.uint8), max_side)

    images, *others = _volume(out_dir / "images" / f"{name}.nii.gz", windowed, *([soft] if row["kind"] == "hu" else []))
    (classes,) = _volume(out_dir / "masks" / f"{name}.nii.gz", np.rint)
    (probabilities,) = _volume(folder / "probabilities" / "lesion.nii.gz", probability)
    areas = [images[0].size] * len(images)
    return Views(images, classes, areas, *(others or [None]), probabilities, None)


def _volume(path: pathlib.Path, *changes: Callable[[np.ndarray], np.ndarray]) -> list[np.ndarray]:
    """Reads uint8[N,h,w] for each change, slice by slice, since a photon-counting CT takes gigabytes."""
    with tempfile.TemporaryDirectory() as scratch:
        scan = nifti.read(path, scratch_dir=pathlib.Path(scratch))
        stacks: list[np.ndarray] = []
        for index in range(scan.num_slices):
            views = [change(scan.read(index)) for change in changes]
            if not stacks:
                stacks = [np.empty((scan.num_slices, *view.shape), np.uint8) for view in views]
            for stack, view in zip(stacks, views, strict=True):
                stack[index] = view
    return stacks


def _reduced(view: np.ndarray, max_side: int) -> np.ndarray:
    """Reduces uint8[H,W] to at most `max_side` pixels per side."""
    factor = max(view.shape) / max_side
    if factor <= 1:
        return view
    rows, columns = (max(round(side / factor), 1) for side in view.shape)
    return np.asarray(Image.fromarray(view).resize((columns, rows), Image.Resampling.HAMMING))


def _picture(path: pathlib.Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.array(image)


def _filled(view: np.ndarray, shape: np.ndarray) -> np.ndarray:
    return np.pad(view, [(0, int(side - own)) for side, own in zip(shape, view.shape, strict=True)])
