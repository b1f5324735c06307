"""Runs a training: steps, metrics, checkpoints, interruption. The caller defines the step."""

import contextlib
import dataclasses
import pathlib
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NoReturn, Protocol

import jax
import numpy as np
import tqdm
from absl import logging

from ssinfnet_jax.networks import parallel
from ssinfnet_jax.training import checkpoint, feed, metrics_log, profiling

INTERRUPTED = 75  # exit code after a signal, with the state saved: EX_TEMPFAIL of sysexits.h, "try again"


class Follower(Protocol):
    """Results kept beside the checkpoints of a training, in step with them; all processes call it together."""

    def resume(self, step: int) -> None:
        """Returns to the results at the checkpoint of a step; 0: none yet."""

    def hold(self, step: int) -> None:
        """Keeps what `resume(step)` will need; called before that checkpoint is written."""


@dataclasses.dataclass(frozen=True)
class Training:
    """What to train.

    Attributes:
      title: of the progress bar.
      directory: of the stage, for checkpoints, metrics and events.
      num_steps: in total.
      steps_per_epoch: for the epoch that is logged.
      slices_per_step: over all devices, for the speed that is logged.
      read: function (step) -> batch on the host; called in a separate thread, for consecutive steps.
      advance: function (states, batch on the devices, step) -> (states, phase, metrics on the devices).
      learning_rate: function (step) -> learning rate of that update; each row logs the last one.
      slice_ids: function (step) -> the slices of that step, to be named in an error.
      validates_at: function (number of steps done) -> whether to validate.
      validate: function (states, number of steps done) -> metrics, or None without validation data.
      validation_phase: the phase under which these metrics are logged.
      is_enough: function (number of steps done) -> whether to stop early; asked after each validation with metrics.
      followers: results kept beside the checkpoints.
    """

    title: str
    directory: pathlib.Path
    num_steps: int
    steps_per_epoch: int
    slices_per_step: int
    read: Callable[[int], Any]
    advance: Callable[[Any, Any, int], tuple[Any, str, Mapping[str, jax.Array]]]
    learning_rate: Callable[[int], Any]
    slice_ids: Callable[[int], Sequence[str]] = lambda step: ()
    validates_at: Callable[[int], bool] = lambda done: False
    validate: Callable[[Any, int], Mapping[str, float] | None] = lambda states, done: None
    validation_phase: str = "val"
    is_enough: Callable[[int], bool] = lambda done: False
    followers: Sequence[Follower] = ()


@dataclasses.dataclass(frozen=True)
class Options:
    """How to run a training; none of these changes its result.

    Attributes:
      strategy: of the devices.
      log_every: steps between rows of metrics, each the mean since the last; the first of a resumed training, since
        its checkpoint.
      save_every_s: seconds between checkpoints.
      profile: first and last step to profile, counted from 1, or None.
    """

    strategy: parallel.Strategy
    log_every: int
    save_every_s: float
    profile: tuple[int, int] | None = None


def fit(initial: Any, training: Training, options: Options) -> Any:
    """Trains to the last step, from the newest checkpoint if there is one.

    Args:
      initial: tree of host arrays, the states at step 0.
      training: see `Training`.
      options: see `Options`.
    Returns: states after the last step, on the devices.
    Raises:
      FloatingPointError: the loss is not finite; names the step and the terms, and keeps the last checkpoint.
      SystemExit: with code `INTERRUPTED` after SIGTERM or SIGINT to any process, once the state is saved; all processes
        stop at the same step.
    """
    checkpoints = checkpoint.Checkpoints(training.directory / "checkpoints")
    start, states = checkpoints.restore(initial) or (0, initial)
    states = options.strategy.place(states)
    for follower in training.followers:
        follower.resume(start)
    profile = profiling.Profile(options.profile, training.directory, start, training.num_steps)
    batches = feed.Feed(training.read, options.strategy.place_batch, training.num_steps)
    log = _Log(training, start, batches)
    with _Signals() as signals, contextlib.ExitStack() as stack:
        for resource in (checkpoints, log, batches, profile):
            stack.enter_context(checkpoint.closing(resource))
        saver = _Saver(checkpoints, training, options, log)
        for done in range(start + 1, training.num_steps + 1):
            profile.begin(done)
            batch = batches.take(done - 1, log.running)
            with jax.profiler.StepTraceAnnotation("step", step_num=done):
                states, phase, metrics = training.advance(states, batch, done - 1)
            log.add(done, phase, metrics)
            profile.end(done, metrics)
            if done % options.log_every == 0 or done == training.num_steps:
                log.flush(done)
            if training.validates_at(done) and _validate(training, states, done, log):
                break
            saver.after_step(states, done, signals)
        log.end_bar()
        # A signal that arrived after the processes last compared notes, or as the training stopped early.
        if any(parallel.in_any_process((bool(signals.received),), 0)):
            _leave(training.title, signals, "after the last step")
    return states


def _validate(training: Training, states: Any, done: int, log: "_Log") -> bool:
    """Validates the states; returns whether to stop early."""
    with log.paused():
        values = training.validate(states, done)
    if values:
        log.write(done, training.validation_phase, values)
    if values is None or not parallel.decide(training.is_enough(done)):
        return False
    log.flush(done)
    logging.info("%s: stopping early, at step %d of %d.", training.title, done, training.num_steps)
    return True


