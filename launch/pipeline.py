"""All stages, one after the other; finished ones are not repeated.

python -m launch.pipeline --config=configs/ct_phantom.py:demo --workdir=runs/demo [--stages=prepare,pretrain_single]
"""

from collections.abc import Callable, Sequence
from typing import Any

from absl import flags

from launch import flags as common
from ssinfnet_jax import rundir
from ssinfnet_jax.analysis import stages as analysis
from ssinfnet_jax.data import prepare
from ssinfnet_jax.evaluation import evaluate
from ssinfnet_jax.inference import stages as inference
from ssinfnet_jax.report import page
from ssinfnet_jax.training import pretrain, train

_STAGES = flags.DEFINE_list("stages", None, "Stages to run, in the order of the pipeline; all if not given.")

STAGES: dict[str, Callable[[dict[str, Any], rundir.RunDir], str | None]] = {
    "prepare": lambda config, run: prepare.run(config, run, common.data_dir()),
    "pretrain_single": lambda config, run: pretrain.run(config, run, "single"),
    "train_single": lambda config, run: train.run(config, run, "single"),
    "predict_priors": inference.predict_priors,
    "pretrain_multi": lambda config, run: pretrain.run(config, run, "multi"),
    "train_multi": lambda config, run: train.run(config, run, "multi"),
    "evaluate": evaluate.run,
    "segment_cohort": inference.segment_cohort,
    "phenotypes": analysis.phenotypes,
    "mediate": analysis.mediate,
}


def run(config: dict[str, Any], run_dir: rundir.RunDir, names: Sequence[str] | None = None) -> None:
    """Runs stages of a run, and writes the report anew.

    Raises: ValueError for an unknown stage, with the choices.
    """
    unknown = sorted(set(names or ()) - set(STAGES) - {"report"})
    if unknown:
        raise ValueError(f"Unknown stage {', '.join(unknown)}; choose from {', '.join(STAGES)}, report.")
    for name, function in STAGES.items():
        if names is None or name in names:
            rundir.run_stage(run_dir, name, lambda function=function: function(config, run_dir))
    if names is None or "report" in names:
        print(f"Report: {page.write(run_dir.path)}")


if __name__ == "__main__":
    common.run(lambda config, run_dir: run(config, run_dir, _STAGES.value))
