"""The data of a run: slices and patients per split, clinical columns."""

import pandas as pd

from ssinfnet_jax.report import blocks, data_tables, run_files


def build(run: run_files.Run) -> blocks.Section:
    """Section with the splits, whether they share patients, and the clinical columns."""
    section = blocks.Section("data", "Data", "Data")
    section.add("note", run.stages["prepare"].reason)
    slices = run.csv("prepare/slices.csv", ("slice_id", "patient_id", "split"))
    if slices is None:
        return section
    section.add("table", data_tables.splits(slices))
    shared = data_tables.shared_patients(slices)
    if shared:
        listed = ", ".join(shared[:10]) + (" …" if len(shared) > 10 else "")
        section.add(
            "warning", f"{blocks.count(len(shared), 'patient')} in more than one of train, val, test: {listed}."
        )
    else:
        section.add("text", _separation(slices))
    section.add("table", data_tables.clinical(slices))
    return section


def _separation(slices: pd.DataFrame) -> str:
    """What the split by patient guarantees: no more than the source says of patients."""
    labeled = slices[slices["split"].isin(["train", "val", "test"])]
    if labeled["patient_id"].is_unique:
        return (
            "Every labeled slice has a patient id of its own. If the source does not tell patients apart, slices of "
            "one person may be on both sides of the split."
        )
    return "No patient id is in more than one of train, val and test."
