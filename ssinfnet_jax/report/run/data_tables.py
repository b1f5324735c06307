"""Tables of the patients and slices of a dataset."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from ssinfnet_jax.data.stage_files import VOLUME
from ssinfnet_jax.report.kit import table_files, tables

_CLINICAL = {
    "age": "Age (years)",
    "gender": "Gender",
    "underlying": "Underlying diseases (number)",
    "severity_level": "Severity level",
}


def splits(slices: pd.DataFrame) -> tables.Table:
    """Numbers of slices, patients and labels per split and in total.

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
    """Patients who are in several of the splits `between`, which must not share any.

    Args:
      slices: prepare/slices.csv.
      between: names of splits.
    """
    num_splits = slices[slices["split"].isin(list(between))].groupby("patient_id")["split"].nunique()
    return sorted(str(patient) for patient in num_splits.index[num_splits > 1])


def clinical(slices: pd.DataFrame) -> tables.Table | None:
    """Clinical columns over patients: mean (SD) and range, or counts of values; None if there are none.

    Args:
      slices: prepare/slices.csv; every column outside the schema counts as clinical.
    """
    schema = {"slice_id", "patient_id", "part", "split", "has_lesion", "has_classes", "has_ignore", "pretrain"} | {
        *VOLUME
    }
    names = [name for name in slices if name not in schema and slices[name].notna().any()]
    patients = slices.drop_duplicates("patient_id")
    rows = []
    for name in names:
        known = patients[name].dropna()
        known = known.map({0: "female", 1: "male"}) if name == "gender" and known.isin([0, 1]).all() else known
        numeric = pd.api.types.is_numeric_dtype(known) and not pd.api.types.is_bool_dtype(known)
        if numeric and known.nunique() > 2:
            text = f"mean {tables.number(known.mean())} (SD {tables.number(known.std())}), "
            text += f"{tables.number(known.min())} to {tables.number(known.max())}"
        else:
            counts = known.value_counts()
            text = ", ".join(f"{_label(value)}: {count}" for value, count in counts.head(8).items())
            text += f" and {len(counts) - 8} more values" if len(counts) > 8 else ""
        counts = [tables.number_cell(count) for count in (len(known), len(patients) - len(known))]
        rows.append([tables.text_cell(_CLINICAL.get(name, name)), *counts, tables.Cell(text, text)])
    heads = {"Column": False, "Patients": True, "Missing": True, "Values": False}
    columns = [tables.Column(head, numeric) for head, numeric in heads.items()]
    return tables.Table("Clinical columns; every patient counts once.", columns, rows) if rows else None


def _label(value: Any) -> str:
    return tables.number(value) if isinstance(value, (int, float, np.number)) else str(value)
