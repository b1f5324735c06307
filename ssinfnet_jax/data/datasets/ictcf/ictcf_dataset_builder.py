"""ICTCF, read from patient folders and a clinical table; see the README beside this file."""

import functools
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import tensorflow_datasets as tfds

from ssinfnet_jax.data import ct
from ssinfnet_jax.data.clinical import clinical_table
from ssinfnet_jax.data.datasets import slice_builder

_IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png")
_TABLE_SUFFIXES = (".csv", ".xlsx")


class Builder(slice_builder.SliceBuilder):
    """Reads one folder `Patient N` per patient, anywhere below the source folder, and one clinical table in it."""

    VERSION = tfds.core.Version("1.0.0")
    BUILDER_CONFIGS = [  # noqa: RUF012
        tfds.core.BuilderConfig(name="default", description="All slices at their own size.")
    ]

    def list_slices(self, source_dir: Path | None) -> Sequence[slice_builder.Slice]:
        """Lists the slices of all patients that have both a folder and a row in the clinical table."""
        table = clinical_table.read_clinical(_find_table(source_dir))
        for doubt in table.attrs["doubts"]:
            self.note(
                "doubtful diseases", f"{doubt['text']!r} ({doubt['patients']}x): {doubt['count']:g}; {doubt['why']}"
            )
        folders = _find_patients(source_dir)
        for patient in sorted(set(folders) - set(table.index), key=_number):
            self.note(
                "left out",
                f"patient {patient}: folder {folders[patient].name} has no row in the clinical table",
            )
        for patient in sorted(set(table.index) - set(folders), key=_number):
            self.note("left out", f"patient {patient}: in the clinical table, but has no folder")
        both = sorted(set(folders) & set(table.index), key=_number)
        if not both:
            raise ValueError(
                f"No patient of {source_dir} has both a row in the clinical table ({len(table)} rows) and a folder "
                f"({len(folders)} folders `Patient N`); the numbers N must agree with the table's "
                "patient column."
            )
        return [item for patient in both for item in self._list_patient(patient, folders[patient], table.loc[patient])]

    def _list_patient(self, patient: str, folder: Path, row: pd.Series) -> list[slice_builder.Slice]:
        files = sorted(
            (f for f in folder.rglob("*") if f.suffix.lower() in _IMAGE_SUFFIXES),
            key=lambda f: (f.parent.as_posix(), len(f.name), f.name),
        )
        if not files:
            self.note("left out", f"patient {patient}: folder {folder.name} holds no images")
        known = {name: value for name, value in row.items() if value != "" and not _is_nan(value)}
        known |= {name: int(known[name]) for name in ("gender", "underlying") if name in known}
        return [
            slice_builder.Slice(
                slice_id=f"patient_{patient}/{file.relative_to(folder).with_suffix('').as_posix()}",
                patient_id=f"patient_{patient}",
                part="cohort",
                read=functools.partial(_read_image, file),
                clinical=known,
            )
            for file in files
        ]


def _find_table(source_dir: Path) -> Path:
    tables = sorted(
        f for f in source_dir.iterdir() if f.suffix.lower() in _TABLE_SUFFIXES and not f.name.startswith("~")
    )
    if len(tables) != 1:
        found = ", ".join(f.name for f in tables) or "none"
        raise ValueError(
            f"{source_dir} must hold exactly one clinical table ({' or '.join(_TABLE_SUFFIXES)}); found "
            f"{found}. Put it beside the patient folders and move other tables away."
        )
    return tables[0]


def _find_patients(source_dir: Path) -> dict[str, Path]:
    folders: dict[str, Path] = {}
    for folder in sorted(source_dir.rglob("*")):
        if not folder.is_dir() or not re.fullmatch(r"patient[\s_-]*\d+", folder.name, flags=re.IGNORECASE):
            continue
        patient = clinical_table.patient_key(folder.name)
        if patient in folders:
            raise ValueError(
                f"Patient {patient} has two folders, {folders[patient]} and {folder}; merge or remove one."
            )
        folders[patient] = folder
    if not folders:
        raise ValueError(f"{source_dir} holds no patient folders; expected folders named `Patient 1`, `Patient 2`, ...")
    return folders


def _read_image(file: Path) -> Mapping[str, np.ndarray]:
    return {"image": ct.read_image(file)}


def _number(patient: str) -> tuple[int, str]:
    return (int(patient), "") if patient.isdigit() else (math.inf, patient)


def _is_nan(value: object) -> bool:
    return isinstance(value, float) and math.isnan(value)
