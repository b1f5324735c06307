"""Collects the results of a grid of runs so far: one table of all slices, and the runs that are missing or failed."""

import itertools
import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from ssinfnet_jax import rundir
from ssinfnet_jax.data.datasets import registry
from ssinfnet_jax.evaluation import columns, comparison, cost, factors, run_state, settings
from ssinfnet_jax.evaluation.grid import Run


def write(experiment: Mapping[str, Any], grid: Sequence[Run], folder: pathlib.Path) -> pd.DataFrame:
    """Writes `tables/` and `failures.csv` from the runs that have finished.

    Args:
      experiment: the grid's config; "compare" holds the options of `comparison.compare`.
      grid: its runs.
      folder: of the experiment.
    Returns: table with columns run, state ("done" | "failed" | "missing"), stage, reason.
    """
    states = pd.DataFrame(
        [{"run": run.name, **run_state.of(folder / "runs" / run.name, experiment, run.config)} for run in grid]
    )
    failed = states[states["state"] == "failed"][list(columns.FAILURES)]
    rundir.write_text(folder / "failures.csv", failed.to_csv(index=False))
    done = [run for run, state in zip(grid, states["state"], strict=True) if state == "done"]
    tables = folder / "tables"
    tables.mkdir(exist_ok=True)
    if experiment["task"] == "cost":
        found = cost.collect({run.name: folder / "runs" / run.name for run in done})
        rundir.write_text(tables / "cost.csv", found.to_csv(index=False))
        return states
    slices = read_slices(folder, done, columns.NETWORKS[experiment["network"]])
    slices, chosen = settings.choose(slices) if len(slices) else (slices, slices)
    if slices.empty:
        return states
    made = {"slices": slices, "summary": comparison.summarize(slices), "settings": chosen}
    if slices["method"].nunique() > 1 and (slices["method"] == experiment["reference"]).any():
        made["comparison"] = comparison.compare(slices, reference=experiment["reference"], **experiment["compare"])
        of_methods = {name: method.get("factors") for name, method in experiment["methods"].items()}
        if all(of_methods.values()):
            made["factors"] = factors.effects(slices, of_methods, **experiment["compare"])
    made["published"] = _published([folder / "runs" / run.name for run in done], set(slices["class"]))
    for name in columns.GRID:
        if name in made and not made[name].empty:
            rundir.write_text(tables / f"{name}.csv", made[name].to_csv(index=False))
        else:
            (tables / f"{name}.csv").unlink(missing_ok=True)  # from runs that no longer exist
    return states


def read_slices(folder: pathlib.Path, runs: Sequence[Run], networks: Sequence[str]) -> pd.DataFrame:
    """Reads the metrics of every test slice of some runs: the long table of `comparison`, with fold and setting.

    Args:
      folder: of the experiment.
      runs: finished runs.
      networks: whose metrics to read, of "single" and "multi".
    """
    parts = []
    for run, network in itertools.product(runs, networks):
        path = folder / "runs" / run.name / "evaluate" / f"{network}_slices.csv"
        table = pd.read_csv(path, dtype={"slice_id": str, "patient_id": str})
        about = {"data": run.data, "method": run.method, "fold": run.fold, "seed": run.seed, "setting": run.setting}
        parts.append(pd.DataFrame({**about, **table}, index=table.index))
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()


def _published(folders: Sequence[pathlib.Path], classes: set[str]) -> pd.DataFrame:
    """Returns published results on the official test part if all these runs were tested on it; else empty."""
    names = set()
    for folder in folders:
        path = folder / "prepare" / "slices.csv"
        if not path.is_file():  # shared with a run that no longer exists
            return pd.DataFrame()
        table = pd.read_csv(path, usecols=["part", "split"])
        if not (table.loc[table["split"] == "test", "part"] == "test").all():
            return pd.DataFrame()
        names |= {name for name, _ in json.loads((folder / "config.json").read_text())["data"]["datasets"]}
    rows = [row for name in sorted(names) for row in registry.published(name) if row["class"] in classes]
    return pd.DataFrame(rows)
