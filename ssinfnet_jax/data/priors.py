"""The multi network's second input: the lesion probability of every labeled slice, from stage `predict_priors`."""

from collections.abc import Mapping

import numpy as np

from ssinfnet_jax import rundir

STAGE, FILE = "predict_priors", "priors.npz"


def write(run_dir: rundir.RunDir, priors: Mapping[str, np.ndarray], source: str) -> None:
    """Writes the priors.

    Args:
      run_dir: the run folder.
      priors: uint8[S,S] (255 = 1) by slice_id.
      source: `config.multi.prior_source`.
    """
    with rundir.writing(run_dir.stage(STAGE) / FILE) as path:
        np.savez_compressed(path, slice_id=[*priors], prior=np.stack([*priors.values()]), prior_source=source)


def read(run_dir: rundir.RunDir) -> dict[str, np.ndarray]:
    """Reads what `write` wrote, by slice_id.

    Raises: rundir.UnfinishedError if the stage has not finished; ValueError for a damaged file, with the remedy.
    """
    path = run_dir.require(STAGE, FILE) / FILE
    try:
        with np.load(path) as file:
            return dict(zip(file["slice_id"].tolist(), file["prior"], strict=True))
    except Exception as error:  # numpy and zipfile raise many kinds of errors for a damaged file
        text = " ".join(str(error).split())
        raise ValueError(f"{path} cannot be read ({text}); {run_dir.remedy(STAGE)}") from error
