"""Chooses test slices of an experiment to show, with the predictions of each method."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from ssinfnet_jax.evaluation import columns
from ssinfnet_jax.report.experiment import example_slices, read_grid


def choose(experiment: read_grid.Experiment, network: str, count: int) -> list[example_slices.ExampleSlice]:
    """Chooses slices of the first dataset, fold and seed for which the runs of all methods have finished."""
    for data, fold, seed in dict.fromkeys((run.data, run.fold, run.seed) for run in experiment.runs):
        runs = [run for run in experiment.compared_runs if (run.data, run.fold, run.seed) == (data, fold, seed)]
        found = {run.method: _arrays(run, network) for run in runs if run.state == "finished"}
        found = {method: arrays for method, arrays in found.items() if arrays is not None}
        if len(found) == len(experiment.methods):
            dice = _dice(experiment, network, data, fold, seed)
            chosen = example_slices.choose_examples(dice, experiment.reference, count)
            return [_example(name, label, found, dice) for name, label in chosen.items()]
    return []


def _arrays(run: read_grid.GridRun, network: str) -> dict[str, np.ndarray] | None:
    """slice_id -> image, truth and pred of one network of a run."""
    path = run.folder / "evaluate" / "examples.npz"
    if not path.is_file():
        return None
    with np.load(path) as file:
        arrays = {name: file[name] for name in file.files}
    if network == "single":
        pred, truth = (arrays["lesion_prob"] > 0.5).astype(np.uint8), (arrays["truth"] > 0).astype(np.uint8)
    else:
        pred, truth = arrays[columns.PRED], arrays["truth"]
    return {
        str(name): {"image": image, "truth": one, "pred": other}
        for name, image, one, other in zip(arrays["slice_id"], arrays["image"], truth, pred, strict=True)
    }


def _dice(experiment: read_grid.Experiment, network: str, data: str, fold: int, seed: int) -> pd.DataFrame:
    """Dice by slice and method: of the lesion, or the mean over GGO and consolidation if the truth has them."""
    slices = experiment.slices
    wanted = ["lesion"] if network == "single" else ["ggo", "consolidation"]
    rows = slices[
        (slices["data"] == data)
        & (slices["fold"] == fold)
        & (slices["seed"] == seed)
        & slices["class"].isin(wanted)
        & slices["recall"].notna()
    ]
    return rows.groupby(["slice_id", "method"])["dice"].mean().unstack("method")


def _example(name: str, label: str, found: Mapping[str, dict], dice: pd.DataFrame) -> example_slices.ExampleSlice:
    first = next(iter(found.values()))[name]
    return example_slices.ExampleSlice(
        slice_id=name,
        image=first["image"],
        truth=first["truth"],
        pred={method: arrays[name]["pred"] for method, arrays in found.items()},
        dice={method: float(dice.loc[name, method]) for method in found},
        label=label,
    )
