"""Report page: reads the run folder and writes figures and one HTML file that needs nothing else.

A section is a list of blocks (text, figure, table, ...) made here; template.html.j2 only lays them out, with
autoescape on, so that ids from data may hold any character. A stage that was not run, or was skipped, leaves
a sentence in its section; the page never fails for it.
"""

import base64
import dataclasses
import io
import pathlib
import re
from collections.abc import Mapping, Sequence
from typing import Any

import jinja2
import numpy as np
import pandas as pd
from matplotlib import figure as mpl_figure
from PIL import Image

from ssinfnet_jax.analysis import mediation
from ssinfnet_jax.report import figures, mediation_figures, mediation_tables, tables

STAGES = {
    "prepare": "Prepare data",
    "pretrain_single": "Pretrain single network",
    "train_single": "Train single network",
    "predict_priors": "Predict priors",
    "pretrain_multi": "Pretrain multi network",
    "train_multi": "Train multi network",
    "evaluate": "Evaluate",
    "segment_cohort": "Segment cohort",
    "phenotypes": "Phenotypes",
    "mediate": "Mediation analysis",
}
NETWORKS = {"single": "Single network (lesion)", "multi": "Multi network (GGO, consolidation)"}
MAX_CONTACT = 30  # slices on the contact sheet
MAX_PIXELS = 2240  # width of an embedded picture: twice that of the page


@dataclasses.dataclass(frozen=True)
class Stage:
    """What `<stage>/done.json` says; state: done, skipped, unfinished (a folder without it) or not run."""

    name: str
    state: str
    marker: Mapping[str, Any]

    @property
    def reason(self) -> str:
        """Why there may be nothing to show; empty for a stage that is done."""
        title = STAGES[self.name]
        return {
            "done": "",
            "skipped": f"{title}: skipped. {self.marker.get('skipped')}",
            "unfinished": f"{title}: not finished (no {self.name}/done.json). What is there is shown.",
            "not run": f"{title}: not run (the run folder has no {self.name}/).",
        }[self.state]


@dataclasses.dataclass(frozen=True)
class Block:
    """One piece of a section; `kind` names the macro of the template that draws it."""

    kind: str
    content: Any


@dataclasses.dataclass
class Section:
    """Heading with an anchor, and its blocks."""

    anchor: str
    title: str
    short: str  # in the bar of links
    blocks: list[Block] = dataclasses.field(default_factory=list)

    def add(self, kind: str, content: Any) -> None:
        """Appends a block; None and empty text are left out."""
        if content is not None and not (isinstance(content, str) and not content):
            self.blocks.append(Block(kind, content))


@dataclasses.dataclass(frozen=True)
class Figure:
    """A picture of the page."""

    name: str
    png: str  # base64
    caption: str
    width: int  # CSS pixels


@dataclasses.dataclass(frozen=True)
class Run:
    """The run folder and what was read from it at the start."""

    workdir: pathlib.Path
    config: Mapping[str, Any]
    stages: Mapping[str, Stage]

    def path(self, *parts: str) -> pathlib.Path:
        """Path inside the run folder."""
        return self.workdir.joinpath(*parts)

    def csv(self, name: str, required: Sequence[str] = ()) -> pd.DataFrame | None:
        """Table of the run folder; None where there is no such file, or no row in it."""
        table = tables.read_csv(self.path(*name.split("/")), required)
        return None if table is None or table.empty else table

    def figure(self, name: str, figure: mpl_figure.Figure, caption: str) -> Figure:
        """Saves a figure (PNG, SVG) and gives it as a picture of the page."""
        png = figures.save(figure, self.path("figures"), name)
        width = round(float(figure.get_size_inches()[0]) * 112)
        return Figure(name, base64.b64encode(_embeddable(png)).decode(), caption, width)


def _embeddable(png: pathlib.Path) -> bytes:
    """The picture without its (empty) alpha channel, and not larger than the page shows on a fine screen."""
    with Image.open(png) as picture:
        picture = picture.convert("RGB")
    picture.thumbnail((MAX_PIXELS, 2 * MAX_PIXELS), Image.Resampling.LANCZOS)
    stream = io.BytesIO()
    picture.save(stream, format="PNG")
    return stream.getvalue()


