"""Runs the runs of a grid, each in a separate process, so that a crash does not affect the others."""

import collections
import contextlib
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import tqdm
from absl import logging

from ssinfnet_jax import rundir
from ssinfnet_jax.evaluation import cost, grid, grid_folder, run_state, timing
from ssinfnet_jax.networks import parallel
from ssinfnet_jax.training import loop

_PARENT = "SSINFNET_GRID_PROCESS"  # variable in a run's environment: process id of the grid's program
_POLL_EVERY_S = 0.5
_SHOW_EVERY_S = 2.0 if sys.stderr.isatty() else 60.0
_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class _Process(NamedTuple):
    """A running process: its log, and the environment variables that it frees for the next run."""

    popen: subprocess.Popen
    log: pathlib.Path
    environment: Mapping[str, str]


def run_missing(
    missing: Sequence[tuple[int, str]],
    folder: pathlib.Path,
    command: Sequence[str],
    environments: Sequence[Mapping[str, str]],
) -> None:
    """Runs some runs of a grid in order; each logs to `<folder>/logs/<name>.log`.

    Passes SIGTERM and SIGINT on to the running processes, which save their state, and then exits.

    Args:
      missing: index and name of each run.
      folder: of the experiment.
      command: program and flags that, with `--index`, run one of them.
      environments: environment variables for each of the runs at the same time; their number is the number of runs.
    """
    (folder / "logs").mkdir(exist_ok=True)
    received: list[int] = []
    old = {number: signal.signal(number, lambda number, _: received.append(number)) for number in _SIGNALS}
    waiting, free = collections.deque(missing), collections.deque(environments)
    running: dict[str, _Process] = {}
    try:
        with tqdm.tqdm(total=len(missing), desc="grid", unit="run", mininterval=_SHOW_EVERY_S) as bar:
            shown = time.monotonic()
            while not received and (waiting or running):
                while waiting and free:
                    index, name = waiting.popleft()
                    log = folder / "logs" / f"{name}.log"
                    running[name] = _start([*command, f"--index={index}"], log, free.popleft())
                    bar.set_postfix_str(", ".join(running))
                time.sleep(_POLL_EVERY_S)
                for name in [name for name, process in running.items() if process.popen.poll() is not None]:
                    process = running.pop(name)
                    free.append(process.environment)
                    if process.popen.returncode and not received:
                        _note_crash(folder / "runs" / name, process.popen.returncode, process.log)
                        bar.write(f"Run {name} failed; see {process.log}")
                    bar.update()
                if time.monotonic() - shown > _SHOW_EVERY_S:
                    bar.set_postfix_str("; ".join(f"{name}: {_last_words(it.log)}" for name, it in running.items()))
                    shown = time.monotonic()
        if received:
            _stop(running)
            names = f"run {', '.join(running)}" if running else "between runs"
            print(f"{signal.Signals(received[0]).name}: stopped in {names}; run the same command again to resume.")
            sys.exit(loop.INTERRUPTED)
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)


def run_one(
    experiment: Mapping[str, Any],
    folder: pathlib.Path,
    index: int,
    *,
    stages: Sequence[str],
    train: Callable[[Mapping[str, Any], pathlib.Path], None],
) -> None:
    """Runs one run of a grid in this process, and records a failure in its folder.

    Args:
      experiment: as for `grid.runs`.
      folder: of the experiment.
      index: of the run.
      stages: of a run that trains, in order.
      train: function (tree of a config, run folder) that runs these stages.
    Raises: ValueError for an index beyond the grid, the folder of another grid, or a run without results; any error of
      the run.
    """
    runs = grid.runs(experiment)
    if index >= len(runs):
        raise ValueError(f"--index={index}: the grid has runs 0 to {len(runs) - 1}.")
    run = runs[index]
    path = folder / "runs" / run.name
    grid_folder.check_same(experiment, folder)
    logging.info("Run %d of %d: %s", index + 1, len(runs), run.name)
    with _recording_failure(path, stages):
        if experiment["task"] == "cost":
            cost.run(run.config, path)
            return
        train(run.config, path)
        if parallel.is_main():
            rundir.write_text(path / "machine.json", json.dumps(timing.machine(), indent=2) + "\n")
        if missing := run_state.missing_results(path, experiment):
            raise ValueError(f"The run has no {', '.join(missing)}: it has no such network, or no test slices.")


@contextlib.contextmanager
def _recording_failure(folder: pathlib.Path, stages: Sequence[str]) -> Iterator[None]:
    """Context of a run: records an error in its folder; the run ends with the grid's program.

    Args:
      folder: of the run.
      stages: of the run, in order; the first unfinished one is the one that failed.
    """
    if parent := os.environ.get(_PARENT):
        threading.Thread(target=_end_with, args=(int(parent),), daemon=True).start()
    note = folder / run_state.FAILED
    try:
        yield
    except Exception as error:
        if parallel.is_main():
            run_dir = rundir.RunDir(folder)
            stage = next((stage for stage in stages if not run_dir.is_done(stage)), "")
            folder.mkdir(parents=True, exist_ok=True)
            run_state.write_failure(note, stage, f"{type(error).__name__}: {error}")
        raise
    if parallel.is_main():
        note.unlink(missing_ok=True)


def _start(command: Sequence[str], log: pathlib.Path, environment: Mapping[str, str]) -> _Process:
    """Starts a run of the grid in a new process."""
    (log.parents[1] / "runs" / log.stem / run_state.FAILED).unlink(missing_ok=True)
    variables = {**os.environ, **environment, _PARENT: str(os.getpid())}
    with log.open("a") as file:
        # In a new session, the terminal's signals do not reach the run a second time.
        popen = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT, env=variables, start_new_session=True)
    return _Process(popen, log, environment)


def _stop(running: Mapping[str, _Process]) -> None:
    """Terminates all runs, which save their state, and waits for them."""
    for process in running.values():
        process.popen.terminate()
    for process in running.values():
        process.popen.wait()


def _last_words(path: pathlib.Path, limit: int = 70) -> str:
    """The last line of a log, progress bars included."""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - 2000))
        lines = file.read().decode(errors="replace").replace("\r", "\n").split("\n")
    # Without the prefix of log messages: level, time, process, place.
    words = (re.sub(r"^[IWEF]\d{4} .*?\] ", "", line).strip() for line in reversed(lines))
    return next((line[:limit] for line in words if line), "")


def _note_crash(folder: pathlib.Path, code: int, log: pathlib.Path) -> None:
    """Records the end of a run that could not do so itself."""
    note = folder / run_state.FAILED
    if not note.is_file():
        how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        folder.mkdir(parents=True, exist_ok=True)
        run_state.write_failure(note, "", f"ended by {how} (out of memory?): {_last_words(log, 300)}")


def _end_with(parent: int) -> None:
    """Sends SIGTERM to this process when its parent is gone."""
    while os.getppid() == parent:
        time.sleep(_POLL_EVERY_S)
    logging.warning("The grid's program is gone; stopping.")
    os.kill(os.getpid(), signal.SIGTERM)
