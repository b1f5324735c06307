"""Checks the networks' sections of a config beyond their types, before anything is computed."""

import contextlib
from collections.abc import Iterator

from absl import logging

from ssinfnet_jax import models
from ssinfnet_jax.config import Config, Pretrain, Train
from ssinfnet_jax.data import prepare
from ssinfnet_jax.networks import card, parallel
from ssinfnet_jax.training import start_weights
from ssinfnet_jax.training.steps import adversarial_step, optim, segment_step
from ssinfnet_jax.training.steps import state as states


def check(config: Config) -> None:
    """Raises ValueError for a mistake in the sections `single` and `multi`."""
    if config.multi and config.multi.prior_source == "cross_fitted" and config.single.train.initial:
        logging.warning(
            "If the network in config.single.train.initial=%s was trained on these slices, their labels leak into the "
            "cross-fitted priors; start from a network trained on other data, or without labels.",
            config.single.train.initial,
        )
    if config.multi and config.multi.prior_source == "cross_fitted":
        for which in ("single", "multi"):
            if not getattr(config, which).train.epochs:
                raise ValueError(
                    "config.multi.prior_source is 'cross_fitted', which trains both networks, but "
                    f"config.{which}.train.epochs is 0; set the source to 'predicted', or train."
                )
    for which in ("single", "multi"):
        section = getattr(config, which)
        if section is None:
            continue
        name, options = section.model.name, section.model.options
        with _named(f"config.{which}.model"):
            card.check_role(which, name, options)
        if section.pretrain:
            _check_pretraining(which, name, models.output(name, **options), section.pretrain)
        has_validation = prepare.has_validation(config.data.splits)
        _check_training(which, models.output(name, **options), section.train, has_validation)
        shapes = models.check(name, options, config.data.image_size)  # traces the network, which takes a second
        with _named(f"config.{which}.train.head_biases"):
            states.with_biases(shapes, section.train.head_biases)
        if unknown := sorted(set(section.train.transfer or ()) - set(shapes["params"])):
            raise ValueError(
                f"Unknown modules {', '.join(unknown)} in config.{which}.train.transfer; {name!r} has "
                f"{', '.join(sorted(shapes['params']))}."
            )
        start_weights.check(config, which, shapes)


def _check_pretraining(which: str, name: str, output: str, section: Pretrain) -> None:
    if not models.inpaints(name):
        able = ", ".join(name for name in models.MODELS if models.inpaints(name))
        raise ValueError(
            f"Model {name!r} has no inpainting form to pretrain; set config.{which}.pretrain to None, or choose one of "
            f"{able}."
        )
    with _named(f"config.{which}.pretrain.coach"):
        models.create("coach", **section.coach)
    adversarial_step.check_losses(
        section.inpainter_losses, section.coach_losses, f"config.{which}.pretrain", models.num_inputs(name), output
    )
    parallel.local_batch_size(section.batch_size, f"config.{which}.pretrain.batch_size")
    for who in ("inpainter", "coach"):
        # Weights that inpainting does not use are not decayed.
        decayed = {"used": True, "unused": who != "inpainter"}
        with _named(f"config.{which}.pretrain.{who}_optimizer"):
            optim.check(getattr(section, f"{who}_optimizer"), decayed)


def _check_training(which: str, output: str, section: Train, has_validation: bool) -> None:
    asked = {"keep": "'best'"} if section.keep == "best" else {}
    if section.patience_epochs:
        asked["patience_epochs"] = f"{section.patience_epochs:g}"
    for key, value in () if has_validation else asked.items():
        raise ValueError(
            f"config.{which}.train.{key} is {value}, which needs a validation split, but config.data.splits has none: "
            "give it a val_fold or a fraction val, or train all epochs and keep the last weights."
        )
    segment_step.check_losses(section.losses, f"config.{which}.train.losses", output)
    parallel.local_batch_size(section.batch_size, f"config.{which}.train.batch_size")
    with _named(f"config.{which}.train.optimizer"):
        optim.check(section.optimizer)


@contextlib.contextmanager
def _named(name: str) -> Iterator[None]:
    """Puts the name of a section before an error."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error
