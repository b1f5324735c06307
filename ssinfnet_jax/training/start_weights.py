"""Where a training starts if its config names a model folder: `single.train.initial`, `multi.pretrain.initial`, ..."""

from collections.abc import Mapping
from typing import Any

from absl import logging

from ssinfnet_jax import models, pretrained
from ssinfnet_jax.training import checkpoint
from ssinfnet_jax.training import state as states


def check(config: Mapping[str, Any], which: str, shapes: dict[str, Any]) -> None:
    """Raises what `load` would raise for the network `which` of a config, and ValueError for two starts of a training.

    Args:
      config: of the run.
      which: "single" | "multi".
      shapes: of the network's variables.
    """
    section = config[which]
    if section["pretrain"] and section["train"]["initial"]:
        raise ValueError(
            f"config.{which}.train.initial and config.{which}.pretrain both give the training its start: leave one "
            f"out, or give the folder to the pretraining as config.{which}.pretrain.initial."
        )
    for stage in ("pretrain", "train"):
        if section[stage] and section[stage]["initial"]:
            description = checkpoint.load_description(pretrained.resolve(section[stage]["initial"], which))
            model = models.create(description["model"], **description["options"])
            stored = models.shapes(model, models.num_inputs(description["model"]))
            _merge(config, which, stage, description, stored, shapes)


def load(config: Mapping[str, Any], which: str, stage: str, fresh: dict[str, Any]) -> dict[str, Any]:
    """The variables that a stage starts from: those of the folder `config[which][stage]["initial"]`, or fresh ones.

    "pretrained" names the networks of the package.

    Modules that nothing has trained yet stay fresh: those that the folder's description calls so, and the last layers
    of a pretrained network.

    Args:
      config: of the run.
      which: "single" | "multi".
      stage: "pretrain" | "train".
      fresh: variables as this run draws them.
    Raises: FileNotFoundError if the folder holds no network; ValueError if it is another network, or was trained on
      another normalisation of the input.
    """
    directory = config[which][stage]["initial"]
    if not directory:
        return fresh
    stored, description = checkpoint.load_model(pretrained.resolve(directory, which))
    merged, layers = _merge(config, which, stage, description, stored, fresh)
    logging.info(
        "%s_%s starts from %s; taken over: %s; fresh: %s.", stage, which, directory,
        ", ".join(sorted(stored["params"].keys() - set(_untrained(description)))),
        ", ".join(_untrained(description) or layers) or "nothing",
    )  # fmt: skip
    return merged


def _merge(config, which: str, stage: str, description: dict[str, Any], stored: dict[str, Any], fresh: dict[str, Any]):
    given = f"config.{which}.{stage}.initial={config[which][stage]['initial']}"
    found, wanted = description.get("normalisation"), config["data"]["normalisation"]
    if found not in (None, wanted):
        raise ValueError(
            f"{given} was trained on the normalisation {found}; set config.data.normalisation to it, not {wanted}."
        )
    untrained, inpainter = _untrained(description), description.get("task") == "inpainting"
    try:
        return states.transfer(stored, fresh, lambda path: path[1] in untrained or (inpainter and states.is_head(path)))
    except ValueError as error:
        model = config[which]["model"]
        raise ValueError(
            f"{given} holds {description['model']} {description['options']}, this run trains {model['name']} "
            f"{model['options']}. {error}"
        ) from error


def _untrained(description: Mapping[str, Any]) -> list[str]:
    """Top-level modules that nothing has trained."""
    return description.get("fresh", [])
