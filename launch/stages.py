"""The stages of the pipeline, in order. Programs in this folder run one stage each, `launch.pipeline` all of them."""

import contextlib
import functools
import hashlib
import importlib
import json
import pathlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from absl import logging

from launch import dask_flags, flags, profile_flag
from ssinfnet_jax import rundir
from ssinfnet_jax.config import Config, part, read_config
from ssinfnet_jax.data import prepare
from ssinfnet_jax.evaluation import evaluate
from ssinfnet_jax.inference import predict_priors, segment_cohort
from ssinfnet_jax.networks import parallel
from ssinfnet_jax.training import config_check, crossfit, pretrain, train


class Stage(NamedTuple):
    """A stage of the pipeline.

    Attributes:
      run: function (config, run folder) that does the work; may return the reason why there was nothing to do.
      reads: the parts of the config that its result depends on. It gets no others, except `rundir.EXECUTION`, so runs
        that agree in these parts, and in the stages that it `needs`, may share its result.
      needs: the stages whose results it uses.
      writes: folders besides its own.
      left_out: function (whole config) -> why the config leaves this stage out, or None. Such a stage counts as
        finished for stages that need it.
    """

    run: Callable[[Config, rundir.RunDir], str | None]
    reads: tuple[str, ...]
    needs: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()
    left_out: Callable[[Config], str | None] = lambda config: None


def _analysis(name: str):
    # Not at the top, because the import takes half a second, and runs of a grid do not need it.
    return importlib.import_module(f"ssinfnet_jax.analysis.{name}")


_NO_MULTI = functools.partial(prepare.left_out, which="multi")
STAGES: dict[str, Stage] = {
    "prepare": Stage(
        lambda config, run: prepare.run(config, run, flags.source_dirs(config)), reads=("data",), writes=("data",)
    ),
    "pretrain_single": Stage(
        functools.partial(pretrain.run, which="single"),
        reads=("seed", "data", "single.model", "single.pretrain"),
        needs=("prepare",),
        left_out=functools.partial(prepare.left_out, which="single", stage="pretrain"),
    ),
    "train_single": Stage(
        functools.partial(train.run, which="single"),
        reads=("seed", "data", "single.model", "single.train"),
        needs=("prepare", "pretrain_single"),
    ),
    "crossfit_single": Stage(
        crossfit.run,
        reads=("seed", "data", "single", "multi.prior_source", "multi.prior_folds"),
        needs=("prepare", "pretrain_single"),
        left_out=crossfit.left_out,
    ),
    "predict_priors": Stage(
        predict_priors.run,
        reads=("seed", "data", "single", "multi.prior_source", "multi.prior_folds", "multi.train.epochs"),
        needs=("prepare", "train_single", "crossfit_single"),
        left_out=predict_priors.left_out,
    ),
    "pretrain_multi": Stage(
        functools.partial(pretrain.run, which="multi"),
        reads=("seed", "data", "multi.model", "multi.pretrain"),
        needs=("prepare", "predict_priors"),
        left_out=functools.partial(prepare.left_out, which="multi", stage="pretrain"),
    ),
    "train_multi": Stage(
        functools.partial(train.run, which="multi"),
        reads=("seed", "data", "multi.model", "multi.train", "multi.decision"),
        needs=("prepare", "predict_priors", "pretrain_multi"),
        left_out=_NO_MULTI,
    ),
    "evaluate": Stage(evaluate.run, reads=("seed", "data"), needs=("prepare", "train_single", "train_multi")),
    "segment_cohort": Stage(
        segment_cohort.run, reads=("data",), needs=("prepare", "train_single", "train_multi"), left_out=_NO_MULTI
    ),
    "phenotypes": Stage(
        lambda config, run: _analysis("measure_cohort").run(config, run, **dask_flags.options()),
        reads=("data", "phenotypes"),
        needs=("prepare", "segment_cohort"),
        left_out=_NO_MULTI,
    ),
    "mediate": Stage(
        lambda config, run: _analysis("mediate_cohort").run(config, run),
        reads=("data", "mediation"),
        needs=("prepare", "phenotypes"),
        left_out=_NO_MULTI,
    ),
}
# With several processes, all of them run these; process 0 runs the others while the rest wait.
TOGETHER = ("pretrain_single", "train_single", "crossfit_single", "pretrain_multi", "train_multi")
REPORT = "report"  # not in the table: it is rewritten every time


def check(tree: Mapping[str, Any], names: Sequence[str] = (*STAGES,)) -> Config:
    """Reads and checks a config from plain data; ValueError for a mistake that concerns the stages `names`."""
    config = read_config(tree)
    prepare.check(config)
    config_check.check(config)
    if not {"phenotypes", "mediate"}.isdisjoint(names):
        _analysis("config_check").check(config)
    return config


