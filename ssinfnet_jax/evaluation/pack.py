"""Packs trained networks for release: compact model folders with the decision, temperatures and results of a
cross-validation."""

import dataclasses
import json
import pathlib
from collections.abc import Sequence
from typing import Any

from ssinfnet_jax import rundir
from ssinfnet_jax.evaluation import held_out
from ssinfnet_jax.networks import packed, storage
from ssinfnet_jax.networks.card import NetworkCard

_SAME = ("model", "options", "image_size", "normalisation", "window_hu", "view", "datasets")  # must agree in all folds


def write(out_dir: pathlib.Path, workdir: pathlib.Path, folds: Sequence[pathlib.Path]) -> dict[str, Any]:
    """Writes the networks of a run as `single` and `multi`, and `held_out.json`.

    Args:
      out_dir: an existing folder.
      workdir: the run folder of the networks.
      folds: run folders of a cross-validation of the same recipe, one per fold.
    Returns: the content of `held_out.json`: `figures` (`held_out.summary`), `agreement`, the numbers of `slices` and
      `folds`, of how many folds these are some or all (`num_folds`), and each slice's `dice`.
    Raises: FileNotFoundError for an unfinished run; ValueError for folds of another recipe, or weights outside the
      range of half precision.
    """
    folders = {which: _model(workdir, which) for which in ("single", "multi")}
    for fold in folds:
        for which, folder in folders.items():
            _check_same_recipe(folder, _model(fold, which))
    slices = held_out.read(folds)
    scales = dict(zip(folders, held_out.temperatures(slices), strict=True))
    decision = held_out.choose(held_out.tempered(slices, *scales.values()))
    measures = held_out.measures(slices)
    for which, folder in folders.items():
        variables, card = storage.load(folder)
        card = dataclasses.replace(
            card,
            initial="/".join(pathlib.PurePath(card.initial).parts[-3:]),  # without folders of the machine
            temperature=round(scales[which], 4),
            decision=decision if which == "multi" else None,
        )
        storage.save_compact(out_dir / which, variables, card)
    dice = measures.pivot(index="slice_id", columns="class", values="dice").round(4)
    found = {
        "figures": held_out.summary(measures),
        "agreement": held_out.agreement(measures),
        "slices": len(slices),
        "folds": len(folds),
        "num_folds": _splits(folds[0]).get("num_folds", len(folds)),
        "dice": {name: {kind: value for kind, value in row.items() if value == value} for name, row in dice.iterrows()},
    }
    rundir.write_text(out_dir / packed.FILE, json.dumps(found, indent=1) + "\n")
    return found


def _model(workdir: pathlib.Path, which: str) -> pathlib.Path:
    return rundir.RunDir(workdir).require(f"train_{which}", "model/model.json") / "model"


def _splits(workdir: pathlib.Path) -> dict[str, Any]:
    return rundir.read_json(workdir / "config.json")["data"]["splits"]


def _check_same_recipe(folder: pathlib.Path, fold: pathlib.Path) -> None:
    """Raises ValueError if two model folders hold different kinds of networks, or were trained on different input."""
    ours, theirs = (NetworkCard.read(path).to_json() for path in (folder, fold))
    for name in _SAME:
        if ours.get(name) != theirs.get(name):
            raise ValueError(
                f"{fold} has {name} {theirs.get(name)}, but {folder} has {ours.get(name)}; results of one recipe do "
                "not apply to another. Pass folds of the same recipe."
            )
