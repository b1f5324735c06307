"""Stages `pretrain_single` and `pretrain_multi`: adversarial inpainting in alternating phases."""

import bisect
import itertools
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from ssinfnet_jax import models, rundir
from ssinfnet_jax.data import augment, pipeline
from ssinfnet_jax.training import adversarial_step, checkpoint, loop, networks, optim, parallel
from ssinfnet_jax.training import state as states

PHASES = {"inpaint_random": "inpainter", "inpaint_coach": "inpainter", "coach": "coach"}  # kind -> who learns


def run(config: Mapping[str, Any], run_dir: rundir.RunDir, which: str) -> str | None:
    """Pretrains the network `which` ("single" | "multi").

    Writes `model/` (the inpainter's variables), `coach/`, `examples.npz` (pictures at the end of each phase) and
    metrics into the stage's folder.

    Returns: None, or the reason why the config leaves this stage out.
    Raises: ValueError for an unknown phase, or a network without inpainting form.
    """
    setup = networks.setup(config, run_dir, which)
    section = setup.section["pretrain"]
    if not section:
        return "the config trains this network without pretraining"
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
    if not len(watched):
        watched = train
    batches = setup.train_batches(train, section["batch_size"], seed=setup.seed + 1)
    phases = phase_steps(section["phases"], batches.steps_per_epoch)
    ends = list(itertools.accumulate(steps for _, steps in phases))

    optimizers, tables = (
        {},
        {"inpainter": section["inpainter_optimizer"], "coach": section["coach_optimizer"]},
    )
    for who, table in tables.items():
        own = [steps for kind, steps in phases if PHASES[kind] == who]
        schedule = optim.restarting(table, steps_per_epoch=batches.steps_per_epoch, phase_steps=own)
        optimizers[who] = optim.make_optimizer(table, schedule)
    augmentation = augment.make_options(section["augmentation"])
    make = {"augmentation": augmentation, "axis_name": parallel.AXIS}
    inpaint_step = parallel.map_step(adversarial_step.make_inpaint_step(game, optimizers["inpainter"], **make))
    coach_step = parallel.map_step(adversarial_step.make_coach_step(game, optimizers["coach"], **make))

    initial = {
        "inpainter": states.create(
            setup.model, optimizers["inpainter"], seed=setup.seed, num_channels=setup.num_inputs,
            lookahead=optim.uses_lookahead(tables["inpainter"]),
        ),
        "coach": states.create(
            coach, optimizers["coach"], seed=setup.seed, num_channels=3, lookahead=optim.uses_lookahead(tables["coach"])
        ),
    }  # fmt: skip
    key = jax.random.key(setup.seed)
    reader = pipeline.ReadAhead(batches)

    def advance(players, step):
        kind = phases[bisect.bisect_right(ends, step)][0]
        batch = parallel.shard(reader[step])
        if kind == "coach":
            player, metrics = coach_step(players["coach"], players["inpainter"], batch, key)
            return {**players, "coach": player}, kind, metrics
        batch["coach_masks"] = np.full_like(batch["valid"], kind == "inpaint_coach")
        player, metrics = inpaint_step(players["inpainter"], players["coach"], batch, key)
        return {**players, "inpainter": player}, kind, metrics

    watch = _Watch(setup, game, watched, section["num_examples"], directory)

    def after(players, done):
        return watch(players, phases, ends.index(done), key) if done in ends else None

    players = loop.fit(
        parallel.replicate(initial),
        advance,
        num_steps=ends[-1],
        steps_per_epoch=batches.steps_per_epoch,
        directory=directory,
        to_host=parallel.unreplicate,
        to_devices=parallel.replicate,
        after=after,
        log_every=section["log_every"],
        save_every_s=config["save_every_s"],
        title=f"pretrain {which}",
    )
    players = parallel.unreplicate(players)
    watch.combine()
    description = setup.description(config)
    checkpoint.save_model(directory / "model", states.variables(players["inpainter"]), description)
    coach_description = {**description, "model": "coach", "options": dict(section["coach"])}
    checkpoint.save_model(directory / "coach", states.variables(players["coach"]), coach_description)
    return None


def phase_steps(phases: Sequence[Sequence[Any]], steps_per_epoch: int) -> list[tuple[str, int]]:
    """The schedule in updates.

    Args:
      phases: [kind, epochs] each, kind a key of `PHASES`.
      steps_per_epoch: updates per epoch.
    Returns: (kind, number of updates, at least 1) per phase.
    Raises: ValueError for an unknown kind or no phases.
    """
    unknown = sorted({kind for kind, _ in phases} - set(PHASES))
    if unknown or not phases:
        raise ValueError(f"Unknown pretraining phases {unknown}; a schedule has at least one of {', '.join(PHASES)}.")
    return [(kind, max(1, round(epochs * steps_per_epoch))) for kind, epochs in phases]


class _Watch:
    """Looks at the inpainting of held-out slices at the end of every phase: errors, and pictures to keep."""

    def __init__(self, setup: networks.Setup, game, positions: np.ndarray, num_examples: int, directory: pathlib.Path):
        size = parallel.eval_batch_size(min(16, len(positions)))
        chosen = positions[np.linspace(0, len(positions) - 1, min(size, len(positions))).astype(int)]
        self._batch = next(pipeline.eval_batches(setup.records, chosen, setup.transform, batch_size=size))
        self._evaluate = jax.jit(adversarial_step.make_inpaint_eval(game))
        self._num_examples, self._directory = num_examples, directory

    def __call__(self, players: Mapping[str, Any], phases, index: int, key: jax.Array) -> dict[str, float]:
        """Metrics of phase number `index`; writes its pictures."""
        kind = phases[index][0]
        inpainter, coach = (states.variables(parallel.unreplicate(players[who])) for who in ("inpainter", "coach"))
        numeric = {name: value for name, value in self._batch.items() if value.dtype.kind in "biuf"}
        out = jax.device_get(self._evaluate(inpainter, coach, numeric, jax.random.fold_in(key, index)))
        valid = self._batch["valid"] > 0
        by_chance, by_coach = (float(out[f"reconstruction_{how}"][valid].mean()) for how in ("random", "coach"))
        masks = "random" if kind == "inpaint_random" else "coach"
        shown = np.linspace(0, valid.sum() - 1, min(self._num_examples, int(valid.sum()))).astype(int)
        np.savez_compressed(
            self._directory / f"examples_{index:03d}.npz",
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
        parts = [dict(np.load(path)) for path in sorted(self._directory.glob("examples_*.npz"))]
        np.savez_compressed(
            self._directory / "examples.npz",
            **{name: np.concatenate([part[name] for part in parts]) for name in parts[0]},
        )
