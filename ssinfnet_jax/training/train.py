"""Stages `train_single` and `train_multi`: supervised segmentation, from pretrained weights if there are any."""

import functools
import math
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

import flax
import jax
import numpy as np
import optax
from absl import logging

from ssinfnet_jax import models, rundir
from ssinfnet_jax.config import Config, Train
from ssinfnet_jax.data import pipeline, prepare
from ssinfnet_jax.networks import parallel, storage
from ssinfnet_jax.training import checkpoint, loop, network_setup, start_weights, validation
from ssinfnet_jax.training.steps import optim, segment_step
from ssinfnet_jax.training.steps import state as states

LABELS = {"single": "lesion", "multi": "classes"}


def run(config: Config, run_dir: rundir.RunDir, which: str, *, profile: tuple[int, int] | None = None) -> str | None:
    """Trains the network `which` ("single" | "multi") and writes `model/` and metrics into the stage's folder.

    Without epochs to train, it copies the network that the config names as `initial`.

    `profile`: first and last step to profile, counted from 1.

    Returns: None, or the reason why the data leave this stage out.
    Raises: FileNotFoundError if an earlier stage has not finished.
    """
    if not getattr(config, which).train.epochs:
        run_dir.require("prepare", "slices.csv")
        start_weights.take(config, which, run_dir.stage(f"train_{which}"), view=prepare.view(config.data, run_dir))
        return None
    if skipped := network_setup.skip_together(config, run_dir, which, "train"):
        return skipped
    label = LABELS[which]
    setup = network_setup.setup(config, run_dir, which, label=label)
    train = setup.positions(setup.training_rows(label))
    directory = run_dir.stage(f"train_{which}")
    fit(config, run_dir, setup, train, directory=directory, title=f"train {which}", profile=profile)
    return None


def fit(
    config: Config,
    run_dir: rundir.RunDir,
    setup: network_setup.Setup,
    train: np.ndarray,
    *,
    directory: pathlib.Path,
    title: str,
    profile: tuple[int, int] | None,
) -> None:
    """Trains a network on the records at positions `train` and writes `model/` and metrics into `directory`."""
    which, section = setup.which, setup.section.train
    if section.oversample:
        train = _oversampled(setup, LABELS[which], train)
    batches = setup.train_batches(train, "train", seed=setup.seed + 2)
    num_steps = max(1, round(section.epochs * batches.steps_per_epoch))
    schedule = optim.make_schedule(section.optimizer, steps_per_epoch=batches.steps_per_epoch, num_steps=num_steps)
    optimizer = optim.make_optimizer(section.optimizer, schedule)
    optim.check_length(section.optimizer, num_steps, f"config.{which}.train")
    initial = states.create(
        setup.model,
        optimizer,
        seed=setup.seed,
        num_channels=setup.num_inputs,
        lookahead=section.optimizer.lookahead is not None,
        averaging=section.averaging > 0,
        initial=_start(config, setup, run_dir),
    )
    validating = _make_validation(setup, directory, title)
    training = loop.Training(
        title=title,
        directory=directory,
        num_steps=num_steps,
        steps_per_epoch=batches.steps_per_epoch,
        slices_per_step=section.batch_size,
        read=pipeline.ReadAhead(batches).__getitem__,
        advance=_make_advance(setup, optimizer, num_steps),
        learning_rate=schedule,
        slice_ids=lambda step: batches[step]["slice_id"].tolist(),
        validate=validating,
        followers=(validating.best,),
        **_validation_times(section, num_steps, batches.steps_per_epoch, validating.best),
    )
    options = loop.Options(setup.strategy, section.log_every, config.save_every_s, profile)
    state = loop.fit(initial, training, options)
    setup.save(config, "train", state, validating.best, directory)


def _make_validation(setup: network_setup.Setup, directory: pathlib.Path, title: str) -> validation.Validation:
    section, label = setup.section.train, LABELS[setup.which]
    val = setup.positions(setup.table[f"has_{label}"].astype(bool) & (setup.table["split"] == "val"))
    if not len(val) and (section.keep == "best" or section.patience_epochs):
        logging.warning("%s: no slice of the validation split has %s; training all epochs and keeping the last "
                        "weights.", title, label)  # fmt: skip
    return validation.Validation(setup, label, val, directory, keep_best=section.keep == "best")