class _Saver:
    """Saves the states periodically, and after a signal before the program exits."""

    def __init__(self, checkpoints: checkpoint.Checkpoints, training: Training, options: Options, log: "_Log"):
        self._checkpoints, self._training, self._options, self._log = checkpoints, training, options, log
        self._saved_at = time.monotonic()

    def after_step(self, states: Any, done: int, signals: "_Signals") -> None:
        """Saves the states if due; all processes call this after the same steps.

        Raises: SystemExit after a signal to any process.
        """
        is_late = time.monotonic() - self._saved_at > self._options.save_every_s
        due = parallel.is_main() and is_late and done < self._training.num_steps
        stop, due = parallel.in_any_process((bool(signals.received), due), done)
        if stop or due:
            if stop:
                self._log.flush(done)
            self._log.check(done)  # a state whose loss is not finite is not saved
            with self._log.paused():
                for follower in self._training.followers:
                    follower.hold(done)
                self._checkpoints.save(done, self._options.strategy.fetch(states))
            self._saved_at = time.monotonic()
        if stop:
            self._checkpoints.wait()
            self._log.end_bar()
            _leave(self._training.title, signals, f"at step {done}; state saved")


def _leave(title: str, signals: "_Signals", when: str) -> NoReturn:
    """Exits after a signal, so that the training can be resumed."""
    if parallel.is_main():
        why = signals.received or "a signal to another process"
        print(f"{title}: {why} {when}; run the same command again to resume.")
    raise SystemExit(INTERRUPTED)


class _Log:
    """The metrics and the progress bar of a training that starts or resumes at a step."""

    def __init__(self, training: Training, start: int, batches: feed.Feed):
        self._training, self._batches = training, batches
        self._writer = metrics_log.MetricsWriter(training.directory, start)
        self._bar = tqdm.tqdm(
            total=training.num_steps, initial=start, desc=training.title, unit="step", mininterval=2,
            disable=not parallel.is_main(),
        )  # fmt: skip
        self._pending: list[tuple[str, Mapping[str, jax.Array]]] = []
        self._since, self._waited_s = time.monotonic(), 0.0  # start of the next row, and seconds waited before it

    @property
    def running(self) -> Mapping[str, jax.Array]:
        """The metrics of the last step, which may still be running."""
        return self._pending[-1][1] if self._pending else {}

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Excludes the time spent inside from the speed; no step runs there."""
        jax.block_until_ready(self.running)
        started = time.monotonic()
        yield
        self._since += time.monotonic() - started

    def add(self, done: int, phase: str, metrics: Mapping[str, jax.Array]) -> None:
        """Adds the metrics of step number `done`, counted from 1."""
        if self._pending and self._pending[-1][0] != phase:
            self.flush(done - 1)
        self._pending.append((phase, metrics))
        self._bar.update()

    def check(self, done: int) -> list[Mapping[str, np.ndarray]]:
        """Returns the metrics since the last row, by step; FloatingPointError if one of them is not finite."""
        rows = jax.device_get([metrics for _, metrics in self._pending])
        for at, row in enumerate(rows, start=done - len(rows) + 1):
            self._check_finite(at, self._pending[0][0], row)
        return rows

    def flush(self, done: int) -> None:
        """Writes the means since the last row.

        Raises: FloatingPointError as `check`.
        """
        if not self._pending:
            return
        phase, rows = self._pending[0][0], self.check(done)
        self._pending.clear()
        means = {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}
        seconds = max(time.monotonic() - self._since, 1e-9)
        speed = self._training.slices_per_step * len(rows) / seconds
        waiting = (self._batches.waited_s - self._waited_s) / seconds
        self._since, self._waited_s = time.monotonic(), self._batches.waited_s
        rate = float(self._training.learning_rate(done - 1))
        times = {"slices_per_second": round(speed, 3), "time_waiting_for_data": round(waiting, 4)}
        self.write(done, phase, {**means, "learning_rate": rate, **times})
        shown = {"phase": phase, "loss": f"{means['loss']:.4f}", "slices/s": f"{speed:.3g}", "data": f"{waiting:.0%}"}
        self._bar.set_postfix(shown, refresh=False)

    def _check_finite(self, step: int, phase: str, row: Mapping[str, np.ndarray]) -> None:
        bad = {name: float(value) for name, value in row.items() if not np.isfinite(value)}
        if bad:
            raise FloatingPointError(
                f"Step {step} ({phase}): not finite: {bad}. Its slices: "
                f"{', '.join(self._training.slice_ids(step - 1))}. The last checkpoint is kept; lower the learning "
                "rate or clip the gradient (in a new --workdir), or inspect these slices."
            )

    def write(self, done: int, phase: str, values: Mapping[str, float]) -> None:
        """Writes a row."""
        self._writer.write(done, phase, done / self._training.steps_per_epoch, values)

    def end_bar(self) -> None:
        """Closes the progress bar."""
        self._bar.close()

    def close(self) -> None:
        """Closes the progress bar and flushes the metrics."""
        self._bar.close()
        self._writer.close()


class _Signals:
    """Context in which SIGTERM and SIGINT are recorded, not obeyed."""

    def __enter__(self) -> "_Signals":
        self.received = ""
        self._old = {}
        with contextlib.suppress(ValueError):  # only the main thread may set handlers
            for number in (signal.SIGTERM, signal.SIGINT):
                self._old[number] = signal.signal(number, self._receive)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._old.items():
            signal.signal(number, handler)

    def _receive(self, number: int, _frame: Any) -> None:
        self.received = signal.Signals(number).name
