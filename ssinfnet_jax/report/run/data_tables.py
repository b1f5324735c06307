"""Tables of the report page for the patients and slices of a data set."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from ssinfnet_jax.report.kit import table_files, tables

_CLINICAL = {
    "age": "Age (years)",
    "gender": "Gender",
    "underlying": "Underlying diseases (number)",
    "severity_level": "Severity level",
}


def splits(slices: pd.DataFrame) -> tables.Table:
    """Slices, patients and labels per split, and in all.

    Args:
      slices: prepare/slices.csv.
    """
    order = {"train": 0, "val": 1, "test": 2, "pretrain": 3, "cohort": 4}
    names = sorted(slices["split"].dropna().unique(), key=lambda name: (order.get(name, 9), str(name)))
    parts = [(str(name), slices[slices["split"] == name]) for name in names] + [("All, each once", slices)]
    counted = {"has_lesion": "With lesion label", "has_classes": "With GGO / consolidation label"}
    counted = {name: head for name, head in counted.items() if name in slices}
    columns = [tables.Column("Split"), tables.Column("Patients", True), tables.Column("Slices", True)]
    columns += [tables.Column(head, True) for head in counted.values()]
    healthy = "severity_level" in slices
    columns += [tables.Column("Healthy controls (patients)", True)] if healthy else []
    rows = []
    for name, part in parts:
        part = part.drop_duplicates("slice_id")
        counts = [part["patient_id"].nunique(), len(part), *(table_files.as_bool(part[key]).sum() for key in counted)]
        if healthy:
            well = part["severity_level"].astype(str).str.lower().str.contains("healthy")
            counts.append(part.loc[well, "patient_id"].nunique())
        rows.append([tables.text_cell(name), *(tables.number_cell(int(count)) for count in counts)])
    return tables.Table("Patients and slices of each split.", columns, rows)


def shared_patients(slices: pd.DataFrame, between: Sequence[str] = ("train", "val", "test")) -> list[str]:
    """Patients who are in more than one of the given splits: there should be none.

    Args:
      slices: prepare/slices.csv.
      between: splits that must not share a patient.
    """
    held = slices[slices["split"].isin(list(between))].groupby("patient_id")["split"].nunique()
    return sorted(str(patient) for patient in held.index[held > 1])


def clinical(slices: pd.DataFrame) -> tables.Table | None:
    """Each clinical column over patients: mean (SD) and range, or counts; None without such columns.

    Args:
      slices: prepare/slices.csv; all columns that are not of the schema count as clinical.
    """
    schema = {"slice_id", "patient_id", "part", "split", "has_lesion", "has_classes", "has_ignore", "pretrain"}
    names = [name for name in slices if name not in schema and slices[name].notna().any()]
    patients = slices.drop_duplicates("patient_id")
    rows = []
    for name in names:
        held = patients[name].dropna()
        held = held.map({0: "female", 1: "male"}) if name == "gender" and held.isin([0, 1]).all() else held
        numeric = pd.api.types.is_numeric_dtype(held) and not pd.api.types.is_bool_dtype(held)
        if numeric and held.nunique() > 2:
            text = f"mean {tables.number(held.mean())} (SD {tables.number(held.std())}), "
            text += f"{tables.number(held.min())} to {tables.number(held.max())}"
        else:
            counts = held.value_counts()
            text = ", ".join(f"{_label(value)}: {count}" for value, count in counts.head(8).items())
            text += f" and {len(counts) - 8} more values" if len(counts) > 8 else ""
        missing = len(patients) - len(held)
        rows.append(
            [
                tables.text_cell(_CLINICAL.get(name, name)),
                tables.number_cell(len(held)),
                tables.number_cell(missing),
                tables.Cell(text, text),
            ]
        )
    columns = [
        tables.Column("Column"),
        tables.Column("Patients", True),
        tables.Column("Missing", True),
        tables.Column("Values"),
    ]
    return tables.Table("Clinical columns, every patient counted once.", columns, rows) if rows else None


def _label(value: Any) -> str:
    return tables.number(value) if isinstance(value, (int, float, np.number)) else str(value)
