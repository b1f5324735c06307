"""Reads from its folder whether a run of a grid is done, missing or failed."""

import json
import pathlib
from collections.abc import Mapping
from typing import Any

from ssinfnet_jax import rundir
from ssinfnet_jax.evaluation import columns

_SHOWN = 3  # config differences in a message
FAILED = "failed.json"  # in the folder of a failed run: stage, reason


def of(folder: pathlib.Path, experiment: Mapping[str, Any], config: Mapping[str, Any]) -> dict[str, str]:
    """Returns the state of a run, "done" | "failed" | "missing", with the stage and reason of a failure.

    A run whose config differs from the grid's counts as failed, since it is not comparable with the others.
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
    """Lists the result files that a run of a grid still lacks; empty if it is done."""
    if experiment["task"] == "cost":
        names = ["cost.json"]
    else:
        names = [
            "evaluate/done.json",
            *(f"evaluate/{name}_slices.csv" for name in columns.NETWORKS[experiment["network"]]),
        ]
    return [name for name in names if not (folder / name).is_file()]


def _differing(path: pathlib.Path, config: Mapping[str, Any]) -> list[str]:
    """Lists the first differences between a run's config, if it has one, and the grid's."""
    if not path.is_file():
        return []
    return rundir.config_differences(json.loads(path.read_text()), json.loads(json.dumps(config)))[:_SHOWN]


def write_failure(path: pathlib.Path, stage: str, reason: str) -> None:
    """Records why a run failed, for `of`."""
    rundir.write_text(path, json.dumps({"stage": stage, "reason": reason}, indent=2) + "\n")
