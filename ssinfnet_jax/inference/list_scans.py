"""Lists the scans in files and folders without segmenting them."""

import pathlib
from collections.abc import Sequence
from typing import Any

import pandas as pd

from ssinfnet_jax.data import input_files
from ssinfnet_jax.data.readers import find, opening
from ssinfnet_jax.inference import segment_scans

COLUMNS = ("scan", "format", "slices", "spacing_mm", "size", "kernel", "left_out")


def run(inputs: Sequence[pathlib.Path], choice: find.Choice | None = None) -> tuple[pd.DataFrame, int]:
    """Lists scans as `segment_scans.run` would find them; reads headers only and writes nothing.

    Returns: one row per scan: name, format, slices, spacing (slices x rows x columns), size (columns x rows), kernel,
      and why it would be left out or fail, "" if it would be segmented; and the number of files that are no scan.
    Raises: as `find.find`.
    """
    segment_scans.quieten()
    report = input_files.Report()
    rows = [_row(source) for source in find.find(inputs, report, choice)]
    return pd.DataFrame(sorted(rows, key=lambda row: row["scan"]), columns=list(COLUMNS)), report.num_left_out


def _row(source: find.Source) -> dict[str, Any]:
    row = dict.fromkeys(COLUMNS, "") | {"scan": source.name, "format": source.format, "kernel": source.kernel}
    try:
        if source.reason:
            raise ValueError(source.reason)
        if source.format in opening.VOLUMES:
            grid, _ = opening.read_grid(source.files[0])
        else:
            scan = source.open(source.path.parent)  # reads headers only, and unpacks nothing
            grid, row["slices"] = scan.grid, scan.num_slices
        if grid is None:
            row["size"] = " x ".join(map(str, scan.read(0).shape[::-1]))
        else:
            row["slices"], rows, columns = grid.view_shape
            row["size"] = f"{columns} x {rows}"
            row["spacing_mm"] = " x ".join(f"{side:.4g}" for side in grid.spacing_mm)
    except (ValueError, OSError) as error:
        row["left_out"] = input_files.readable(" ".join(str(error).split()))
    return row
