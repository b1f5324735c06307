"""Metrics of both networks on the test slices, and pictures of these slices."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from ssinfnet_jax.evaluation import columns
from ssinfnet_jax.metrics import volume
from ssinfnet_jax.report.kit import blocks, curve_figures, figure_style, slice_figures, table_files, tables, viewer
from ssinfnet_jax.report.run import distribution_figures, run_files

MAX_CONTACT = 30  # slices on the contact sheet
MAX_SLICES = 100  # in the viewer


def build(run: run_files.Run) -> blocks.Section:
    """Section with metrics, Dice per slice and ROC curves."""
    section = blocks.Section("evaluation", "Evaluation", "Evaluation")
    section.add("note", run.stages["evaluate"].reason)
    curves, values = {}, {}
    for network, title in run_files.NETWORKS.items():
        summary = run.csv(f"evaluate/{network}_summary.csv", columns.SUMMARY)
        slices = run.csv(f"evaluate/{network}_slices.csv", columns.SLICES)
        curve = run.csv(f"evaluate/{network}_roc.csv", columns.ROC)
        if summary is None and slices is None and curve is None:
            if run.stages["evaluate"].state == "done":
                section.add("note", f"{title}: not evaluated in this run.")
            continue
        section.add("heading", title)
        if summary is not None:
            joint = _decision(run).get("rule") == "joint"
            multi = "by the joint decision of both networks" if joint else "by the likeliest class"
            scored = multi if network == "multi" else "at a threshold of 0.5"
            caption = (
                f"Metrics per slice {scored}: mean ± 1.96 standard errors over n slices; "
                "excl.: slices on which the metric is undefined, because the class is absent."
            )
            if network == "multi":
                caption += " Overall: the mean of background, GGO and consolidation."
            section.add("table", tables.summary(summary, figure_style.TITLES, caption))
        if slices is not None:
            caption = "Test slices, lowest Dice first; empty where a metric is undefined."
            table = tables.per_slice(slices, figure_style.TITLES, caption)
            section.fold(f"All slices ({slices['slice_id'].nunique()})", table)
            for kind in dict.fromkeys(slices["class"]):
                values[kind] = slices.loc[slices["class"] == kind, "dice"].to_numpy(float)
        _add_volumes(section, run, network)
        if curve is not None:
            curves[title] = curve
    if values:
        colours = [figure_style.NAMED.get(kind, figure_style.BACKGROUND) for kind in values]
        named = {figure_style.TITLES.get(kind, kind): numbers for kind, numbers in values.items()}
        caption = (
            "Dice of every test slice (dots), quartiles (box) and median (line); diamond: mean ± 1.96 "
            "standard errors. n: slices on which Dice is defined."
        )
        figure = distribution_figures.distributions(named, xlabel="Dice per slice", colours=colours, limits=(0, 1))
        section.add("figure", run.figure("dice_per_slice", figure, caption))
    if curves:
        caption = (
            "ROC curves over the pixels of all test slices; the area is that of the drawn curve, whereas the "
            "AUC in the table is a mean over slices. Dot: threshold 0.5. Dotted line: chance."
        )
        section.add("figure", run.figure("roc", curve_figures.roc(curves), caption))
    return section


def _decision(run: run_files.Run) -> Mapping[str, Any]:
    """The decision of the multi network: of its card, or of the config."""
    card = table_files.read_json(run.path("train_multi", "model", "model.json")) or {}
    return card.get("decision") or (run.config.get("multi") or {}).get("decision") or {}


def _add_volumes(section: blocks.Section, run: run_files.Run, network: str) -> None:
    """Metrics of whole scans, where the test slices lie in volumes."""
    table = run.csv(f"evaluate/{network}_volumes.csv", columns.VOLUMES)
    summary = run.csv(f"evaluate/{network}_volumes_summary.csv", columns.SUMMARY)
    if table is None or summary is None:
        return
    caption = (
        "Metrics per scan: mean ± 1.96 standard errors over n scans. Surface Dice: the share of both surfaces within "
        f"{volume.TOLERANCE_MM:g} mm of each other. Volume error: predicted minus true. excl.: scans on which the "
        "metric is undefined: Dice if neither mask has the class, the Hausdorff distance unless both have it."
    )
    section.add("table", tables.summary(summary, figure_style.TITLES, caption))
    heads = {"volume_id": "Scan", "patient_id": "Patient", "class": "Class", "num_slices": "Slices"}
    heads |= {"truth_ml": "True, ml", "pred_ml": "Predicted, ml"}
    heads |= {name: figure_style.TITLES.get(name, name.capitalize()) for name in volume.METRICS}
    shown = table.assign(**{"class": table["class"].map(lambda kind: figure_style.TITLES.get(kind, kind))})
    named = {name: (head, tables.formatter(shown[name])) for name, head in heads.items()}
    caption = "Scans of the test split, lowest Dice first; empty where a metric is undefined."
    every = tables.from_frame(shown.sort_values("dice", na_position="last"), caption, named)
    section.fold(f"All scans ({table['volume_id'].nunique()})", every)


def build_examples(run: run_files.Run) -> blocks.Section:
    """Section with pictures of test slices."""
    section = blocks.Section("examples", "Segmentation examples", "Examples")
    examples = run.arrays("evaluate/examples.npz", columns.EXAMPLES)
    if examples is None or not len(examples["image"]):
        section.add("note", run.stages["evaluate"].reason or "No example slices were kept in this run.")
        return section
    chosen = slice_figures.choose(examples["dice"])
    total, multi = len(examples["dice"]), columns.PRED in examples
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
            f"truth, predictions of the single network (lesion){second}. Slices: {named}."
        )
        section.add("figure", run.figure("overlays", slice_figures.overlays(examples), caption))
    order = np.argsort(-np.nan_to_num(examples["dice"], nan=-1), kind="stable")  # best first
    section.add("viewer", viewer.view(_case(examples, _thinned(order, MAX_SLICES)), anchor="test-slices"))
    order = _thinned(order, MAX_CONTACT)
    labels = [f"{examples['slice_id'][i]}\nlesion Dice {tables.number(examples['dice'][i])}" for i in order]
    figure = slice_figures.contact_sheet(
        examples["image"][order],
        labels,
        fill=_pred(examples)[order],
        outline=examples["truth"][order] > 0,
        colours=figure_style.CLASSES if multi else figure_style.LESIONS,
    )
    caption = (
        f"{len(order)} of {total} example slices, highest lesion Dice of the single network first. Filled: "
        f"prediction of the {'multi' if multi else 'single'} network; yellow line: border of the lesion in "
        "the ground truth."
    )
    section.add("figure", run.figure("contact_sheet", figure, caption))
    return section


def _case(examples: Mapping[str, np.ndarray], order: np.ndarray) -> viewer.Case:
    """Test slices in this order, with their ground truth, for one viewer."""
    multi, total = columns.PRED in examples, len(examples["dice"])
    truth = examples["truth"] if multi else (examples["truth"] > 0).astype(np.uint8)
    shown = f"{len(order)}" if len(order) == total else f"{len(order)} of {total}, evenly spread"
    return viewer.Case(
        name="test slices, highest lesion Dice first",
        images=examples["image"][order],
        classes=_pred(examples)[order],
        truth=truth[order],
        facts={
            "Test slices": shown,
            "Order": "highest lesion Dice of the single network first",
            "Overlay": f"prediction of the {'multi' if multi else 'single'} network",
        },
        labels=[f"{examples['slice_id'][i]} · lesion Dice {tables.number(examples['dice'][i])}" for i in order],
        colours=figure_style.CLASSES if multi else figure_style.LESIONS,
    )


def _pred(examples: Mapping[str, np.ndarray]) -> np.ndarray:
    """uint8[N, H, W]: classes if there is a multi network, else the lesion."""
    return examples.get(columns.PRED, (examples["lesion_prob"] > 0.5).astype(np.uint8))


def _thinned(order: np.ndarray, limit: int) -> np.ndarray:
    """At most `limit` positions, evenly spread from the first to the last."""
    return order if len(order) <= limit else order[np.linspace(0, len(order) - 1, limit).astype(int)]
