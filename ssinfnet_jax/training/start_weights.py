"""Initial weights from a model folder that the config names: `single.train.initial`, `multi.pretrain.initial`, ..."""

import dataclasses
import pathlib
from typing import Any

from absl import logging

from ssinfnet_jax import models, pretrained
from ssinfnet_jax.config import Config, plain
from ssinfnet_jax.networks import storage
from ssinfnet_jax.networks.card import NetworkCard, check_same_input
from ssinfnet_jax.training.steps import state as states


def check(config: Config, which: str, shapes: dict[str, Any]) -> None:
    """Raises what `load` would raise for the network `which` of a config, and ValueError for two sources of weights.

    Args:
      config: of the run.
      which: "single" | "multi".
      shapes: of the network's variables.
    """
    section = getattr(config, which)
    if section.pretrain and section.train.initial:
        raise ValueError(
            f"config.{which}.train.initial and config.{which}.pretrain both give initial weights: leave one out, or "
            f"start the pretraining from the folder with config.{which}.pretrain.initial."
        )
    if not section.train.epochs:
        _check_taken(config, which)
        return
    for stage in ("pretrain", "train"):
        own = getattr(section, stage)
        if own and own.initial:
            card = NetworkCard.read(pretrained.resolve(own.initial, which))
            stored = models.shapes(models.create(card.model, **card.options), models.num_inputs(card.model))
            _merge(config, which, stage, card, stored, shapes)


def load(config: Config, which: str, stage: str, fresh: dict[str, Any]) -> dict[str, Any]:
    """The initial variables of a stage: from the folder that its section names as `initial`, or fresh ones.

    "pretrained" names the networks in the package. Untrained modules stay fresh: those listed as `fresh` in the
    folder's card, and the last layers of a network trained by inpainting.

    Args:
      config: of the run.
      which: "single" | "multi".
      stage: "pretrain" | "train".
      fresh: freshly initialised variables.
    Raises: FileNotFoundError if the folder has no network; ValueError if it is another network, or was trained with
      another normalisation of the input.
    """
    directory = getattr(getattr(config, which), stage).initial
    if not directory:
        return fresh
    stored, card = storage.load(pretrained.resolve(directory, which))
    merged, layers = _merge(config, which, stage, card, stored, fresh)
    logging.info(
        "%s_%s starts from %s; transferred: %s; fresh: %s.", stage, which, directory,
        ", ".join(sorted(stored["params"].keys() - set(card.fresh))), ", ".join(card.fresh or layers) or "nothing",
    )  # fmt: skip
    return merged


def take(config: Config, which: str, directory: pathlib.Path, *, view: str) -> None:
    """Copies the network in `train.initial` to `model/` of the stage's folder, for a training of no epochs.

    Args:
      config: of the run.
      which: "single" | "multi".
      directory: of the stage.
      view: of the run's slices, "lungs" | "frame".
    """
    folder = pretrained.resolve(getattr(config, which).train.initial, which)
    warn_of_view(config, which, view)
    variables, card = storage.load(folder)
    storage.save(directory / "model", variables, dataclasses.replace(card, sha256=None))
    logging.info("train_%s: the network in %s as it is, without training.", which, folder)


def warn_of_view(config: Config, which: str, view: str) -> None:
    """Warns if the network in `train.initial` has seen slices of another view than the run's."""
    initial = getattr(config, which).train.initial
    seen = NetworkCard.read(pretrained.resolve(initial, which)).view if initial else None
    if seen not in (None, view):
        logging.warning(
            "config.%s.train.initial=%s was trained on slices with the view %r, but these have the view %r: set "
            "`view: %s` in dataset.yaml, or expect lower values.", which, initial, seen, view, seen,
        )  # fmt: skip


def _check_taken(config: Config, which: str) -> None:
    """Raises ValueError unless the network in `train.initial` can be applied as it is, beside the other one."""
    initial = getattr(config, which).train.initial
    given, folder = f"config.{which}.train.initial={initial}", pretrained.resolve(initial, which)
    card = NetworkCard.read(folder)
    card.check_role(which)
    card.check_applicable(folder)
    if card.task == "inpainting":
        raise ValueError(
            f"{given} was only pretrained by inpainting; train it (config.{which}.train.epochs), or name another."
        )
    other = {"single": config.multi, "multi": config.single}[which]
    if other is None:
        return
    if which == "multi" and not other.train.epochs:
        single = pretrained.resolve(other.train.initial, "single")
        check_same_input((single, NetworkCard.read(single)), (folder, card))
    found, wanted = (card.image_size, card.normalisation), (config.data.image_size, config.data.normalisation)
    if other.train.epochs and found != wanted:
        raise ValueError(
            f"{given} was trained with the image size {found[0]} and the normalisation {vars(found[1])}; set "
            f"config.data.image_size and config.data.normalisation to them, not {wanted[0]} and {vars(wanted[1])}, to "
            "train the other network beside it."
        )


def _merge(config, which: str, stage: str, card: NetworkCard, stored: dict[str, Any], fresh: dict[str, Any]):
    section = getattr(config, which)
    given = f"config.{which}.{stage}.initial={getattr(section, stage).initial}"
    if card.normalisation not in (None, config.data.normalisation):
        raise ValueError(
            f"{given} was trained with the normalisation {vars(card.normalisation)}; set config.data.normalisation to "
            f"it, not {vars(config.data.normalisation)}."
        )
    inpainter = card.task == "inpainting"
    try:
        return states.transfer(
            stored, fresh, lambda path: path[1] in card.fresh or (inpainter and states.is_head(path))
        )
    except ValueError as error:
        raise ValueError(
            f"{given} is {card.model} {card.options}, but this run trains {section.model.name} "
            f"{plain(section.model.options)}. {error}"
        ) from error
