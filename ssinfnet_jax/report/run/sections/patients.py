"""The cohort: its predicted lesions, and their phenotypes."""

import numpy as np
import pandas as pd

from ssinfnet_jax.report.kit import blocks, table_files, tables, viewer
from ssinfnet_jax.report.run import distribution_figures, phenotype_tables, run_files


def build(run: run_files.Run) -> blocks.Section:
    """Section with what was predicted on the cohort."""
    section = blocks.Section("cohort", "Cohort", "Cohort")
    section.add("note", run.stages["segment_cohort"].reason)
    summary = run.csv("segment_cohort/summary.csv", ("slice_id", "patient_id"))
    if summary is None:
        return section
    patients = summary["patient_id"].nunique()
    text = f"{blocks.count(len(summary), 'slice')} of {blocks.count(patients, 'patient')} segmented."
    for kind, column in (("GGO", "ggo_px"), ("Consolidation", "consolidation_px")):
        if column in summary:
            held = summary[summary[column] > 0]
            share = f"{100 * len(held) / len(summary):.0f} %"
            text += f" {kind} is predicted in {blocks.count(len(held), 'slice')} ({share})"
            text += f" of {blocks.count(held['patient_id'].nunique(), 'patient')}."
    section.add("text", text)
    names = {
        "ggo_px": "GGO, pixels per slice",
        "consolidation_px": "Consolidation, pixels per slice",
        "lesion_fraction": "Lesion fraction of a slice",
    }
    known = {"slice_id", "patient_id"}
    others = [name for name in summary.select_dtypes("number") if name not in names and name not in known]
    names |= {name: name.replace("_", " ") for name in others}
    section.add("table", tables.describe(summary, "Predicted lesions over the slices of the cohort.", names))
    if "lesion_fraction" in summary:
        burden = 100 * summary.groupby("patient_id")["lesion_fraction"].mean()
        groups, by = _by_severity(run, burden)
        colours = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#6B7280", "#000000"][: len(groups)]
        label = "Lesion fraction, mean over a patient's slices (%)"
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
    """The slices of the patients that the stage kept as examples."""
    examples = run.arrays("segment_cohort/examples.npz", ("image", "pred", "slice_id", "patient_id"))
    if examples is None:
        return
    section.add("heading", "Slices of some patients")
    for number, patient in enumerate(dict.fromkeys(examples["patient_id"].tolist())):
        held = examples["patient_id"] == patient
        classes = examples["pred"][held]
        case = viewer.Case(
            name=f"patient {patient}",
            images=examples["image"][held],
            classes=classes,
            facts={
                "Patient": patient,
                "Slices shown": len(classes),
                "Lesion": f"{tables.number(100 * (classes > 0).mean(), 2)} % of these slices",
            },
            labels=examples["slice_id"][held].tolist(),
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
        section.add("warning", f"Phenotypes of {blocks.count(int(patients['num_failed'].sum()), 'slice')} failed.")
    section.add("table", phenotype_tables.counts(patients))
    names = [name for name in patients.select_dtypes("number") if name != "patient_id"]
    table = tables.describe(patients, "Every phenotype over patients.", {name: name for name in names})
    section.add("details", (f"Distribution of all {len(names)} columns", [blocks.Block("table", table)]))
    return section


def _by_severity(run: run_files.Run, burden: pd.Series) -> tuple[dict[str, np.ndarray], str]:
    """Values by severity where mediate/table.csv has it for these patients; else one group."""
    table = run.csv("mediate/table.csv")
    if table is None or not {"patient_id", "severity"} <= set(table):
        return {"All patients": burden.to_numpy()}, ""
    severity = table.dropna(subset=["severity"]).drop_duplicates("patient_id").set_index("patient_id")["severity"]
    values = burden.reindex(severity.index).dropna()
    if values.empty or severity.nunique() > 6:
        return {"All patients": burden.to_numpy()}, ""
    groups = {
        f"Severity {name if isinstance(name, str) else tables.number(name)}": held.to_numpy()
        for name, held in values.groupby(severity.reindex(values.index))
    }
    return groups, " by severity"
