"""Pretraining and training of both networks."""

import pandas as pd

from ssinfnet_jax.data import stage_files
from ssinfnet_jax.report.kit import blocks, curve_figures, figure_style, slice_figures, table_files, tables
from ssinfnet_jax.report.run import run_files


def build_pretraining(run: run_files.Run) -> blocks.Section:
    """Section with the curves and pictures of the inpainting."""
    section = blocks.Section("pretraining", "Pretraining by inpainting", "Pretraining")
    for network, title in run_files.NETWORKS.items():
        stage = run.stages[f"pretrain_{network}"]
        section.add("heading", title)
        section.add("note", stage.reason)
        metrics = _read_metrics(run, stage, section)
        if metrics is not None:
            phases = ", ".join(dict.fromkeys(metrics["phase"].astype(str)))
            caption = (
                f"Pretraining of the {network} network over {tables.number(metrics['step'].max())} steps, n "
                f"= {len(metrics)} logged rows, coloured by phase ({phases}). In a coach phase, the loss is "
                "the coach's, which is rewarded where the inpainter fails; in other phases it is the "
                "inpainter's. Pale: as logged; strong: running mean (long phases only)."
            )
            name = f"pretraining_curves_{network}"
            section.add("figure", run.figure(name, curve_figures.pretraining_curves(metrics), caption))
        examples = run.arrays(f"{stage.name}/examples.npz", stage_files.INPAINTING_EXAMPLES)
        if examples is not None and len(examples["image"]):
            rows = len(slice_figures.spread(examples["phase"], 4))
            caption = (
                f"Inpainting by the {network} network, {rows} of "
                f"{blocks.count(len(examples['image']), 'kept slice')}: image, erased image (green: the part that the "
                "network does not see), restored image, the network's output, and its absolute difference from the "
                "image (grey values in [0, 1])."
            )
            name = f"inpainting_strips_{network}"
            section.add("figure", run.figure(name, slice_figures.inpainting_strips(examples), caption))
    return section


def build_training(run: run_files.Run) -> blocks.Section:
    """Section with the training curves."""
    section = blocks.Section("training", "Training", "Training")
    for network, title in run_files.NETWORKS.items():
        stage = run.stages[f"train_{network}"]
        section.add("heading", title)
        for name in ("crossfit_single", "predict_priors") if network == "multi" else ():
            section.add("note", run.stages[name].reason)
        section.add("note", stage.reason)
        metrics = _read_metrics(run, stage, section)
        if metrics is not None:
            epochs = f" ({tables.number(metrics['epoch'].max())} epochs)" if "epoch" in metrics else ""
            steps = tables.number(metrics["step"].max())
            caption = (
                f"Training of the {network} network over {steps} steps{epochs}, n = {len(metrics)} logged "
                "rows. Train Dice is measured on training batches, Dice on the validation split. "
                f"{_validation(run, stage, metrics)}Pale: as logged; strong: running mean (long runs only)."
            )
            section.add(
                "figure", run.figure(f"training_curves_{network}", curve_figures.training_curves(metrics), caption)
            )
    return section


def _read_metrics(run: run_files.Run, stage: run_files.Stage, section: blocks.Section) -> pd.DataFrame | None:
    """The logged rows of a stage; None, with a note in the section if the stage is done, if there are none."""
    metrics = table_files.read_metrics(run.path(stage.name, "metrics.jsonl"))
    training = (run.config.get(stage.name.removeprefix("train_")) or {}).get("train") or {}
    if stage.name.startswith("train_") and training.get("epochs") == 0:
        section.add("note", f"Not trained: the network in {training.get('initial')} as it is.")
    elif metrics is None and stage.state == "done":
        section.add("note", f"No rows in {stage.name}/metrics.jsonl.")
    return metrics


def _validation(run: run_files.Run, stage: run_files.Stage, metrics: pd.DataFrame) -> str:
    """`Validation Dice of the last weights, which are used: 0.70; the highest was 0.71 at step 300. `; or ""."""
    rows = metrics[metrics["phase"] == "val"].dropna(axis="columns", how="all").reset_index(drop=True)
    names = [name for name in rows if str(name).startswith("dice_")]
    if not names:
        return ""
    values = rows[names].mean(axis="columns")
    title = figure_style.title(names[0]) if len(names) == 1 else "Dice (mean of the classes)"
    best = values.idxmax()
    highest = f"{tables.number(values[best])} at step {tables.number(rows['step'][best])}"
    description = table_files.read_json(run.path(stage.name, "model", "model.json")) or {}
    if description.get("weights") == "best":
        return f"Validation {title} of the best weights, which are used: {highest}. "
    text = f"Validation {title} of the last weights, which are used: {tables.number(values.iloc[-1])}"
    return f"{text}{'' if best == len(values) - 1 else f'; the highest was {highest}'}. "
