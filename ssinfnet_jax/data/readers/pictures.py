"""Reads windowed slices from PNG or JPG."""

import pathlib
import re
from collections.abc import Sequence

from ssinfnet_jax.data import ct
from ssinfnet_jax.data.readers import scan

SUFFIXES = (".png", ".jpg", ".jpeg")


def read(files: Sequence[pathlib.Path], source: pathlib.Path) -> scan.Scan:
    """Opens the pictures of a folder, or a single one, as a scan; sizes may differ, and the spacing is unknown.

    Args:
      files: in the order of the slices.
      source: the folder, or the picture.
    """
    return scan.Scan(
        source=source,
        format="pictures",
        kind="uint8",
        num_slices=len(files),
        read=lambda index: ct.read_image(files[index]),
        files=tuple(files),
        patient_id=source.stem if len(files) == 1 else source.name,
        notes=(
            "pictures are used as they are: they must be exported with the window that the network was trained on",
            "pictures have no share of the lung, since they may be cropped to it",
        ),
    )


def natural(path: pathlib.Path) -> list[tuple[int, int | str]]:
    """Sorts slice_2 before slice_10."""
    return [(0, int(part)) if part.isdigit() else (1, part) for part in re.split(r"(\d+)", path.name)]
