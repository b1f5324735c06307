"""The cohort: its predicted lesions and their phenotypes."""

import numpy as np
import pandas as pd

from ssinfnet_jax.data import stage_files
from ssinfnet_jax.report.kit import blocks, figure_style, table_files, tables, viewer
from ssinfnet_jax.report.run import distribution_figures, phenotype_tables, run_files


def build(run: run_files.Run) -> blocks.Section:
    """Section with the predictions on the cohort."""
    section = blocks.Section("cohort", "Cohort", "Cohort")
    section.add("note", run.stages["segment_cohort"].reason)
    summary = run.csv("segment_cohort/summary.csv", stage_files.COHORT)
    if summary is None:
        return section
    patients = summary["patient_id"].nunique()
    text = f"{blocks.count(len(summary), 'slice')} of {blocks.count(patients, 'patient')} segmented."
    for kind in ("ggo", "consolidation"):
        found = summary[summary[f"{kind}_px"] > 0]
        share = f"{100 * len(found) / len(summary):.0f} %"
        text += f" {figure_style.TITLES[kind]} is predicted in {blocks.count(len(found), 'slice')} ({share})"
        text += f" of {blocks.count(found['patient_id'].nunique(), 'patient')}."
    section.add("text", text)
    names = {f"{kind}_px": f"{figure_style.TITLES[kind]}, pixels per slice" for kind in ("ggo", "consolidation")}
    names |= {"lesion_fraction": "Lesion fraction of a slice"}
    section.add("table", tables.describe(summary, "Predicted lesions over the slices of the cohort.", names))
    groups, by = _by_severity(run, 100 * summary.groupby("patient_id")["lesion_fraction"].mean())
    label = "Lesion fraction, mean over a patient's slices (%)"
    colours = figure_style.LINES[1 : len(groups) + 1]
    figure = distribution_figures.distributions(groups, xlabel=label, colours=colours, limits=(0, None))
    num = sum(len(values) for values in groups.values())
    caption = (
        f"Lesion fraction of each patient{by} (n = {num} patients): dots, quartiles (box), median "
        "(line); diamond: mean ± 1.96 standard errors."
    )
    section.add("figure", run.figure("lesion_burden", figure, caption))
    _viewers(run, section)
    return section


def _viewers(run: run_files.Run, section: blocks.Section) -> None:
    """A viewer for each patient whose slices the stage kept as examples."""
    examples = run.arrays("segment_cohort/examples.npz", stage_files.COHORT_EXAMPLES)
    if examples is None:
        return
    section.add("heading", "Slices of some patients")
    for number, patient in enumerate(dict.fromkeys(examples["patient_id"].tolist())):
        rows = examples["patient_id"] == patient
        classes = examples["pred"][rows]
        case = viewer.Case(
            name=f"patient {patient}",
            images=examples["image"][rows],
            classes=classes,
            facts={
                "Patient": patient,
                "Slices shown": len(classes),
                "Lesion": f"{tables.number(100 * (classes > 0).mean(), 2)} % of these slices",
            },
            labels=examples["slice_id"][rows].tolist(),
        )
        section.add("viewer", viewer.view(case, anchor=f"patient-{number}"))


def build_phenotypes(run: run_files.Run) -> blocks.Section:
    """Section with the phenotypes of the patients."""
    section = blocks.Section("phenotypes", "Image phenotypes", "Phenotypes")
    section.add("note", run.stages["phenotypes"].reason)
    patients = run.csv("phenotypes/patients.csv", ("patient_id",))
    slices = run.csv("phenotypes/slices.csv")
    if patients is None:
        return section
    text = blocks.count(patients["patient_id"].nunique(), "patient")
    if slices is not None:
        text += f", {blocks.count(len(slices), 'slice')}"
    aggregation = phenotype_tables.aggregation(table_files.read_json(run.path("phenotypes/about.json")))
    section.add("text", f"{text}. {aggregation and f'Phenotypes of a patient: {aggregation}.'}".strip())
    if "num_failed" in patients and patients["num_failed"].sum():
        failed = blocks.count(int(patients["num_failed"].sum()), "slice")
        section.add("warning", f"{failed} could not be measured.")
    section.add("table", phenotype_tables.counts(patients))
    names = [name for name in patients.select_dtypes("number") if name != "patient_id"]
    table = tables.describe(patients, "Phenotypes over patients.", {name: name for name in names})
    section.fold(f"Distribution of all {len(names)} columns", table)
    return section


def _by_severity(run: run_files.Run, burden: pd.Series) -> tuple[dict[str, np.ndarray], str]:
    """Values by severity if mediate/table.csv has it for these patients; else one group."""
    table = run.csv("mediate/table.csv")
    if table is None or not {"patient_id", "severity"} <= set(table):
        return {"All patients": burden.to_numpy()}, ""
    severity = table.dropna(subset=["severity"]).drop_duplicates("patient_id").set_index("patient_id")["severity"]
    values = burden.reindex(severity.index).dropna()
    if values.empty or severity.nunique() > 6:
        return {"All patients": burden.to_numpy()}, ""
    groups = {
        f"Severity {name if isinstance(name, str) else tables.number(name)}": group.to_numpy()
        for name, group in values.groupby(severity.reindex(values.index))
    }
    return groups, " by severity"
