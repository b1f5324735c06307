"""The metrics of a training: `metrics.jsonl`, TensorBoard events."""

import contextlib
import json
import math
import pathlib
import time
from collections.abc import Mapping
from typing import Any

from tensorboardX import event_file_writer
from tensorboardX.proto import event_pb2, summary_pb2

from ssinfnet_jax import rundir
from ssinfnet_jax.networks import parallel

FLUSH_EVERY_S = 30.0  # of TensorBoard's events


class MetricsWriter:
    """Writes the metrics of a stage to `metrics.jsonl` and TensorBoard; appends when a training is resumed.

    Only process 0 writes.
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
        """Appends a row."""
        if not self._writes:
            return
        row = {"step": step, "phase": phase, "epoch": round(epoch, 4), **values}
        with self._path.open("a") as file:
            file.write(json.dumps({k: v if _is_finite(v) else None for k, v in row.items()}) + "\n")
        self._events.write(step, {f"{phase}/{name}": value for name, value in values.items()})

    def close(self) -> None:
        """Flushes and closes the files."""
        if self._writes:
            self._events.close()


class Events:
    """TensorBoard's file of scalars.

    Written in this thread: on a full disk the thread of tensorboardX's `SummaryWriter` dies, and training then blocks.

    Args:
      directory: of the files.
      purge_step: TensorBoard hides values of older files from this step on.
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
        """Flushes and closes the file."""
        self._writer.close()


def _read_rows(path: pathlib.Path) -> list[dict[str, Any]]:
    """Complete rows of a metrics file; a line cut short by a kill is skipped."""
    rows = []
    for line in path.read_text().splitlines() if path.is_file() else []:
        with contextlib.suppress(json.JSONDecodeError):
            rows.append(json.loads(line))
    return rows


def _is_finite(value: Any) -> bool:
    return not isinstance(value, float) or math.isfinite(value)
