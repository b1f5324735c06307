"""Stages `pretrain_single` and `pretrain_multi`: adversarial inpainting in alternating phases."""

import bisect
import itertools
import pathlib
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from absl import logging

from ssinfnet_jax import models, rundir
from ssinfnet_jax.data import augment, pipeline
from ssinfnet_jax.training import adversarial_step, checkpoint, loop, networks, optim, parallel, phases, start
from ssinfnet_jax.training import state as states


def run(config: Mapping[str, Any], run_dir: rundir.RunDir, which: str) -> str | None:
    """Pretrains the network `which` ("single" | "multi").

    Writes `model/` (the inpainter's variables), `coach/`, `examples.npz` (pictures at the end of each phase) and
    metrics into the stage's folder.

    Returns: None, or the reason why the config or the data leave this stage out.
    Raises: ValueError for an unknown phase.
    """
    section = config[which]["pretrain"]
    if not section:
        return "the config trains this network without pretraining"
    skipped = networks.reason_to_skip(config, run_dir, which)
    if skipped:
        return skipped
    setup = networks.setup(config, run_dir, which)
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

    optimizers, tables = {}, {"inpainter": section["inpainter_optimizer"], "coach": section["coach_optimizer"]}
    # What inpainting does not use has no gradient and must not shrink: it is transferred to the segmentation.
    decayed = {"inpainter": states.touched(setup.model, setup.num_inputs, "inpaint"), "coach": None}
    for who, table in tables.items():
        own = phases.of(schedule, who, table) or [(table, 1)]
        optim.check_length(table, sum(steps for _, steps in own), f"config.{which}.pretrain, {who},")
        rate = optim.restarting(own, steps_per_epoch=batches.steps_per_epoch)
        optimizers[who] = optim.make_optimizer(table, rate, decayed=decayed[who])
    augmentation = augment.make_options(section["augmentation"])
    make = {"augmentation": augmentation, "axis_name": parallel.AXIS}
    inpaint_step = parallel.map_step(adversarial_step.make_inpaint_step(game, optimizers["inpainter"], **make))
    coach_step = parallel.map_step(adversarial_step.make_coach_step(game, optimizers["coach"], **make))

    initial = {
        "inpainter": states.create(
            setup.model, optimizers["inpainter"], seed=setup.seed, num_channels=setup.num_inputs,
            lookahead=optim.uses_lookahead(tables["inpainter"]),
            initial=start.load(config, which, "pretrain", models.init(setup.model, setup.seed, setup.num_inputs)),
        ),
        "coach": states.create(
            coach, optimizers["coach"], seed=setup.seed, num_channels=3, lookahead=optim.uses_lookahead(tables["coach"])
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

    watch = _Watch(setup, game, watched, section["num_examples"], directory)

    def after(players, done):
        return watch(players, schedule, ends.index(done), key) if done in ends else None

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
        log_every=section["log_every"],
        save_every_s=config["save_every_s"],
        title=f"pretrain {which}",
    )
    players = parallel.unreplicate(players)
    watch.combine()
    description = setup.description(config, "pretrain")
    checkpoint.save_model(directory / "model", states.variables(players["inpainter"]), description)
    coach_description = {**description, "model": "coach", "options": dict(section["coach"]), "initial": ""}
    checkpoint.save_model(directory / "coach", states.variables(players["coach"]), coach_description)
    return None


class _Watch:
    """Looks at the inpainting of held-out slices at the end of every phase: errors, and pictures to keep.

    Every process looks at all of them, process 0 alone writes.
    """

    def __init__(self, setup: networks.Setup, game, positions: np.ndarray, num_examples: int, directory: pathlib.Path):
        size = min(16, len(positions))
        chosen = positions[np.linspace(0, len(positions) - 1, size).astype(int)]
        self._batch = next(pipeline.eval_batches(setup.records, chosen, setup.transform, batch_size=size))
        self._evaluate = jax.jit(adversarial_step.make_inpaint_eval(game))
        self._num_examples, self._directory = num_examples, directory

    def __call__(self, players: Mapping[str, Any], schedule, index: int, key: jax.Array) -> dict[str, float]:
        """Metrics of phase number `index`; writes its pictures."""
        kind = schedule[index].kind
        inpainter, coach = (states.variables(parallel.unreplicate(players[who])) for who in ("inpainter", "coach"))
        numeric = {name: value for name, value in self._batch.items() if value.dtype.kind in "biuf"}
        out = jax.device_get(self._evaluate(inpainter, coach, numeric, jax.random.fold_in(key, index)))
        valid = self._batch["valid"] > 0
        by_chance, by_coach = (float(out[f"reconstruction_{how}"][valid].mean()) for how in ("random", "coach"))
        masks = "random" if kind == "inpaint_random" else "coach"
        shown = np.linspace(0, valid.sum() - 1, min(self._num_examples, int(valid.sum()))).astype(int)
        if parallel.is_main():
            with rundir.writing(self._directory / f"examples_{index:03d}.npz") as path:
                np.savez_compressed(
                    path,
                    image=out["image"][valid][shown],
                    keep=out[f"keep_{masks}"][valid][shown],
                    inpainting=out[f"inpainting_{masks}"][valid][shown],
                    phase=np.asarray([f"{index + 1} {kind}"] * len(shown)),
                )
        return {
            "reconstruction_random_masks": by_chance,
            "reconstruction_coach_masks": by_coach,
            "coach_gain": by_coach / max(by_chance, 1e-12),
        }

    def combine(self) -> None:
        """Joins the phases' pictures into `examples.npz`."""
        if not parallel.is_main():
            return
        parts = [dict(np.load(path)) for path in sorted(self._directory.glob("examples_*.npz"))]
        with rundir.writing(self._directory / "examples.npz") as path:
            np.savez_compressed(path, **{name: np.concatenate([part[name] for part in parts]) for name in parts[0]})
