"""Initial weights from a model folder that the config names: `single.train.initial`, `multi.pretrain.initial`, ..."""

from typing import Any

from absl import logging

from ssinfnet_jax import models, pretrained
from ssinfnet_jax.config import Config, plain
from ssinfnet_jax.networks import storage
from ssinfnet_jax.networks.card import NetworkCard
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
