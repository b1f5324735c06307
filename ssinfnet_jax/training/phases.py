"""The schedule of adversarial pretraining: which of the two networks learns, for how long, on whose masks."""

from collections.abc import Sequence
from typing import Any

# kind of phase: who learns. The inpainter's masks are by chance or by the coach.
LEARNER = {"inpaint_random": "inpainter", "inpaint_coach": "inpainter", "coach": "coach"}


def steps(phases: Sequence[Sequence[Any]], steps_per_epoch: int) -> list[tuple[str, int]]:
    """The schedule in updates.

    Args:
      phases: [kind, epochs] each, kind a key of `LEARNER`.
      steps_per_epoch: updates per epoch.
    Returns: (kind, number of updates, at least 1) per phase.
    Raises: ValueError for an unknown kind or no phases.
    """
    unknown = sorted({kind for kind, _ in phases} - set(LEARNER))
    if unknown or not phases:
        raise ValueError(f"Unknown pretraining phases {unknown}; a schedule has at least one of {', '.join(LEARNER)}.")
    return [(kind, max(1, round(epochs * steps_per_epoch))) for kind, epochs in phases]
