"""Measures a folder of images and masks outside of a run: tables, their settings, and a list of unused files."""

import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from ssinfnet_jax import rundir
from ssinfnet_jax.analysis.phenotypes import folder
from ssinfnet_jax.analysis.phenotypes.aggregation import HOW
from ssinfnet_jax.analysis.phenotypes.cohort import Tables, measure
from ssinfnet_jax.analysis.phenotypes.settings import make
from ssinfnet_jax.analysis.phenotypes.tabulation import Work
from ssinfnet_jax.data import input_files


def run(
    images: str,
    masks: str,
    out_dir: pathlib.Path,
    *,
    preset: str = "eight_bit",
    settings: str | None = None,
    patients: str | None = None,
    spacing_mm: Sequence[str] | None = None,
    voxel_by_voxel: bool = False,
    how: str = HOW[0],
    empty_area: str = "zero",
    workers: Mapping[str, Any] | None = None,
) -> Tables:
    """Measures the slices that are new or have changed, and writes the tables of all.

    Args:
      images, masks, preset, patients, voxel_by_voxel: see folder.items().
      out_dir: folder to write to.
      settings: JSON file with changes to the preset.
      spacing_mm: height and width of a pixel of PNG and JPG, as text.
      how, empty_area: see measure().
      workers: `scheduler` and `num_workers` of Work.
    Raises: ValueError or OSError for invalid input, see folder.items() and measure().
    """
    made, report = make(preset, {} if settings is None else _read_settings(settings)), input_files.Report()
    items = folder.items(
        images, masks, preset=preset, patients=patients, spacing_mm=_lengths(spacing_mm),
        voxel_by_voxel=voxel_by_voxel, report=report,
    )  # fmt: skip
    with rundir.holding(out_dir):
        masks_are = {"masks": "classes 0/1/2", "ignore_mask_geometry": voxel_by_voxel}
        provenance = {"spacing_mm": spacing_mm, **masks_are}
        work = Work(parts_dir=out_dir / "parts", provenance=provenance, **(workers or {}))
        tables = measure(items, settings=made, how=how, empty_area=empty_area, work=work)
        tables.about["notes"] = report.notes
        tables.write(out_dir)
        folder.leave_out_failed(items, tables.slices["error"].tolist(), report)
        report.write(out_dir)
    return tables


def _read_settings(path: str) -> dict[str, Any]:
    try:
        changes = json.loads(pathlib.Path(path).read_text())
    except OSError as error:
        raise ValueError(f"--settings={path} cannot be read ({error.strerror}).") from error
    except json.JSONDecodeError as error:
        raise ValueError(f"{path} is not JSON: {error}.") from error
    if not isinstance(changes, dict):
        raise ValueError(f'{path} must contain a JSON object, such as {{"bin_width": 4}}; found {changes!r:.80}.')
    return changes


def _lengths(spacing_mm: Sequence[str] | None) -> tuple[float, float] | None:
    if spacing_mm is None:
        return None
    try:
        height, width = map(float, spacing_mm)
    except ValueError:
        raise ValueError(f"--spacing_mm={','.join(spacing_mm)} must be two lengths, such as 0.7,0.7.") from None
    return height, width
