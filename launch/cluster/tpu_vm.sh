#!/usr/bin/env bash
# Runs a program of launch/ on all hosts of a Cloud TPU VM, where this repository is set up (make setup JAX=tpu).
set -euo pipefail

usage() {
  cat <<'TEXT'
Usage: TPU_NAME=NAME ZONE=ZONE launch/cluster/tpu_vm.sh [--dry_run] STAGE --config=FILE:VARIANT --workdir=FOLDER [flags]

STAGE is pipeline, one of its stages, or experiment.
The working folder must be on a file system that all hosts share (Filestore).
Settings are environment variables (defaults in parentheses):
  TPU_NAME, ZONE   of the TPU VM (required)
  PROJECT          of Google Cloud (gcloud's default)
  REPOSITORY       folder of this repository on the hosts (ssinfnet_jax, in the home folder)
  PYTHON           interpreter there (.venv/bin/python)
  --dry_run        prints the command without running it
TEXT
}

# shellcheck source-path=SCRIPTDIR
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
begin "all hosts" "$@"
needs_settings TPU_NAME ZONE
needs_program gcloud "install the Google Cloud CLI"

printf -v program '%q ' cd "${REPOSITORY:-ssinfnet_jax}"
program+="&& $(line)"
command=(gcloud compute tpus tpu-vm ssh "$TPU_NAME" "--zone=$ZONE" --worker=all)
if [[ -n ${PROJECT:-} ]]; then command+=("--project=$PROJECT"); fi
command+=("--command=$program")

finish "${command[@]}"
