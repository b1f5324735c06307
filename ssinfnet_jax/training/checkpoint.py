"""Checkpoints by Orbax: of a training in progress, and of its result with all that is needed to apply it.

Where several processes train together, all of them hold the same arrays and call the same functions at the same step,
as Orbax asks; process 0 alone writes.
"""

import json
import math
import pathlib
import shutil
from typing import Any

import jax
import numpy as np
from absl import logging
from orbax.checkpoint import v1 as ocp
from orbax.checkpoint.checkpoint_utils import construct_restore_args
from orbax.checkpoint.handlers import PyTreeCheckpointHandler, PyTreeRestoreArgs

from ssinfnet_jax import models, rundir
from ssinfnet_jax.training import compact, parallel

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

        Raises: OSError if that one failed; the checkpoints before it are kept.
        """
        self.wait()
        self._checkpointer = self._checkpointer or self._open()
        arrays = jax.tree.map(np.asarray, state)
        self._writing = (step, self._checkpointer.save_async(step, arrays, force=True, overwrite=True))

    def wait(self) -> None:
        """Waits for the write under way; raises OSError if it failed."""
        if self._writing is None:
            return
        (step, response), self._writing = self._writing, None
        try:
            response.result()
        except Exception as error:  # Orbax and its storage raise whatever the file system gave them
            raise OSError(
                f"The checkpoint of step {step} could not be written to {self._directory} (disk full?): {error}. "
                "The one before is kept; make room, and run the same command again."
            ) from error

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
                restored = _load(self._directory / str(step), like)
            except Exception as error:  # as above
                unreadable.append(f"step {step} ({type(error).__name__}: {str(error).splitlines()[0]})")
                logging.error("Checkpoint of %s in %s cannot be read; the one before is taken.", unreadable[-1],
                              self._directory)  # fmt: skip
                (self._directory / str(step)).rename(self._directory.parent / f"unreadable_{step}")
                continue
            return step, _checked(restored, like, f"checkpoint of step {step}")
        if unreadable:
            raise ValueError(
                f"No checkpoint in {self._directory} can be read: {'; '.join(unreadable)}. Was it made by another "
                f"config or version? To begin this stage anew, delete {self._directory.parent}."
            )
        return None

    def close(self) -> None:
        """Waits for the write under way."""
        try:
            self.wait()
        finally:
            if self._checkpointer:
                self._checkpointer.close()


def latest_step(directory: pathlib.Path) -> int:
    """The step of the newest checkpoint in a folder; 0 if there is none."""
    return max((int(path.name) for path in directory.glob("*") if path.name.isdigit()), default=0)


class Best:
    """The best result of a training so far: variables, the value they were chosen by, and their step.

    Args:
      directory: where it is kept.
      resumed_step: a result of a later step belongs to updates that are about to be repeated, and is forgotten.
    """

    def __init__(self, directory: pathlib.Path, resumed_step: int):
        self._directory = directory
        self.value, self.step = -math.inf, 0
        path = directory / "best.json"
        if path.is_file():
            held = json.loads(path.read_text())
            if held["step"] <= resumed_step:
                self.value, self.step = held["value"], held["step"]

    def offer(self, value: float, step: int, variables: Any) -> None:
        """Keeps the variables if their value (higher is better) is above all before."""
        if not value > self.value:
            return
        self.value, self.step = value, step
        folder = self._directory / f"step_{step}"
        ocp.save(folder.absolute(), jax.tree.map(np.asarray, variables), overwrite=True)
        if not parallel.is_main():
            return
        before = [path for path in self._directory.glob("step_*") if path != folder]
        rundir.write_text(self._directory / "best.json", json.dumps({"value": value, "step": step}) + "\n")
        for path in before:
            shutil.rmtree(path)

    def variables(self, like: Any) -> Any:
        """The kept variables."""
        return _load(self._directory / f"step_{self.step}", jax.tree.map(np.asarray, like))


def save_model(directory: pathlib.Path, variables: Any, description: dict[str, Any]) -> None:
    """Writes the result of a training: variables, and how to apply them.

    Args:
      directory: made anew; an unfinished one of an earlier try is replaced.
      variables: {"params", "batch_stats"}.
      description: {"model", "options", "image_size", "normalisation": {"mean", "std"}, ...} as JSON; "fresh" lists
        the modules that were never trained, if any.
    """
    if parallel.is_main():
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir(parents=True)
    parallel.wait(f"{directory} is empty")
    ocp.save((directory / "variables").absolute(), jax.tree.map(np.asarray, variables))
    # Written last: a folder without it is not a model.
    if parallel.is_main():
        (directory / "model.json").write_text(json.dumps(description, indent=2) + "\n")


def save_compact(directory: pathlib.Path, variables: Any, description: dict[str, Any]) -> None:
    """Writes a network in a small form to hand on, which `load_model` reads like any other.

    Args:
      directory: must not exist.
      variables, description: as for `save_model`.
    Raises: FileExistsError; ValueError for variables that half precision cannot hold.
    """
    directory.mkdir(parents=True)
    description = {**description, "sha256": compact.write(directory, variables)}
    rundir.write_text(directory / "model.json", json.dumps(description, indent=2) + "\n")


def load_model(directory: pathlib.Path) -> tuple[Any, dict[str, Any]]:
    """The (variables, description) that `save_model` wrote.

    Raises: FileNotFoundError if there is no finished model, naming the folder and the remedy.
    """
    description = load_description(directory)
    try:
        model = models.create(description["model"], **description["options"])
        shapes = models.shapes(model, models.num_inputs(description["model"]))
        # Only their names and shapes count: a description that is wrong may speak of more than fits into memory.
        like = jax.tree.map(lambda leaf: np.broadcast_to(np.float32(0), leaf.shape), shapes)
        variables = _read_variables(directory, description, like)
    except Exception as error:  # of a damaged folder, Orbax and its storage raise whatever they were given
        text = " ".join(str(error).split())[:300]
        raise ValueError(
            f"The network in {directory} cannot be loaded ({text}); copy the folder again, whole."
        ) from error
    return _checked(variables, like, str(directory)), description


def load_description(directory: pathlib.Path) -> dict[str, Any]:
    """The description alone; raises as `load_model`."""
    path = directory / "model.json"
    if not path.is_file():
        below = " or ".join(str(found.parent) for found in sorted(directory.glob("*/model.json")))
        remedy = (
            f"give {below}, which holds one"
            if below
            else "run the stage that makes it (launch.pipeline), or import one (launch.import_checkpoint)"
        )
        raise FileNotFoundError(f"No trained network in {directory}: {remedy}.")
    try:
        description = json.loads(path.read_text())
        kinds = type(description["model"]), type(description["options"])
    except (ValueError, TypeError, KeyError) as error:  # a text that is no UTF-8 is a ValueError too
        raise ValueError(f"{path} does not describe a network ({error}); copy the model folder again.") from error
    if kinds != (str, dict):
        raise ValueError(f'{path} must name a "model" and its "options", found {kinds}; copy the model folder again.')
    return description


def _read_variables(directory: pathlib.Path, description: dict[str, Any], like: Any) -> Any:
    """The variables of a model folder, by Orbax or in the small form of `compact`."""
    if "sha256" not in description:
        return _load(directory / "variables", like)
    variables = compact.read(directory, description["sha256"])
    names = [[jax.tree_util.keystr(path) for path, _ in jax.tree_util.tree_leaves_with_path(tree)]
             for tree in (variables, like)]  # fmt: skip
    if differing := sorted(set(names[0]) ^ set(names[1])):
        raise ValueError(f"{directory / compact.FILE} and the network differ in {', '.join(differing[:5])}")
    return variables


def _load(directory: pathlib.Path, like: Any) -> Any:
    """Reads a tree in this process alone.

    `ocp.load` would count as a step that all processes take together: where one of them reads alone, their counts
    differ ever after, and the next save waits forever. The handler below it only reads.
    """
    args = PyTreeRestoreArgs(like, restore_args=construct_restore_args(like))
    return PyTreeCheckpointHandler().restore((directory / "state").absolute(), args=args)


def _checked(tree: Any, like: Any, source: str) -> Any:
    """The tree as host arrays; Orbax compares names, this compares shapes.

    Raises: ValueError listing the differing arrays.
    """
    pairs = zip(jax.tree_util.tree_leaves_with_path(tree), jax.tree.leaves(like), strict=True)
    wrong = [
        f"{jax.tree_util.keystr(path)} {np.shape(value)} instead of {np.shape(wanted)}"
        for (path, value), wanted in pairs
        if np.shape(value) != np.shape(wanted)
    ]
    if wrong:
        raise ValueError(f"The {source} is of another network: {', '.join(wrong[:5])} ({len(wrong)} in all).")
    return jax.tree.map(np.asarray, tree)
