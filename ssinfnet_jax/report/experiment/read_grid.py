"""An experiment's folder as the report sees it: the grid, what became of each run, and the tables made of them."""

import dataclasses
import functools
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from ssinfnet_jax import rundir
from ssinfnet_jax.evaluation import columns, grid, grid_folder
from ssinfnet_jax.report.kit import table_files

_REMEDY = "collect the runs again (--collect) to have it written anew"
_KEYS = {"name": str, "task": str, "network": str, "methods": dict, "runs": list}
_RUN_KEYS = tuple(name for name in grid.Run._fields if name != "config")


@dataclasses.dataclass(frozen=True)
class GridRun:
    """One run of the grid: what was asked for, and what is there.

    Attributes:
      state: finished, failed, unfinished (begun, without a result) or not run.
      reason: why it is not finished, where that is known.
      folder: of the run; may not be there.
      markers: content of the done.json of its finished stages.
      shared: the stages that are links to another run's.
    """

    name: str
    method: str
    data: str
    fold: int
    seed: int
    state: str
    reason: str
    folder: pathlib.Path
    markers: Mapping[str, Mapping[str, Any]]
    shared: Sequence[str]

    @property
    def seconds(self) -> float:
        """Seconds of the stages that are its own."""
        return sum(marker.get("seconds") or 0 for name, marker in self.markers.items() if name not in self.shared)


@dataclasses.dataclass(frozen=True)
class Experiment:
    """The folder of an experiment, its config and its runs; tables are read when they are asked for."""

    folder: pathlib.Path
    config: Mapping[str, Any]
    runs: Sequence[GridRun]

    @property
    def name(self) -> str:
        """`comparison_single:cpu`."""
        return self.config["name"]

    @property
    def networks(self) -> tuple[str, ...]:
        """The networks that are compared: single, multi or both."""
        return columns.NETWORKS[self.config["network"]]

    @property
    def methods(self) -> dict[str, str]:
        """Title of each method by its name, in the order of the config."""
        order = self.config.get("order") or list(self._methods)
        return {name: str(self._methods[name].get("title") or name) for name in order}

    @property
    def data(self) -> dict[str, str]:
        """Title of each data set by its name."""
        held = self.config.get("data") or {}
        return {name: str(data.get("title") or name) for name, data in held.items()}

    @property
    def _methods(self) -> Mapping[str, Mapping[str, Any]]:
        return self.config.get("methods") or {}

    @property
    def reference(self) -> str | None:
        """The method that others are compared with; None where there is none."""
        return self.config.get("reference")

    @property
    def factors(self) -> dict[str, dict[str, bool]]:
        """Which factors each method has, in an ablation; empty elsewhere."""
        return {name: method["factors"] for name, method in self._methods.items() if method.get("factors")}

    @property
    def seconds(self) -> float:
        """Seconds of all finished stages, each run of a stage counted once however many runs share it."""
        markers = [(run.name, name, marker) for run in self.runs for name, marker in run.markers.items()]
        once = {marker.get("id") or (run, name): marker.get("seconds") or 0 for run, name, marker in markers}
        return sum(once.values())

    @property
    def commits(self) -> list[str]:
        """The commits that finished stages were run by."""
        held = (str(marker["commit"]) for run in self.runs for marker in run.markers.values() if marker.get("commit"))
        return list(dict.fromkeys(held))

    @functools.cached_property
    def slices(self) -> pd.DataFrame | None:
        """tables/slices.csv: a row per run, test slice and class; None where there is none."""
        return self._table("slices")

    @functools.cached_property
    def summary(self) -> pd.DataFrame | None:
        """tables/summary.csv: mean ± 1.96 standard errors; None where there is none."""
        return self._table("summary")

    @functools.cached_property
    def comparison(self) -> pd.DataFrame | None:
        """tables/comparison.csv: paired differences from the reference; None where there is none."""
        return self._table("comparison")

    @functools.cached_property
    def effects(self) -> pd.DataFrame | None:
        """tables/factors.csv: main effects of the factors of an ablation; None where there is none."""
        return self._table("factors")

    @functools.cached_property
    def published(self) -> pd.DataFrame | None:
        """tables/published.csv: published figures of the official test part; None where it was not what was tested."""
        return table_files.read_csv(self.folder / "tables" / "published.csv", columns.GRID["published"], remedy=_REMEDY)

    @functools.cached_property
    def cost(self) -> pd.DataFrame | None:
        """tables/cost.csv: what each network costs; None where there is none."""
        return self._table("cost")

    def _table(self, name: str) -> pd.DataFrame | None:
        path = self.folder / "tables" / f"{name}.csv"
        table = table_files.read_csv(path, columns.GRID[name], remedy=_REMEDY)
        if table is None or table.empty:
            return None
        unknown = sorted(set(table.get("method", [])) - set(self.methods), key=str)
        if unknown:
            raise ValueError(
                f"{path} holds the methods {unknown}, but experiment.json names {list(self.methods)}: the table is of "
                "another grid; collect the runs again to have it written anew."
            )
        if {"patients", "n"} <= set(table) and (table["patients"] == table["n"]).all():
            table = table.drop(columns="patients")  # a slice each, or unknown
        return table


