"""Stage `predict_priors`: predicts the multi network's second input with networks that find the lesion."""

import pathlib
from collections.abc import Iterator

import numpy as np
import pandas as pd
import tqdm

from ssinfnet_jax import rundir
from ssinfnet_jax.config import Config
from ssinfnet_jax.data import labels, prepare, priors
from ssinfnet_jax.inference import segmenter

CROSSFIT = "crossfit_single"


def left_out(config: Config) -> str | None:
    """Says why a config needs no priors; None if it does."""
    if reason := prepare.left_out(config, "multi"):
        return reason
    return None if config.multi.train.epochs else "the config takes the multi network as it is, without training"


def run(config: Config, run_dir: rundir.RunDir) -> str | None:
    """Writes the priors of all labeled slices (`data.priors`).

    `config.multi.prior_source` sets the source for training slices: "predicted", from the single
    network, as in the paper (it was trained on their labels and is better on them than on new slices);
    "cross_fitted", from the networks of stage `crossfit_single`, which were not trained on them; "ground_truth", their
    labels, as in the published code. All other priors are the single network's predictions.

    Returns: None, or the reason to skip this stage.
    """
    if skipped := prepare.reason_to_skip(config, run_dir, "multi"):
        return skipped
    source = config.multi.prior_source
    records, table = prepare.load(config.data, run_dir)
    train = ((table["split"] == "train") & table["has_lesion"].astype(bool)).to_numpy()
    others = np.flatnonzero(
        table["split"].isin(["train", "val", "test"]).to_numpy() & ~(train & (source != "predicted"))
    )
    jobs = [(others, run_dir.require("train_single", "model/model.json") / "model")]
    if source == "cross_fitted":
        jobs += _crossfitted(run_dir, table)
    found = {}
    for positions, model in jobs:
        probabilities = segmenter.Segmenter(model).probabilities(records, positions)
        for slice_id, (lesion,) in tqdm.tqdm(probabilities, total=len(positions), desc="predict priors", unit="slice"):
            found[slice_id] = np.round(lesion * 255).astype(np.uint8)
    if source == "ground_truth":
        size = (config.data.image_size,) * 2
        for position in np.flatnonzero(train):
            record = records[int(position)]
            found[record["slice_id"]] = 255 * labels.resize_label(record["lesion"], size)
    priors.write(run_dir, found, source)
    return None


def _crossfitted(run_dir: rundir.RunDir, table: pd.DataFrame) -> Iterator[tuple[np.ndarray, pathlib.Path]]:
    """Yields for each fold the record positions of its slices, and the folder of the model trained without it."""
    folds = pd.read_csv(run_dir.require(CROSSFIT, "folds.csv") / "folds.csv", dtype={"slice_id": str})
    for fold, part in folds.groupby("fold"):
        model = run_dir.require(CROSSFIT, f"fold_{fold}/model/model.json") / f"fold_{fold}" / "model"
        yield np.flatnonzero(table["slice_id"].isin(part["slice_id"])), model
