"""Stages `train_single` and `train_multi`: supervised segmentation, from the pretrained weights if there are any."""

import functools
import math
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
from absl import logging

from ssinfnet_jax import models, rundir
from ssinfnet_jax.data import augment, pipeline
from ssinfnet_jax.metrics import overlap
from ssinfnet_jax.training import checkpoint, loop, networks, optim, parallel, segment_step, start
from ssinfnet_jax.training import state as states

LABELS = {"single": "lesion", "multi": "classes"}


def run(config: Mapping[str, Any], run_dir: rundir.RunDir, which: str) -> str | None:
    """Trains the network `which` ("single" | "multi") and writes `model/` and metrics into the stage's folder.

    Returns: None, or the reason why the data leave this stage out.
    Raises: FileNotFoundError if an earlier stage has not finished; ValueError for an unknown loss or optimizer.
    """
    skipped = networks.reason_to_skip(config, run_dir, which)
    if skipped:
        return skipped
    label = LABELS[which]
    setup = networks.setup(config, run_dir, which, label=label)
    train = setup.positions(setup.table[f"has_{label}"].astype(bool) & (setup.table["split"] == "train"))
    fit(config, run_dir, setup, train, directory=run_dir.stage(f"train_{which}"), title=f"train {which}")
    return None


def fit(
    config: Mapping[str, Any],
    run_dir: rundir.RunDir,
    setup: networks.Setup,
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
    if which == "single":
        make = functools.partial(segment_step.make_single_step, output=setup.output)
    else:
        make = functools.partial(segment_step.make_multi_step, num_inputs=setup.num_inputs)
    options = segment_step.Options(
        augment.make_options(section["augmentation"]),
        setup.normalisation,
        label_smoothing=section["label_smoothing"],
        averaging=section["averaging"],
    )
    steps = [
        parallel.map_step(
            make(
                setup.model,
                optimizer,
                losses=section["losses"],
                options=options._replace(scale=scale),
                axis_name=parallel.AXIS,
            )
        )
        for scale in section["scales"]
    ]
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

    def advance(state, number):
        # The scale of a step depends on its number alone, so that a resumed training goes on the same way.
        scale = np.random.default_rng([setup.seed, number]).integers(len(steps))
        state, metrics = steps[scale](state, parallel.shard(reader[number]), key)
        return state, "train", metrics

    val = setup.positions(setup.table[f"has_{label}"].astype(bool) & (setup.table["split"] == "val"))
    validation = _Validation(setup, label, val, directory)
    every = max(1, round(section["validate_every_epochs"] * batches.steps_per_epoch))
    patience = (section["patience_epochs"] or math.inf) * batches.steps_per_epoch

    def after(state, done):
        if done % every and done != num_steps:
            return None
        return validation(states.variables(parallel.unreplicate(state)), done)

    state = loop.fit(
        parallel.replicate(initial),
        advance,
        num_steps=num_steps,
        steps_per_epoch=batches.steps_per_epoch,
        directory=directory,
        to_host=parallel.unreplicate,
        to_devices=parallel.replicate,
        after=after,
        is_enough=lambda done: validation.best.step > 0 and done - validation.best.step >= patience,
        slice_ids=lambda step: batches[step]["slice_id"].tolist(),
        log_every=section["log_every"],
        save_every_s=config["save_every_s"],
        title=title,
    )
    result = states.variables(parallel.unreplicate(state))
    if section["keep"] == "best" and validation.best.step > 0:
        result = validation.best.variables(result)
        logging.info("train_%s keeps the weights of step %d, the best on the validation split.", which,
                     validation.best.step)  # fmt: skip
    checkpoint.save_model(
        directory / "model", result, {**setup.description(config, "train"), "weights": section["keep"]}
    )


def _start(config: Mapping[str, Any], setup: networks.Setup, run_dir: rundir.RunDir) -> dict[str, Any]:
    """Pretrained variables with fresh last layers; without pretraining those of a model folder, or fresh ones."""
    fresh = models.init(setup.model, setup.seed, setup.num_inputs)
    fresh = states.with_biases(fresh, setup.section["train"]["head_biases"])
    stage = f"pretrain_{setup.which}"
    run_dir.require(stage)
    if run_dir.was_skipped(stage):
        return start.load(config, setup.which, "train", fresh)
    pretrained, _ = checkpoint.load_model(run_dir.path / stage / "model")
    merged, layers = states.transfer(pretrained, fresh, states.is_head)
    logging.info("train_%s starts from %s; fresh: %s.", setup.which, stage, ", ".join(layers))
    return merged


def _oversampled(setup: networks.Setup, label: str, positions: np.ndarray) -> np.ndarray:
    """Positions with the slices of rarer kinds repeated; a slice's kind is the highest class it holds."""
    kinds = np.array([setup.records[int(position)][label].max() for position in positions])
    names, counts = np.unique(kinds, return_counts=True)
    logging.info(
        "Slices by highest class before oversampling: %s.", dict(zip(names.tolist(), counts.tolist(), strict=True))
    )
    repeats = {kind: round(counts.max() / count) for kind, count in zip(names, counts, strict=True)}
    return np.repeat(positions, [repeats[kind] for kind in kinds])


class _Validation:
    """Measures variables on the validation split, and keeps the best of them.

    Attributes: best: by the mean over the classes of Dice; nothing without a validation split.
    """

    def __init__(self, setup: networks.Setup, label: str, positions: np.ndarray, directory: pathlib.Path):
        self.best = checkpoint.Best(directory / "best", checkpoint.latest_step(directory / "checkpoints"))
        self._label, self._batches = label, []
        if not len(positions):
            return
        size = parallel.eval_batch_size(setup.section["train"]["batch_size"])
        predict = segment_step.make_predict(
            setup.model, num_inputs=setup.num_inputs, output=setup.output, normalisation=setup.normalisation
        )
        self._batches = list(pipeline.eval_batches(setup.records, positions, setup.transform, batch_size=size))
        self._predict = parallel.map_predict(predict)

    def __call__(self, variables: Any, step: int) -> dict[str, float] | None:
        """{"dice_...": mean over slices}, or None without a validation split."""
        if not self._batches:
            return None
        names = {1: "lesion"} if self._label == "lesion" else {1: "ggo", 2: "consolidation"}
        scores = {name: [] for name in names.values()}
        for batch, probs in parallel.predict_all(self._predict(variables), self._batches):
            pred = (probs > 0.5).astype(int) if self._label == "lesion" else probs.argmax(axis=-1)
            for one, truth in zip(pred, batch[self._label], strict=True):
                for value, name in names.items():
                    scores[name].append(overlap.overlap(one == value, truth == value)["dice"])
        means = {f"dice_{name}": _mean(values) for name, values in scores.items()}
        self.best.offer(_mean(list(means.values())), step, variables)
        return means


def _mean(values: Sequence[float]) -> float:
    """Mean of what is not NaN; NaN if all are."""
    known = [value for value in values if not np.isnan(value)]
    return float(np.mean(known)) if known else float("nan")
