"""The schedule of adversarial pretraining: which of the two networks learns, for how long, on whose masks."""

import bisect
import itertools
from collections.abc import Sequence
from typing import NamedTuple

from ssinfnet_jax.config import LEARNER, Optimizer, Pretrain


class Phase(NamedTuple):
    """One phase.

    Attributes:
      kind: a key of `LEARNER`.
      steps: number of updates, at least 1.
      optimizer: of the learner, with the phase's changes.
    """

    kind: str
    steps: int
    optimizer: Optimizer


def schedule(options: Pretrain, steps_per_epoch: float) -> list[Phase]:
    """The phases of a pretraining, at so many updates per epoch."""
    return [
        Phase(phase.kind, max(1, round(phase.epochs * steps_per_epoch)), options.learner_in(phase))
        for phase in options.phases
    ]


def of(phases: Sequence[Phase], who: str) -> list[tuple[Optimizer, int]]:
    """(optimizer, number of updates) of each phase in which `who` ("inpainter" | "coach") learns."""
    return [(phase.optimizer, phase.steps) for phase in phases if LEARNER[phase.kind] == who]


def index_at(phases: Sequence[Phase], step: int) -> int:
    """Number of the phase that step number `step` belongs to."""
    return bisect.bisect_right(list(itertools.accumulate(phase.steps for phase in phases)), step)


def updates_before(phases: Sequence[Phase], step: int) -> tuple[str, int]:
    """Who learns at step number `step`, and how many updates it has made before."""
    updates = dict.fromkeys(LEARNER.values(), 0)
    for phase in phases:
        who = LEARNER[phase.kind]
        if step < phase.steps:
            return who, updates[who] + step
        updates[who] += phase.steps
        step -= phase.steps
    raise ValueError(f"The schedule of {sum(phase.steps for phase in phases)} updates ends before {step} more.")
