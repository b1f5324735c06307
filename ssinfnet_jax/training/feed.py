"""Prefetch to the devices: reads and places the next batch while a step runs."""

import concurrent.futures
import time
from collections.abc import Callable
from typing import Any

import jax


class Feed:
    """The batches of consecutive steps; a thread prepares one ahead.

    A batch depends only on its step, so preparing one that is never taken changes nothing.

    Args:
      read: function (step) -> batch on the host, called in one thread.
      place: function (batch on the host) -> batch on the devices.
      num_steps: of the training; no batch is read beyond the last step.
    Attributes: waited_s: seconds that the devices were idle because a batch was not ready.
    """

    def __init__(self, read: Callable[[int], Any], place: Callable[[Any], Any], num_steps: int):
        self.waited_s = 0.0
        self._read, self._place, self._num_steps = read, place, num_steps
        self._pool = concurrent.futures.ThreadPoolExecutor(1, thread_name_prefix="feed")
        self._next: tuple[int, concurrent.futures.Future] | None = None

    def take(self, step: int, running: Any = ()) -> Any:
        """Returns the batch of a step.

        Args:
          step: its number.
          running: arrays still being computed; the devices are idle only when these are done.
        Raises: what `read` raises.
        """
        if self._next is None or self._next[0] != step:
            self._submit(step)
        _, future = self._next
        if not future.done():
            jax.block_until_ready(running)
            started = time.monotonic()
            concurrent.futures.wait([future])
            self.waited_s += time.monotonic() - started
        batch = future.result()
        if step + 1 < self._num_steps:
            self._submit(step + 1)
        return batch

    def _submit(self, step: int) -> None:
        self._next = step, self._pool.submit(lambda: self._place(self._read(step)))

    def close(self) -> None:
        """Ends the thread."""
        self._pool.shutdown(cancel_futures=True)
