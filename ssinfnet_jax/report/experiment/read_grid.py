"""An experiment's folder as the report sees it: the grid, the state of each run, and the tables of results."""

import dataclasses
import functools
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from ssinfnet_jax import rundir
from ssinfnet_jax.evaluation import columns, grid, grid_folder
from ssinfnet_jax.report.kit import table_files

REMEDY = "collect the runs again (--collect) to rewrite it"
_KEYS = {"name": str, "task": str, "network": str, "methods": dict, "runs": list}
_RUN_KEYS = tuple(name for name in grid.Run._fields if name not in ("config", "setting"))


@dataclasses.dataclass(frozen=True)
class GridRun:
    """One run of the grid and its state.

    Attributes:
      setting: of the method, if it was tried with several; else "".
      state: finished, failed, unfinished (started, without a result) or not run.
      reason: why it is not finished, if known.
      folder: of the run; may not exist.
      markers: content of done.json by finished stage.
      shared: stages that are links to another run's.
    """

    name: str
    method: str
    data: str
    fold: int
    seed: int
    setting: str
    state: str
    reason: str
    folder: pathlib.Path
    markers: Mapping[str, Mapping[str, Any]]
    shared: Sequence[str]

    @property
    def seconds(self) -> float:
        """Seconds of its own stages."""
        return sum(marker.get("seconds") or 0 for name, marker in self.markers.items() if name not in self.shared)


@dataclasses.dataclass(frozen=True)
class Experiment:
    """The folder of an experiment, its config and its runs; tables are read on first use, None if they do not exist."""

    folder: pathlib.Path
    config: Mapping[str, Any]
    runs: Sequence[GridRun]

    @property
    def name(self) -> str:
        """`comparison_single:cpu`."""
        return self.config["name"]

    @property
    def networks(self) -> tuple[str, ...]:
        """The networks to compare: single, multi or both."""
        return columns.NETWORKS[self.config["network"]]

    @property
    def methods(self) -> dict[str, str]:
        """Name -> title of each method, in the order of the config."""
        order = self.config.get("order") or list(self._methods)
        return {name: str(self._methods[name].get("title") or name) for name in order}

    @property
    def data(self) -> dict[str, str]:
        """Name -> title of each dataset."""
        datasets = self.config.get("data") or {}
        return {name: str(data.get("title") or name) for name, data in datasets.items()}

    def data_titles(self, table: pd.DataFrame) -> pd.DataFrame:
        """A table whose column `data` has the titles of the datasets instead of their names."""
        return table.assign(data=table["data"].map(lambda name: self.data.get(name, name)))

    @property
    def _methods(self) -> Mapping[str, Mapping[str, Any]]:
        return self.config.get("methods") or {}

    @property
    def reference(self) -> str | None:
        """The method that others are compared with, if any."""
        return self.config.get("reference")

    @property
    def factors(self) -> dict[str, dict[str, bool]]:
        """Method -> factor -> whether the method has it, in an ablation; else empty."""
        return {name: method["factors"] for name, method in self._methods.items() if method.get("factors")}

    @property
    def compared_runs(self) -> list[GridRun]:
        """The runs whose results are compared: of a method with several settings, those in slices.csv."""
        keys = ["data", "method", "fold", "setting"]
        found = self.slices if self.slices is not None and "setting" in self.slices else pd.DataFrame(columns=keys)
        chosen = set(found[keys].drop_duplicates().itertuples(index=False, name=None))
        return [run for run in self.runs if not run.setting or (run.data, run.method, run.fold, run.setting) in chosen]

    @property
    def seconds(self) -> float:
        """Seconds of all finished stages; a shared stage counts once."""
        markers = [(run.name, name, marker) for run in self.runs for name, marker in run.markers.items()]
        once = {marker.get("id") or (run, name): marker.get("seconds") or 0 for run, name, marker in markers}
        return sum(once.values())

    @property
    def commits(self) -> list[str]:
        """The commits of the finished stages."""
        markers = (marker for run in self.runs for marker in run.markers.values())
        return list(dict.fromkeys(str(marker["commit"]) for marker in markers if marker.get("commit")))

    @functools.cached_property
    def slices(self) -> pd.DataFrame | None:
        """tables/slices.csv: a row per run, test slice and class."""
        return self._table("slices")

    @functools.cached_property
    def summary(self) -> pd.DataFrame | None:
        """tables/summary.csv: mean ± 1.96 standard errors."""
        return self._table("summary")

    @functools.cached_property
    def comparison(self) -> pd.DataFrame | None:
        """tables/comparison.csv: paired differences from the reference."""
        return self._table("comparison")

    @functools.cached_property
    def effects(self) -> pd.DataFrame | None:
        """tables/factors.csv: main effects of the factors of an ablation."""
        return self._table("factors")

    @functools.cached_property
    def settings(self) -> pd.DataFrame | None:
        """tables/settings.csv: by which setting each method is represented in each fold."""
        return self._table("settings")

    @functools.cached_property
    def published(self) -> pd.DataFrame | None:
        """tables/published.csv: published results on the official test part, if the runs were tested on it."""
        return table_files.read_csv(self.folder / "tables" / "published.csv", columns.GRID["published"], remedy=REMEDY)

    @functools.cached_property
    def cost(self) -> pd.DataFrame | None:
        """tables/cost.csv: the cost of each network."""
        return self._table("cost")

    def _table(self, name: str) -> pd.DataFrame | None:
        path = self.folder / "tables" / f"{name}.csv"
        table = table_files.read_csv(path, columns.GRID[name], remedy=REMEDY)
        if table is None or table.empty:
            return None
        unknown = sorted(set(table.get("method", [])) - set(self.methods), key=str)
        if unknown:
            raise ValueError(
                f"{path} has the methods {unknown}, but experiment.json names {list(self.methods)}: the table belongs "
                f"to another grid; {REMEDY}."
            )
        if {"patients", "n"} <= set(table) and (table["patients"] == table["n"]).all():
            table = table.drop(columns="patients")  # one slice per patient, or unknown patients
        return table


