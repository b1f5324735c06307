"""Checks a folder of images and masks for errors and suspicious values before training.

python -m launch.check_data --data_dir=FOLDER [--out=DIR]

reads the folder's description (`dataset.yaml`, or nnU-Net's `dataset.json`; docs/own_data.md) and writes a page with a
contact sheet to DIR. Flags can describe simple folders; --save writes them to `dataset.yaml`:

python -m launch.check_data --data_dir=FOLDER --images='images/{id}.nii.gz' --masks='masks/{id}.nii.gz' \\
    --labels=1:ggo,2:consolidation --save

The exit code is 1 if there are errors, which training would refuse too.
"""

import pathlib
import sys

from absl import flags, logging

from launch import errors, paths
from ssinfnet_jax.report.data_check import checked, page

_DATA_DIR = flags.DEFINE_string("data_dir", None, "Folder of the data.", required=True)
_OUT = flags.DEFINE_string("out", None, "Folder for the page and the tables; default: only print text.")
_DATASET = flags.DEFINE_string("dataset", "folder", '"folder", or the name of a public dataset, such as medseg.')
_IMAGES = flags.DEFINE_string("images", None, "Pattern of the images, instead of dataset.yaml.")
_MASKS = flags.DEFINE_string("masks", None, "Pattern of the masks, with --images.")
_LABELS = flags.DEFINE_list("labels", [], "Meanings of the values in masks, with --masks: 1:ggo,2:consolidation.")
_PATIENT = flags.DEFINE_string("patient", None, "Template of the patient over the fields of --images.")
_SAVE = flags.DEFINE_boolean(
    "save", False, "Write the description in the flags to dataset.yaml, unless there are errors."
)


def _told() -> dict[str, object] | None:
    """The description in the flags, or None."""
    labels = [pair.partition(":") for pair in _LABELS.value]
    if wrong := [value for value, colon, _ in labels if not colon or not value.strip().isdecimal()]:
        raise ValueError(f"--labels={','.join(_LABELS.value)}: {wrong[0]!r} is not VALUE:MEANING, such as 1:ggo.")
    told = {"images": _IMAGES.value, "masks": _MASKS.value, "patient": _PATIENT.value}
    told["labels"] = {int(value): meaning.strip() for value, _, meaning in labels}
    told = {key: value for key, value in told.items() if value}
    if (told or _SAVE.value) and not _IMAGES.value:
        raise ValueError("--masks, --labels, --patient and --save go with --images; give it, or write a dataset.yaml.")
    return told or None


def main() -> None:
    """Checks the data and prints the findings."""
    logging.set_verbosity(logging.WARNING)
    paths.check_given(_DATA_DIR, _OUT, _IMAGES, _MASKS)
    out_dir = pathlib.Path(_OUT.value) if _OUT.value else None
    root = pathlib.Path(_DATA_DIR.value).expanduser()
    inspected = checked.run(root, out_dir, name=_DATASET.value, told=_told(), save=_SAVE.value)
    print(page.summary(inspected).to_string(index=False))
    for level in ("warning", "error"):
        for finding in inspected.findings.of(level):
            print(f"{level.upper()} ({finding.kind}): {finding.sentence}")
    if out_dir:
        print(f"Page: {out_dir / page.PAGE}")
    if num_errors := len(inspected.findings.of("error")):
        sys.exit(f"{num_errors} errors; fix them and check again.")


if __name__ == "__main__":
    errors.run(main)
