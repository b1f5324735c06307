"""What can be wrong in the two networks' sections of a config, found before anything is computed."""

from collections.abc import Mapping
from typing import Any

from absl import logging

from ssinfnet_jax import models
from ssinfnet_jax.data import prepare
from ssinfnet_jax.networks import card, decision, parallel
from ssinfnet_jax.networks.inputs import Normalisation
from ssinfnet_jax.training import adversarial_step, augment, mean_teacher, optim, phases, segment_step, start_weights
from ssinfnet_jax.training import state as states

# The keys of the sections, all of which must be there; a fork that adds one adds it here.
KEYS = {
    "data": ("datasets", "image_size", "normalisation", "splits", "pretrain_holdout", "interpolate_labels"),
    "single": ("model", "pretrain", "train"),
    "multi": ("model", "prior_source", "prior_folds", "pretrain", "train", "decision"),
    "pretrain": (
        "initial", "batch_size", "phases", "coach", "options", "inpainter_losses", "coach_losses",
        "inpainter_optimizer", "coach_optimizer", "augmentation", "num_examples", "validate_every_epochs", "keep",
        "log_every",
    ),
    "train": (
        "initial", "transfer", "epochs", "batch_size", "augmentation", "scales", "scale_order", "label_smoothing",
        "averaging", "teacher", "oversample", "validate_every_epochs", "patience_epochs", "keep", "log_every", "losses",
        "head_biases", "optimizer",
    ),
}  # fmt: skip
PRIOR_SOURCES = ("predicted", "cross_fitted", "ground_truth")
KEEP = ("last", "best")
SCALE_ORDERS = ("random", "in_turn")


def check(config: Mapping[str, Any]) -> None:
    """Raises ValueError for what is wrong in the sections `single`, `multi` and the networks' input."""
    parallel.strategy(config["parallel"], config["fsdp_min_size"])
    _check_keys("config.data", config["data"], "data")
    normalisation = config["data"]["normalisation"]
    _check_fields("config.data.normalisation", normalisation, Normalisation)
    if set(normalisation) != set(Normalisation._fields):
        raise ValueError(f"config.data.normalisation needs mean and std; found {dict(normalisation)}.")
    for which in ("single", "multi"):
        if config[which] is not None:
            _check_keys(f"config.{which}", config[which], which)
    prior_source = (config["multi"] or {}).get("prior_source", "predicted")
    _check_choice("config.multi.prior_source", prior_source, PRIOR_SOURCES)
    initial = (config["single"] or {}).get("train", {}).get("initial")
    if prior_source == "cross_fitted" and initial:
        logging.warning(
            "If the network in config.single.train.initial=%s was trained on these slices, cross-fitted priors know "
            "their labels through it; start from a network trained on other data, or without labels.", initial,
        )  # fmt: skip
    for which in ("single", "multi"):
        section = config[which]
        if section is None:
            if which == "single":
                raise ValueError("config.single is None; only config.multi can be left out, for the lesion alone.")
            continue
        name, options = section["model"]["name"], section["model"]["options"]
        card.check_role(which, name, options)
        if which == "multi":
            decision.Decision.of(section["decision"], "config.multi.decision")
        if section["pretrain"]:
            _check_pretraining(which, name, models.output(name, **options), section["pretrain"])
        has_validation = prepare.has_validation(config["data"]["splits"])
        _check_training(which, models.output(name, **options), section["train"], has_validation)
        # Traces the network, which takes a second.
        size = config["data"]["image_size"]
        shapes = models.shapes(models.create(name, **options), models.num_inputs(name), size=size)
        states.with_biases(shapes, section["train"]["head_biases"])
        unknown = sorted(set(section["train"]["transfer"] or ()) - set(shapes["params"]))
        if unknown:
            raise ValueError(
                f"Unknown modules {', '.join(unknown)} in config.{which}.train.transfer; {name!r} has "
                f"{', '.join(sorted(shapes['params']))}."
            )
        start_weights.check(config, which, shapes)


