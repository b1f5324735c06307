"""Where a training starts if its config names a model folder: `single.train.initial`, `multi.pretrain.initial`, ..."""

from typing import Any

from absl import logging

from ssinfnet_jax import models, pretrained
from ssinfnet_jax.config import Config, plain
from ssinfnet_jax.networks import storage
from ssinfnet_jax.networks.card import NetworkCard
from ssinfnet_jax.training.steps import state as states


def check(config: Config, which: str, shapes: dict[str, Any]) -> None:
    """Raises what `load` would raise for the network `which` of a config, and ValueError for two starts of a training.

    Args:
      config: of the run.
      which: "single" | "multi".
      shapes: of the network's variables.
    """
    section = getattr(config, which)
    if section.pretrain and section.train.initial:
        raise ValueError(
            f"config.{which}.train.initial and config.{which}.pretrain both give the training its start: leave one "
            f"out, or give the folder to the pretraining as config.{which}.pretrain.initial."
        )
    for stage in ("pretrain", "train"):
        own = getattr(section, stage)
        if own and own.initial:
            card = NetworkCard.read(pretrained.resolve(own.initial, which))
            stored = models.shapes(models.create(card.model, **card.options), models.num_inputs(card.model))
            _merge(config, which, stage, card, stored, shapes)


def load(config: Config, which: str, stage: str, fresh: dict[str, Any]) -> dict[str, Any]:
    """The variables that a stage starts from: those of the folder its section names as `initial`, or fresh ones.

    "pretrained" names the networks of the package.

    Modules that nothing has trained yet stay fresh: those that the folder's card calls so, and the last layers of a
    pretrained network.

    Args:
      config: of the run.
      which: "single" | "multi".
      stage: "pretrain" | "train".
      fresh: variables as this run draws them.
    Raises: FileNotFoundError if the folder holds no network; ValueError if it is another network, or was trained on
      another normalisation of the input.
    """
    directory = getattr(getattr(config, which), stage).initial
    if not directory:
        return fresh
    stored, card = storage.load(pretrained.resolve(directory, which))
    merged, layers = _merge(config, which, stage, card, stored, fresh)
    logging.info(
        "%s_%s starts from %s; taken over: %s; fresh: %s.", stage, which, directory,
        ", ".join(sorted(stored["params"].keys() - set(card.fresh))), ", ".join(card.fresh or layers) or "nothing",
    )  # fmt: skip
    return merged


def _merge(config, which: str, stage: str, card: NetworkCard, stored: dict[str, Any], fresh: dict[str, Any]):
    section = getattr(config, which)
    given = f"config.{which}.{stage}.initial={getattr(section, stage).initial}"
    if card.normalisation not in (None, config.data.normalisation):
        raise ValueError(
            f"{given} was trained on the normalisation {vars(card.normalisation)}; set config.data.normalisation to "
            f"it, not {vars(config.data.normalisation)}."
        )
    inpainter = card.task == "inpainting"
    try:
        return states.transfer(
            stored, fresh, lambda path: path[1] in card.fresh or (inpainter and states.is_head(path))
        )
    except ValueError as error:
        raise ValueError(
            f"{given} holds {card.model} {card.options}, this run trains {section.model.name} "
            f"{plain(section.model.options)}. {error}"
        ) from error
