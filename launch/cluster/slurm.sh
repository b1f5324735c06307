#!/usr/bin/env bash
# Runs a program of launch/ on a SLURM cluster: one process per node, which uses all GPUs of its node.
set -euo pipefail

usage() {
  cat <<'TEXT'
Usage: launch/cluster/slurm.sh [--dry_run] STAGE --config=FILE:VARIANT --workdir=FOLDER [more flags of launch.STAGE]

STAGE is pipeline, one of its stages, or experiment. The working folder must be on a file system that all nodes share.
Settings are environment variables (defaults in parentheses):
  NODES       number of nodes (1)
  GPUS        GPUs per node (1)
  CPUS        CPU cores per node (8)
  TIME        time limit (24:00:00); two minutes before it, the job saves its state and is requeued
  ARRAY       for experiment: indices of its runs, such as 0-7 or 0-23%4 (four at a time); each run is its own job
  PARTITION, ACCOUNT   of the cluster (its defaults)
  PYTHON      interpreter (.venv/bin/python)
  --dry_run   prints the command without running it

Example: NODES=2 GPUS=4 launch/cluster/slurm.sh pipeline --config=configs/covid_semiseg.py:full --workdir=/shared/runs/a
         ARRAY=0-7 launch/cluster/slurm.sh experiment --config=configs/experiments/ablation.py:gpu --workdir=/shared/ablation
         then: python -m launch.experiment --config=... --workdir=... --collect
TEXT
}

# shellcheck source-path=SCRIPTDIR
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
begin "all nodes" "$@"
needs_program sbatch "run this on a login node of the cluster"

program=$(line)
# shellcheck disable=SC2016 # expanded inside the job
job='$SLURM_JOB_ID'
if [[ -n ${ARRAY:-} ]]; then
  [[ $stage == experiment ]] || fail "ARRAY only works with the stage experiment, found '$stage'."
  # shellcheck disable=SC2016
  program+=' --index=$SLURM_ARRAY_TASK_ID' job='${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID'  # the plain id may mean the whole array
fi
# Exit codes after a signal: 75 with the state saved, 143 if a stage has no state. A cancelled job is not requeued.
again="case \$code in 75|143) [ \"\$(squeue -h -j $job -o %T)\" = RUNNING ] && scontrol requeue $job;; esac"
body="srun --kill-on-bad-exit=1 $program || { code=\$?; $again; exit \$code; }"
command=(
  sbatch "--job-name=ssinfnet-$stage" "--nodes=${NODES:-1}" --ntasks-per-node=1 "--gpus-per-node=${GPUS:-1}"
  "--cpus-per-task=${CPUS:-8}" "--time=${TIME:-24:00:00}" --signal=TERM@120 --requeue --open-mode=append
)
if [[ -n ${ARRAY:-} ]]; then command+=("--array=$ARRAY"); fi
if [[ -n ${PARTITION:-} ]]; then command+=("--partition=$PARTITION"); fi
if [[ -n ${ACCOUNT:-} ]]; then command+=("--account=$ACCOUNT"); fi
command+=("--wrap=$body")

finish "${command[@]}"
