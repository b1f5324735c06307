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

# shellcheck source-path=SCRIPTDIR
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
begin "all hosts" "$@"
needs_settings CLUSTER ZONE TPU_TYPE IMAGE WORKLOAD
needs_program xpk "install it with pip install xpk"

command=(
  xpk workload create "--cluster=$CLUSTER" "--zone=$ZONE" "--workload=$WORKLOAD" "--tpu-type=$TPU_TYPE"
  "--num-slices=${SLICES:-1}" "--docker-image=$IMAGE"
)
if [[ -n ${PROJECT:-} ]]; then command+=("--project=$PROJECT"); fi
command+=("--command=$(line)")

finish "${command[@]}"
