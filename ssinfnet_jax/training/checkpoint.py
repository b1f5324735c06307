"""Checkpoints of a training in progress, by Orbax, and its best result so far.

When several processes train together, all have the same arrays and call the same functions at the same step, as Orbax
requires; only process 0 writes.
"""

import contextlib
import json
import math
import pathlib
import shutil
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np
from absl import logging
from orbax.checkpoint import v1 as ocp

from ssinfnet_jax import rundir
from ssinfnet_jax.networks import parallel, storage

KEEP = 2  # checkpoints of one training


class Checkpoints:
    """The checkpoints of one training; each is complete or absent, because Orbax renames it when done.

    They are written in the background, one at a time.
    """

    def __init__(self, directory: pathlib.Path):
        directory.mkdir(parents=True, exist_ok=True)
        self._directory = directory
        self._writing: tuple[int, Any] | None = None
        self._checkpointer: ocp.training.Checkpointer | None = None  # opened by the first save

    def save(self, step: int, state: Any) -> None:
        """Starts saving a tree of host arrays as the checkpoint of a step, after the previous write has finished.

        Raises: OSError if either write fails; earlier checkpoints are kept.
        """
        self.wait()
        arrays = jax.tree.map(np.asarray, state)
        with storage.writing(f"The checkpoint of step {step}", self._directory):
            self._checkpointer = self._checkpointer or ocp.training.Checkpointer(
                self._directory.absolute(),
                preservation_policy=ocp.training.preservation_policies.LatestN(KEEP),
                cleanup_tmp_directories=True,
            )
            self._writing = (step, self._checkpointer.save_async(step, arrays, force=True, overwrite=True))

    def wait(self) -> None:
        """Waits for a pending write; raises OSError if it failed."""
        if self._writing is None:
            return
        (step, response), self._writing = self._writing, None
        with storage.writing(f"The checkpoint of step {step}", self._directory):
            response.result()

    def restore(self, like: Any) -> tuple[int, Any] | None:
        """The newest readable checkpoint as (step, tree), or None if there are no checkpoints.

        An unreadable checkpoint is reported and moved to `unreadable_<step>`, and the one before it is tried.

        Raises: ValueError if it is of another network, or if checkpoints exist but none can be read.
        """
        like = jax.tree.map(np.asarray, like)
        found = self._read(like) if parallel.is_main() else None
        step = int(parallel.from_main(found[0] if found else 0))
        return (step, parallel.from_main(found[1] if found else like)) if step else None

    def _read(self, like: Any) -> tuple[int, Any] | None:
        unreadable = []
        while step := latest_step(self._directory):
            try:
                restored = storage.read_tree(self._directory / str(step), like)
            except Exception as error:  # whatever Orbax and its readers raise
                unreadable.append(f"step {step} ({type(error).__name__}: {storage.said(error)})")
                logging.error("Checkpoint of %s in %s cannot be read; trying the one before it.", unreadable[-1],
                              self._directory)  # fmt: skip
                aside = self._directory.parent / f"unreadable_{step}"
                shutil.rmtree(aside, ignore_errors=True)  # from an earlier failure
                (self._directory / str(step)).rename(aside)
                continue
            remedy = f"to restart this stage, delete {self._directory.parent}."
            return step, storage.checked(restored, like, f"checkpoint of step {step} in {self._directory}", remedy)
        if unreadable:
            raise ValueError(
                f"No checkpoint in {self._directory} can be read: {'; '.join(unreadable)}. Was it written with another "
                f"config or version? To restart this stage, delete {self._directory.parent}."
            )
        return None

    def close(self) -> None:
        """Waits for a pending write and closes Orbax; raises OSError if the write failed."""
        if self._checkpointer:
            with closing(self._checkpointer):
                self.wait()


