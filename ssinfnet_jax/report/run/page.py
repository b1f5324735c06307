"""Report page: reads the run folder and writes figures and one HTML file that needs nothing else.

A section is a list of blocks (text, figure, table, viewer, ...) made in `sections`; the templates only lay them out,
with autoescape on, so that ids from data may hold any character. A stage that was not run, or was skipped, leaves a
sentence in its section; the page never fails for it.
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
      workdir: run folder with config.json; the folder of any stage may be absent.
    Returns: path of the page.
    Raises: FileNotFoundError without config.json; ValueError for a file that does not hold what it should.
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
            section.add("note", "The stage is marked as done, but its files are not in the run folder.")
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
    """The strip of main results: value, label, what stands below."""
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
    section.add("caution", "Research, not diagnosis: nothing here was approved or tested for the care of patients.")
    items = [
        "Metrics are means over slices. Slices of one patient resemble each other, so the standard errors, "
        "which treat them as independent, are too small where a patient has several test slices.",
        "A slice is judged by one ground truth; readers differ, above all on the border of GGO.",
        "Networks learn the scanners, windows and reconstructions they saw; expect lower values elsewhere.",
        "Phenotypes are of predicted, not of drawn, lesions, and inherit the errors of the segmentation.",
        "The linear model of a binary severity is an approximation; the natural effects stand beside it.",
        "Many pairs are tested, and only the family named in the configuration is adjusted for.",
    ]
    if "ct_phantom" in run.dataset:
        items.insert(0, "ct_phantom is generated: its numbers show that the pipeline works, nothing of patients.")
    section.add("list", items)
    return section
