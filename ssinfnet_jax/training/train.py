"""Stages `train_single` and `train_multi`: supervised segmentation, from the pretrained weights if there are any."""

import functools
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from absl import logging

from ssinfnet_jax import models, rundir
from ssinfnet_jax.data import augment, pipeline
from ssinfnet_jax.metrics import overlap
from ssinfnet_jax.training import checkpoint, loop, networks, optim, parallel, segment_step
from ssinfnet_jax.training import state as states


def run(config: Mapping[str, Any], run_dir: rundir.RunDir, which: str) -> None:
    """Trains the network `which` ("single" | "multi") and writes `model/` and metrics into the stage's folder.

    Raises: FileNotFoundError if an earlier stage has not finished; ValueError for an unknown loss or optimizer.
    """
    label = "lesion" if which == "single" else "classes"
    setup = networks.setup(config, run_dir, which, label=label)
    section = setup.section["train"]
    directory = run_dir.stage(f"train_{which}")
    labeled = setup.table[f"has_{label}"].astype(bool)
    train = setup.positions(labeled & (setup.table["split"] == "train"))
    batches = setup.train_batches(train, section["batch_size"], seed=setup.seed + 2)
    num_steps = max(1, round(section["epochs"] * batches.steps_per_epoch))
    table = section["optimizer"]
    schedule = optim.make_schedule(table, steps_per_epoch=batches.steps_per_epoch, num_steps=num_steps)
    optimizer = optim.make_optimizer(table, schedule)
    if which == "single":
        make = functools.partial(segment_step.make_single_step, output=setup.output)
    else:
        make = functools.partial(segment_step.make_multi_step, num_inputs=setup.num_inputs)
    step = parallel.map_step(
        make(
            setup.model,
            optimizer,
            losses=section["losses"],
            augmentation=augment.make_options(section["augmentation"]),
            normalisation=setup.normalisation,
            axis_name=parallel.AXIS,
        )
    )
    initial = states.create(
        setup.model,
        optimizer,
        seed=setup.seed,
        num_channels=setup.num_inputs,
        lookahead=optim.uses_lookahead(table),
        initial=states.with_biases(_start(setup, run_dir), section["head_biases"]),
    )
    key = jax.random.key(setup.seed + 2)
    reader = pipeline.ReadAhead(batches)

    def advance(state, number):
        state, metrics = step(state, parallel.shard(reader[number]), key)
        return state, "train", metrics

    validate = _make_validate(setup, label, setup.positions(labeled & (setup.table["split"] == "val")))
    every = max(1, round(section["validate_every_epochs"] * batches.steps_per_epoch))

    def after(state, done):
        return (
            validate(states.variables(parallel.unreplicate(state))) if done % every == 0 or done == num_steps else None
        )

    state = loop.fit(
        parallel.replicate(initial),
        advance,
        num_steps=num_steps,
        steps_per_epoch=batches.steps_per_epoch,
        directory=directory,
        to_host=parallel.unreplicate,
        to_devices=parallel.replicate,
        after=after if validate else lambda state, done: None,
        log_every=section["log_every"],
        save_every_s=config["save_every_s"],
        title=f"train {which}",
    )
    result = states.variables(parallel.unreplicate(state))
    checkpoint.save_model(directory / "model", result, setup.description(config))


def _start(setup: networks.Setup, run_dir: rundir.RunDir) -> dict[str, Any]:
    """Pretrained variables with fresh last layers, or fresh ones where the pretraining was left out."""
    fresh = models.init(setup.model, setup.seed, setup.num_inputs)
    stage = f"pretrain_{setup.which}"
    run_dir.require(stage)
    if run_dir.was_skipped(stage):
        return fresh
    pretrained, _ = checkpoint.load_model(run_dir.path / stage / "model")
    merged, layers = states.transfer(pretrained, fresh, states.is_head)
    logging.info("train_%s starts from %s; fresh: %s.", setup.which, stage, ", ".join(layers))
    return merged


def _make_validate(setup: networks.Setup, label: str, positions: np.ndarray):
    """A function (variables) -> {"dice_...": mean over slices} on the validation split, or None if that is empty."""
    if not len(positions):
        return None
    size = parallel.eval_batch_size(setup.section["train"]["batch_size"])
    predict = segment_step.make_predict(
        setup.model, num_inputs=setup.num_inputs, output=setup.output, normalisation=setup.normalisation
    )
    batches = list(pipeline.eval_batches(setup.records, positions, setup.transform, batch_size=size))
    mapped = parallel.map_predict(predict)
    names = {1: "lesion"} if label == "lesion" else {1: "ggo", 2: "consolidation"}

    def validate(variables):
        scores = {name: [] for name in names.values()}
        for batch, probs in parallel.predict_all(mapped(variables), batches):
            pred = (probs > 0.5).astype(int) if label == "lesion" else probs.argmax(axis=-1)
            for one, truth in zip(pred, batch[label], strict=True):
                for value, name in names.items():
                    scores[name].append(overlap.overlap(one == value, truth == value)["dice"])
        return {
            f"dice_{name}": float(np.nanmean(values)) if values else float("nan") for name, values in scores.items()
        }

    return validate
