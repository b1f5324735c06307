"""Cross-fitting: networks that have not seen the label of the slices they are applied to."""

import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from ssinfnet_jax import rundir
from ssinfnet_jax.data import splits
from ssinfnet_jax.training import network_setup, train


def single(
    config: Mapping[str, Any], run_dir: rundir.RunDir, directory: pathlib.Path
) -> list[tuple[np.ndarray, pathlib.Path]]:
    """Trains `config["multi"]["prior_folds"]` single networks, each without one fold of the training slices.

    Patients are dealt to the folds, so that no network has seen a patient that it is applied to. A training that was
    stopped goes on; one that has ended is not repeated.

    Args:
      config: of the run.
      run_dir: the run folder.
      directory: takes a folder per network.
    Returns: per fold the positions of its slices, and the model folder of the network that was trained without them.
    """
    setup = network_setup.setup(config, run_dir, "single", label="lesion")
    rows = setup.table["has_lesion"].astype(bool) & (setup.table["split"] == "train")
    positions = setup.positions(rows)
    patients = setup.table.loc[rows, "patient_id"]
    num_folds = int(config["multi"]["prior_folds"])
    fold_of = patients.map(splits.folds(patients, num_folds, setup.seed)).to_numpy()
    found = []
    for fold in range(num_folds):
        folder = directory / f"fold_{fold}"
        if not (folder / "model" / "model.json").is_file():
            title = f"train single without fold {fold + 1} of {num_folds}"
            train.fit(config, run_dir, setup, positions[fold_of != fold], directory=folder, title=title)
        found.append((positions[fold_of == fold], folder / "model"))
    return found
