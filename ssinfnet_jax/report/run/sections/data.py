"""The data of a run: slices and patients per split, clinical columns."""

import pandas as pd

from ssinfnet_jax.report.kit import blocks, table_files
from ssinfnet_jax.report.run import data_tables, run_files


def build(run: run_files.Run) -> blocks.Section:
    """Section with the splits, a check that they share no patient, and the clinical columns."""
    section = blocks.Section("data", "Data", "Data")
    section.add("note", run.stages["prepare"].reason)
    slices = run.slices
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
    doubtful = _doubtful_diseases(run)
    if doubtful:
        listed = "; ".join(doubtful[:10]) + (" …" if len(doubtful) > 10 else "")
        section.add(
            "warning",
            f"{blocks.count(len(doubtful), 'entry', 'entries')} of underlying diseases can be counted in several ways: "
            f"{listed}.",
        )
    return section


def _doubtful_diseases(run: run_files.Run) -> list[str]:
    """Doubtful names of diseases that the dataset builders noted: text, number of patients, count, reason."""
    notes = [table_files.read_json(path) for path in sorted(run.path("data").glob("**/notes.json"))]
    return [text for note in notes for text in note.get("doubtful diseases", {})]


def _separation(slices: pd.DataFrame) -> str:
    """States how far patients are separated, which depends on the ids of the source."""
    labeled = slices[slices["split"].isin(["train", "val", "test"])]
    if labeled["patient_id"].is_unique:
        return (
            "Every labeled slice has its own patient id. If the source does not identify patients, slices of one "
            "person may be on both sides of the split."
        )
    return "No patient id is in more than one of train, val and test."
