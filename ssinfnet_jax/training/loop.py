"""Drives a training: steps, metrics, checkpoints, interruption. What a step does is the caller's."""

import contextlib
import json
import math
import pathlib
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn, Protocol

import jax
import numpy as np
import tqdm
from absl import logging
from tensorboardX import event_file_writer
from tensorboardX.proto import event_pb2, summary_pb2

from ssinfnet_jax import rundir
from ssinfnet_jax.networks import parallel
from ssinfnet_jax.training import checkpoint

FLUSH_EVERY_S = 30.0  # of TensorBoard's events
INTERRUPTED = 75  # exit code after a signal, once the state is saved: "try again", as sysexits.h names it


class MetricsWriter:
    """Metrics of a stage, as `metrics.jsonl` and as TensorBoard events; goes on where a resumed training does.

    Process 0 alone writes.
    """

    def __init__(self, directory: pathlib.Path, resumed_step: int):
        self._writes = parallel.is_main()
        if not self._writes:
            return
        self._path = directory / "metrics.jsonl"
        rows = _read_rows(self._path)
        kept = [row for row in rows if row["step"] <= resumed_step] if resumed_step else []
        rundir.write_text(self._path, "".join(json.dumps(row) + "\n" for row in kept))
        self._events = Events(directory / "tensorboard", purge_step=resumed_step + 1)

    def write(self, step: int, phase: str, epoch: float, values: Mapping[str, float]) -> None:
        """Appends one row."""
        if not self._writes:
            return
        row = {"step": step, "phase": phase, "epoch": round(epoch, 4), **values}
        with self._path.open("a") as file:
            file.write(json.dumps({k: v if _is_finite(v) else None for k, v in row.items()}) + "\n")
        self._events.write(step, {f"{phase}/{name}": value for name, value in values.items()})

    def close(self) -> None:
        """Writes what is buffered."""
        if self._writes:
            self._events.close()


