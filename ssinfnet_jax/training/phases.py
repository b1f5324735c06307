"""The schedule of adversarial pretraining: which of the two networks learns, for how long, on whose masks."""

import bisect
import itertools
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from ssinfnet_jax.training import optim

# kind of phase: who learns. The inpainter's masks are by chance or by the coach.
LEARNER = {"inpaint_random": "inpainter", "inpaint_coach": "inpainter", "coach": "coach"}


class Phase(NamedTuple):
    """One phase.

    Attributes:
      kind: a key of `LEARNER`.
      steps: number of updates, at least 1.
      optimizer: what differs in it from the learner's optimizer table, of the keys `optim.SCHEDULE`.
    """

    kind: str
    steps: int
    optimizer: Mapping[str, Any]


def schedule(table: Sequence[Sequence[Any]], steps_per_epoch: int) -> list[Phase]:
    """The phases of a config.

    Args:
      table: [kind, epochs] or [kind, epochs, {changes of the learning rate's schedule}] each.
      steps_per_epoch: updates per epoch.
    Raises: ValueError for an unknown kind, no phases, one of no epochs, or other changes.
    """
    for row in table:
        if not isinstance(row, list | tuple) or len(row) not in (2, 3):
            raise ValueError(f"A pretraining phase is [kind, epochs] or [kind, epochs, {{changes}}], found {row!r}.")
    unknown = sorted({row[0] for row in table} - set(LEARNER))
    if unknown or not table:
        raise ValueError(f"Unknown pretraining phases {unknown}; a schedule has at least one of {', '.join(LEARNER)}.")
    for kind, epochs, *changes in table:
        if not epochs > 0:
            raise ValueError(f"A pretraining phase must have more than 0 epochs, found {[kind, epochs]}.")
        if other := sorted(set(*changes) - set(optim.SCHEDULE)):
            # The optimizer's state goes on from phase to phase.
            known = ", ".join(optim.SCHEDULE)
            raise ValueError(f"A pretraining phase can change {known} of its optimizer, found {', '.join(other)}.")
    return [Phase(kind, max(1, round(epochs * steps_per_epoch)), dict(*changes)) for kind, epochs, *changes in table]


def of(phases: Sequence[Phase], who: str, optimizer: Mapping[str, Any]) -> list[tuple[dict[str, Any], int]]:
    """(optimizer table, number of updates) of each phase in which `who` ("inpainter" | "coach") learns."""
    return [({**optimizer, **phase.optimizer}, phase.steps) for phase in phases if LEARNER[phase.kind] == who]


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
