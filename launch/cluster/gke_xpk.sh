#!/usr/bin/env bash
# Runs a program of launch/ on TPU slices of a GKE cluster, as an xpk workload, in a Docker image of this repository.
set -euo pipefail

usage() {
  cat <<'TEXT'
Usage: CLUSTER=NAME ZONE=ZONE TPU_TYPE=TYPE IMAGE=IMAGE WORKLOAD=NAME \
           launch/cluster/gke_xpk.sh [--dry_run] STAGE --config=FILE:VARIANT --workdir=FOLDER [more flags]

STAGE is pipeline, one of its stages, or experiment.
The working folder must be on a volume that all hosts mount (xpk storage).
Settings are environment variables (defaults in parentheses):
  CLUSTER, ZONE    of the GKE cluster (required)
  TPU_TYPE         such as v5litepod-16 (required)
  IMAGE            Docker image whose working folder is this repository, set up with JAX=tpu (required)
  WORKLOAD         name of the workload (required)
  SLICES           number of TPU slices (1)
  PROJECT          of Google Cloud (gcloud's default)
  PYTHON           interpreter in the image (.venv/bin/python)
  --dry_run        prints the command without running it
TEXT
}

fail() { echo "Error: $*" >&2; exit 2; }

dry_run=
if [[ "${1:-}" == --dry_run ]]; then dry_run=1; shift; fi
case "${1:-}" in
  "" | -h | --help) usage; exit 0 ;;
  -*) fail "the first argument must be the stage, found '$1' (see --help)." ;;
esac
stage=$1; shift
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
[[ -f launch/$stage.py ]] || fail "there is no launch/$stage.py; STAGE must be pipeline, one of its stages, or experiment."
[[ " $*" == *" --workdir="* ]] || fail "--workdir=FOLDER is missing; set it to a folder that all hosts share."
for name in CLUSTER ZONE TPU_TYPE IMAGE WORKLOAD; do
  [[ -n ${!name:-} ]] || fail "$name is not set (see --help)."
done
if [[ -z $dry_run ]]; then command -v xpk > /dev/null || fail "xpk was not found; install it with pip install xpk."; fi

printf -v program '%q ' "${PYTHON:-.venv/bin/python}" -m "launch.$stage" "$@"
command=(
  xpk workload create "--cluster=$CLUSTER" "--zone=$ZONE" "--workload=$WORKLOAD" "--tpu-type=$TPU_TYPE"
  "--num-slices=${SLICES:-1}" "--docker-image=$IMAGE"
)
if [[ -n ${PROJECT:-} ]]; then command+=("--project=$PROJECT"); fi
command+=("--command=${program% }")

if [[ -n $dry_run ]]; then printf '%q ' "${command[@]}"; echo; else exec "${command[@]}"; fi