def _validation_times(
    section: Train, num_steps: int, steps_per_epoch: int, best: checkpoint.Best
) -> dict[str, Callable[[int], bool]]:
    """When to validate, and when to stop early."""
    every = section.validate_every_epochs
    every = num_steps if every is None else max(1, round(every * steps_per_epoch))
    patience = (section.patience_epochs or math.inf) * steps_per_epoch
    return {
        "validates_at": lambda done: done % every == 0 or done == num_steps,
        "is_enough": lambda done: best.step > 0 and done - best.step >= patience,
    }


def scale_of(step: int, num_steps: int, scales: Sequence[float], order: str, seed: int) -> float:
    """The scale of a step; a pure function, so a resumed training uses the same scales.

    Args:
      step: in [0, num_steps).
      num_steps: of the training.
      scales: to choose from; one listed twice is used twice as often.
      order: "random", or "in_turn": in order, for equal stretches of the training, such as coarse before fine.
      seed: of the random order.
    """
    if order == "in_turn":
        return scales[step * len(scales) // num_steps]
    return scales[np.random.default_rng([seed, step]).integers(len(scales))]


def _make_advance(setup: network_setup.Setup, optimizer: optax.GradientTransformation, num_steps: int) -> Callable:
    """`loop.Training.advance`: a step at one of the config's scales."""
    section = setup.section.train
    options = segment_step.Options(
        section.augmentation,
        setup.normalisation,
        label_smoothing=section.label_smoothing,
        averaging=section.averaging,
    )
    axis_name, key = setup.strategy.axis_name, jax.random.key(setup.seed + 2)
    make = functools.partial(
        segment_step.make_step, setup.model, optimizer, num_inputs=setup.num_inputs, output=setup.output,
        losses=section.losses, axis_name=axis_name,
    )  # fmt: skip
    steps = {
        scale: setup.strategy.map_step(make(options=options._replace(scale=scale)), key) for scale in section.scales
    }

    def advance(state, batch, number):
        scale = scale_of(number, num_steps, section.scales, section.scale_order, setup.seed)
        state, metrics = steps[scale](state, batch)
        return state, "train", metrics

    return advance


def _start(config: Config, setup: network_setup.Setup, run_dir: rundir.RunDir) -> dict[str, Any]:
    """Initial variables: pretrained with fresh last layers; without pretraining, of a model folder or fresh."""
    fresh = models.init(setup.model, setup.seed, setup.num_inputs)
    fresh = states.with_biases(fresh, setup.section.train.head_biases)
    stage = f"pretrain_{setup.which}"
    run_dir.require(stage, "model/model.json")
    if parallel.decide(run_dir.was_skipped(stage)):
        start_weights.warn_of_view(config, setup.which, setup.view)
        return start_weights.load(config, setup.which, "train", fresh)
    pretrained, _ = storage.load(run_dir.path / stage / "model")
    wanted = setup.section.train.transfer
    merged, layers = states.transfer(
        pretrained, fresh, lambda path: states.is_head(path) or (wanted is not None and path[1] not in wanted)
    )
    logging.info(
        "train_%s starts from %s; fresh: %s%s.", setup.which, stage, ", ".join(layers), _not_pretrained(setup, wanted)
    )
    return merged


def _not_pretrained(setup: network_setup.Setup, transferred: Sequence[str] | None) -> str:
    """For the log: the layers, other than the last, that segmentation uses and inpainting does not; or nothing."""
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
        f"; not reached by pretraining: {names}, {share:.0%} of the trained weights "
        '("What pretraining reaches" in docs/networks.md)'
    )


def _oversampled(setup: network_setup.Setup, label: str, positions: np.ndarray) -> np.ndarray:
    """Positions with slices of rarer kinds repeated; a slice's kind is its highest class."""
    kinds = np.array([setup.records[int(position)][label].max() for position in positions])
    names, counts = np.unique(kinds, return_counts=True)
    logging.info(
        "Slices by highest class before oversampling: %s.", dict(zip(names.tolist(), counts.tolist(), strict=True))
    )
    repeats = {kind: round(counts.max() / count) for kind, count in zip(names, counts, strict=True)}
    return np.repeat(positions, [repeats[kind] for kind in kinds])
