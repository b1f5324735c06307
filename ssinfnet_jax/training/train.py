"""Stages `train_single` and `train_multi`: supervised segmentation, from the pretrained weights if there are any."""

import dataclasses
import functools
import math
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import flax
import jax
import numpy as np
import optax
from absl import logging

from ssinfnet_jax import models, rundir
from ssinfnet_jax.data import pipeline
from ssinfnet_jax.networks import parallel, storage
from ssinfnet_jax.training import (
    augment,
    loop,
    mean_teacher,
    network_setup,
    optim,
    segment_step,
    start_weights,
    validation,
)
from ssinfnet_jax.training import state as states

LABELS = {"single": "lesion", "multi": "classes"}


def run(config: Mapping[str, Any], run_dir: rundir.RunDir, which: str) -> str | None:
    """Trains the network `which` ("single" | "multi") and writes `model/` and metrics into the stage's folder.

    Returns: None, or the reason why the data leave this stage out.
    Raises: FileNotFoundError if an earlier stage has not finished; ValueError for an unknown loss or optimizer.
    """
    skipped = network_setup.skip_together(config, run_dir, which, "train")
    if skipped:
        return skipped
    label = LABELS[which]
    setup = network_setup.setup(config, run_dir, which, label=label)
    train = setup.positions(setup.table[f"has_{label}"].astype(bool) & (setup.table["split"] == "train"))
    fit(config, run_dir, setup, train, directory=run_dir.stage(f"train_{which}"), title=f"train {which}")
    return None


def fit(
    config: Mapping[str, Any],
    run_dir: rundir.RunDir,
    setup: network_setup.Setup,
    train: np.ndarray,
    *,
    directory: pathlib.Path,
    title: str,
) -> None:
    """Trains a network on the records at positions `train`, and writes `model/` and metrics into `directory`."""
    which, label, section = setup.which, LABELS[setup.which], setup.section["train"]
    if section["oversample"]:
        train = _oversampled(setup, label, train)
    batches = setup.train_batches(train, "train", seed=setup.seed + 2)
    num_steps = max(1, round(section["epochs"] * batches.steps_per_epoch))
    table = section["optimizer"]
    schedule = optim.make_schedule(table, steps_per_epoch=batches.steps_per_epoch, num_steps=num_steps)
    optimizer = optim.make_optimizer(table, schedule)
    optim.check_length(table, num_steps, f"config.{which}.train")
    unlabeled = _unlabeled_batches(setup, batches)
    steps = _make_steps(setup, optimizer, batches.steps_per_epoch)
    initial = states.create(
        setup.model,
        optimizer,
        seed=setup.seed,
        num_channels=setup.num_inputs,
        lookahead=optim.uses_lookahead(table),
        averaging=section["averaging"] > 0,
        initial=_start(config, setup, run_dir),
    )
    key = jax.random.key(setup.seed + 2)
    reader = pipeline.ReadAhead(batches)
    unlabeled_reader = pipeline.ReadAhead(unlabeled) if unlabeled else None

    def advance(state, number):
        scale = scale_of(number, num_steps, section["scales"], section["scale_order"], setup.seed)
        batch = reader[number]
        if unlabeled_reader:
            batch = {**batch, "unlabeled": unlabeled_reader[number]}
        state, metrics = steps[scale](state, parallel.shard(batch), key)
        return state, "train", metrics

    val = setup.positions(setup.table[f"has_{label}"].astype(bool) & (setup.table["split"] == "val"))
    validating = validation.Validation(setup, label, val, directory, keep_best=section["keep"] == "best")
    if not len(val) and (section["keep"] == "best" or section["patience_epochs"]):
        logging.warning(
            "%s: no slice of the validation split has %s, so all epochs are trained and the last weights kept.",
            title,
            label,
        )
    every = section["validate_every_epochs"]
    every = num_steps if every is None else max(1, round(every * batches.steps_per_epoch))
    patience = (section["patience_epochs"] or math.inf) * batches.steps_per_epoch

    def after(state, done):
        if done % every and done != num_steps:
            return None
        return validating(state, done)

    state = loop.fit(
        parallel.replicate(initial),
        advance,
        num_steps=num_steps,
        steps_per_epoch=batches.steps_per_epoch,
        directory=directory,
        to_host=parallel.unreplicate,
        to_devices=parallel.replicate,
        after=after,
        is_enough=lambda done: validating.best.step > 0 and done - validating.best.step >= patience,
        followers=(validating.best,),
        slice_ids=lambda step: batches[step]["slice_id"].tolist(),
        learning_rate=schedule,
        log_every=section["log_every"],
        save_every_s=config["save_every_s"],
        title=title,
    )
    result = parallel.unreplicate(states.variables(state))
    kept = section["keep"] if validating.best.step > 0 else "last"
    if kept == "best":
        result = validating.best.variables(result)
        logging.info("train_%s keeps the weights of step %d, the best on the validation split.", which,
                     validating.best.step)  # fmt: skip
    storage.save(directory / "model", result, setup.card(config, "train", kept))


