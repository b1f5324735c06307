"""Runs a grid, and writes its tables, figures and page."""

import pathlib
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from absl import logging

from ssinfnet_jax import rundir
from ssinfnet_jax.evaluation import collect, grid, grid_folder, grid_runner
from ssinfnet_jax.report.experiment import grid_page


def run(
    experiment: Mapping[str, Any],
    folder: pathlib.Path,
    *,
    program: Sequence[str],
    check: Callable[[Mapping[str, Any]], Any],
    environments: Sequence[Mapping[str, str]],
) -> bool:
    """Runs the missing runs of a grid and reports all of them; returns whether none failed.

    Args:
      experiment: as for `grid.runs`.
      folder: of the experiment.
      program: arguments of Python that start this program; with `--index`, it runs one of the runs.
      check: raises ValueError for a mistake in the config of a run.
      environments: as for `grid_runner.run_missing`.
    Raises: ValueError for a mistake in the grid or one of its configs, before anything is run.
    """
    runs = grid.runs(experiment)
    if experiment["task"] == "train":
        _check(experiment, runs, check)
    with rundir.holding(folder):
        grid_folder.write(experiment, runs, folder, _command(program))
        missing = grid_folder.missing(experiment, runs, folder)
        logging.info("%d of %d runs are done.", len(runs) - len(missing), len(runs))
        grid_runner.run_missing(missing, folder, [sys.executable, *program], environments)
        return _report(experiment, runs, folder)


def report(experiment: Mapping[str, Any], folder: pathlib.Path, *, program: Sequence[str]) -> None:
    """Reports the runs in a folder without running anything; arguments as for `run`.

    Raises: ValueError for the folder of another experiment, or of none.
    """
    experiment = grid_folder.to_collect(experiment, folder)
    runs = grid.runs(experiment)
    with rundir.holding(folder):
        if not (folder / grid_folder.FILE).is_file():
            grid_folder.write(experiment, runs, folder, _command(program))
        _report(experiment, runs, folder)


def _report(experiment: Mapping[str, Any], runs: Sequence[grid.Run], folder: pathlib.Path) -> bool:
    states = collect.write(experiment, runs, folder)
    failed = states[states["state"] == "failed"]
    for row in failed.itertuples():
        logging.warning("Run %s failed in stage %s: %s", row.run, row.stage, row.reason)
    print(f"Report: {grid_page.write(folder)}")
    print("Runs: " + ", ".join(f"{count} {state}" for state, count in states["state"].value_counts().items()))
    return failed.empty


def _check(experiment: Mapping[str, Any], runs: Sequence[grid.Run], check: Callable[[Mapping[str, Any]], Any]) -> None:
    if experiment["reference"] not in experiment["methods"]:
        raise ValueError(
            f"The experiment's reference {experiment['reference']!r} is not one of its methods: "
            f"{', '.join(experiment['order'])}."
        )
    # Configs that differ only in fold and seed need one check.
    for one in {(one.data, one.method): one for one in runs}.values():
        try:
            check(one.config)
        except ValueError as error:
            raise ValueError(f"Run {one.name}: {error}") from error


def _command(program: Sequence[str]) -> str:
    return shlex.join(["python", *program])