def write(workdir: str | pathlib.Path) -> pathlib.Path:
    """Writes `<workdir>/report.html` and `<workdir>/figures/*.png, *.svg` from the files of the run.

    Args:
      workdir: run folder with config.json; the folder of any stage may be absent.
    Returns: path of the page.
    Raises: FileNotFoundError without config.json; ValueError for a file that does not hold what it should.
    """
    run = _read_run(pathlib.Path(workdir))
    sections = [
        _how(run),
        _data(run),
        _pretraining(run),
        _training(run),
        _evaluation(run),
        _examples(run),
        _cohort(run),
        _phenotypes(run),
        _mediation(run),
        _limits(run),
    ]
    for section in sections:
        if not section.blocks:
            section.add("note", "The stage is marked as done, but its files are not in the run folder.")
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("ssinfnet_jax.report", "."),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page = environment.get_template("template.html.j2").render(
        name=str(run.config.get("name", "unnamed")),
        dataset=_dataset(run),
        headline=_headline(run),
        sections=sections,
        colours={"ggo": figures.GGO, "consolidation": figures.CONSOLIDATION, "lesion": figures.LESION},
    )
    path = run.path("report.html")
    unfinished = path.with_name("report.html.tmp")  # a reader never sees half a page
    unfinished.write_text(page, encoding="utf-8")
    return unfinished.replace(path)


def _read_run(workdir: pathlib.Path) -> Run:
    config = tables.read_json(workdir / "config.json")
    if config is None:
        raise FileNotFoundError(
            f"No config.json in {workdir}: this is not the folder of a run. Give the --workdir of a run, or "
            "start one there first (launch/pipeline.py writes config.json)."
        )
    stages = {}
    for name in STAGES:
        marker = tables.read_json(workdir / name / "done.json")
        if marker is None:
            state = "unfinished" if (workdir / name).is_dir() else "not run"
        else:
            state = "skipped" if marker.get("skipped") else "done"
        stages[name] = Stage(name, state, marker or {})
    return Run(workdir, config, stages)


def _dataset(run: Run) -> str:
    pairs = (run.config.get("data") or {}).get("datasets") or []
    return " + ".join(" / ".join(map(str, pair)) for pair in pairs) or "unknown dataset"


def _headline(run: Run) -> list[dict[str, str]]:
    """The strip of main results: value, label, what stands below."""
    strip = []
    for network, kind, label in (
        ("single", "lesion", "Lesion Dice, single network"),
        ("multi", "overall", "Overall Dice, multi network"),
    ):
        table = run.csv(f"evaluate/{network}_summary.csv", _SUMMARY)
        row = None if table is None else table[(table["class"] == kind) & (table["metric"] == "dice")]
        if row is None or row.empty:
            strip.append({"value": tables.MISSING, "label": label, "note": "not evaluated in this run"})
            continue
        row = row.iloc[0]
        note = f"mean ± 1.96 SE, n = {tables.number(row['n'])} slices"
        strip.append({"value": tables.mean_error(row["mean"], row["error"]), "label": label, "note": note})
    univariate = _univariate(run)
    if univariate is None:
        value, note = tables.MISSING, "no mediation analysis in this run"
    else:
        found = univariate[univariate["found"]]
        value = str(found["mediator"].nunique())
        note = f"{_count(len(found), 'pair')} of {len(univariate)} tested"
    strip.append({"value": value, "label": "Mediators found", "note": note})
    truth = run.csv("mediate/truth.csv", _TRUTH)
    if truth is not None:
        right = int(_as_expected(truth).sum())
        strip.append({"value": f"{right} / {len(truth)}", "label": "Known effects recovered", "note": "generated data"})
    return strip


