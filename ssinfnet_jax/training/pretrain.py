"""Stages `pretrain_single` and `pretrain_multi`: adversarial inpainting in alternating phases."""

import dataclasses
import functools
import itertools
import pathlib
from collections.abc import Callable, Sequence

import jax
import numpy as np
from absl import logging

from ssinfnet_jax import models, rundir
from ssinfnet_jax.config import LEARNER, Config, plain
from ssinfnet_jax.data import pipeline
from ssinfnet_jax.networks import storage
from ssinfnet_jax.training import loop, network_setup, phases, start_weights, watch
from ssinfnet_jax.training.steps import adversarial_step, optim
from ssinfnet_jax.training.steps import state as states


def run(config: Config, run_dir: rundir.RunDir, which: str, *, profile: tuple[int, int] | None = None) -> str | None:
    """Pretrains the network `which` ("single" | "multi").

    Writes `model/` (the inpainter's variables), `coach/`, `examples.npz` (pictures at the end of each phase) and
    metrics into the stage's folder. `profile`: first and last step to profile, counted from 1.

    Returns: None, or the reason why the config or the data leave this stage out.
    """
    if skipped := network_setup.skip_together(config, run_dir, which, "pretrain"):
        return skipped
    setup = network_setup.setup(config, run_dir, which)
    section, directory = setup.section.pretrain, run_dir.stage(f"pretrain_{which}")
    train, watched, watched_as = _slices(setup)
    batches = setup.train_batches(train, "pretrain", seed=setup.seed + 1)
    schedule = phases.schedule(section, batches.steps_per_epoch)
    ends = list(itertools.accumulate(phase.steps for phase in schedule))
    every = round((section.validate_every_epochs or 0) * batches.steps_per_epoch) or ends[-1]
    game, key = _make_game(setup), jax.random.key(setup.seed)
    optimizers, rates = _make_optimizers(setup, schedule, batches.steps_per_epoch)
    watcher = _make_watch(setup, game, schedule, watched, directory)

    def watch_players(players, done):
        index = phases.index_at(schedule, done - 1)
        return watcher(players, schedule[index].kind, index, done, key, is_end=done in ends)

    def learning_rate(step):
        who, updates = phases.updates_before(schedule, step)
        return rates[who](updates)

    training = loop.Training(
        title=f"pretrain {which}",
        directory=directory,
        num_steps=ends[-1],
        steps_per_epoch=batches.steps_per_epoch,
        slices_per_step=section.batch_size,
        read=_reader(batches, schedule),
        advance=_make_advance(setup, game, optimizers, schedule, key),
        learning_rate=learning_rate,
        slice_ids=lambda step: batches[step]["slice_id"].tolist(),
        validates_at=lambda done: done in ends or done % every == 0,
        validate=watch_players,
        validation_phase=watched_as,
        followers=(watcher.best,),
    )
    options = loop.Options(setup.strategy, section.log_every, config.save_every_s, profile)
    players = loop.fit(_start(config, setup, game, optimizers), training, options)
    watcher.combine()
    card = setup.save(config, "pretrain", players["inpainter"], watcher.best, directory)
    coach_card = dataclasses.replace(card, model="coach", options=plain(section.coach), initial="", weights="last")
    storage.save(directory / "coach", setup.strategy.fetch(states.variables(players["coach"])), coach_card)
    return None


def _slices(setup: network_setup.Setup) -> tuple[np.ndarray, np.ndarray, str]:
    """Positions of the slices for training and for validation, and the phase under which the latter are logged."""
    column = "pretrain" if setup.which == "single" else "split"
    train, held_out = setup.positions(setup.pretraining_rows()), setup.positions(setup.table[column] == "val")
    if len(held_out):
        return train, held_out, "val"
    logging.warning("pretrain_%s: no slices are held out; validating the inpainting on training slices.", setup.which)
    return train, train, "watch"


