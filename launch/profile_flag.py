"""The flag --profile_steps of programs that train."""

import re

from absl import flags

_STEPS = flags.DEFINE_string(
    "profile_steps",
    None,
    "Steps N:M of each training to profile, such as 10:20; writes the trace to profile/ in the stage's folder.",
)


def steps() -> tuple[int, int] | None:
    """First and last step to profile, or None."""
    return _parsed(_STEPS.value) if _STEPS.value is not None else None


@flags.validator(_STEPS)
def _check(value: str | None) -> bool:
    if value is not None:
        first, last = _parsed(value) or (0, 0)
        if not 1 <= first <= last:
            raise flags.ValidationError("give the first and the last step, counted from 1, such as 10:20")
    return True


def _parsed(value: str) -> tuple[int, int] | None:
    found = re.fullmatch(r"(\d{1,9}):(\d{1,9})", value, re.ASCII)
    return (int(found[1]), int(found[2])) if found else None