def scale_of(step: int, num_steps: int, scales: Sequence[float], order: str, seed: int) -> float:
    """The scale of a step, which depends on nothing else: a training that is resumed takes the same.

    Args:
      step: in [0, num_steps).
      num_steps: of the training.
      scales: to choose from; one that stands there twice is taken twice as often.
      order: "random", or "in_turn": equal stretches of the training in their order, such as coarse before fine.
      seed: of the random order.
    """
    if order == "in_turn":
        return scales[step * len(scales) // num_steps]
    return scales[np.random.default_rng([seed, step]).integers(len(scales))]


def _unlabeled_batches(setup: network_setup.Setup, labeled: pipeline.TrainBatches) -> pipeline.TrainBatches | None:
    """Batches of the slices that the teacher labels, or None; their positions follow those of the labeled ones."""
    table = setup.section["train"]["teacher"]
    if not table:
        return None
    rows = (setup.table["split"] != "train") & (setup.table["pretrain"] == "train")
    batches = setup.batches(
        setup.positions(rows),
        table["batch_size"],
        name=f"config.{setup.which}.train.teacher.batch_size",
        seed=setup.seed + 3,
        transform=dataclasses.replace(setup.transform, label=None),
        first_position=setup.section["train"]["batch_size"],
    )
    logging.info("train_%s: the averaged weights label %d slices.", setup.which, int(rows.sum()))
    return batches


def _make_steps(
    setup: network_setup.Setup, optimizer: optax.GradientTransformation, steps_per_epoch: float
) -> dict[float, Callable]:
    """The mapped step at each of the config's scales."""
    section = setup.section["train"]
    if setup.which == "single":
        make = functools.partial(segment_step.make_single_step, output=setup.output)
    else:
        make = functools.partial(segment_step.make_multi_step, num_inputs=setup.num_inputs)
    options = segment_step.Options(
        augment.make_options(section["augmentation"]),
        setup.normalisation,
        label_smoothing=section["label_smoothing"],
        averaging=section["averaging"],
        teacher=mean_teacher.Options(**section["teacher"]) if section["teacher"] else None,
        steps_per_epoch=steps_per_epoch,
    )
    make = functools.partial(make, setup.model, optimizer, losses=section["losses"], axis_name=parallel.AXIS)
    return {scale: parallel.map_step(make(options=options._replace(scale=scale))) for scale in section["scales"]}


def _start(config: Mapping[str, Any], setup: network_setup.Setup, run_dir: rundir.RunDir) -> dict[str, Any]:
    """Pretrained variables with fresh last layers; without pretraining those of a model folder, or fresh ones."""
    fresh = models.init(setup.model, setup.seed, setup.num_inputs)
    fresh = states.with_biases(fresh, setup.section["train"]["head_biases"])
    stage = f"pretrain_{setup.which}"
    run_dir.require(stage, "model/model.json")
    if parallel.decide(run_dir.was_skipped(stage)):
        return start_weights.load(config, setup.which, "train", fresh)
    pretrained, _ = storage.load(run_dir.path / stage / "model")
    wanted = setup.section["train"]["transfer"]
    merged, layers = states.transfer(
        pretrained, fresh, lambda path: states.is_head(path) or (wanted is not None and path[1] not in wanted)
    )
    logging.info(
        "train_%s starts from %s; fresh: %s%s.", setup.which, stage, ", ".join(layers), _not_pretrained(setup, wanted)
    )
    return merged


def _not_pretrained(setup: network_setup.Setup, transferred: Sequence[str] | None) -> str:
    """What the segmentation uses beside its last layers and the inpainting never reaches, for the log; else nothing."""
    sizes, trained, reached = (
        flax.traverse_util.flatten_dict(tree)
        for tree in (
            jax.tree.map(np.size, models.shapes(setup.model, setup.num_inputs)["params"]),
            states.touched(setup.model, setup.num_inputs, "__call__"),
            states.touched(setup.model, setup.num_inputs, "inpaint"),
        )
    )
    missed = [path for path in sizes if trained[path] and not reached[path] and not states.is_head(("params", *path))]
    missed = [path for path in missed if transferred is None or path[0] in transferred]
    if not missed:
        return ""
    share = sum(sizes[path] for path in missed) / sum(size for path, size in sizes.items() if trained[path])
    names = ", ".join(sorted({path[0] for path in missed}))
    return (
        f"; and, as the pretraining does not reach it: {names}, {share:.0%} of the weights that are trained "
        '("What pretraining reaches" in docs/network_setup.md)'
    )


def _oversampled(setup: network_setup.Setup, label: str, positions: np.ndarray) -> np.ndarray:
    """Positions with the slices of rarer kinds repeated; a slice's kind is the highest class it holds."""
    kinds = np.array([setup.records[int(position)][label].max() for position in positions])
    names, counts = np.unique(kinds, return_counts=True)
    logging.info(
        "Slices by highest class before oversampling: %s.", dict(zip(names.tolist(), counts.tolist(), strict=True))
    )
    repeats = {kind: round(counts.max() / count) for kind, count in zip(names, counts, strict=True)}
    return np.repeat(positions, [repeats[kind] for kind in kinds])
