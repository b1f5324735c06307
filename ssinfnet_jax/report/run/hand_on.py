"""Folders to share, each with its model card: the exported program of a run, or its packed networks."""

import pathlib
from collections.abc import Sequence
from typing import Any

from ssinfnet_jax import rundir
from ssinfnet_jax.evaluation import pack
from ssinfnet_jax.inference import export
from ssinfnet_jax.report.run import model_card, pack_card


def write_exported(
    out_dir: pathlib.Path, single: pathlib.Path, multi: pathlib.Path | None, workdir: pathlib.Path | None = None
) -> dict[str, Any]:
    """Writes both networks as one program, with its card.

    Args:
      out_dir: must not exist.
      single, multi: model folders; without `multi` the program only finds lesions.
      workdir: run folder of the networks, if there is one.
    Returns: as `export.write`.
    Raises: ValueError or OSError if `out_dir` exists or a model folder cannot be read.
    """
    with rundir.new_folder(out_dir) as partial:
        program = export.write(partial, single, multi)
        model_card.write(partial / model_card.CARD, program, provenance=rundir.provenance(), workdir=workdir)
    return program


def models_of(workdir: pathlib.Path) -> tuple[pathlib.Path, pathlib.Path | None]:
    """Model folders of a run's single and multi network; None for a multi network that the run skips.

    Raises: rundir.UnfinishedError for a network that is not trained yet.
    """
    run, config = rundir.RunDir(workdir), workdir / "config.json"
    single = run.require("train_single", "model/model.json") / "model"
    if run.was_skipped("train_multi") or (config.is_file() and rundir.read_json(config)["multi"] is None):
        return single, None
    return single, run.require("train_multi", "model/model.json") / "model"


def write_packed(
    out_dir: pathlib.Path, workdir: pathlib.Path, folds: Sequence[pathlib.Path], limits: pathlib.Path | None = None
) -> dict[str, Any]:
    """Writes the networks of a run in half precision, with a card that reports the cross-validation of their recipe.

    Args:
      out_dir: must not exist.
      workdir: run folder of the networks.
      folds: run folders of the cross-validation.
      limits: Markdown file for the card: the failures that a reader of the held-out slices saw.
    Returns: as `pack.write`.
    Raises: ValueError or OSError if `out_dir` exists or a run is incomplete.
    """
    with rundir.new_folder(out_dir) as partial:
        found = pack.write(partial, workdir, folds)
        pack_card.write(partial, workdir, found, limits.read_text() if limits else "Not reviewed yet.")
    return found
