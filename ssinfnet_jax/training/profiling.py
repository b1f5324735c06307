"""Profiles some steps of a training, by `jax.profiler`."""

import pathlib
from typing import Any

import jax
from absl import logging

from ssinfnet_jax.networks import parallel


class Profile:
    """Traces steps of a training on process 0, into `<directory>/profile`.

    Args:
      steps: first and last step, counted from 1; None: no profile.
      directory: of the stage.
      start: steps done before this training was resumed.
      num_steps: of the training.
    Raises: ValueError for steps beyond the last.
    """

    def __init__(self, steps: tuple[int, int] | None, directory: pathlib.Path, start: int, num_steps: int):
        self._steps, self._directory, self._is_tracing = None, directory / "profile", False
        if steps is None:
            return
        first, last = steps
        if last > num_steps:
            raise ValueError(
                f"--profile_steps={first}:{last}: the training in {directory} has {num_steps} steps; choose others."
            )
        if first <= start:
            logging.warning("Steps %d:%d are not profiled: training resumes at step %d.", first, last, start + 1)
        elif parallel.is_main():
            self._steps = steps

    def begin(self, step: int) -> None:
        """Called before a step, counted from 1."""
        if self._steps and step == self._steps[0]:
            jax.profiler.start_trace(self._directory)
            self._is_tracing = True

    def end(self, step: int, result: Any) -> None:
        """Called after a step, with its metrics."""
        if self._is_tracing and step == self._steps[1]:
            jax.block_until_ready(result)
            self.close()
            logging.info("Profile of steps %d:%d: %s", *self._steps, self._directory)

    def close(self) -> None:
        """Stops a running trace."""
        if self._is_tracing:
            self._is_tracing = False
            jax.profiler.stop_trace()
