"""The report page of a run: reads the run folder, writes figures and one self-contained HTML file.

`sections` makes the blocks (text, figure, table, viewer, ...); templates lay them out and escape all text, so ids may
contain any character. A stage that was skipped or did not run leaves a note in its section; the page does not fail.
"""

import pathlib

from ssinfnet_jax.analysis import truth
from ssinfnet_jax.evaluation import columns
from ssinfnet_jax.report.kit import blocks, render, tables
from ssinfnet_jax.report.run import run_files
from ssinfnet_jax.report.run.sections import data, evaluation, how, mediation, patients, training


def write(workdir: str | pathlib.Path) -> pathlib.Path:
    """Writes `<workdir>/report.html` and `<workdir>/figures/*.png, *.svg` from the files of the run.

    Args:
      workdir: run folder with config.json; folders of stages may be missing.
    Returns: path of the page.
    Raises: FileNotFoundError without config.json; ValueError for a file that lacks a column or cannot be read.
    """
    run = run_files.read(pathlib.Path(workdir))
    sections = [
        how.build(run),
        data.build(run),
        training.build_pretraining(run),
        training.build_training(run),
        evaluation.build(run),
        evaluation.build_examples(run),
        patients.build(run),
        patients.build_phenotypes(run),
        mediation.build(run),
        _limits(run),
    ]
    for section in sections:
        if not section.blocks:
            section.add("note", "The stage is marked as done, but its files are missing from the run folder.")
    return render.write(
        run.path("report.html"),
        "report.html.j2",
        name=str(run.config.get("name", "unnamed")),
        dataset=run.dataset,
        kind="report of a run",
        lead=f"Dataset {run.dataset}.",
        headline=_headline(run),
        sections=sections,
    )


def _headline(run: run_files.Run) -> list[dict[str, str]]:
    """The strip of main results: value, label and note of each."""
    strip = []
    for network, kind, label in (
        ("single", "lesion", "Lesion Dice, single network"),
        ("multi", "overall", "Overall Dice, multi network"),
    ):
        table = run.csv(f"evaluate/{network}_summary.csv", columns.SUMMARY)
        row = None if table is None else table[(table["class"] == kind) & (table["metric"] == "dice")]
        if row is None or row.empty:
            strip.append({"value": tables.MISSING, "label": label, "note": "not evaluated in this run"})
            continue
        row = row.iloc[0]
        note = f"mean ± 1.96 SE, n = {tables.number(row['n'])} slices"
        strip.append({"value": tables.mean_error(row["mean"], row["error"]), "label": label, "note": note})
    if run.analysis is None:
        value, note = tables.MISSING, "no mediation analysis in this run"
    else:
        found = run.analysis.univariate[run.analysis.significant]
        value = str(found["mediator"].nunique())
        note = f"{blocks.count(len(found), 'pair')} of {len(run.analysis.univariate)} tested"
    strip.append({"value": value, "label": "Mediators found", "note": note})
    known = run.csv("mediate/truth.csv", truth.COLUMNS)
    if known is not None:
        right = int(truth.as_expected(known).sum())
        strip.append({"value": f"{right} / {len(known)}", "label": "Known effects recovered", "note": "generated data"})
    return strip


def _limits(run: run_files.Run) -> blocks.Section:
    section = blocks.Section("limits", "Limits", "Limits")
    section.add("caution", blocks.NOT_DIAGNOSIS)
    items = [
        "Metrics are means over slices. Slices of one patient resemble each other, so the standard errors, "
        "which treat them as independent, are too small if patients have several test slices.",
        "Each slice has one ground truth; readers differ, most of all on the border of GGO.",
        "Networks adapt to the scanners, windows and reconstructions of their training data; expect lower values "
        "elsewhere.",
        "Phenotypes are measured in predicted lesions and inherit the errors of the segmentation.",
        "The linear model of a binary severity is an approximation; compare it with the natural effects.",
        "Many pairs are tested; p values are adjusted only within the family that the config names.",
    ]
    if "ct_phantom" in run.dataset:
        items.insert(0, "ct_phantom is generated data: its numbers show that the pipeline works, not how patients are.")
    section.add("list", items)
    return section
