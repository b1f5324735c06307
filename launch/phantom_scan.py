"""Generates a chest CT for trying launch.segment: a DICOM series, a NIfTI volume, and the true lesions.

python -m launch.phantom_scan --out=DIR [--patient=7 --num_slices=40 --size=256]
"""

import pathlib

from absl import flags

from launch import errors
from ssinfnet_jax.data.datasets.ct_phantom import volume

_OUT = flags.DEFINE_string("out", None, "Folder to write to; must not exist.", required=True)
_PATIENT = flags.DEFINE_integer("patient", 7, "Number of the patient in the generated population.", 0)
_NUM_SLICES = flags.DEFINE_integer("num_slices", 40, "Slices of 5 mm.", 1)
_SIZE = flags.DEFINE_integer("size", 256, "Pixels per side of a slice of 360 mm.", 32)


def main() -> None:
    """Writes dicom/, nifti/ and truth.nii.gz."""
    out = pathlib.Path(_OUT.value)
    if out.exists():
        raise ValueError(f"{out} exists already; name a new folder, or delete it first.")
    hu, classes, affine = volume.render(0, _PATIENT.value, _NUM_SLICES.value, _SIZE.value)
    volume.write_dicom(out / "dicom" / f"phantom{_PATIENT.value}", hu, affine, patient_id=f"phantom{_PATIENT.value}")
    (out / "nifti").mkdir()
    volume.write_nifti(out / "nifti" / f"phantom{_PATIENT.value}.nii.gz", hu, affine)
    volume.write_nifti(out / "truth.nii.gz", classes, affine)
    print(f"Written to {out}: dicom/, nifti/ and truth.nii.gz (0 background, 1 GGO, 2 consolidation).")


if __name__ == "__main__":
    errors.run(main)