def _how(run: Run) -> Section:
    section = Section("how", "How this run was made", "Run")
    commits = list(dict.fromkeys(str(s.marker["commit"]) for s in run.stages.values() if s.marker.get("commit")))
    facts = {"Configuration": run.config.get("name", "unnamed"), "Dataset": _dataset(run)}
    facts |= {"Seed": run.config["seed"]} if "seed" in run.config else {}
    facts |= {"Commit": commits[0]} if len(commits) == 1 else {}
    section.add("facts", [(name, str(value)) for name, value in facts.items()])
    rows = []
    for stage in run.stages.values():
        seconds = stage.marker.get("seconds")
        cells = [
            tables.text_cell(STAGES[stage.name]),
            tables.Cell(stage.state, stage.state, str(stage.marker.get("skipped") or "")),
            tables.Cell(tables.duration(seconds), seconds),
            tables.text_cell(str(stage.marker.get("finished") or tables.MISSING).replace("T", " ")[:19]),
        ]
        if len(commits) > 1:
            cells.append(tables.text_cell(str(stage.marker.get("commit") or tables.MISSING)[:12]))
        rows.append(cells)
    heads = [("Stage", False), ("State", False), ("Time", True), ("Finished", False)]
    heads += [("Commit", False)] if len(commits) > 1 else []
    total = sum(stage.marker.get("seconds") or 0 for stage in run.stages.values())
    foot = f"Time of all stages together: {tables.duration(total)}." if total else ""
    columns = [tables.Column(head, numeric) for head, numeric in heads]
    section.add("table", tables.Table("Stages of the pipeline.", columns, rows, foot))
    if len(commits) > 1:
        section.add("warning", f"The stages were run by {len(commits)} different commits of the code; see the table.")
    versions: dict[str, list[str]] = {}
    for stage in run.stages.values():
        for package, version in (stage.marker.get("versions") or {}).items():
            versions.setdefault(str(package), [])
            if str(version) not in versions[str(package)]:
                versions[str(package)].append(str(version))
    if versions:
        different = [package for package, held in versions.items() if len(held) > 1]
        if different:
            section.add("warning", f"Stages ran with different versions of {', '.join(different)}.")
        cells = [[tables.text_cell(name), tables.text_cell(", ".join(held))] for name, held in versions.items()]
        columns = [tables.Column("Package"), tables.Column("Version")]
        section.add(
            "details",
            ("Versions", [Block("table", tables.Table("Versions of what was used.", columns, cells))]),
        )
    cells = [[tables.text_cell(key), tables.text_cell(value)] for key, value in tables.flatten(run.config).items()]
    table = tables.Table("Every value of config.json.", [tables.Column("Key"), tables.Column("Value")], cells)
    section.add("details", ("Configuration in full", [Block("table", table)]))
    return section


def _data(run: Run) -> Section:
    section = Section("data", "Data", "Data")
    section.add("note", run.stages["prepare"].reason)
    slices = run.csv("prepare/slices.csv", ("slice_id", "patient_id", "split"))
    if slices is None:
        return section
    section.add("table", tables.splits(slices))
    shared = tables.shared_patients(slices)
    if shared:
        listed = ", ".join(shared[:10]) + (" …" if len(shared) > 10 else "")
        section.add("warning", f"{_count(len(shared), 'patient')} in more than one of train, val, test: {listed}.")
    else:
        section.add("text", _separation(slices))
    section.add("table", tables.clinical(slices))
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