def run(
    config: Config,
    run_dir: rundir.RunDir,
    names: Sequence[str] | None = None,
    experiments: Sequence[pathlib.Path] = (),
    profile: tuple[int, int] | None = None,
) -> None:
    """Runs stages in the order of the pipeline, skipping finished ones.

    Args:
      config: of the run, from `check`.
      run_dir: the run folder, opened with the tree of the same config.
      names: stages to run; None: all, and the report.
      experiments: folders of grids, the run's own first; their runs share stages with equal results.
      profile: first and last step to profile in every training, counted from 1.
    Raises: ValueError for an unknown stage, with the choices, or for a profile if no stage trains;
      rundir.UnfinishedError if a stage needs unfinished ones, with all of them.
    """
    unknown = sorted(set(names or ()) - {*STAGES, REPORT})
    if unknown:
        raise ValueError(f"Unknown stage {', '.join(unknown)}; choose from {', '.join((*STAGES, REPORT))}.")
    wanted = _with_left_out(config, run_dir, names)
    if profile and not set(wanted) & set(TOGETHER):
        raise ValueError(f"--profile_steps: none of {', '.join(wanted)} trains a network; leave it out.")
    for name in wanted:
        stage = STAGES[name]
        own = part(config, (*stage.reads, *rundir.EXECUTION))
        once = _made_once(run_dir, name, experiments) if parallel.is_main() else contextlib.nullcontext()
        with once:
            reason = stage.left_out(config)
            options = {"profile": profile} if profile and name in TOGETHER else {}
            function = functools.partial(_skip, reason) if reason else functools.partial(stage.run, own, **options)
            try:
                _run_stage(run_dir, name, function)
            except rundir.UnfinishedError as error:
                needs = _unfinished(config, run_dir, name)
                raise rundir.UnfinishedError(
                    f"Stage {name!r} needs {', '.join(needs)}, not finished in {run_dir.path}: run "
                    f"launch.pipeline --stages={','.join((*needs, name))}"
                ) from error
    if parallel.is_main() and (names is None or REPORT in names):
        # Here, because the import takes two seconds, and single stages do not need it.
        from ssinfnet_jax.report.run import page

        print(f"Report: {page.write(run_dir.path)}")


def _with_left_out(config: Config, run_dir: rundir.RunDir, names: Sequence[str] | None) -> list[str]:
    """The stages to run, in order: `names`, and those they need that the config leaves out but are not recorded yet."""
    wanted = {*STAGES} if names is None else {*names}
    for name in reversed(STAGES):
        if name in wanted:
            needs = [need for need in STAGES[name].needs if not run_dir.is_done(need)]
            wanted.update(need for need in needs if STAGES[need].left_out(config))
    # Process 0 decides for all: on a network file system the others may see an older state.
    chosen = parallel.from_main(np.array([name in wanted for name in STAGES]))
    return [name for name, is_chosen in zip(STAGES, chosen, strict=True) if is_chosen]


def _unfinished(config: Config, run_dir: rundir.RunDir, name: str) -> list[str]:
    """The stages to run before a stage, in order."""
    found = {name}
    for later in reversed(STAGES):
        needs = STAGES[later].needs if later in found else ()
        found.update(need for need in needs if not run_dir.is_done(need) and not STAGES[need].left_out(config))
    return [need for need in STAGES if need in found - {name}]


def _skip(reason: str, _run_dir: rundir.RunDir) -> str:
    return reason


@contextlib.contextmanager
def _made_once(run_dir: rundir.RunDir, name: str, experiments: Sequence[pathlib.Path]) -> Iterator[None]:
    """Context in which no other run of the grid makes the same stage; takes over a finished or interrupted one."""
    if not experiments or run_dir.is_done(name):
        yield
        return
    stage = STAGES[name]
    wanted = _read_by(stage, _tree(run_dir.path))
    key = hashlib.sha256(json.dumps([name, wanted, run_dir.ids(stage.needs)], sort_keys=True).encode()).hexdigest()
    lock = experiments[0] / ".locks" / f"{name}-{key[:16]}"
    with rundir.in_turn(lock, f"{name}: waiting for another run, which makes the same stage."):
        _take_over(run_dir, name, experiments)
        yield


def _tree(run: pathlib.Path) -> dict[str, Any]:
    """The config in a run folder."""
    return json.loads((run / "config.json").read_text())


def _read_by(stage: Stage, tree: Mapping[str, Any]) -> dict[str, Any]:
    """The parts of a config that a stage reads; None for a key that it lacks."""
    return {
        name: functools.reduce(lambda section, key: section and section.get(key), name.split("."), tree)
        for name in stage.reads
    }


def _take_over(run_dir: rundir.RunDir, name: str, experiments: Sequence[pathlib.Path]) -> None:
    """Takes a stage from a run with the same parts of the config that has finished it, or else started it.

    Runs that agree in more stages come first: later stages can only be taken over with those they were made from.
    """
    stage, own = STAGES[name], _tree(run_dir.path)
    trees = {
        run: _tree(run)
        for experiment in experiments
        for run in sorted((experiment / "runs").glob("*"))
        if run.resolve() != run_dir.path.resolve() and (run / "config.json").is_file()
    }
    runs = sorted(
        (run for run, tree in trees.items() if _read_by(stage, tree) == _read_by(stage, own)),
        key=lambda run: -sum(_read_by(other, trees[run]) == _read_by(other, own) for other in STAGES.values()),
    )
    for run in runs:
        if run_dir.take_over(name, rundir.RunDir(run), stage.writes):
            logging.info("%s: taken over from %s.", name, run)
            return
    for run in runs:
        # Only within this grid: runs of other grids do not wait for this one.
        if run.parent.parent == experiments[0] and run_dir.take_up(name, rundir.RunDir(run), stage.needs, stage.writes):
            logging.info("%s: resuming where %s was stopped.", name, run)
            return


def _run_stage(run_dir: rundir.RunDir, name: str, function: Callable[[rundir.RunDir], str | None]) -> None:
    """Runs a stage in the processes that it needs, and waits until all can read its results."""
    # Process 0 decides for all: on a network file system the others may see an older state.
    done = bool(parallel.from_main(run_dir.is_done(name)))
    if parallel.is_main():
        rundir.run_stage(run_dir, name, function)
    elif name in TOGETHER and not done:
        function(run_dir)
    parallel.wait(f"after {name}")


def main(*names: str, **options: Any) -> None:
    """Parses the flags and runs the stages `names`; options as for `flags.run`."""
    flags.run(lambda config, run_dir: run(config, run_dir, names, profile=profile_flag.steps()), check, **options)
