"""Radiomic phenotypes: one stage of `launch.pipeline`, with the same flags; or of a folder, without a run.

python -m launch.phenotypes --images=FOLDER --masks=FOLDER --out=DIR

writes slices.csv, patients.csv, both as Parquet too, about.json and unused_files.csv to DIR. Run the same command again
to resume, or to update new and changed slices; the exit code is 1 if a slice failed. Images are PNG, JPG or volumes
(NIfTI, NRRD, MetaImage, DICOM series in folders). A mask has the name of its image, or of its folder of DICOM; it has
0 background, 1 GGO, 2 consolidation, or names its segments so (.seg.nrrd, DICOM-SEG).
"""

import pathlib
import sys

from absl import flags

from launch import dask_flags, paths
from ssinfnet_jax.analysis import phenotypes
from ssinfnet_jax.analysis.phenotypes import measure_folder

_IMAGES = flags.DEFINE_string("images", None, "Folder of slices or volumes; replaces --config and --workdir.")
_MASKS = flags.DEFINE_string("masks", None, "Folder of masks with the same names; with --images.")
_OUT = flags.DEFINE_string("out", None, "Folder to write to; with --images.")
_PRESET = flags.DEFINE_enum(
    "preset", "eight_bit", list(phenotypes.PRESETS), "Grey levels, or Hounsfield units (volumes only); with --images."
)
_SETTINGS = flags.DEFINE_string("settings", None, "JSON file with changes to the preset; with --images.")
_PATIENTS = flags.DEFINE_string(
    "patients",
    None,
    "CSV or XLSX file with columns file, patient_id, or a regular expression whose one group finds the patient in a "
    "file's path. By default each subfolder, each file outside subfolders, and each scan of launch.segment is a "
    "patient; with --images.",
)
_SPACING = flags.DEFINE_list("spacing_mm", None, "Height and width of a pixel in PNG and JPG; with --images.")
_IGNORE_GEOMETRY = flags.DEFINE_boolean(
    "ignore_mask_geometry",
    False,
    "Pair the voxels of a volume and its mask in stored order if the mask's header does not place them on the image; "
    "with --images.",
)
_AGGREGATION = flags.DEFINE_enum("aggregation", "slice_mean", phenotypes.HOW, "From slices to patients; with --images.")
_EMPTY_AREA = flags.DEFINE_enum(
    "empty_area", "zero", phenotypes.EMPTY_AREA, "Area of a region that a slice lacks; with --images."
)


def measure() -> None:
    """Measures the slices, writes the tables and prints a summary.

    Raises: as for `measure_folder.run`.
    """
    paths.check_given(_IMAGES, _MASKS, _OUT)
    if not _MASKS.value or not _OUT.value:
        raise ValueError("With --images, give --masks (a folder) and --out (a folder).")
    tables = measure_folder.run(
        _IMAGES.value,
        _MASKS.value,
        pathlib.Path(_OUT.value),
        preset=_PRESET.value,
        settings=_SETTINGS.value,
        patients=_PATIENTS.value,
        spacing_mm=_SPACING.value,
        voxel_by_voxel=_IGNORE_GEOMETRY.value,
        how=_AGGREGATION.value,
        empty_area=_EMPTY_AREA.value,
        workers=dask_flags.options(),
    )
    print(tables.summary().to_string(index=False))
    num_slices, num_patients = len(tables.slices), len(tables.patients)
    print(f"{num_slices} slices of {num_patients} patients, {_AGGREGATION.value}. Written to {_OUT.value}.")
    if failed := int((tables.slices["error"] != "").sum()):
        sys.exit(f"{failed} slices failed; see the reasons in {pathlib.Path(_OUT.value) / 'slices.csv'}, column error.")


if __name__ == "__main__":
    from launch import stages  # here, because worker processes import this file and need no networks

    stages.main("phenotypes", instead=("images", measure))
