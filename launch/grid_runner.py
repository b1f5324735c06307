"""Runs the runs of a grid, each in a process of its own: what one does to itself harms no other."""

import collections
import contextlib
import os
import pathlib
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import tqdm
from absl import logging

from ssinfnet_jax import rundir
from ssinfnet_jax.evaluation import run_state
from ssinfnet_jax.networks import parallel
from ssinfnet_jax.training import loop

_PARENT = "SSINFNET_GRID_PROCESS"  # process id of the grid's program, in the environment of its runs
_LOOK_EVERY_S = 0.5
_SHOW_EVERY_S = 2.0 if sys.stderr.isatty() else 60.0


class _Process(NamedTuple):
    """A run that is under way: its process, its log, and the variables that the next run may have after it."""

    popen: subprocess.Popen
    log: pathlib.Path
    environment: Mapping[str, str]


def run(missing: Sequence[tuple[int, str]], folder: pathlib.Path, environments: Sequence[Mapping[str, str]]) -> None:
    """Runs some runs of a grid in their order; the log of each is `<folder>/logs/<name>.log`.

    SIGTERM and SIGINT are handed on to the runs that are under way, which save their state, and end this program.

    Args:
      missing: index and name of each run.
      folder: of the experiment.
      environments: variables for the processes; so many runs are under way at the same time, each with one of these.
    """
    (folder / "logs").mkdir(exist_ok=True)
    received: list[int] = []
    old = {number: signal.signal(number, lambda number, _: received.append(number)) for number in _SIGNALS}
    waiting, free = collections.deque(missing), collections.deque(environments)
    under_way: dict[str, _Process] = {}
    try:
        with tqdm.tqdm(total=len(missing), desc="grid", unit="run", mininterval=_SHOW_EVERY_S) as bar:
            shown = time.monotonic()
            while not received and (waiting or under_way):
                while waiting and free:
                    index, name = waiting.popleft()
                    under_way[name] = _start(index, folder, folder / "logs" / f"{name}.log", free.popleft())
                    bar.set_postfix_str(", ".join(under_way))
                time.sleep(_LOOK_EVERY_S)
                for name in [name for name, process in under_way.items() if process.popen.poll() is not None]:
                    process = under_way.pop(name)
                    free.append(process.environment)
                    if process.popen.returncode and not received:
                        _note_crash(folder / "runs" / name, process.popen.returncode, process.log)
                        bar.write(f"Run {name} failed; see {process.log}")
                    bar.update()
                if time.monotonic() - shown > _SHOW_EVERY_S:
                    bar.set_postfix_str("; ".join(f"{name}: {_last_words(it.log)}" for name, it in under_way.items()))
                    shown = time.monotonic()
        if received:
            _stop(under_way)
            names = f"run {', '.join(under_way)}" if under_way else "between runs"
            print(f"{signal.Signals(received[0]).name}: stopped in {names}; the same command goes on.")
            sys.exit(loop.INTERRUPTED)
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def noting_failure(folder: pathlib.Path, stages: Sequence[str]) -> Iterator[None]:
    """Within it a run is done: what stops it is noted in its folder, and the run ends with the grid's program.

    Args:
      folder: of the run.
      stages: of the run, in order; the first that has not finished is the one that failed.
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


_SIGNALS = (signal.SIGTERM, signal.SIGINT)


def _start(index: int, folder: pathlib.Path, log: pathlib.Path, environment: Mapping[str, str]) -> _Process:
    """Starts a run of the grid in a process of its own."""
    (folder / "runs" / log.stem / run_state.FAILED).unlink(missing_ok=True)
    command = [sys.executable, "-m", "launch.experiment", *sys.argv[1:], f"--index={index}"]
    variables = {**os.environ, **environment, _PARENT: str(os.getpid())}
    with log.open("a") as file:
        # A session of its own: what the terminal sends to all is handed on once.
        popen = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT, env=variables, start_new_session=True)
    return _Process(popen, log, environment)


def _stop(under_way: Mapping[str, _Process]) -> None:
    """Tells all to save their state and end, and waits for them."""
    for process in under_way.values():
        process.popen.terminate()
    for process in under_way.values():
        process.popen.wait()


def _last_words(path: pathlib.Path, limit: int = 70) -> str:
    """The last line of a log, progress bars included."""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - 2000))
        lines = file.read().decode(errors="replace").replace("\r", "\n").split("\n")
    # Without what the log writes before each message: level, time, process, place.
    words = (re.sub(r"^[IWEF]\d{4} .*?\] ", "", line).strip() for line in reversed(lines))
    return next((line[:limit] for line in words if line), "")


def _note_crash(folder: pathlib.Path, code: int, log: pathlib.Path) -> None:
    """Notes the end of a run that could not do so itself."""
    note = folder / run_state.FAILED
    if not note.is_file():
        how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        folder.mkdir(parents=True, exist_ok=True)
        run_state.write_failure(note, "", f"ended by {how} (out of memory?): {_last_words(log, 300)}")


def _end_with(parent: int) -> None:
    """Ends this process as by SIGTERM when its parent is gone."""
    while os.getppid() == parent:
        time.sleep(_LOOK_EVERY_S)
    logging.warning("The grid's program is gone; stopping.")
    os.kill(os.getpid(), signal.SIGTERM)
