"""The run folder: its config, one folder per stage, and which stages are finished.

A stage is finished when its `done.json` is there, written last and by renaming; a stage that was stopped has none and
goes on from its own checkpoints when the same command runs again.
"""

import dataclasses
import importlib.metadata
import json
import pathlib
import subprocess
import time
from collections.abc import Callable, Mapping
from typing import Any

from absl import logging

PACKAGES = (
    "jax",
    "flax",
    "optax",
    "orbax-checkpoint",
    "grain",
    "tensorflow-datasets",
    "numpy",
    "pyradiomics",
    "statsmodels",
)


@dataclasses.dataclass(frozen=True)
class RunDir:
    """Paths of one run."""

    path: pathlib.Path

    def stage(self, name: str) -> pathlib.Path:
        """The folder of a stage, made if need be."""
        folder = self.path / name
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def is_done(self, name: str) -> bool:
        """Whether a stage has finished (or was skipped for a reason)."""
        return (self.path / name / "done.json").is_file()

    def was_skipped(self, name: str) -> bool:
        """Whether a stage was skipped."""
        return self.is_done(name) and bool(json.loads((self.path / name / "done.json").read_text())["skipped"])

    def require(self, name: str) -> pathlib.Path:
        """The folder of a finished stage.

        Raises: FileNotFoundError if the stage has not finished, naming the remedy.
        """
        if not self.is_done(name):
            raise FileNotFoundError(
                f"Stage {name!r} has not finished in {self.path}: run it first (launch.pipeline --stages={name})."
            )
        return self.path / name


def open_run(workdir: str | pathlib.Path, config: Mapping[str, Any]) -> RunDir:
    """The run folder for a config, made if need be.

    Raises: ValueError if the folder belongs to a run of another config, with the differences.
    """
    run = RunDir(pathlib.Path(workdir))
    path = run.path / "config.json"
    wanted = json.loads(json.dumps(config))
    if path.is_file():
        found = json.loads(path.read_text())
        differences = _differences(found, wanted)
        if differences:
            raise ValueError(
                f"{run.path} holds a run of another config; take a new --workdir, or go on with the old config. "
                "Differences (there -> now):\n  " + "\n  ".join(differences)
            )
    else:
        run.path.mkdir(parents=True, exist_ok=True)
        write_text(path, json.dumps(wanted, indent=2) + "\n")
    return run


def run_stage(run: RunDir, name: str, function: Callable[[], str | None]) -> None:
    """Runs a stage unless it has finished, and notes that it has.

    Args:
      run: the run folder.
      name: of the stage.
      function: does the work; may return the reason why there was nothing to do, which counts as finished.
    """
    if run.is_done(name):
        logging.info("%s: finished before, not run again.", name)
        return
    logging.info("%s: starting.", name)
    started = time.time()
    skipped = function()
    seconds = time.time() - started
    note = {
        "stage": name,
        "seconds": round(seconds, 1),
        "finished": time.strftime("%Y-%m-%d %H:%M:%S"),
        "skipped": skipped,
        "commit": _commit(),
        "versions": {package: importlib.metadata.version(package) for package in PACKAGES},
    }
    write_text(run.stage(name) / "done.json", json.dumps(note, indent=2) + "\n")
    logging.info("%s: %s after %.0f s.", name, f"skipped ({skipped})" if skipped else "finished", seconds)


def write_text(path: pathlib.Path, text: str) -> None:
    """Writes a file by renaming, so that it is there whole or not at all."""
    partial = path.with_name(path.name + ".partial")
    partial.write_text(text)
    partial.rename(path)


def _differences(found: Any, wanted: Any, name: str = "") -> list[str]:
    if isinstance(found, dict) and isinstance(wanted, dict):
        keys = sorted(found.keys() | wanted.keys())
        return [
            line
            for key in keys
            for line in _differences(found.get(key, "absent"), wanted.get(key, "absent"), f"{name}.{key}".lstrip("."))
        ]
    return [] if found == wanted else [f"{name}: {found!r} -> {wanted!r}"]


def _commit() -> str:
    """The commit of the code, with + if it was changed since; "unknown" outside a repository."""
    command = [
        "git",
        "-C",
        str(pathlib.Path(__file__).parent),
        "describe",
        "--always",
        "--dirty=+",
        "--exclude=*",
    ]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    return result.stdout.strip() or "unknown"