def _pretraining(run: Run) -> Section:
    section = Section("pretraining", "Pretraining by inpainting", "Pretraining")
    for network, title in NETWORKS.items():
        stage = run.stages[f"pretrain_{network}"]
        section.add("heading", title)
        section.add("note", stage.reason)
        metrics = tables.read_metrics(run.path(stage.name, "metrics.jsonl"))
        if metrics is None and stage.state == "done":
            section.add("note", f"No rows in {stage.name}/metrics.jsonl.")
        if metrics is not None:
            phases = ", ".join(dict.fromkeys(metrics["phase"].astype(str)))
            caption = (
                f"Pretraining of the {network} network over {tables.number(metrics['step'].max())} steps, n "
                f"= {len(metrics)} logged rows, coloured by phase ({phases}). In a coach phase the loss is "
                "the coach's, who is rewarded where the inpainter fails; in the others it is the "
                "inpainter's. Pale: as logged; strong: running mean (long phases only)."
            )
            name = f"pretraining_curves_{network}"
            section.add("figure", run.figure(name, figures.pretraining_curves(metrics), caption))
        examples = _arrays(run.path(stage.name, "examples.npz"), ("image", "keep", "inpainting", "phase"))
        if examples is not None and len(examples["image"]):
            rows = len(figures.spread(examples["phase"], 4))
            caption = (
                f"Inpainting by the {network} network, {rows} of "
                f"{_count(len(examples['image']), 'kept slice')}: image, erased image (flat green: what the "
                "network may not see), inpainting, and their absolute difference (grey values in [0, 1])."
            )
            name = f"inpainting_strips_{network}"
            section.add("figure", run.figure(name, figures.inpainting_strips(examples), caption))
    return section


def _training(run: Run) -> Section:
    section = Section("training", "Training", "Training")
    for network, title in NETWORKS.items():
        stage = run.stages[f"train_{network}"]
        section.add("heading", title)
        section.add("note", run.stages["predict_priors"].reason if network == "multi" else "")
        section.add("note", stage.reason)
        metrics = tables.read_metrics(run.path(stage.name, "metrics.jsonl"))
        if metrics is None and stage.state == "done":
            section.add("note", f"No rows in {stage.name}/metrics.jsonl.")
        if metrics is not None:
            epochs = f" ({tables.number(metrics['epoch'].max())} epochs)" if "epoch" in metrics else ""
            steps = tables.number(metrics["step"].max())
            caption = (
                f"Training of the {network} network over {steps} steps{epochs}, n = {len(metrics)} logged "
                "rows. Train Dice is of training batches, Dice of the validation split. "
                f"{_validation(run, stage, metrics)}Pale: as logged; strong: running mean (long runs only)."
            )
            section.add("figure", run.figure(f"training_curves_{network}", figures.training_curves(metrics), caption))
    return section


def _evaluation(run: Run) -> Section:
    section = Section("evaluation", "Evaluation", "Evaluation")
    section.add("note", run.stages["evaluate"].reason)
    curves, values = {}, {}
    for network, title in NETWORKS.items():
        summary = run.csv(f"evaluate/{network}_summary.csv", _SUMMARY)
        slices = run.csv(f"evaluate/{network}_slices.csv", ("slice_id", "class", "dice"))
        curve = run.csv(f"evaluate/{network}_roc.csv", ("class", "fpr", "tpr"))
        if summary is None and slices is None and curve is None:
            if run.stages["evaluate"].state == "done":
                section.add("note", f"{title}: not evaluated in this run.")
            continue
        section.add("heading", title)
        if summary is not None:
            caption = (
                "Metrics per slice at a threshold of 0.5, then mean ± 1.96 standard errors over n slices; "
                "excluded (excl.): slices where the metric is undefined, as the class is absent."
            )
            if network == "multi":
                caption += " Overall: the average of background, GGO and consolidation."
            section.add("table", tables.summary(summary, figures.TITLES, caption))
        if slices is not None:
            caption = "Each test slice, lowest Dice first; empty where undefined."
            table = tables.per_slice(slices, figures.TITLES, caption)
            section.add("details", (f"All slices ({slices['slice_id'].nunique()})", [Block("table", table)]))
            for kind in dict.fromkeys(slices["class"]):
                values[kind] = slices.loc[slices["class"] == kind, "dice"].to_numpy(float)
        if curve is not None:
            curves[title] = curve
    if values:
        colours = [figures.NAMED.get(kind, figures.BACKGROUND) for kind in values]
        named = {figures.TITLES.get(kind, kind): numbers for kind, numbers in values.items()}
        caption = (
            "Dice of every test slice (dots), their quartiles (box) and median (line); diamond: mean ± 1.96 "
            "standard errors. n: slices where Dice is defined."
        )
        figure = figures.distributions(named, xlabel="Dice per slice", colours=colours, limits=(0, 1))
        section.add("figure", run.figure("dice_per_slice", figure, caption))
    if curves:
        caption = (
            "ROC curves over the pixels of all test slices; the area is that of the drawn curve, while the "
            "AUC of the table is a mean over slices. Dot: threshold 0.5. Dotted: chance."
        )
        section.add("figure", run.figure("roc", figures.roc(curves), caption))
    return section