def _check_pretraining(which: str, name: str, output: str, table: Mapping[str, Any]) -> None:
    _check_keys(f"config.{which}.pretrain", table, "pretrain")
    if not models.inpaints(name):
        able = ", ".join(name for name in models.MODELS if models.inpaints(name))
        raise ValueError(
            f"Model {name!r} has no inpainting form to pretrain; set config.{which}.pretrain to None, or choose one of "
            f"{able}."
        )
    models.create("coach", **table["coach"])
    _check_fields(f"config.{which}.pretrain.options", table["options"], adversarial_step.Options)
    adversarial_step.check_losses(
        table["inpainter_losses"], table["coach_losses"], f"config.{which}.pretrain", models.num_inputs(name), output
    )
    augment.make_options(table["augmentation"])
    _check_choice(f"config.{which}.pretrain.keep", table["keep"], KEEP)
    parallel.local_batch_size(table["batch_size"], f"config.{which}.pretrain.batch_size")
    schedule = phases.schedule(table["phases"], 1)
    if "inpainter" not in {phases.LEARNER[phase.kind] for phase in schedule}:
        raise ValueError(f"In config.{which}.pretrain.phases the inpainter never learns; found {table['phases']}.")
    for who in ("inpainter", "coach"):
        optimizer = table[f"{who}_optimizer"]
        # What inpainting does not use is not decayed.
        decayed = {"used": True, "unused": who != "inpainter"}
        for changed in (optimizer, *(changed for changed, _ in phases.of(schedule, who, optimizer))):
            _check_optimizer(changed, decayed)


def _check_training(which: str, output: str, table: Mapping[str, Any], has_validation: bool) -> None:
    _check_keys(f"config.{which}.train", table, "train")
    for key, asked in (("keep", table["keep"] == "best"), ("patience_epochs", table["patience_epochs"])):
        if asked and not has_validation:
            raise ValueError(
                f"config.{which}.train.{key} is {table[key]!r}, which needs a validation split, and config.data.splits "
                "has none: give it a val_fold, or a fraction val; or keep the last weights of all epochs."
            )
    segment_step.check_losses(table["losses"], f"config.{which}.train.losses", output, teacher=bool(table["teacher"]))
    augment.make_options(table["augmentation"])
    parallel.local_batch_size(table["batch_size"], f"config.{which}.train.batch_size")
    _check_optimizer(table["optimizer"])
    _check_teacher(which, table)
    _check_choice(f"config.{which}.train.keep", table["keep"], KEEP)
    _check_choice(f"config.{which}.train.scale_order", table["scale_order"], SCALE_ORDERS)
    if not table["scales"]:
        raise ValueError(f"config.{which}.train.scales must hold positive factors, found {table['scales']}.")


def _check_teacher(which: str, table: Mapping[str, Any]) -> None:
    if not table["teacher"]:
        return
    name = f"config.{which}.train.teacher"
    options = mean_teacher.make_options(table["teacher"], name)
    if which == "multi":
        raise ValueError(f"{name} must be None: unlabeled slices have no prior that the multi network could trust.")
    if not table["averaging"]:
        raise ValueError(f"{name} needs averaged weights, which label the slices; set config.{which}.train.averaging.")
    parallel.local_batch_size(options.batch_size, f"{name}.batch_size")


def _check_keys(name: str, table: Mapping[str, Any], kind: str) -> None:
    if unknown := sorted(set(table) - set(KEYS[kind])):
        raise ValueError(f"Unknown {name}.{', '.join(unknown)}; it has {', '.join(KEYS[kind])}.")
    if missing := sorted(set(KEYS[kind]) - set(table)):
        raise ValueError(f"{name} lacks {', '.join(missing)}; see configs/recommended.py for what it means.")


def _check_optimizer(table: Mapping[str, Any], decayed: Any = None) -> None:
    optim.make_optimizer(table, optim.make_schedule(table, steps_per_epoch=1, num_steps=1), decayed=decayed)


def _check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ValueError(f"Unknown {name} {value!r}; choose one of {', '.join(choices)}.")


def _check_fields(name: str, table: Mapping[str, Any], kind: type) -> None:
    unknown = sorted(set(table) - set(kind._fields))
    if unknown:
        raise ValueError(f"Unknown {name}.{', '.join(unknown)}; choose from {', '.join(kind._fields)}.")
