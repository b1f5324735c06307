"""The folder of a grid: `experiment.json` says which grid it holds, `runs/` holds the run folders."""

import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from ssinfnet_jax import rundir
from ssinfnet_jax.evaluation import grid, run_state

FILE = "experiment.json"
_MAY_DIFFER = ("compare",)  # how runs are compared


def to_collect(experiment: Mapping[str, Any], folder: pathlib.Path) -> Mapping[str, Any]:
    """What was run in a folder, whatever the config file says today; how it is compared may change.

    Raises: ValueError for the folder of another experiment, or of none.
    """
    path = folder / FILE
    if not path.is_file():
        if not (folder / "runs").is_dir():
            raise ValueError(f"--workdir={folder} holds no experiment: there is nothing to collect.")
        return experiment
    held = json.loads(path.read_text())
    if held["name"] != experiment["name"]:
        raise ValueError(
            f"--workdir={folder} holds the experiment {held['name']!r}, not {experiment['name']!r}; give the "
            "config or the folder of the one that is to be collected."
        )
    return held | {key: experiment[key] for key in _MAY_DIFFER if key in experiment}


def write(experiment: Mapping[str, Any], runs: Sequence[grid.Run], folder: pathlib.Path, command: str) -> None:
    """Writes `experiment.json`, with the command that runs the whole grid.

    Raises: ValueError if the folder holds another grid.
    """
    if any((folder / "runs").glob("*")):
        check_same(experiment, folder)
    wanted = json.loads(json.dumps(experiment))
    wanted |= {"runs": [run._asdict() | {"config": None} for run in runs], "command": command}
    rundir.write_text(folder / FILE, json.dumps(wanted, indent=2) + "\n")


def check_exists(folder: pathlib.Path) -> None:
    """Raises ValueError unless a folder, given as `--share`, is that of an experiment."""
    if not (folder / FILE).is_file():
        raise ValueError(f"--share={folder} is not the folder of an experiment: it has no {FILE}.")


def check_same(experiment: Mapping[str, Any], folder: pathlib.Path) -> None:
    """Raises ValueError if `experiment.json`, where there is one, describes another grid."""
    path = folder / FILE
    if not path.is_file():
        return
    wanted, found = json.loads(json.dumps(experiment)), json.loads(path.read_text())
    differing = [key for key in wanted if found.get(key) != wanted[key] and key not in _MAY_DIFFER]
    if differing:
        raise ValueError(
            f"{folder} holds another experiment ({', '.join(differing)} differ); take a new --workdir, or go on "
            "with the old config."
        )


def missing(experiment: Mapping[str, Any], runs: Sequence[grid.Run], folder: pathlib.Path) -> list[tuple[int, str]]:
    """Index and name of the runs that lack results."""
    return [
        (index, run.name)
        for index, run in enumerate(runs)
        if run_state.missing_results(folder / "runs" / run.name, experiment)
    ]
