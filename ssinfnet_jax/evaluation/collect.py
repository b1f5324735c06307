"""What a grid of runs has given so far: one table of all slices, and which runs are missing or failed."""

import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from ssinfnet_jax import rundir
from ssinfnet_jax.evaluation.grid import Run

FAILED = "failed.json"  # in the folder of a run that failed: stage, reason


def is_done(folder: pathlib.Path, task: str) -> bool:
    """Whether a run of a grid has its result."""
    return (folder / "cost.json").is_file() if task == "cost" else (folder / "evaluate" / "done.json").is_file()


def write(experiment: Mapping[str, Any], grid: Sequence[Run], folder: pathlib.Path) -> pd.DataFrame:
    """Writes `tables/` and `failures.csv` of what is there.

    Args:
      experiment: the grid's config; "compare" holds the options of `comparison.compare`.
      grid: its runs.
      folder: of the experiment.
    Returns: table of run, state ("done" | "failed" | "missing"), stage, reason.
    """
    states = pd.DataFrame([{"run": run.name, **_state(folder / "runs" / run.name, experiment["task"])} for run in grid])
    failed = states[states["state"] == "failed"].drop(columns="state")
    rundir.write_text(folder / "failures.csv", failed.to_csv(index=False))
    done = [run for run, state in zip(grid, states["state"], strict=True) if state == "done"]
    tables = folder / "tables"
    tables.mkdir(exist_ok=True)
    slices = read_slices(folder, done, experiment["network"])
    if not slices.empty:
        rundir.write_text(tables / "slices.csv", slices.to_csv(index=False))
    return states


def write_failure(path: pathlib.Path, stage: str, reason: str) -> None:
    """Notes why a run failed, for `write`."""
    rundir.write_text(path, json.dumps({"stage": stage, "reason": reason}, indent=2) + "\n")


def read_slices(folder: pathlib.Path, runs: Sequence[Run], network: str) -> pd.DataFrame:
    """The measures of every test slice of some runs, with method, data, fold and seed.

    Args:
      folder: of the experiment.
      runs: finished ones.
      network: "single" | "multi", whose measures.
    Raises: ValueError for a run without measures of this network.
    """
    parts = []
    for run in runs:
        path = folder / "runs" / run.name / "evaluate" / f"{network}_slices.csv"
        if not path.is_file():
            raise ValueError(
                f"{path} is missing: run {run.name!r} has no measures of the {network} network (no labeled test "
                "slices, or no such network); correct the experiment's config, and delete this run's folder."
            )
        table = pd.read_csv(path, dtype={"slice_id": str, "patient_id": str})
        table.insert(0, "seed", run.seed)
        table.insert(0, "fold", run.fold)
        table.insert(0, "method", run.method)
        table.insert(0, "data", run.data)
        parts.append(table)
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()


def _state(folder: pathlib.Path, task: str) -> dict[str, str]:
    if is_done(folder, task):
        return {"state": "done", "stage": "", "reason": ""}
    if (folder / FAILED).is_file():
        return {"state": "failed", **json.loads((folder / FAILED).read_text())}
    return {"state": "missing", "stage": "", "reason": ""}
