"""Runs all stages in order; skips finished ones and resumes an interrupted one.

python -m launch.pipeline --config=configs/ct_phantom.py:demo --workdir=runs/demo [--stages=prepare,pretrain_single]
"""

from absl import flags

_STAGES = flags.DEFINE_list("stages", None, "Stages to run, in the order of the pipeline; default: all.")

if __name__ == "__main__":
    # Here, because worker processes of the phenotypes import this file and need no networks.
    from launch import flags as common
    from launch import profile_flag, stages

    common.run(
        lambda config, run_dir: stages.run(config, run_dir, _STAGES.value, profile=profile_flag.steps()), stages.check
    )