def _examples(run: Run) -> Section:
    section = Section("examples", "Segmentation examples", "Examples")
    examples = _arrays(run.path("evaluate", "examples.npz"), ("image", "truth", "lesion_prob", "slice_id", "dice"))
    if examples is None or not len(examples["image"]):
        section.add("note", run.stages["evaluate"].reason or "No example slices were kept in this run.")
        return section
    chosen = figures.choose(examples["dice"])
    total, multi = len(examples["dice"]), "pred" in examples
    if chosen:
        named = "; ".join(
            f"{label.lower()} {examples['slice_id'][index]} (lesion Dice {examples['dice'][index]:.3f})"
            for label, index in chosen
        )
        second = " and of the multi network (GGO, consolidation)" if multi else ""
        labels = ", ".join(label.lower() for label, _ in chosen).capitalize()
        defined = int(np.sum(~np.isnan(examples["dice"])))
        caption = (
            f"{labels} of n = {defined} example slices by the single network's lesion Dice: CT slice, ground "
            f"truth, prediction of the single network (lesion){second}. Slices: {named}."
        )
        section.add("figure", run.figure("overlays", figures.overlays(examples), caption))
    order = np.argsort(-np.nan_to_num(examples["dice"], nan=-1), kind="stable")
    if len(order) > MAX_CONTACT:  # evenly from the best to the worst
        order = order[np.linspace(0, len(order) - 1, MAX_CONTACT).astype(int)]
    labels = [f"{examples['slice_id'][i]}\nDice {tables.number(examples['dice'][i])}" for i in order]
    fill = examples["pred"][order] if multi else (examples["lesion_prob"][order] > 0.5).astype(int)
    figure = figures.contact_sheet(
        examples["image"][order],
        labels,
        fill=fill,
        outline=examples["truth"][order] > 0,
        colours=figures.CLASSES if multi else figures.LESIONS,
    )
    caption = (
        f"{len(order)} of {total} example slices from the highest to the lowest lesion Dice. Fill: "
        f"prediction of the {'multi' if multi else 'single'} network; yellow line: border of the lesion in "
        "the ground truth."
    )
    section.add("figure", run.figure("contact_sheet", figure, caption))
    return section


def _cohort(run: Run) -> Section:
    section = Section("cohort", "Cohort", "Cohort")
    section.add("note", run.stages["segment_cohort"].reason)
    summary = run.csv("segment_cohort/summary.csv", ("slice_id", "patient_id"))
    if summary is None:
        return section
    patients = summary["patient_id"].nunique()
    text = f"{_count(len(summary), 'slice')} of {_count(patients, 'patient')} segmented."
    for kind, column in (("GGO", "ggo_px"), ("Consolidation", "consolidation_px")):
        if column in summary:
            held = summary[summary[column] > 0]
            share = f"{100 * len(held) / len(summary):.0f} %"
            text += f" {kind} is predicted in {_count(len(held), 'slice')} ({share})"
            text += f" of {_count(held['patient_id'].nunique(), 'patient')}."
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
        figure = figures.distributions(groups, xlabel=label, colours=colours, limits=(0, None))
        num = sum(len(values) for values in groups.values())
        caption = (
            f"Lesion fraction of each patient{by} (n = {num} patients): dots, quartiles (box), median "
            "(line); diamond: mean ± 1.96 standard errors."
        )
        section.add("figure", run.figure("lesion_burden", figure, caption))
    return section


