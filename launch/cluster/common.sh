# shellcheck shell=bash
# Shared by the scripts in this folder, which source it after defining usage().

fail() { echo "Error: $*" >&2; exit 2; }

# begin WHO ARGUMENTS...: sets dry_run, stage and arguments (those of the program), and goes to the repository's root.
# WHO must share the working folder.
begin() {
  local who=$1; shift
  dry_run=
  if [[ "${1:-}" == --dry_run ]]; then dry_run=1; shift; fi
  case "${1:-}" in
    "" | -h | --help) usage; exit 0 ;;
    -*) fail "the first argument must be the stage, found '$1' (see --help)." ;;
  esac
  stage=$1; shift
  arguments=("$@")
  cd "$(dirname "${BASH_SOURCE[0]}")/../.." || exit
  [[ -f launch/$stage.py ]] || fail "there is no launch/$stage.py; STAGE must be pipeline, one of its stages, or experiment."
  [[ " $*" == *" --workdir="* ]] || fail "--workdir=FOLDER is missing; set it to a folder that $who share."
}

# needs_settings NAMES...: environment variables without a default.
needs_settings() {
  local name
  for name in "$@"; do [[ -n ${!name:-} ]] || fail "$name is not set (see --help)."; done
}

# needs_program NAME REMEDY
needs_program() {
  if [[ -z $dry_run ]]; then command -v "$1" > /dev/null || fail "$1 was not found; $2."; fi
}

# line: the program's command as one line for a shell.
line() {
  local text
  printf -v text '%q ' "${PYTHON:-.venv/bin/python}" -m "launch.$stage" "${arguments[@]}"
  echo "${text% }"
}

# finish COMMAND...: runs it, or prints it with --dry_run.
finish() {
  if [[ -n $dry_run ]]; then printf '%q ' "$@"; echo; else exec "$@"; fi
}