@contextlib.contextmanager
def closing(resource: Any) -> Iterator[None]:
    """Closes a resource on exit; an error in closing never replaces the error that led there."""
    try:
        yield
    except BaseException:
        try:
            resource.close()
        except Exception as error:  # whatever it is, it follows from the first error
            logging.warning("Closing failed too: %s", storage.said(error))
        raise
    resource.close()


def latest_step(directory: pathlib.Path) -> int:
    """The step of the newest checkpoint in a folder, or 0."""
    return max((int(path.name) for path in directory.glob("*") if path.name.isdigit()), default=0)


class Best:
    """The best result of a training so far: its value, its step and, if asked for, its variables.

    It follows the checkpoints: a training resumed from a checkpoint finds the best of the steps up to there.

    Args:
      directory: to keep it in.
      keep_variables: whether to write the variables too, or only value and step.
    """

    def __init__(self, directory: pathlib.Path, *, keep_variables: bool):
        self._directory, self._keep_variables = directory, keep_variables
        self.value, self.step = -math.inf, 0
        self._at: dict[int, tuple[float, int]] = {}  # checkpoint -> (value, step) of the best at that step

    def resume(self, step: int) -> None:
        """Returns to the best at the checkpoint of a step; 0: a new training."""
        found = self._read(step) if parallel.is_main() else (-math.inf, 0)
        value, best_step = parallel.from_main(np.asarray(found, np.float64))
        self.value, self.step = float(value), int(best_step)

    def _read(self, step: int) -> tuple[float, int]:
        path = self._directory / "best.json"
        written = rundir.read_json(path) if path.is_file() and step else {}
        self._at = {int(at): tuple(best) for at, best in written.get("at", {}).items() if int(at) <= step}
        if step in self._at:
            return self._at[step]
        if written and written["step"] <= step:
            return written["value"], written["step"]
        return -math.inf, 0

    def hold(self, step: int) -> None:
        """Keeps the current best for as long as the checkpoint of a step, which is about to be written."""
        if parallel.is_main() and self.step:
            kept = sorted({*self._at, step})[-KEEP - 1 :]  # Orbax deletes the oldest only after writing the new one
            self._at = {at: self._at.get(at, (self.value, self.step)) for at in kept}
            self._write()

    def offer(self, value: float, step: int, variables: Any) -> None:
        """Keeps the variables if their value (higher is better), as process 0 measured it, is the best so far."""
        value = float(parallel.from_main(np.float64(value)))
        if not value > self.value:
            return
        self.value, self.step = value, step
        if self._keep_variables:
            folder = self._folder(step)
            with storage.writing(f"The best weights, of step {step},", self._directory):
                ocp.save(folder.absolute(), jax.tree.map(np.asarray, variables), overwrite=True)
        if parallel.is_main():
            self._write()

    def _folder(self, step: int) -> pathlib.Path:
        return self._directory / f"step_{step}"

    def _write(self) -> None:
        """Writes values and steps, then deletes the variables of all other steps."""
        self._directory.mkdir(parents=True, exist_ok=True)
        rundir.write_text(
            self._directory / "best.json", json.dumps({"value": self.value, "step": self.step, "at": self._at}) + "\n"
        )
        kept = {self._folder(step) for step in (self.step, *(step for _, step in self._at.values()))}
        for path in set(self._directory.glob("step_*")) - kept:
            shutil.rmtree(path)

    def variables(self, like: Any) -> Any:
        """The best variables, read by process 0; ValueError if they cannot be read."""
        like = jax.tree.map(np.asarray, like)
        return parallel.from_main(self._read_variables(like) if parallel.is_main() else like)

    def _read_variables(self, like: Any) -> Any:
        folder = self._folder(self.step)
        try:
            return storage.read_tree(folder, like)
        except Exception as error:  # whatever Orbax and its readers raise
            raise ValueError(
                f"The best weights in {folder} cannot be read ({storage.said(error)}); to restart this stage, delete "
                f"{self._directory.parent}."
            ) from error
