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
for name in TPU_NAME ZONE; do
  [[ -n ${!name:-} ]] || fail "$name is not set (see --help)."
done
if [[ -z $dry_run ]]; then command -v gcloud > /dev/null || fail "gcloud was not found; install the Google Cloud CLI."; fi

printf -v program '%q ' cd "${REPOSITORY:-ssinfnet_jax}"
program+="&& "
printf -v line '%q ' "${PYTHON:-.venv/bin/python}" -m "launch.$stage" "$@"
program+=${line% }
command=(gcloud compute tpus tpu-vm ssh "$TPU_NAME" "--zone=$ZONE" --worker=all)
if [[ -n ${PROJECT:-} ]]; then command+=("--project=$PROJECT"); fi
command+=("--command=$program")

if [[ -n $dry_run ]]; then printf '%q ' "${command[@]}"; echo; else exec "${command[@]}"; fi
