"""Checks of paths in flags."""

from absl import flags


def check_given(*given: flags.FlagHolder) -> None:
    """Raises ValueError for an empty path, which would be the current folder."""
    for flag in given:
        values = flag.value if isinstance(flag.value, list) else [flag.value]
        if any(value is not None and not value.strip() for value in values):
            raise ValueError(f"--{flag.name}= is empty; name a file or a folder ('.' is the current one).")