def _make_game(setup: network_setup.Setup) -> adversarial_step.Game:
    section = setup.section.pretrain
    coach = models.create("coach", **section.coach, axis_name=setup.strategy.axis_name)
    losses = section.inpainter_losses, section.coach_losses
    return adversarial_step.Game(setup.model, coach, setup.num_inputs, setup.normalisation, *losses, section.options)


def _reader(batches: pipeline.TrainBatches, schedule: Sequence[phases.Phase]) -> Callable[[int], pipeline.Batch]:
    """step -> batch, with the fields that the inpainter's steps need; reads ahead."""
    reader = pipeline.ReadAhead(batches)

    def read(step):
        batch, kind = reader[step], schedule[phases.index_at(schedule, step)].kind
        if kind == "coach":
            return batch
        return {**batch, "erased_by_coach": np.full_like(batch["valid"], kind == "inpaint_coach")}

    return read


def _make_advance(setup, game: adversarial_step.Game, optimizers, schedule: Sequence[phases.Phase], key: jax.Array):
    """`loop.Training.advance`: a step of the phase's learner."""
    make = {"augmentation": setup.section.pretrain.augmentation, "axis_name": setup.strategy.axis_name}
    map_step = functools.partial(setup.strategy.map_step, key=key)
    inpaint_step = map_step(adversarial_step.make_inpaint_step(game, optimizers["inpainter"], **make))
    coach_step = map_step(adversarial_step.make_coach_step(game, optimizers["coach"], **make))

    def advance(players, batch, step):
        kind = schedule[phases.index_at(schedule, step)].kind
        if kind == "coach":
            player, metrics = coach_step(players["coach"], players["inpainter"], batch)
            return {**players, "coach": player}, kind, metrics
        player, metrics = inpaint_step(players["inpainter"], players["coach"], batch)
        return {**players, "inpainter": player}, kind, metrics

    return advance


def _make_watch(setup, game, schedule, watched: np.ndarray, directory: pathlib.Path) -> watch.Watch:
    section = setup.section.pretrain
    last = max(index for index, phase in enumerate(schedule) if LEARNER[phase.kind] == "inpainter")
    keep_best_of = last if section.keep == "best" else None
    return watch.Watch(setup, game, watched, section.num_examples, directory, keep_best_of=keep_best_of)


def _start(config, setup, game: adversarial_step.Game, optimizers) -> dict[str, states.TrainState]:
    """Both players at step 0."""
    section = setup.section.pretrain
    fresh = models.init(setup.model, setup.seed, setup.num_inputs)
    return {
        "inpainter": states.create(
            setup.model, optimizers["inpainter"], seed=setup.seed, num_channels=setup.num_inputs,
            lookahead=section.inpainter_optimizer.lookahead is not None,
            initial=start_weights.load(config, setup.which, "pretrain", fresh),
        ),
        "coach": states.create(
            game.coach, optimizers["coach"], seed=setup.seed, num_channels=3,
            lookahead=section.coach_optimizer.lookahead is not None,
        ),
    }  # fmt: skip


def _make_optimizers(setup: network_setup.Setup, schedule: list[phases.Phase], steps_per_epoch: int):
    """The optimizers of "inpainter" and "coach", and their rates by update; schedules restart in every phase."""
    optimizers, rates = {}, {}
    # Weights that inpainting does not use have no gradient and must not decay: they are transferred to segmentation.
    decayed = {"inpainter": states.touched(setup.model, setup.num_inputs, "inpaint"), "coach": None}
    for who, mask in decayed.items():
        optimizer = getattr(setup.section.pretrain, f"{who}_optimizer")
        own = phases.of(schedule, who) or [(optimizer, 1)]
        optim.check_length(optimizer, sum(steps for _, steps in own), f"config.{setup.which}.pretrain, {who},")
        rates[who] = optim.restarting(own, steps_per_epoch=steps_per_epoch)
        optimizers[who] = optim.make_optimizer(optimizer, rates[who], decayed=mask)
    return optimizers, rates
