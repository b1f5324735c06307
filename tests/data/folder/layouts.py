"""Writes a few generated patients in every layout that users have."""

import json
import pathlib
from typing import NamedTuple

import numpy as np
from PIL import Image

from ssinfnet_jax.data import ct
from ssinfnet_jax.data.datasets.ct_phantom import volume
from ssinfnet_jax.data.readers.dicom import series as dicom
from ssinfnet_jax.inference.writers import dicom_seg

SIZE, NUM_SLICES = 64, 3
LABELS = "{1: ggo, 2: consolidation}"


class Patient(NamedTuple):
    """A generated patient: HU int16 and classes uint8 [columns, rows, slices], and where the voxels lie."""

    name: str
    hu: np.ndarray
    classes: np.ndarray
    affine: np.ndarray

    def view(self, values: np.ndarray) -> np.ndarray:
        """[slices, rows, columns] of the radiologist's view: stored to the left, to posterior, and upwards."""
        return values.transpose(2, 1, 0)


def patients(numbers=(7, 11, 3)) -> list[Patient]:
    return [Patient(f"p{number}", *volume.render(0, number, NUM_SLICES, SIZE)) for number in numbers]


def describe(root: pathlib.Path, text: str) -> pathlib.Path:
    root.mkdir(parents=True, exist_ok=True)
    (root / "dataset.yaml").write_text(text)
    return root


def nifti(path: pathlib.Path, values: np.ndarray, affine: np.ndarray) -> pathlib.Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    volume.write_nifti(path, values, affine)
    return path


def picture(path: pathlib.Path, values: np.ndarray) -> pathlib.Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(path)
    return path


def nifti_pairs(root: pathlib.Path, of: list[Patient]) -> pathlib.Path:
    """Two labeled patients, and the last without labels."""
    *labeled, other = of
    for one in labeled:
        nifti(root / f"images/{one.name}.nii.gz", one.hu, one.affine)
        nifti(root / f"masks/{one.name}_seg.nii.gz", one.classes, one.affine)
    nifti(root / f"more/{other.name}.nii", other.hu, other.affine)
    return describe(
        root,
        f"images: images/{{id}}.nii.gz\nmasks: masks/{{id}}_seg.nii.gz\nlabels: {LABELS}\n"
        "unlabeled: {images: 'more/{id}.{nifti}'}\n",
    )


def nnunet(root: pathlib.Path, of: list[Patient], version: int = 2) -> pathlib.Path:
    *labeled, other = of
    for one in labeled:
        nifti(root / f"imagesTr/{one.name}_0000.nii.gz", one.hu, one.affine)
        nifti(root / f"labelsTr/{one.name}.nii.gz", one.classes, one.affine)
    nifti(root / f"imagesTs/{other.name}_0000.nii.gz", other.hu, other.affine)
    names = {"background": 0, "GGO": 1, "Consolidation": 2}
    told = {"channel_names": {"0": "CT"}, "labels": names, "numTraining": 2, "file_ending": ".nii.gz"}
    if version == 1:
        told = {"name": "COVID", "modality": {"0": "CT"}, "labels": {str(value): name for name, value in names.items()}}
    (root / "dataset.json").write_text(json.dumps(told))
    return root


def dicom_seg_pairs(root: pathlib.Path, of: list[Patient]) -> pathlib.Path:
    """Series with DICOM-SEG; the second patient's mask is NIfTI, stored along other axes."""
    (first, second, other) = of
    for one in of:
        volume.write_dicom(root / "ct" / one.name, one.hu, one.affine, patient_id=one.name)
    (root / "seg").mkdir()
    series = dicom.read(sorted((root / "ct" / first.name).iterdir()))
    stored = np.zeros(series.grid.shape, np.uint8)
    for index, view in enumerate(first.view(first.classes)):
        stored[series.grid.source_slice(index)] = series.grid.to_source(view)
    dicom_seg.write(root / "seg" / f"{first.name}.dcm", stored, series)
    flipped = second.affine @ np.array([[1, 0, 0, 0], [0, -1, 0, SIZE - 1], [0, 0, 1, 0], [0, 0, 0, 1]])
    nifti(root / "nifti" / f"{second.name}.nii.gz", second.classes[:, ::-1], flipped)
    return describe(
        root,
        "labeled:\n"
        f"  - {{images: 'ct/{{id:{first.name}}}/', masks: 'seg/{{id}}.dcm'}}\n"
        f"  - {{images: 'ct/{{id:{second.name}}}/', masks: 'nifti/{{id}}.nii.gz', labels: {LABELS}}}\n"
        f"unlabeled: {{images: 'ct/{{id:{other.name}}}/'}}\n",
    )


def pictures(root: pathlib.Path, of: list[Patient]) -> pathlib.Path:
    """One file per slice, GGO and consolidation apart, lying on their side as COVID-SemiSeg does."""
    for number, one in enumerate(of):
        for index, (hu, classes) in enumerate(zip(one.view(one.hu), one.view(one.classes), strict=True)):
            name = f"{one.name}_{index:03d}.png"
            picture(root / ("more" if number == 2 else "images") / name, ct.window_hu(hu).T)
            if number < 2:
                picture(root / "ggo" / name, ((classes == 1) * 255).astype(np.uint8).T)
                picture(root / "consolidation" / name, (classes == 2).astype(np.uint8).T)
    return describe(
        root,
        "images: 'images/{patient}_{slice:[0-9]+}.{picture}'\norientation: LP\n"
        "masks: {ggo: 'ggo/{patient}_{slice}.png', consolidation: 'consolidation/{patient}_{slice}.png'}\n"
        "unlabeled: {images: 'more/{patient}_{slice:[0-9]+}.{picture}'}\n",
    )


def table_of_patients(root: pathlib.Path, of: list[Patient]) -> pathlib.Path:
    """Volumes of unrelated names; tables say whose they are, and who the patients are."""
    rows, clinical = ["file,patient_id"], ["Patient,Age,Gender,Underlying diseases,Severity"]
    for number, one in enumerate(of):
        folder = "cohort" if number == 2 else "scans"
        nifti(root / folder / f"scan{number}.nii.gz", one.hu, one.affine)
        if number < 2:
            nifti(root / "labels" / f"scan{number}.nii.gz", one.classes, one.affine)
        rows.append(f"{folder}/scan{number}.nii.gz,{one.name}")
        clinical.append(f"{one.name},{60 + number},Female,None,Mild")
    root.joinpath("files.csv").write_text("\n".join(rows) + "\n")
    root.joinpath("clinical.csv").write_text("\n".join(clinical) + "\n")
    return describe(
        root,
        f"images: 'scans/{{id}}.nii.gz'\nmasks: 'labels/{{id}}.nii.gz'\nlabels: {LABELS}\n"
        "cohort: {images: 'cohort/{id}.nii.gz'}\npatients: files.csv\ntable: clinical.csv\n",
    )


LAYOUTS = {
    "nifti_pairs": nifti_pairs,
    "nnunet_2": nnunet,
    "nnunet_1": lambda root, of: nnunet(root, of, version=1),
    "dicom_seg": dicom_seg_pairs,
    "pictures": pictures,
    "table": table_of_patients,
}
