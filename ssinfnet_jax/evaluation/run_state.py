"""Whether a run of a grid is done, is missing something, or failed, as its folder tells."""

import json
import pathlib
from collections.abc import Mapping
from typing import Any

from ssinfnet_jax import rundir

NETWORKS = {"single": ("single",), "multi": ("multi",), "both": ("single", "multi")}  # an experiment's "network"
_SHOWN = 3  # differences of a config
FAILED = "failed.json"  # in the folder of a run that failed: stage, reason


def of(folder: pathlib.Path, experiment: Mapping[str, Any], config: Mapping[str, Any]) -> dict[str, str]:
    """The state of a run, "done" | "failed" | "missing", with the stage and the reason of a failure.

    A run of another config than the grid has for it counts as failed: it is not comparable with the others.
    """
    if differing := _differing(folder / "config.json", config):
        reason = f"Its folder holds a run of another config ({'; '.join(differing)}): delete {folder} to run it again."
        return {"state": "failed", "stage": "", "reason": reason}
    if not missing_results(folder, experiment):
        return {"state": "done", "stage": "", "reason": ""}
    if (folder / FAILED).is_file():
        return {"state": "failed", **json.loads((folder / FAILED).read_text())}
    return {"state": "missing", "stage": "", "reason": ""}


def missing_results(folder: pathlib.Path, experiment: Mapping[str, Any]) -> list[str]:
    """Files that a run of a grid is made for and that are not there; none if it is done."""
    if experiment["task"] == "cost":
        names = ["cost.json"]
    else:
        names = ["evaluate/done.json", *(f"evaluate/{name}_slices.csv" for name in NETWORKS[experiment["network"]])]
    return [name for name in names if not (folder / name).is_file()]


def _differing(path: pathlib.Path, config: Mapping[str, Any]) -> list[str]:
    """The first differences between the config that a run was made with, if it has one, and the grid's."""
    if not path.is_file():
        return []
    return rundir.config_differences(json.loads(path.read_text()), json.loads(json.dumps(config)))[:_SHOWN]


def write_failure(path: pathlib.Path, stage: str, reason: str) -> None:
    """Notes why a run failed, for `of`."""
    rundir.write_text(path, json.dumps({"stage": stage, "reason": reason}, indent=2) + "\n")