def _phenotypes(run: Run) -> Section:
    section = Section("phenotypes", "Image phenotypes", "Phenotypes")
    section.add("note", run.stages["phenotypes"].reason)
    patients = run.csv("phenotypes/patients.csv", ("patient_id",))
    slices = run.csv("phenotypes/slices.csv")
    if patients is None:
        return section
    text = f"{_count(patients['patient_id'].nunique(), 'patient')}"
    if slices is not None:
        text += f", each the average over the patient's slices ({_count(len(slices), 'slice')} in all)"
    section.add("text", f"{text}.")
    if "num_failed" in patients and patients["num_failed"].sum():
        section.add("warning", f"Phenotypes of {_count(int(patients['num_failed'].sum()), 'slice')} failed.")
    section.add("table", tables.phenotype_counts(patients))
    names = [name for name in patients.select_dtypes("number") if name != "patient_id"]
    table = tables.describe(patients, "Every phenotype over patients.", {name: name for name in names})
    section.add("details", (f"Distribution of all {len(names)} columns", [Block("table", table)]))
    return section


def _mediation(run: Run) -> Section:
    section = Section("mediation", "Mediation analysis", "Mediation")
    section.add("note", run.stages["mediate"].reason)
    univariate = _univariate(run)
    if univariate is None:
        return section
    section.add("caution", mediation.CAVEAT)
    options, family = _mediation_options(run)
    found = univariate[univariate["found"]]
    counts = ", ".join(f"{name}: {count}" for name, count in found["exposure"].value_counts().items())
    level = f"{options['alpha']:g}" if "alpha" in options else "the level of the configuration"
    rule = {
        "indirect": f"adjusted p of the indirect effect below {level}",
        "paper": f"all three adjusted p below {level}, and the direct effect smaller than the total",
    }[options.get("rule", "indirect")]
    section.add(
        "text",
        f"{_count(len(univariate), 'exposure-mediator pair')} tested one by one; {len(found)} significant"
        f"{f' ({counts})' if counts else ''}: {rule}. {family}",
    )
    if len(found):
        table = tables.mediation(found, "Significant mediators, smallest adjusted p first.", verdict=False)
        section.add("table", table)
    truth = run.csv("mediate/truth.csv", _TRUTH)
    if truth is not None:
        section.add("table", _truth_table(truth))
    table = tables.mediation(univariate, "All pairs, smallest adjusted p first.", verdict=True)
    section.add("details", (f"All {len(univariate)} pairs", [Block("table", table)]))
    for exposure, pairs in univariate.groupby("exposure", sort=False):
        fitted = int((pairs["flag"] == "").sum())
        if fitted:
            caption = (
                f"Standardised indirect effects of {exposure} with 95 % intervals, n = {fitted} phenotypes "
                "with estimates; the largest effects where there are more than 40."
            )
            name = f"forest_{re.sub(r'[^0-9A-Za-z-]+', '_', str(exposure))}"
            section.add("figure", run.figure(name, mediation_figures.forest(pairs), caption))
    patients = run.csv("mediate/table.csv")
    mediators = list(dict.fromkeys(found["mediator"]))
    held = [] if patients is None else [name for name in mediators if name in patients]
    if len(held) > 1:
        caption = (
            f"Correlations of the {len(held)} significant mediators over n = {len(patients)} patients, "
            "ordered by hierarchical clustering. Bold number or dot: |r| above 0.8."
        )
        figure = mediation_figures.correlation_heatmap(patients, held)
        section.add("figure", run.figure("correlation_heatmap", figure, caption))
    _beside_the_linear_models(run, section, found)
    log = run.csv("mediate/filter_log.csv")
    if log is not None:
        table = tables.from_frame(log, "Correlation filter: what was removed, what was kept instead, and why.")
        section.add("details", (f"Correlation filter ({len(log)} removed)", [Block("table", table)]))
    _multiple(run, section)
    return section


