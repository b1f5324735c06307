"""Folders to hand on, each with its model card: the exported program of a run, or its packed networks."""

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
    """Writes both networks as one program, and its card.

    Args:
      out_dir: must not exist.
      single, multi: model folders; without `multi` the program finds lesions only.
      workdir: run folder that they come from, if they do.
    Returns: what `export.write` gives.
    Raises: ValueError or OSError if the folder exists, or a model is none.
    """
    with rundir.new_folder(out_dir) as partial:
        program = export.write(partial, single, multi)
        model_card.write(partial / model_card.CARD, program, provenance=rundir.provenance(), workdir=workdir)
    return program


def models_of(workdir: pathlib.Path) -> tuple[pathlib.Path, pathlib.Path | None]:
    """Model folders of a run's single and multi network; None where its config or its data leave the multi one out.

    Raises: rundir.UnfinishedError for one that is not trained yet.
    """
    run, config = rundir.RunDir(workdir), workdir / "config.json"
    single = run.require("train_single", "model/model.json") / "model"
    if run.was_skipped("train_multi") or (config.is_file() and rundir.read_json(config)["multi"] is None):
        return single, None
    return single, run.require("train_multi", "model/model.json") / "model"


def write_packed(
    out_dir: pathlib.Path, workdir: pathlib.Path, folds: Sequence[pathlib.Path], limits: pathlib.Path | None = None
) -> dict[str, Any]:
    """Writes the networks of a run, made small, and their card with what a cross-validation says of the recipe.

    Args:
      out_dir: must not exist.
      workdir: run folder of the networks.
      folds: run folders of the cross-validation.
      limits: Markdown for the card: what goes wrong, by who looked at the slices.
    Returns: what `pack.write` gives.
    Raises: ValueError or OSError if the folder exists, or a run lacks something.
    """
    with rundir.new_folder(out_dir) as partial:
        found = pack.write(partial, workdir, folds)
        pack_card.write(partial, workdir, found, limits.read_text() if limits else "Nobody has looked yet.")
    return found
