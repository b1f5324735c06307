"""Stage `crossfit_single`: networks that have not seen the labels of the slices they are applied to."""

import pandas as pd

from ssinfnet_jax import rundir
from ssinfnet_jax.config import Config
from ssinfnet_jax.data import splits
from ssinfnet_jax.networks import parallel
from ssinfnet_jax.training import network_setup, train

STAGE, FOLDS = "crossfit_single", "folds.csv"


def left_out(config: Config) -> str | None:
    """Why a config leaves this stage out, or None."""
    if config.multi is None:
        return "the config has no multi network"
    if config.multi.prior_source != "cross_fitted":
        return "the multi network's priors are not cross-fitted"
    return None


def run(config: Config, run_dir: rundir.RunDir, *, profile: tuple[int, int] | None = None) -> str | None:
    """Trains `config.multi.prior_folds` single networks, each without one fold of the training slices.

    Folds are by patient, so no network is applied to a patient that it has seen. Interrupted trainings resume; finished
    ones are not repeated. Writes `fold_N/model`, and `folds.csv` with the fold of every training slice.

    Returns: None, or the reason why the data leave this stage out.
    """
    if skipped := network_setup.skip_together(config, run_dir, "multi", "train"):
        return skipped
    setup = network_setup.setup(config, run_dir, "single", label="lesion")
    rows = setup.table["has_lesion"].astype(bool) & (setup.table["split"] == "train")
    used = setup.training_rows("lesion")[rows].to_numpy()
    positions, patients = setup.positions(rows), setup.table.loc[rows, "patient_id"]
    num_folds = config.multi.prior_folds
    fold_of = patients.map(splits.folds(patients, num_folds, setup.seed)).to_numpy()
    directory = run_dir.stage(STAGE)
    for fold in range(num_folds):
        folder = directory / f"fold_{fold}"
        if not parallel.decide((folder / "model" / "model.json").is_file()):
            title = f"train single without fold {fold + 1} of {num_folds}"
            train.fit(
                config,
                run_dir,
                setup,
                positions[used & (fold_of != fold)],
                directory=folder,
                title=title,
                profile=profile,
            )
    if parallel.is_main():
        table = pd.DataFrame({"slice_id": setup.table.loc[rows, "slice_id"], "fold": fold_of})
        rundir.write_text(directory / FOLDS, table.to_csv(index=False))
    return None
