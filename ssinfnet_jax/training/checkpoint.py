"""Checkpoints by Orbax: of a training in progress, and of its result with all that is needed to apply it."""

import json
import pathlib
import shutil
from typing import Any

import jax
import numpy as np
from orbax.checkpoint import v1 as ocp

from ssinfnet_jax import models

KEEP = 2  # checkpoints of a running training


class Checkpoints:
    """The checkpoints of one training, newest last; each is complete or not there (Orbax renames when done)."""

    def __init__(self, directory: pathlib.Path):
        directory.mkdir(parents=True, exist_ok=True)
        policy = ocp.training.preservation_policies.LatestN(KEEP)
        self._checkpointer = ocp.training.Checkpointer(
            directory.absolute(), preservation_policy=policy, cleanup_tmp_directories=True
        )

    def save(self, step: int, state: Any) -> None:
        """Saves a tree of arrays under a step."""
        self._checkpointer.save(step, jax.tree.map(np.asarray, state), force=True, overwrite=True)

    def restore(self, like: Any) -> tuple[int, Any] | None:
        """The newest checkpoint as (step, tree), or None; anything missing or extra against `like` is an error."""
        latest = self._checkpointer.latest
        if latest is None:
            return None
        restored = self._checkpointer.load(latest.step, jax.tree.map(np.asarray, like))
        return latest.step, _checked(restored, like, f"checkpoint of step {latest.step}")

    def close(self) -> None:
        """Waits for writes under way."""
        self._checkpointer.close()


def save_model(directory: pathlib.Path, variables: Any, description: dict[str, Any]) -> None:
    """Writes the result of a training: variables, and how to apply them.

    Args:
      directory: made anew; an unfinished one of an earlier try is replaced.
      variables: {"params", "batch_stats"}.
      description: {"model", "options", "image_size", "normalisation": {"mean", "std"}, ...} as JSON.
    """
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    ocp.save_pytree((directory / "variables").absolute(), jax.tree.map(np.asarray, variables))
    # Written last: a folder without it is not a model.
    (directory / "model.json").write_text(json.dumps(description, indent=2) + "\n")


def load_model(directory: pathlib.Path) -> tuple[Any, dict[str, Any]]:
    """The (variables, description) that `save_model` wrote.

    Raises: FileNotFoundError if there is no finished model, naming the folder and the remedy.
    """
    path = directory / "model.json"
    if not path.is_file():
        raise FileNotFoundError(f"No trained network in {directory}: run the stage that makes it (launch.pipeline).")
    description = json.loads(path.read_text())
    like = models.init(
        models.create(description["model"], **description["options"]),
        0,
        models.num_inputs(description["model"]),
    )
    variables = ocp.load_pytree((directory / "variables").absolute(), like)
    return _checked(variables, like, str(directory)), description


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
