"""The card of packed networks: their accuracy, their failures, how they were trained and on which data."""

import pathlib
from collections.abc import Mapping
from typing import Any

from ssinfnet_jax import rundir
from ssinfnet_jax.data.datasets import registry
from ssinfnet_jax.networks.card import NetworkCard
from ssinfnet_jax.networks.decision import Decision
from ssinfnet_jax.report.kit import figure_style, render
from ssinfnet_jax.report.run import data_tables, model_card, run_files


def write(folder: pathlib.Path, workdir: pathlib.Path, found: Mapping[str, Any], limits: str) -> pathlib.Path:
    """Writes MODEL_CARD.md.

    Args:
      folder: of the packed networks, `single` and `multi`.
      workdir: run folder of the networks.
      found: as `evaluation.pack.write` returns it.
      limits: Markdown: the failures that a reader of the held-out slices saw.
    Returns: path of the card.
    """
    run = run_files.read(workdir)
    networks = {which: NetworkCard.read(folder / which) for which in ("single", "multi")}
    names = [name for name, _ in run.config["data"]["datasets"]]
    stages = [run.stages[name] for name in rundir.STAGES if run.stages[name].state == "done"]
    return render.write(
        folder / model_card.CARD,
        "PACK_CARD.md.j2",
        name=run.config["name"],
        trained_on_all=run.config["data"]["splits"].get("test_fold") in ((), []),
        found=found,
        titles=figure_style.TITLES,
        limits=limits.strip(),
        stages=[
            {"title": rundir.STAGES[stage.name], "minutes": round(stage.marker["seconds"] / 60, 1)} for stage in stages
        ],
        commits=list(dict.fromkeys(str(stage.marker["commit"]) for stage in stages)),
        cards={which: card.to_json() for which, card in networks.items()},
        decision=(networks["multi"].decision or Decision()).words,
        splits=[] if run.slices is None else model_card.table_rows(data_tables.splits(run.slices)),
        origins={name: registry.origin(name) for name in dict.fromkeys(names)},
        cell=model_card.cell,
    )
