"""The stages of the pipeline, in order; every program in this folder runs one of them, `launch.pipeline` all."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

from launch import dask_flags, flags
from ssinfnet_jax import rundir
from ssinfnet_jax.analysis import stages as analysis
from ssinfnet_jax.data import prepare
from ssinfnet_jax.evaluation import evaluate
from ssinfnet_jax.inference import stages as inference
from ssinfnet_jax.report import page
from ssinfnet_jax.training import config_check, parallel, pretrain, train

STAGES: dict[str, Callable[[dict[str, Any], rundir.RunDir], str | None]] = {
    "prepare": lambda config, run: prepare.run(config, run, flags.source_dirs(config)),
    "pretrain_single": functools.partial(pretrain.run, which="single"),
    "train_single": functools.partial(train.run, which="single"),
    "predict_priors": inference.predict_priors,
    "pretrain_multi": functools.partial(pretrain.run, which="multi"),
    "train_multi": functools.partial(train.run, which="multi"),
    "evaluate": evaluate.run,
    "segment_cohort": inference.segment_cohort,
    "phenotypes": lambda config, run: analysis.phenotypes(config, run, **dask_flags.options()),
    "mediate": analysis.mediate,
}
# With several processes, all of them run these; process 0 runs the others while the rest wait.
TOGETHER = ("pretrain_single", "train_single", "pretrain_multi", "train_multi")
REPORT = "report"  # not in the table: it is written anew each time


def check(config: dict[str, Any]) -> None:
    """Raises ValueError for what is wrong in a config, before any stage has begun."""
    prepare.check(config)
    config_check.check(config)
    analysis.check(config)


def run(config: dict[str, Any], run_dir: rundir.RunDir, names: Sequence[str] | None = None) -> None:
    """Runs stages of a run in the order of the pipeline; finished ones are not repeated.

    Args:
      config: of the run.
      run_dir: the run folder.
      names: stages to run; all and the report if None.
    Raises: ValueError for an unknown stage, with the choices.
    """
    unknown = sorted(set(names or ()) - {*STAGES, REPORT})
    if unknown:
        raise ValueError(f"Unknown stage {', '.join(unknown)}; choose from {', '.join((*STAGES, REPORT))}.")
    for name, function in STAGES.items():
        if names is None or name in names:
            _run_stage(run_dir, name, functools.partial(function, config))
    if parallel.is_main() and (names is None or REPORT in names):
        print(f"Report: {page.write(run_dir.path)}")


def _run_stage(run_dir: rundir.RunDir, name: str, function: Callable[[rundir.RunDir], str | None]) -> None:
    """Runs a stage in the processes that it needs; what it writes is there for all when it is over."""
    # Process 0 decides for all: a network's file system may show the others an older state.
    done = bool(parallel.from_main(run_dir.is_done(name)))
    if parallel.is_main():
        rundir.run_stage(run_dir, name, function)
    elif name in TOGETHER and not done:
        function(run_dir)
    parallel.wait(f"after {name}")


def main(*names: str, **options: Any) -> None:
    """Parses the flags and runs the stages `names`; options as for `flags.run`."""
    flags.run(lambda config, run_dir: run(config, run_dir, names), check, **options)
