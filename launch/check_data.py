"""What is in a folder of images and masks, and what is wrong or suspicious, before anything is trained.

python -m launch.check_data --data_dir=FOLDER [--out=DIR]

reads the description of the folder (`dataset.yaml`, or the `dataset.json` of nnU-Net; docs/own_data.md), and writes a
page with a contact sheet to DIR. Simple folders can be described by flags, which --save writes to `dataset.yaml`:

python -m launch.check_data --data_dir=FOLDER --images='images/{id}.nii.gz' --masks='masks/{id}.nii.gz' \\
    --labels=1:ggo,2:consolidation --save

The exit code is 1 if there are errors; training would refuse them too.
"""

import pathlib
import sys
from collections.abc import Sequence

from absl import app, flags, logging

from launch import paths
from ssinfnet_jax.report.data_check import checked, page

_DATA_DIR = flags.DEFINE_string("data_dir", None, "Folder of the data.", required=True)
_OUT = flags.DEFINE_string("out", None, "Folder for the page and the tables; none: the text alone.")
_DATASET = flags.DEFINE_string("dataset", "folder", "Or the name of a public dataset, such as medseg.")
_IMAGES = flags.DEFINE_string("images", None, "Pattern of the images, in place of dataset.yaml.")
_MASKS = flags.DEFINE_string("masks", None, "Pattern of the masks, with --images.")
_LABELS = flags.DEFINE_list("labels", [], "What the values of the masks mean, with --masks: 1:ggo,2:consolidation.")
_PATIENT = flags.DEFINE_string("patient", None, "Template of the patient over the fields of --images.")
_SAVE = flags.DEFINE_boolean("save", False, "Writes what the flags say to dataset.yaml, unless there are errors.")


def _told() -> dict[str, object] | None:
    """The description that the flags give, if they do."""
    labels = [pair.partition(":") for pair in _LABELS.value]
    if wrong := [value for value, colon, _ in labels if not colon or not value.strip().isdecimal()]:
        raise ValueError(f"--labels={','.join(_LABELS.value)}: {wrong[0]!r} is no VALUE:MEANING, such as 1:ggo.")
    told = {"images": _IMAGES.value, "masks": _MASKS.value, "patient": _PATIENT.value}
    told["labels"] = {int(value): meaning.strip() for value, _, meaning in labels}
    told = {key: value for key, value in told.items() if value}
    if (told or _SAVE.value) and not _IMAGES.value:
        raise ValueError("--masks, --labels, --patient and --save go with --images; give it, or write a dataset.yaml.")
    return told or None


def main(argv: Sequence[str]) -> None:
    """Checks the data, and says what was found."""
    if len(argv) > 1:
        raise app.UsageError(f"Unexpected arguments: {argv[1:]}")
    logging.set_verbosity(logging.WARNING)
    try:
        paths.check_given(_DATA_DIR, _OUT, _IMAGES, _MASKS)
        out_dir = pathlib.Path(_OUT.value) if _OUT.value else None
        root = pathlib.Path(_DATA_DIR.value).expanduser()
        inspected = checked.run(root, out_dir, name=_DATASET.value, told=_told(), save=_SAVE.value)
    except (ValueError, OSError) as error:
        sys.exit(f"Error: {error}")
    print(page.summary(inspected).to_string(index=False))
    for level in ("warning", "error"):
        for finding in inspected.findings.of(level):
            print(f"{level.upper()} ({finding.kind}): {finding.sentence}")
    if out_dir:
        print(f"Page: {out_dir / page.PAGE}")
    if errors := len(inspected.findings.of("error")):
        sys.exit(f"{errors} errors; mend them and check again.")


if __name__ == "__main__":
    app.run(main)
