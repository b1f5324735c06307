"""Which test slices of an experiment are shown, and what each method made of them."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from ssinfnet_jax.report.experiment import example_slices, read_grid


def choose(experiment: read_grid.Experiment, network: str, count: int) -> list[example_slices.ExampleSlice]:
    """Slices of the first data set, fold and seed that all methods' runs have finished; none if there are none."""
    for data, fold, seed in dict.fromkeys((run.data, run.fold, run.seed) for run in experiment.runs):
        runs = [run for run in experiment.runs if (run.data, run.fold, run.seed) == (data, fold, seed)]
        held = {run.method: _arrays(run, network) for run in runs if run.state == "finished"}
        held = {method: arrays for method, arrays in held.items() if arrays is not None}
        if len(held) == len(experiment.methods):
            dice = _dice(experiment, network, data, fold, seed)
            chosen = example_slices.choose_examples(dice, experiment.reference, count)
            return [_example(name, label, held, dice) for name, label in chosen.items()]
    return []


def _arrays(run: read_grid.GridRun, network: str) -> dict[str, np.ndarray] | None:
    """image, truth and pred by slice id, of one network of a run."""
    path = run.folder / "evaluate" / "examples.npz"
    if not path.is_file():
        return None
    with np.load(path) as file:
        arrays = {name: file[name] for name in file.files}
    if network == "single":
        pred, truth = (arrays["lesion_prob"] > 0.5).astype(np.uint8), (arrays["truth"] > 0).astype(np.uint8)
    else:
        pred, truth = arrays["pred"], arrays["truth"]
    return {
        str(name): {"image": image, "truth": one, "pred": other}
        for name, image, one, other in zip(arrays["slice_id"], arrays["image"], truth, pred, strict=True)
    }


def _dice(experiment: read_grid.Experiment, network: str, data: str, fold: int, seed: int) -> pd.DataFrame:
    """Dice by slice and method: of the lesion, or the mean over those of GGO and consolidation that the truth has."""
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


def _example(name: str, label: str, held: Mapping[str, dict], dice: pd.DataFrame) -> example_slices.ExampleSlice:
    first = next(iter(held.values()))[name]
    return example_slices.ExampleSlice(
        slice_id=name,
        image=first["image"],
        truth=first["truth"],
        pred={method: arrays[name]["pred"] for method, arrays in held.items()},
        dice={method: float(dice.loc[name, method]) for method in held},
        label=label,
    )
