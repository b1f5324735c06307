"""Radiomic phenotypes: one stage of `launch.pipeline`, with the same flags; or of a folder, without any run.

python -m launch.phenotypes --images=FOLDER --masks=FOLDER --out=DIR

writes slices.csv, patients.csv, the same as Parquet, about.json and unused_files.csv to DIR. The same command goes on
where it was stopped, and computes what is new or has changed; the exit code is 1 if a slice failed. Images are PNG, JPG
or NIfTI; a mask has the name of its image, is PNG or NIfTI, and holds 0 background, 1 GGO, 2 consolidation.
"""

import json
import pathlib
import sys
from typing import Any

from absl import flags

from launch import dask_flags, paths
from ssinfnet_jax import rundir
from ssinfnet_jax.analysis import phenotypes
from ssinfnet_jax.analysis.phenotypes import folder
from ssinfnet_jax.data import input_files, labels

_IMAGES = flags.DEFINE_string("images", None, "Folder of slices or volumes; takes the place of config and workdir.")
_MASKS = flags.DEFINE_string("masks", None, "Folder of masks of the same names; with --images.")
_OUT = flags.DEFINE_string("out", None, "Folder to write to; with --images.")
_PRESET = flags.DEFINE_enum(
    "preset", "eight_bit", list(phenotypes.PRESETS), "Grey levels, or Hounsfield units (NIfTI only); with --images."
)
_SETTINGS = flags.DEFINE_string("settings", None, "JSON file: what to change in the preset; with --images.")
_PATIENTS = flags.DEFINE_string(
    "patients",
    None,
    "CSV or XLSX file with columns file, patient_id, or a regular expression with one group, sought in the file's "
    "path. Without it a subfolder is a patient, a file that is in none, and a scan of launch.segment; with --images.",
)
_SPACING = flags.DEFINE_list("spacing_mm", None, "Height and width of a pixel of PNG and JPG; with --images.")
_IGNORE_GEOMETRY = flags.DEFINE_boolean(
    "ignore_mask_geometry",
    False,
    "Pairs the voxels of a NIfTI image and its mask as they are stored, where the mask's header does not place them on "
    "the image; with --images.",
)
_AGGREGATION = flags.DEFINE_enum("aggregation", "slice_mean", phenotypes.HOW, "From slices to patients; with --images.")
_EMPTY_AREA = flags.DEFINE_enum(
    "empty_area", "zero", phenotypes.EMPTY_AREA, "Area of a region that a slice does not have; with --images."
)


def measure_folder() -> None:
    """Measures the slices of the flags, writes the tables, and says what is in them.

    Raises: ValueError or OSError for what cannot be measured, see folder.items() and phenotypes.measure().
    """
    paths.check_given(_IMAGES, _MASKS, _OUT)
    if not _MASKS.value or not _OUT.value:
        raise ValueError("With --images, give --masks (a folder) and --out (a folder).")
    settings, report = phenotypes.make(_PRESET.value, _changes()), input_files.Report()
    items = folder.items(
        _IMAGES.value,
        _MASKS.value,
        preset=_PRESET.value,
        patients=_PATIENTS.value,
        spacing_mm=_spacing_mm(),
        voxel_by_voxel=_IGNORE_GEOMETRY.value,
        report=report,
    )
    out = pathlib.Path(_OUT.value)
    with rundir.holding(out):
        work = phenotypes.Work(
            parts_dir=out / "parts",
            provenance={
                "spacing_mm": _SPACING.value,
                "masks": labels.OUR_CLASSES.name,
                "ignore_mask_geometry": _IGNORE_GEOMETRY.value,
            },
            **dask_flags.options(),
        )
        tables = phenotypes.measure(
            items, settings=settings, how=_AGGREGATION.value, empty_area=_EMPTY_AREA.value, work=work
        )
        tables.about["notes"] = report.notes
        tables.write(out)
        failed = tables.slices.loc[tables.slices["error"] != "", "error"]
        folder.leave_out_failed(items, tables.slices["error"].tolist(), report)
        report.write(out)
    print(tables.summary().to_string(index=False))
    print(f"{len(tables.slices)} slices of {len(tables.patients)} patients, {_AGGREGATION.value}. Written to {out}.")
    if len(failed):
        sys.exit(f"{len(failed)} slices failed; the reasons are in {out / 'slices.csv'}, column error.")


def _changes() -> dict[str, Any]:
    if _SETTINGS.value is None:
        return {}
    try:
        changes = json.loads(pathlib.Path(_SETTINGS.value).read_text())
    except OSError as error:
        raise ValueError(f"--settings={_SETTINGS.value} cannot be read ({error.strerror}).") from error
    except json.JSONDecodeError as error:
        raise ValueError(f"{_SETTINGS.value} is not JSON: {error}.") from error
    if not isinstance(changes, dict):
        raise ValueError(f'{_SETTINGS.value} must hold an object, as {{"bin_width": 4}}; found {changes!r:.80}.')
    return changes


def _spacing_mm() -> tuple[float, float] | None:
    if _SPACING.value is None:
        return None
    try:
        height, width = map(float, _SPACING.value)
    except ValueError:
        raise ValueError(f"--spacing_mm={','.join(_SPACING.value)} must be two lengths, as 0.7,0.7.") from None
    return height, width


if __name__ == "__main__":
    from launch import stages  # here, because worker processes load this file and need no network

    stages.main("phenotypes", instead=("images", measure_folder))