def _beside_the_linear_models(run: Run, section: Section, found: pd.DataFrame) -> None:
    """Bootstrap intervals, natural effects on a binary outcome, sensitivity: significant pairs, then all."""
    keys = ["exposure", "mediator"]
    for name, heading, caption, make in (
        ("intervals", "", "Bootstrap intervals of the indirect effects", mediation_tables.intervals),
        ("natural", "Severity as a binary outcome", "Natural effects", mediation_tables.natural),
        ("sensitivity", "Sensitivity to unmeasured confounding", "Sensitivity", mediation_tables.sensitivity),
    ):
        table = run.csv(f"mediate/{name}.csv", keys)
        if table is None:
            continue
        section.add("heading", heading)
        if name == "natural":
            section.add("text", _NATURAL.format(link=_mediation_options(run)[0].get("link", "logit")))
        significant = table.merge(found[keys], on=keys)
        if len(significant):
            section.add("table", make(significant, f"{caption} of the significant pairs."))
        block = Block("table", make(table, f"{caption} of all pairs."))
        section.add("details", (f"{caption} of all {len(table)} pairs", [block]))


_NATURAL = (
    "A {link} regression of severity in place of the linear one: how much the probability of the outcome changes "
    "when the exposure goes from one value to the other, through the phenotype (indirect) and otherwise (direct)."
)


def _univariate(run: Run) -> pd.DataFrame | None:
    """mediate/univariate.csv with `flag` as text and a column `found`: significant by the rule of the run."""
    univariate = run.csv("mediate/univariate.csv", ("exposure", "mediator", "is_mediator"))
    if univariate is None:
        return None
    flag = univariate.get("flag", pd.Series(index=univariate.index, dtype=object)).astype(object)
    univariate["flag"] = flag.where(flag.notna(), "")
    for name in ("is_mediator", "is_mediator_paper"):
        if name in univariate:
            univariate[name] = tables.as_bool(univariate[name])
    paper = _mediation_options(run)[0].get("rule") == "paper" and "is_mediator_paper" in univariate
    return univariate.assign(found=univariate["is_mediator_paper" if paper else "is_mediator"])


def _mediation_options(run: Run) -> tuple[Mapping[str, Any], str]:
    """Options of the analysis and its family of tests in words; empty without mediate/summary.json."""
    summary = tables.read_json(run.path("mediate", "summary.json")) or {}
    family = str(summary.get("family") or "")
    return summary.get("options") or {}, f"Family of tests: {family.rstrip('.')}." if family else ""


def _multiple(run: Run, section: Section) -> None:
    """The model with several mediators: path plot, estimates, total effects, fit."""
    section.add("heading", "Several mediators in one model")
    summary = tables.read_json(run.path("mediate", "summary.json")) or {}
    estimates = run.csv("mediate/multiple_estimates.csv", ("lhs", "op", "rhs", "label", "est", "se", "p", "std"))
    if estimates is None:
        reason = summary.get("no_path_model_because") or "it needs a mediator that passes the filter"
        section.add("note", f"There is no such model in this run: {reason}.")
        return
    totals = run.csv("mediate/multiple_total_effects.csv")
    fit = tables.read_json(run.path("mediate", "multiple_fit.json")) or summary.get("fit") or {}
    if fit:
        model = _path_model(estimates, fit, totals, (summary.get("options") or {}).get("covariates") or [])
        mediators = len({name for names in model.exposures.values() for name in names})
        caption = (
            f"Path model of {_count(len(model.exposures), 'exposure')} and {_count(mediators, 'mediator')}, "
            f"standardised estimates, n = {tables.number(fit.get('ntotal'))} patients. Small number in a "
            "box: residual variance; dashed bow: correlation of exposures; grey dashed arrow: not "
            "significant."
        )
        section.add("figure", run.figure("path_plot", mediation_figures.path_plot(model), caption))
    section.add("table", tables.estimates(estimates))
    intervals = run.csv("mediate/multiple_intervals.csv")
    if intervals is not None:
        table = mediation_tables.intervals(intervals, "Bootstrap intervals of the effects that this model defines.")
        section.add("table", table)
    if totals is not None:
        section.add("table", tables.total_effects(totals))
    if fit:
        section.add("table", tables.fit_measures(fit))


