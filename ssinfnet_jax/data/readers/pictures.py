"""Reads slices from PNG or JPG: windowed ones, or stored values that a rule turns into HU."""

import dataclasses
import pathlib
import re
from collections.abc import Sequence

import numpy as np

from ssinfnet_jax.data import ct
from ssinfnet_jax.data.readers import scan


@dataclasses.dataclass(frozen=True)
class ToHu:
    """How the values of pictures become HU: slope and offset, or the window that they were exported with.

    Attributes:
      slope, offset: HU = slope x value + offset.
      window_hu: the HU of black (0) and white (255, or 65535 with 16 bits), in place of slope and offset.
    """

    slope: float = 1.0
    offset: float = 0.0
    window_hu: tuple[float, float] | None = None

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """Returns float32[H, W], HU, of uint8 or uint16[H, W]."""
        slope, offset = self.slope, self.offset
        if self.window_hu is not None:
            low, high = self.window_hu
            slope, offset = (high - low) / np.iinfo(values.dtype).max, low
        return (values * slope + offset).astype(np.float32)

    def __str__(self) -> str:
        if self.window_hu is not None:
            return f"black is {self.window_hu[0]:g} HU and white {self.window_hu[1]:g} HU"
        return f"HU = {self.slope:g} x value + {self.offset:g}"


def read(files: Sequence[pathlib.Path], source: pathlib.Path, to_hu: ToHu | None = None) -> scan.Scan:
    """Opens the pictures of a folder, or a single one, as a scan; sizes may differ, and the spacing is unknown.

    Args:
      files: in the order of the slices.
      source: the folder, or the picture.
      to_hu: how values become HU; None reads windowed slices of 8 bits as they are.
    """
    used = "pictures are used as they are: they must be exported with the window that the network was trained on"
    return scan.Scan(
        source=source,
        format="pictures",
        kind="uint8" if to_hu is None else "hu",
        num_slices=len(files),
        read=lambda index: ct.read_image(files[index]) if to_hu is None else to_hu(ct.read_deep(files[index])),
        files=tuple(files),
        patient_id=source.stem if len(files) == 1 else source.name,
        notes=(
            *turned(files),
            used if to_hu is None else f"pictures were read as HU: {to_hu}",
            "pictures have no share of the lung, since they may be cropped to it",
        ),
    )


def turned(files: Sequence[pathlib.Path]) -> tuple[str, ...]:
    """Returns a note if viewers turn pictures by their EXIF orientation, which is ignored here."""
    found = {path: orientation for path in files if (orientation := ct.exif_orientation(path)) != 1}
    if not found:
        return ()
    path, orientation = next(iter(found.items()))
    return (
        f"{len(found)} pictures have an EXIF orientation, such as {path.name} ({orientation}), by which viewers turn "
        "them: it is ignored, and they are read as they are stored",
    )


def natural(path: pathlib.Path) -> list[tuple[int, int | str]]:
    """Sorts slice_2 before slice_10."""
    return [(0, int(part)) if part.isdigit() else (1, part) for part in re.split(r"(\d+)", path.name)]
