"""Stages `pretrain_single` and `pretrain_multi`: adversarial inpainting in alternating phases."""

import bisect
import dataclasses
import itertools
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from absl import logging

from ssinfnet_jax import models, rundir
from ssinfnet_jax.data import pipeline
from ssinfnet_jax.networks import parallel, storage
from ssinfnet_jax.training import (
    adversarial_step,
    augment,
    loop,
    network_setup,
    optim,
    phases,
    start_weights,
    watch,
)
from ssinfnet_jax.training import state as states


def run(config: Mapping[str, Any], run_dir: rundir.RunDir, which: str) -> str | None:
    """Pretrains the network `which` ("single" | "multi").

    Writes `model/` (the inpainter's variables), `coach/`, `examples.npz` (pictures at the end of each phase) and
    metrics into the stage's folder.

    Returns: None, or the reason why the config or the data leave this stage out.
    Raises: ValueError for an unknown phase.
    """
    skipped = network_setup.skip_together(config, run_dir, which, "pretrain")
    if skipped:
        return skipped
    section = config[which]["pretrain"]
    setup = network_setup.setup(config, run_dir, which)
    directory = run_dir.stage(f"pretrain_{which}")
    coach = models.create("coach", **section["coach"], axis_name=parallel.AXIS)
    game = adversarial_step.Game(
        setup.model,
        coach,
        setup.num_inputs,
        setup.normalisation,
        adversarial_step.Options(**section["options"]),
    )

    # The multi network needs a prior, so only labeled slices can pretrain it.
    column = "pretrain" if which == "single" else "split"
    train = setup.positions(setup.table[column] == "train")
    watched = setup.positions(setup.table[column] == "val")
    held_out = len(watched) > 0
    if not held_out:
        logging.warning("pretrain_%s: no slices are held out; the inpainting is watched on training slices.", which)
        watched = train
    batches = setup.train_batches(train, "pretrain", seed=setup.seed + 1)
    schedule = phases.schedule(section["phases"], batches.steps_per_epoch)
    ends = list(itertools.accumulate(phase.steps for phase in schedule))

    optimizers, rates = _make_optimizers(setup, schedule, batches.steps_per_epoch)
    augmentation = augment.make_options(section["augmentation"])
    make = {"augmentation": augmentation, "axis_name": parallel.AXIS}
    inpaint_step = parallel.map_step(adversarial_step.make_inpaint_step(game, optimizers["inpainter"], **make))
    coach_step = parallel.map_step(adversarial_step.make_coach_step(game, optimizers["coach"], **make))

    initial = {
        "inpainter": states.create(
            setup.model, optimizers["inpainter"], seed=setup.seed, num_channels=setup.num_inputs,
            lookahead=optim.uses_lookahead(section["inpainter_optimizer"]),
            initial=start_weights.load(
                config, which, "pretrain", models.init(setup.model, setup.seed, setup.num_inputs)
            ),
        ),
        "coach": states.create(
            coach, optimizers["coach"], seed=setup.seed, num_channels=3,
            lookahead=optim.uses_lookahead(section["coach_optimizer"]),
        ),
    }  # fmt: skip
    key = jax.random.key(setup.seed)
    reader = pipeline.ReadAhead(batches)

    def advance(players, step):
        kind = schedule[bisect.bisect_right(ends, step)].kind
        batch = parallel.shard(reader[step])
        if kind == "coach":
            player, metrics = coach_step(players["coach"], players["inpainter"], batch, key)
            return {**players, "coach": player}, kind, metrics
        batch["erased_by_coach"] = np.full_like(batch["valid"], kind == "inpaint_coach")
        player, metrics = inpaint_step(players["inpainter"], players["coach"], batch, key)
        return {**players, "inpainter": player}, kind, metrics

    kept_phase = max(index for index, phase in enumerate(schedule) if phases.LEARNER[phase.kind] == "inpainter")
    watcher = watch.Watch(
        setup, game, watched, section["num_examples"], directory,
        keep_best_of=kept_phase if section["keep"] == "best" else None,
    )  # fmt: skip
    every = round((section["validate_every_epochs"] or 0) * batches.steps_per_epoch) or ends[-1]

    def after(players, done):
        if done not in ends and done % every:
            return None
        index = bisect.bisect_left(ends, done)
        return watcher(players, schedule[index].kind, index, done, key, is_end=done in ends)

    def learning_rate(step):
        who, updates = phases.updates_before(schedule, step)
        return rates[who](updates)

    players = loop.fit(
        parallel.replicate(initial),
        advance,
        num_steps=ends[-1],
        steps_per_epoch=batches.steps_per_epoch,
        directory=directory,
        to_host=parallel.unreplicate,
        to_devices=parallel.replicate,
        after=after,
        after_phase="val" if held_out else "watch",
        slice_ids=lambda step: batches[step]["slice_id"].tolist(),
        followers=(watcher.best,),
        learning_rate=learning_rate,
        log_every=section["log_every"],
        save_every_s=config["save_every_s"],
        title=f"pretrain {which}",
    )
    watcher.combine()
    results = {who: parallel.unreplicate(states.variables(player)) for who, player in players.items()}
    kept = section["keep"] if watcher.best.step > 0 else "last"
    if kept == "best":
        results["inpainter"] = watcher.best.variables(results["inpainter"])
    card = setup.card(config, "pretrain", kept)
    storage.save(directory / "model", results["inpainter"], card)
    coach_card = dataclasses.replace(card, model="coach", options=dict(section["coach"]), initial="", weights="last")
    storage.save(directory / "coach", results["coach"], coach_card)
    return None


def _make_optimizers(setup: network_setup.Setup, schedule: list[phases.Phase], steps_per_epoch: int):
    """The optimizers of "inpainter" and "coach", whose rates begin anew in every phase, and the rates by update."""
    optimizers, rates = {}, {}
    # What inpainting does not use has no gradient and must not shrink: it is transferred to the segmentation.
    decayed = {"inpainter": states.touched(setup.model, setup.num_inputs, "inpaint"), "coach": None}
    for who, mask in decayed.items():
        table = setup.section["pretrain"][f"{who}_optimizer"]
        own = phases.of(schedule, who, table) or [(table, 1)]
        optim.check_length(table, sum(steps for _, steps in own), f"config.{setup.which}.pretrain, {who},")
        rates[who] = optim.restarting(own, steps_per_epoch=steps_per_epoch)
        optimizers[who] = optim.make_optimizer(table, rates[who], decayed=mask)
    return optimizers, rates
