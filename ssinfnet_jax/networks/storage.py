"""Model folders: a network's variables, by Orbax or in a compact file, and its card.

When several processes train together, all have the same arrays and call `save` at the same step, as Orbax requires;
only process 0 writes.
"""

import contextlib
import dataclasses
import pathlib
import shutil
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np
from orbax.checkpoint import v1 as ocp
from orbax.checkpoint.checkpoint_utils import construct_restore_args
from orbax.checkpoint.handlers import PyTreeCheckpointHandler, PyTreeRestoreArgs

from ssinfnet_jax import models
from ssinfnet_jax.networks import card as cards
from ssinfnet_jax.networks import compact, parallel
from ssinfnet_jax.networks.card import NetworkCard


def save(directory: pathlib.Path, variables: Any, card: NetworkCard) -> None:
    """Writes the result of a training.

    Args:
      directory: replaced if an earlier attempt left it unfinished.
      variables: {"params", "batch_stats"}.
      card: how to apply them.
    Raises: OSError if the folder cannot be written.
    """
    with writing("The network", directory):
        if parallel.is_main():
            shutil.rmtree(directory, ignore_errors=True)
            directory.mkdir(parents=True)
        parallel.wait(f"{directory} is empty")
        ocp.save((directory / "variables").absolute(), jax.tree.map(np.asarray, variables))
        # Written last: a folder without a card is not a model.
        if parallel.is_main():
            card.write(directory)


def save_compact(directory: pathlib.Path, variables: Any, card: NetworkCard) -> None:
    """Writes a network in a compact form for distribution, which `load` reads like any other.

    Args:
      directory: must not exist.
      variables, card: as for `save`.
    Raises: FileExistsError; ValueError for variables that overflow half precision.
    """
    directory.mkdir(parents=True)
    dataclasses.replace(card, sha256=compact.write(directory, variables)).write(directory)


def load(directory: pathlib.Path) -> tuple[Any, NetworkCard]:
    """Reads the variables and the card that `save` or `save_compact` wrote.

    Raises: FileNotFoundError if there is no finished model; ValueError if it is damaged; both name folder and remedy.
    """
    card, remedy = NetworkCard.read(directory), cards.remedy(directory)
    try:
        shapes = models.shapes(models.create(card.model, **card.options), models.num_inputs(card.model))
        # Only names and shapes matter: broadcasting allocates nothing, even if a wrong card asks for huge arrays.
        like = jax.tree.map(lambda leaf: np.broadcast_to(np.float32(0), leaf.shape), shapes)
        variables = _read_variables(directory, card, like)
    except Exception as error:  # Orbax and its storage raise anything for a damaged folder
        raise ValueError(f"The network in {directory} cannot be loaded ({said(error)}); {remedy}") from error
    return checked(variables, like, f"network in {directory}", remedy), card


def read_tree(directory: pathlib.Path, like: Any) -> Any:
    """Reads a tree that Orbax wrote, in this process alone.

    `ocp.load` counts as a collective call: if one process loads alone, the processes' counts differ from then on, and
    the next save waits forever. The underlying handler only reads.
    """
    args = PyTreeRestoreArgs(like, restore_args=construct_restore_args(like))
    return PyTreeCheckpointHandler().restore((directory / "state").absolute(), args=args)


def checked(tree: Any, like: Any, source: str, remedy: str) -> Any:
    """The tree as host arrays; Orbax compares only names, this also shapes.

    Raises: ValueError that lists the differing arrays, with the remedy.
    """
    pairs = zip(jax.tree_util.tree_leaves_with_path(tree), jax.tree.leaves(like), strict=True)
    wrong = [
        f"{jax.tree_util.keystr(path)} {np.shape(value)} instead of {np.shape(wanted)}"
        for (path, value), wanted in pairs
        if np.shape(value) != np.shape(wanted)
    ]
    if wrong:
        raise ValueError(f"The {source} is of another network: {', '.join(wrong[:5])} ({len(wrong)} in all); {remedy}")
    return jax.tree.map(np.asarray, tree)


@contextlib.contextmanager
def writing(what: str, directory: pathlib.Path) -> Iterator[None]:
    """Turns any error while writing `what` into an OSError with the remedy."""
    try:
        yield
    except Exception as error:  # Orbax and its storage raise whatever the file system gave them
        raise OSError(
            f"{what} could not be written to {directory} (disk full?): {said(error)}. Earlier results are kept; free "
            "space and run the same command again."
        ) from error


def said(error: Exception) -> str:
    """An error's message on one line, at most 300 characters."""
    return " ".join(str(error).split())[:300]


def _read_variables(directory: pathlib.Path, card: NetworkCard, like: Any) -> Any:
    if card.sha256 is None:
        return read_tree(directory / "variables", like)
    variables = compact.read(directory, card.sha256)
    names = [[jax.tree_util.keystr(path) for path, _ in jax.tree_util.tree_leaves_with_path(tree)]
             for tree in (variables, like)]  # fmt: skip
    if differing := sorted(set(names[0]) ^ set(names[1])):
        raise ValueError(f"{directory / compact.FILE} and the network differ in {', '.join(differing[:5])}")
    return variables