def _path_model(
    estimates: pd.DataFrame, fit: Mapping[str, Any], totals: pd.DataFrame | None, covariates: Sequence[str]
) -> mediation.Multiple:
    """The fitted model from its files: the outcome explains nothing, and nothing explains an exposure."""
    paths = estimates[estimates["op"] == "~"]
    explained = list(dict.fromkeys(paths["lhs"]))
    outcome = next(name for name in explained if name not in set(paths["rhs"]))
    exposures = {
        name: list(paths.loc[(paths["rhs"] == name) & (paths["lhs"] != outcome), "lhs"])
        for name in dict.fromkeys(paths["rhs"])
        if name not in explained and name not in covariates
    }
    known = {name: np.nan if value is None else value for name, value in fit.items()}  # JSON has no NaN
    return mediation.Multiple(
        estimates=estimates,
        fit=known,
        total_effects=pd.DataFrame() if totals is None else totals,
        exposures=exposures,
        outcome=outcome,
        num_dropped=0,
        covariates=covariates,
    )


def _limits(run: Run) -> Section:
    section = Section("limits", "Limits", "Limits")
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
    if "ct_phantom" in _dataset(run):
        items.insert(0, "ct_phantom is generated: its numbers show that the pipeline works, nothing of patients.")
    section.add("list", items)
    return section


_SUMMARY = ("class", "metric", "mean", "error", "n", "excluded")
_TRUTH = ("exposure", "mediator", "expected", "found")


def _arrays(path: pathlib.Path, required: Sequence[str]) -> dict[str, np.ndarray] | None:
    """Arrays of an .npz file; None where there is no file."""
    if not path.is_file():
        return None
    with np.load(path) as held:
        arrays = dict(held)
    missing = [name for name in required if name not in arrays]
    if missing:
        raise ValueError(
            f"{path} lacks the arrays {missing} (it has {sorted(arrays)}); delete "
            f"{path.parent.name}/done.json and run the same command again to have it written anew."
        )
    return arrays


def _validation(run: Run, stage: Stage, metrics: pd.DataFrame) -> str:
    """`Validation Dice of the last weights, which are used: 0.70; the highest was 0.71 at step 300. `, or nothing."""
    rows = metrics[metrics["phase"] == "val"].dropna(axis="columns", how="all").reset_index(drop=True)
    names = [name for name in rows if str(name).startswith("dice_")]
    if not names:
        return ""
    values = rows[names].mean(axis="columns")
    title = figures.title(names[0]) if len(names) == 1 else "Dice (mean of the classes)"
    best = values.idxmax()
    highest = f"{tables.number(values[best])} at step {tables.number(rows['step'][best])}"
    description = tables.read_json(run.path(stage.name, "model", "model.json")) or {}
    if description.get("weights") == "best":
        return f"Validation {title} of the best weights, which are used: {highest}. "
    text = f"Validation {title} of the last weights, which are used: {tables.number(values.iloc[-1])}"
    return f"{text}{'' if best == len(values) - 1 else f'; the highest was {highest}'}. "


def _by_severity(run: Run, burden: pd.Series) -> tuple[dict[str, np.ndarray], str]:
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


def _as_expected(truth: pd.DataFrame) -> pd.Series:
    return (truth["expected"] == "mediator") == tables.as_bool(truth["found"])


def _truth_table(truth: pd.DataFrame) -> tables.Table:
    right = _as_expected(truth)
    shown = truth.assign(found=np.where(tables.as_bool(truth["found"]), "mediator", "null"))
    shown["as_expected"] = np.where(right, "yes", "no")
    columns = {
        "exposure": ("Exposure", tables.text_cell),
        "mediator": ("Mediator", tables.text_cell),
        "expected": ("Generated as", tables.text_cell),
        "found": ("Found to be", tables.text_cell),
        "as_expected": ("As expected", tables.text_cell),
    }
    recovered = f"{int(right.sum())} of {len(truth)} recovered"
    caption = f"Truth check: the data were generated with known effects; {recovered}."
    return tables.from_frame(shown, caption, columns)


def _count(number: int, noun: str) -> str:
    return f"{tables.number(number)} {noun}{'' if number == 1 else 's'}"