def read(folder: str | pathlib.Path) -> Experiment:
    """Reads the folder of an experiment.

    Raises: FileNotFoundError without experiment.json; ValueError for one that does not describe a grid.
    """
    folder = pathlib.Path(folder)
    path = folder / grid_folder.FILE
    config = table_files.read_json(path)
    if config is None:
        raise FileNotFoundError(
            f"No experiment.json in {folder}: this is not the folder of an experiment. Pass the --workdir of "
            "launch.experiment, which writes it."
        )
    _check(config, path)
    failures = table_files.read_csv(
        folder / "failures.csv", columns.FAILURES, remedy="delete it and run the experiment again"
    )
    reasons = {} if failures is None else {row["run"]: row for _, row in failures.iterrows()}
    return Experiment(folder, config, [_run(folder, run, reasons.get(run["name"])) for run in config.get("runs", [])])


def _check(config: Any, path: pathlib.Path) -> None:
    """Checks experiment.json; a measurement of costs may have no network, methods or runs."""
    remedy = "run launch.experiment again, which writes it"
    cost = isinstance(config, dict) and config.get("task") == "cost"
    for key, kind in _KEYS.items():
        if not isinstance(config, dict) or not isinstance(config.get(key, kind() if cost else None), kind):
            raise ValueError(f"{path} needs {key!r} ({kind.__name__}); {remedy}.")
    if cost:
        return
    if config["network"] not in columns.NETWORKS:
        raise ValueError(
            f"{path}: the network must be one of {list(columns.NETWORKS)}, found {config['network']!r}; {remedy}."
        )
    methods, reference = list(config["methods"]), config.get("reference")
    if reference is not None and reference not in methods:
        raise ValueError(f"{path}: the reference must be one of the methods {methods}, found {reference!r}; {remedy}.")
    for run in config["runs"]:
        missing = [key for key in _RUN_KEYS if key not in run]
        if missing:
            raise ValueError(f"{path}: every run needs {', '.join(_RUN_KEYS)}; {run} lacks {missing}; {remedy}.")
        if run["method"] not in methods:
            raise ValueError(f"{path}: run {run['name']!r} has method {run['method']!r}, none of {methods}; {remedy}.")


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
    named = {key: run[key] for key in _RUN_KEYS} | {"setting": run.get("setting", "")}
    return GridRun(**named, state=state, reason=reason, folder=place, markers=markers, shared=shared)
