"""A grid of runs with one command: comparisons, ablation, cross-validation, cost (configs/experiments/).

python -m launch.experiment --config=configs/experiments/ablation.py:tiny --workdir=DIR [--share=OTHER_DIR]

Runs what is missing, each run in a separate process, and writes tables, figures and DIR/report.html of the results. A
failed run is recorded and does not stop the others; run the same command to try it again. Runs share stages with equal
results: one makes them, the others wait. `--num_parallel=N` runs N at the same time (one where time is measured), each
on separate GPUs; `--index=K` runs only the K-th, from 0, as in a job array of a cluster; `--collect` runs none.
"""

import functools
import pathlib
import sys
from collections.abc import Mapping
from typing import Any

import jax
from absl import flags

from launch import flags as common
from launch import processes, profile_flag, stages
from ssinfnet_jax.evaluation import grid_folder, grid_runner

_INDEX = flags.DEFINE_integer("index", None, "Run only the K-th run of the grid, from 0.", lower_bound=0)
_PARALLEL = flags.DEFINE_integer(
    "num_parallel", 1, "Number of runs at the same time on this machine, which share its GPUs.", lower_bound=1
)
_COLLECT = flags.DEFINE_bool("collect", False, "Run nothing; write tables and figures of finished runs.")
_SHARE = flags.DEFINE_multi_string("share", [], "Folder of another experiment whose finished stages to reuse.")
STAGES = tuple(name for name in stages.STAGES if name not in ("segment_cohort", "phenotypes", "mediate"))


def main(experiment: dict[str, Any], workdir: pathlib.Path) -> None:
    """Runs one run, or all that are missing, or reports finished ones."""
    if profile_flag.steps() and (_COLLECT.value or experiment["task"] != "train"):
        raise ValueError("--profile_steps: nothing is trained; leave it out.")
    shared = [pathlib.Path(name) for name in _SHARE.value]
    for folder in shared:
        grid_folder.check_exists(folder)
    if _INDEX.value is not None:
        processes.join()
        train = functools.partial(_train, experiments=(workdir, *shared))
        grid_runner.run_one(experiment, workdir, _INDEX.value, stages=STAGES, train=train)
        return
    # Here, because the processes of the runs need no figures and start two seconds earlier without them.
    from ssinfnet_jax.report.experiment import run_grid

    # The runs need the accelerator; this process would take a part of its memory.
    jax.config.update("jax_platforms", "cpu")
    program = ["-m", "launch.experiment", *(flag for flag in sys.argv[1:] if flag.lstrip("-") != "collect")]
    if _COLLECT.value:
        run_grid.report(experiment, workdir, program=program)
        return
    # Where time is measured, nothing else runs.
    environments = processes.apart(1 if experiment["task"] == "cost" else _PARALLEL.value)
    check = functools.partial(stages.check, names=STAGES)
    if not run_grid.run(experiment, workdir, program=program, check=check, environments=environments):
        sys.exit(1)


def _train(tree: Mapping[str, Any], folder: pathlib.Path, experiments: tuple[pathlib.Path, ...]) -> None:
    config = stages.check(tree, STAGES)
    stages.run(config, common.open_run(folder, tree), STAGES, experiments, profile_flag.steps())


if __name__ == "__main__":
    common.run_experiment(main)
