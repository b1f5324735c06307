"""Validation of the pretraining: inpaints held-out slices."""

import pathlib
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from ssinfnet_jax import rundir
from ssinfnet_jax.data import pipeline, stage_files
from ssinfnet_jax.networks import parallel
from ssinfnet_jax.training import checkpoint, network_setup
from ssinfnet_jax.training.steps import adversarial_step
from ssinfnet_jax.training.steps import state as states

NUM_SLICES = 16


class Watch:
    """Errors on held-out slices, pictures of them at the end of every phase, and the best inpainter of one phase.

    Every process evaluates the same slices; only process 0 writes.

    Args:
      setup: of the network.
      game: the two networks.
      positions: of the held-out slices; at most `NUM_SLICES` of them, evenly spaced, are used.
      num_examples: slices to save pictures of.
      directory: of the stage.
      keep_best_of: index of the phase whose best inpainter is kept, or None.
    Attributes: best: that inpainter, by its error on the phase's masks; empty without such a phase.
    """

    def __init__(
        self,
        setup: network_setup.Setup,
        game,
        positions: np.ndarray,
        num_examples: int,
        directory: pathlib.Path,
        *,
        keep_best_of: int | None,
    ):
        size = min(NUM_SLICES, len(positions))
        chosen = positions[np.linspace(0, len(positions) - 1, size).astype(int)]
        self._batch = next(pipeline.eval_batches(setup.records, chosen, setup.transform, batch_size=size))
        self._fetch = setup.strategy.fetch
        self._evaluate = jax.jit(adversarial_step.make_inpaint_eval(game))
        self._shown = np.linspace(0, size - 1, min(num_examples, size)).astype(int)
        self._directory = directory
        self._keep_best_of = keep_best_of
        self.best = checkpoint.Best(directory / "best", keep_variables=True)

    def __call__(
        self, players: Mapping[str, Any], kind: str, index: int, step: int, key: jax.Array, *, is_end: bool
    ) -> dict[str, float]:
        """Evaluates the players at a step of phase `index`, of a kind in `config.LEARNER`.

        Returns: errors under random masks and under the coach's, and their ratio, the coach's gain.
        """
        variables = {who: self._fetch(states.variables(players[who])) for who in ("inpainter", "coach")}
        numeric = {name: value for name, value in self._batch.items() if value.dtype.kind in "biuf"}
        # The same random masks at every step of a phase, so that its steps are comparable.
        key = jax.random.fold_in(key, index)
        out = jax.device_get(self._evaluate(variables["inpainter"], variables["coach"], numeric, key))
        by_chance, by_coach = (float(out[f"reconstruction_{how}"].mean()) for how in ("random", "coach"))
        gain = by_coach / max(by_chance, 1e-12)
        if index == self._keep_best_of:
            self.best.offer(-(by_chance if kind == "inpaint_random" else by_coach), step, variables["inpainter"])
        if is_end and parallel.is_main():
            self._draw(out, kind, index)
        return {
            "reconstruction_random_masks": by_chance, "reconstruction_coach_masks": by_coach, "coach_gain": gain,
        }  # fmt: skip

    def _draw(self, out: Mapping[str, np.ndarray], kind: str, index: int) -> None:
        masks = "random" if kind == "inpaint_random" else "coach"
        with rundir.writing(self._directory / f"examples_{index:03d}.npz") as path:
            arrays = [out[name][self._shown] for name in ("image", f"keep_{masks}", f"inpainting_{masks}")]
            phase = np.asarray([f"{index + 1} {kind}"] * len(self._shown))
            np.savez_compressed(path, **dict(zip(stage_files.INPAINTING_EXAMPLES, [*arrays, phase], strict=True)))

    def combine(self) -> None:
        """Joins the phases' pictures into `examples.npz`."""
        if not parallel.is_main():
            return
        parts = [dict(np.load(path)) for path in sorted(self._directory.glob("examples_*.npz"))]
        with rundir.writing(self._directory / "examples.npz") as path:
            np.savez_compressed(path, **{name: np.concatenate([part[name] for part in parts]) for name in parts[0]})
