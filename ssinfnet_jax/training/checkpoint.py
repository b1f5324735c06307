"""Checkpoints of a training in progress, by Orbax, and its best result so far.

Where several processes train together, all of them hold the same arrays and call the same functions at the same step,
as Orbax asks; process 0 alone writes.
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

KEEP = 2  # checkpoints of a running training


class Checkpoints:
    """The checkpoints of one training, newest last; each is complete or not there (Orbax renames when done).

    They are written while the training goes on; at most one write is under way.
    """

    def __init__(self, directory: pathlib.Path):
        directory.mkdir(parents=True, exist_ok=True)
        self._directory = directory
        self._writing: tuple[int, Any] | None = None
        self._checkpointer: ocp.training.Checkpointer | None = None  # made by the first save

    def _open(self) -> ocp.training.Checkpointer:
        policy = ocp.training.preservation_policies.LatestN(KEEP)
        return ocp.training.Checkpointer(
            self._directory.absolute(), preservation_policy=policy, cleanup_tmp_directories=True
        )

    def save(self, step: int, state: Any) -> None:
        """Begins to save a tree of host arrays under a step, once the write before it has ended.

        Raises: OSError if either cannot be written; the checkpoints before are kept.
        """
        self.wait()
        arrays = jax.tree.map(np.asarray, state)
        with storage.writing(f"The checkpoint of step {step}", self._directory):
            self._checkpointer = self._checkpointer or self._open()
            self._writing = (step, self._checkpointer.save_async(step, arrays, force=True, overwrite=True))

    def wait(self) -> None:
        """Waits for the write under way; raises OSError if it failed."""
        if self._writing is None:
            return
        (step, response), self._writing = self._writing, None
        with storage.writing(f"The checkpoint of step {step}", self._directory):
            response.result()

    def any(self) -> bool:
        """Whether there is a checkpoint, readable or not."""
        return parallel.decide(latest_step(self._directory) > 0)

    def restore(self, like: Any) -> tuple[int, Any] | None:
        """The newest readable checkpoint as (step, tree), or None if there is none.

        One that cannot be read is reported, moved aside to `unreadable_<step>`, and the one before it is tried.

        Raises: ValueError if it is of another network, or if none of several can be read.
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
            except Exception as error:  # as above
                unreadable.append(f"step {step} ({type(error).__name__}: {storage.said(error)})")
                logging.error("Checkpoint of %s in %s cannot be read; the one before is taken.", unreadable[-1],
                              self._directory)  # fmt: skip
                aside = self._directory.parent / f"unreadable_{step}"
                shutil.rmtree(aside, ignore_errors=True)  # of an earlier time
                (self._directory / str(step)).rename(aside)
                continue
            remedy = f"to begin this stage anew, delete {self._directory.parent}."
            return step, storage.checked(restored, like, f"checkpoint of step {step} in {self._directory}", remedy)
        if unreadable:
            raise ValueError(
                f"No checkpoint in {self._directory} can be read: {'; '.join(unreadable)}. Was it made by another "
                f"config or version? To begin this stage anew, delete {self._directory.parent}."
            )
        return None

    def close(self) -> None:
        """Waits for the write under way; raises OSError if it failed."""
        if self._checkpointer:
            with closing(self._checkpointer):
                self.wait()


@contextlib.contextmanager
def closing(resource: Any) -> Iterator[None]:
    """Closes a resource at the end; where an error is on its way already, closing cannot take its place."""
    try:
        yield
    except BaseException:
        try:
            resource.close()
        except Exception as error:  # whatever it is, it follows from the first
            logging.warning("Closing failed too: %s", storage.said(error))
        raise
    resource.close()


def latest_step(directory: pathlib.Path) -> int:
    """The step of the newest checkpoint in a folder; 0 if there is none."""
    return max((int(path.name) for path in directory.glob("*") if path.name.isdigit()), default=0)


class Best:
    """The best result of a training so far: the value it was chosen by, its step, and its variables if asked for.

    It follows the checkpoints: a training that is resumed from one finds the best of the steps up to there.

    Args:
      directory: where it is kept.
      keep_variables: whether the variables are written; without them only value and step are known.
    """

    def __init__(self, directory: pathlib.Path, *, keep_variables: bool):
        self._directory, self._keep_variables = directory, keep_variables
        self.value, self.step = -math.inf, 0
        self._at: dict[int, tuple[float, int]] = {}  # checkpoint -> (value, step) as they were there

    def resume(self, step: int) -> None:
        """Goes back to how it was at the checkpoint of a step, 0 for a training that begins."""
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
        """Notes that the checkpoint of a step is about to be written; what is the best now is kept as long as it."""
        if parallel.is_main() and self.step:
            kept = sorted({*self._at, step})[-KEEP - 1 :]  # the oldest is deleted once the new one is there
            self._at = {at: self._at.get(at, (self.value, self.step)) for at in kept}
            self._write()

    def offer(self, value: float, step: int, variables: Any) -> None:
        """Keeps the variables if their value (higher is better) is above all before, by what process 0 has measured."""
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
        """Notes values and steps, then deletes the variables of all other steps."""
        self._directory.mkdir(parents=True, exist_ok=True)
        rundir.write_text(
            self._directory / "best.json", json.dumps({"value": self.value, "step": self.step, "at": self._at}) + "\n"
        )
        kept = {self._folder(step) for step in (self.step, *(step for _, step in self._at.values()))}
        for path in set(self._directory.glob("step_*")) - kept:
            shutil.rmtree(path)

    def variables(self, like: Any) -> Any:
        """The kept variables, as process 0 reads them; ValueError if they cannot be read."""
        like = jax.tree.map(np.asarray, like)
        return parallel.from_main(self._read_variables(like) if parallel.is_main() else like)

    def _read_variables(self, like: Any) -> Any:
        folder = self._folder(self.step)
        try:
            return storage.read_tree(folder, like)
        except Exception as error:  # as above
            raise ValueError(
                f"The best weights in {folder} cannot be read ({storage.said(error)}); to begin this stage anew, "
                f"delete {self._directory.parent}."
            ) from error
