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

_INSTANT_S = 3.0  # stages of fewer seconds, which took a network over as it is, are not worth naming


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
    runs = _with_earlier(run)
    stages = [one.stages[name] for one in runs for name in rundir.STAGES if one.stages[name].state == "done"]
    stages = [stage for stage in stages if stage.marker["seconds"] > _INSTANT_S]
    return render.write(
        folder / model_card.CARD,
        "PACK_CARD.md.j2",
        name=run.config["name"],
        trained_on_all=_holds_out_none(run),
        commands=[_command(one) for one in runs],
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


def _initial(run: run_files.Run) -> dict[str, pathlib.Path]:
    """The model folders that the run's networks start from."""
    given = {which: run.config[which]["train"]["initial"] for which in ("single", "multi")}
    return {which: pathlib.Path(path) for which, path in given.items() if path}


def _with_earlier(run: run_files.Run) -> list[run_files.Run]:
    """The run, after those whose networks it starts from, as far as their run folders are still there."""
    earlier = dict.fromkeys(path.parents[1] for path in _initial(run).values() if len(path.parents) > 1)
    found = [
        one for folder in earlier if (folder / "config.json").is_file() for one in _with_earlier(run_files.read(folder))
    ]
    return [*found, run]


def _holds_out_none(run: run_files.Run) -> bool:
    return not run.config["data"]["splits"].get("test_fold", True)


def _command(run: run_files.Run) -> str:
    config = run.config["name"].replace(":", ".py:")
    parts = [f"python -m launch.pipeline --config=configs/{config} --data_dir=FOLDER --workdir={run.workdir.name}"]
    parts += ["--config.data.splits.test_fold='()'"] if _holds_out_none(run) else []
    parts += [f"--config.{which}.train.initial={'/'.join(path.parts[-3:])}" for which, path in _initial(run).items()]
    return " \\\n    ".join(parts)