class Events:
    """TensorBoard's file of scalars.

    Written in this thread: that of tensorboardX's `SummaryWriter` dies of a full disk, and the training then blocks.

    Args:
      directory: of the files.
      purge_step: what older files hold from this step on is not shown.
    """

    def __init__(self, directory: pathlib.Path, purge_step: int):
        directory.mkdir(parents=True, exist_ok=True)
        self._writer = event_file_writer.EventsWriter(str(directory / "events"))
        start = event_pb2.SessionLog(status=event_pb2.SessionLog.START)
        self._writer.write_event(event_pb2.Event(wall_time=time.time(), step=purge_step, session_log=start))
        self._flushed_at = -math.inf

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Adds the scalars of a step."""
        summary = summary_pb2.Summary(
            value=[summary_pb2.Summary.Value(tag=name, simple_value=value) for name, value in values.items()]
        )
        self._writer.write_event(event_pb2.Event(wall_time=time.time(), step=step, summary=summary))
        if time.monotonic() - self._flushed_at > FLUSH_EVERY_S:
            self._writer.flush()
            self._flushed_at = time.monotonic()

    def close(self) -> None:
        """Writes what is buffered."""
        self._writer.close()


class Follower(Protocol):
    """What is kept beside the checkpoints of a training, and follows them; all processes call it together."""

    def resume(self, step: int) -> None:
        """Goes back to how it was at the checkpoint of a step; 0: nothing was done."""

    def hold(self, step: int) -> None:
        """Keeps what `resume(step)` will need; called before that checkpoint is written."""


def fit(
    states: Any,
    advance: Callable[[Any, int], tuple[Any, str, Mapping[str, jax.Array]]],
    *,
    num_steps: int,
    steps_per_epoch: int,
    directory: pathlib.Path,
    to_host: Callable[[Any], Any],
    to_devices: Callable[[Any], Any],
    after: Callable[[Any, int], Mapping[str, float] | None] = lambda states, step: {},
    after_phase: str = "val",
    is_enough: Callable[[int], bool] = lambda step: False,
    followers: Sequence[Follower] = (),
    slice_ids: Callable[[int], Sequence[str]] = lambda step: (),
    learning_rate: Callable[[int], float],
    log_every: int,
    save_every_s: float,
    title: str,
) -> Any:
    """Trains until `num_steps`, from the newest checkpoint if there is one.

    Args:
      states: tree of arrays on the devices, as at step 0.
      advance: function (states, step) -> (states, phase, metrics on the device) of step number `step`.
      num_steps: in all.
      steps_per_epoch: for the epoch shown.
      directory: of the stage; takes checkpoints, metrics and events.
      to_host, to_devices: turn states into host arrays and back.
      after: function (states, number of steps done) -> validation metrics, or None where there are none at this step.
      after_phase: the phase under which these are logged.
      is_enough: function (number of steps done) -> whether to stop early; asked after each validation.
      followers: what is kept beside the checkpoints, and goes back with them to an older step.
      slice_ids: function (step) -> the slices of that step, for an error to name.
      learning_rate: function (step) -> the rate of that step's update; that of the last one is logged with a row.
      log_every: steps between rows of metrics, each the mean since the last.
      save_every_s: seconds between checkpoints.
      title: of the progress bar.
    Returns: states after the last step.
    Raises:
      FloatingPointError: the loss is not finite; the step and the terms are named and the last checkpoint stays.
      SystemExit: with code `INTERRUPTED` after SIGTERM or SIGINT to any process, the state being saved; all processes
        stop at the same step.
    """
    checkpoints = checkpoint.Checkpoints(directory / "checkpoints")
    found = checkpoints.restore(to_host(states)) if checkpoints.any() else None
    start = 0
    if found is not None:
        start, host_states = found
        states = to_devices(host_states)
    for follower in followers:
        follower.resume(start)
    writer = MetricsWriter(directory, start)
    pending: list[tuple[str, Mapping[str, jax.Array]]] = []
    saved_at = time.monotonic()

    def flush(step):
        return _flush(pending, writer, step, steps_per_epoch, slice_ids, learning_rate)

    with _Signals() as signals, checkpoint.closing(checkpoints), checkpoint.closing(writer):
        hidden = not parallel.is_main()
        bar = tqdm.tqdm(total=num_steps, initial=start, desc=title, unit="step", mininterval=2, disable=hidden)
        for step in range(start, num_steps):
            states, phase, metrics = advance(states, step)
            done = step + 1
            if pending and pending[-1][0] != phase:
                flush(step)
            pending.append((phase, metrics))
            if done % log_every == 0 or done == num_steps:
                bar.set_postfix(flush(done), refresh=False)
            validation = after(states, done)
            if validation:
                writer.write(done, after_phase, done / steps_per_epoch, validation)
            bar.update()
            if validation is not None and parallel.decide(is_enough(done)):
                flush(done)
                logging.info("%s: stops early, at step %d of %d.", title, done, num_steps)
                break
            due = parallel.is_main() and time.monotonic() - saved_at > save_every_s and done < num_steps
            stop, due = parallel.in_any_process((bool(signals.received), due), done)
            if stop or due:
                # A state is saved only once its losses are known to be finite.
                flush(done)
                for follower in followers:
                    follower.hold(done)
                checkpoints.save(done, to_host(states))
                saved_at = time.monotonic()
            if stop:
                checkpoints.wait()
                bar.close()
                _leave(title, signals, f"at step {done}; state saved")
        bar.close()
        # One that came after the last question to the other processes, or with an early end.
        if any(parallel.in_any_process((bool(signals.received),), 0)):
            _leave(title, signals, "after the last step")
    return states


def _leave(title: str, signals: "_Signals", when: str) -> NoReturn:
    """Ends the program after a signal, for a new start."""
    if parallel.is_main():
        why = signals.received or "a signal to another process"
        print(f"{title}: {why} {when}, the same command goes on from here.")
    raise SystemExit(INTERRUPTED)


def _flush(
    pending: list, writer: MetricsWriter, step: int, steps_per_epoch: int, slice_ids, learning_rate
) -> dict[str, str]:
    """Writes the mean of the pending metrics; returns the loss for the progress bar."""
    if not pending:
        return {}
    phase, rows = pending[0][0], jax.device_get([metrics for _, metrics in pending])
    pending.clear()
    for offset, row in enumerate(rows):
        bad = {name: float(value) for name, value in row.items() if not np.isfinite(value)}
        if bad:
            at = step - len(rows) + offset + 1
            raise FloatingPointError(
                f"Step {at} ({phase}): not finite: {bad}. Its slices: {', '.join(slice_ids(at - 1))}. The last "
                "checkpoint is kept; lower the learning rate or clip the gradient (in a new --workdir), or look at "
                "these slices."
            )
    means = {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}
    writer.write(step, phase, step / steps_per_epoch, {**means, "learning_rate": float(learning_rate(step - 1))})
    return {"phase": phase, "loss": f"{means['loss']:.4f}"}


def _read_rows(path: pathlib.Path) -> list[dict[str, Any]]:
    """Whole rows of a metrics file; a line cut short by a kill is left out."""
    rows = []
    for line in path.read_text().splitlines() if path.is_file() else []:
        with contextlib.suppress(json.JSONDecodeError):
            rows.append(json.loads(line))
    return rows


def _is_finite(value: Any) -> bool:
    return not isinstance(value, float) or math.isfinite(value)


class _Signals:
    """Remembers SIGTERM or SIGINT while it is entered."""

    def __enter__(self) -> "_Signals":
        self.received = ""
        self._old = {}
        with contextlib.suppress(ValueError):  # not the main thread: signals are somebody else's
            for number in (signal.SIGTERM, signal.SIGINT):
                self._old[number] = signal.signal(number, self._receive)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._old.items():
            signal.signal(number, handler)

    def _receive(self, number: int, _frame: Any) -> None:
        self.received = signal.Signals(number).name