def read(folder: str | pathlib.Path) -> Experiment:
    """What the folder says of its experiment.

    Raises: FileNotFoundError without experiment.json; ValueError, naming the file, for one that does not describe a
      grid.
    """
    folder = pathlib.Path(folder)
    path = folder / grid_folder.FILE
    config = table_files.read_json(path)
    if config is None:
        raise FileNotFoundError(
            f"No experiment.json in {folder}: this is not the folder of an experiment. Give the --workdir of "
            "launch.experiment, which writes it."
        )
    _check(config, path)
    failures = table_files.read_csv(
        folder / "failures.csv", columns.FAILURES, remedy="delete it and run the experiment again"
    )
    reasons = {} if failures is None else {row["run"]: row for _, row in failures.iterrows()}
    return Experiment(folder, config, [_run(folder, run, reasons.get(run["name"])) for run in config.get("runs", [])])


def _check(config: Any, path: pathlib.Path) -> None:
    """An experiment of costs may have neither network nor methods nor runs."""
    remedy = "run launch.experiment again, which writes it"
    cost = isinstance(config, dict) and config.get("task") == "cost"
    for key, kind in _KEYS.items():
        if not isinstance(config, dict) or not isinstance(config.get(key, kind() if cost else None), kind):
            raise ValueError(f"{path} needs {key!r} ({kind.__name__}); {remedy}.")
    if cost:
        return
    if config["network"] not in columns.NETWORKS:
        raise ValueError(
            f"{path}: the network is one of {list(columns.NETWORKS)}, found {config['network']!r}; {remedy}."
        )
    methods, reference = list(config["methods"]), config.get("reference")
    if reference is not None and reference not in methods:
        raise ValueError(f"{path}: the reference is one of the methods {methods}, found {reference!r}; {remedy}.")
    for run in config["runs"]:
        missing = [key for key in _RUN_KEYS if key not in run]
        if missing:
            raise ValueError(f"{path}: every run needs {', '.join(_RUN_KEYS)}; {run} lacks {missing}; {remedy}.")
        if run["method"] not in methods:
            raise ValueError(f"{path}: run {run['name']!r} is of method {run['method']!r}, not of {methods}; {remedy}.")


def _run(folder: pathlib.Path, run: Mapping[str, Any], failure: pd.Series | None) -> GridRun:
    place = folder / "runs" / run["name"]
    markers = {name: table_files.read_json(place / name / "done.json") for name in rundir.STAGES}
    markers = {name: marker for name, marker in markers.items() if marker is not None}
    shared = [name for name in markers if (place / name).is_symlink()]
    evaluated = markers.get("evaluate")
    if failure is not None:
        stage = "" if pd.isna(failure["stage"]) else f"{failure['stage']}: "
        state, reason = "failed", f"{stage}{failure['reason']}"
    elif evaluated is not None and evaluated.get("skipped"):
        state, reason = "unfinished", f"evaluate: skipped, {evaluated['skipped']}"
    elif evaluated is not None or (place / "cost.json").is_file():
        state, reason = "finished", ""
    else:
        state, reason = ("unfinished", "") if place.is_dir() else ("not run", "")
    named = {key: run[key] for key in _RUN_KEYS}
    return GridRun(**named, state=state, reason=reason, folder=place, markers=markers, shared=shared)
