"""The schedule of adversarial pretraining: which network learns, for how long, on whose masks."""

import bisect
import itertools
from collections.abc import Sequence
from typing import NamedTuple

from ssinfnet_jax.config import LEARNER, Optimizer, Pretrain


class Phase(NamedTuple):
    """A phase in updates.

    Attributes:
      kind: a key of `LEARNER`.
      steps: number of updates, at least 1.
      optimizer: of the learner, with the phase's changes.
    """

    kind: str
    steps: int
    optimizer: Optimizer


def schedule(options: Pretrain, steps_per_epoch: float) -> list[Phase]:
    """The phases of a pretraining in updates."""
    return [
        Phase(phase.kind, max(1, round(phase.epochs * steps_per_epoch)), options.learner_in(phase))
        for phase in options.phases
    ]


def of(phases: Sequence[Phase], who: str) -> list[tuple[Optimizer, int]]:
    """(optimizer, number of updates) for each phase in which `who` ("inpainter" | "coach") learns."""
    return [(phase.optimizer, phase.steps) for phase in phases if LEARNER[phase.kind] == who]


def index_at(phases: Sequence[Phase], step: int) -> int:
    """Index of the phase of a step."""
    return bisect.bisect_right(list(itertools.accumulate(phase.steps for phase in phases)), step)


def updates_before(phases: Sequence[Phase], step: int) -> tuple[str, int]:
    """Who learns at a step, and the number of updates it has made before."""
    index = index_at(phases, step)
    who = LEARNER[phases[index].kind]
    return who, step - sum(phase.steps for phase in phases[:index] if LEARNER[phase.kind] != who)
