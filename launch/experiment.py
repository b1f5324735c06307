"""A grid of runs with one command: comparisons, ablation, cross-validation, cost (configs/experiments/).

python -m launch.experiment --config=configs/experiments/ablation.py:tiny --workdir=DIR [--share=OTHER_DIR]

Runs what is missing, each run in a process of its own, and makes tables, figures and DIR/report.html of what is there.
A failed run is noted and does not stop the rest; the same command tries it again. Stages that come out the same are
made once: a run waits for another that makes them. `--num_parallel=N` keeps N runs under way (one where time is
measured), each on GPUs of its own; `--index=K` runs the K-th run alone (from 0; for the array of a cluster),
`--collect` none.
"""

import json
import pathlib
import shlex
import sys
from collections.abc import Sequence
from typing import Any

import jax
from absl import flags, logging

from launch import flags as common
from launch import grid_runner, processes, profile_flag, stages
from ssinfnet_jax import rundir
from ssinfnet_jax.evaluation import cost, grid, grid_folder, run_state, timing
from ssinfnet_jax.networks import parallel

_INDEX = flags.DEFINE_integer("index", None, "Run the K-th run of the grid alone, from 0.", lower_bound=0)
_PARALLEL = flags.DEFINE_integer(
    "num_parallel", 1, "Runs at the same time on this machine; its GPUs are shared out among them.", lower_bound=1
)
_COLLECT = flags.DEFINE_bool("collect", False, "Run nothing; make tables and figures of what is there.")
_SHARE = flags.DEFINE_multi_string("share", [], "Folder of another experiment whose finished stages may be taken over.")
STAGES = tuple(name for name in stages.STAGES if name not in ("segment_cohort", "phenotypes", "mediate"))


def run_all(experiment: dict[str, Any], folder: pathlib.Path) -> None:
    """Runs what is missing of a grid, then collects; with --collect, what is there of the grid that the folder holds.

    Raises: ValueError for a mistake in the grid or one of its configs, before anything is run, and for a folder with
      nothing to collect.
    """
    # Here, because the processes of the runs compare and draw nothing, and begin two seconds earlier without these.
    from ssinfnet_jax.evaluation import collect
    from ssinfnet_jax.report.experiment import grid_page

    # The networks belong to the processes of the runs; this one would take a part of the accelerator from them.
    jax.config.update("jax_platforms", "cpu")
    if _COLLECT.value:
        experiment = grid_folder.to_collect(experiment, folder)
    runs = grid.runs(experiment)
    if not _COLLECT.value:
        _check(experiment, runs)
        # Where time is measured, nothing else runs.
        environments = processes.apart(1 if experiment["task"] == "cost" else _PARALLEL.value)
    with rundir.holding(folder):
        if not _COLLECT.value or not (folder / grid_folder.FILE).is_file():
            given = [shlex.quote(flag) for flag in sys.argv[1:] if flag.lstrip("-") != "collect"]
            grid_folder.write(experiment, runs, folder, f"python -m launch.experiment {' '.join(given)}")
        if not _COLLECT.value:
            missing = grid_folder.missing(experiment, runs, folder)
            logging.info("%d of %d runs are done.", len(runs) - len(missing), len(runs))
            grid_runner.run(missing, folder, environments)
        states = collect.write(experiment, runs, folder)
        for row in states[states["state"] == "failed"].itertuples():
            logging.warning("Run %s failed in stage %s: %s", row.run, row.stage, row.reason)
        print(f"Report: {grid_page.write(folder)}")
        print("Runs: " + ", ".join(f"{count} {state}" for state, count in states["state"].value_counts().items()))
    if (states["state"] == "failed").any() and not _COLLECT.value:
        sys.exit(1)


def run_one(experiment: dict[str, Any], folder: pathlib.Path, index: int) -> None:
    """Runs one run of a grid in this process; what stops it is noted in its folder.

    Raises: ValueError for an index beyond the grid, or a folder of another grid; what the run raises.
    """
    processes.join()
    runs = grid.runs(experiment)
    if index >= len(runs):
        raise ValueError(f"--index={index}: the grid has runs 0 to {len(runs) - 1}.")
    run = runs[index]
    path = folder / "runs" / run.name
    grid_folder.check_same(experiment, folder)
    logging.info("Run %d of %d: %s", index + 1, len(runs), run.name)
    with grid_runner.noting_failure(path, STAGES):
        if experiment["task"] == "cost":
            cost.run(run.config, path)
            return
        shared = _shared()
        config = stages.check(run.config, STAGES)
        run_dir = common.open_run(path, run.config)
        stages.run(config, run_dir, STAGES, (folder, *shared), profile_flag.steps())
        if parallel.is_main():
            rundir.write_text(path / "machine.json", json.dumps(timing.machine(), indent=2) + "\n")
        missing = run_state.missing_results(path, experiment)
        if missing:
            raise ValueError(f"The run has given no {', '.join(missing)}: it has no such network, or no test slices.")


def _shared() -> list[pathlib.Path]:
    """The folders of --share; ValueError for one that is no experiment's."""
    folders = [pathlib.Path(name) for name in _SHARE.value]
    for folder in folders:
        if not (folder / grid_folder.FILE).is_file():
            raise ValueError(f"--share={folder} is no folder of an experiment: it has no experiment.json.")
    return folders


def _check(experiment: dict[str, Any], runs: Sequence[grid.Run]) -> None:
    """Raises ValueError for a mistake in a config; folds and seeds differ in nothing that could be one."""
    _shared()
    if experiment["task"] != "train":
        return
    if experiment["reference"] not in experiment["methods"]:
        raise ValueError(
            f"The experiment's reference {experiment['reference']!r} is none of its methods: "
            f"{', '.join(experiment['order'])}."
        )
    for run in {(run.data, run.method): run for run in runs}.values():
        try:
            stages.check(run.config, STAGES)
        except ValueError as error:
            raise ValueError(f"Run {run.name}: {error}") from error


def main(experiment: dict[str, Any], workdir: pathlib.Path) -> None:
    """One run, or all."""
    if _INDEX.value is not None:
        run_one(experiment, workdir, _INDEX.value)
    else:
        run_all(experiment, workdir)


if __name__ == "__main__":
    common.run_experiment(main)
