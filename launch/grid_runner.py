"""Runs the runs of a grid one after the other, each in a process of its own: what one does to itself harms no other."""

import contextlib
import os
import pathlib
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence

import tqdm
from absl import logging

from ssinfnet_jax import rundir
from ssinfnet_jax.evaluation import run_state
from ssinfnet_jax.training import loop, parallel

_PARENT = "SSINFNET_GRID_PROCESS"  # process id of the grid's program, in the environment of its runs
_LOOK_EVERY_S = 1.0
_SHOW_EVERY_S = 2.0 if sys.stderr.isatty() else 60.0


def run(missing: Sequence[tuple[int, str]], folder: pathlib.Path) -> None:
    """Runs some runs of a grid; the log of each is `<folder>/logs/<name>.log`.

    SIGTERM and SIGINT are handed on to the run that is under way, which saves its state, and end this program.

    Args:
      missing: index and name of each run.
      folder: of the experiment.
    """
    (folder / "logs").mkdir(exist_ok=True)
    received: list[int] = []
    old = {number: signal.signal(number, lambda number, _: received.append(number)) for number in _SIGNALS}
    try:
        with tqdm.tqdm(missing, desc="grid", unit="run", mininterval=_SHOW_EVERY_S) as bar:
            for index, name in bar:
                bar.set_postfix_str(name)
                code = _run(index, name, folder, bar, received)
                if received:
                    bar.close()
                    print(f"{signal.Signals(received[0]).name}: stopped in run {name}; the same command goes on.")
                    sys.exit(loop.INTERRUPTED)
                if code:
                    _note_crash(folder / "runs" / name, code, folder / "logs" / f"{name}.log")
                    bar.write(f"Run {name} failed; see {folder / 'logs' / name}.log")
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


def _run(index: int, name: str, folder: pathlib.Path, bar: tqdm.tqdm, received: list[int]) -> int:
    """The exit code of a run; its last words are shown while it works."""
    (folder / "runs" / name / run_state.FAILED).unlink(missing_ok=True)
    command = [sys.executable, "-m", "launch.experiment", *sys.argv[1:], f"--index={index}"]
    path = folder / "logs" / f"{name}.log"
    told, shown = False, time.monotonic()
    with path.open("a") as log:
        environment = {**os.environ, _PARENT: str(os.getpid())}
        # A session of its own: what the terminal sends to all is handed on once.
        process = subprocess.Popen(
            command, stdout=log, stderr=subprocess.STDOUT, env=environment, start_new_session=True
        )
        while process.poll() is None:
            if received and not told:
                process.terminate()
                told = True
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_LOOK_EVERY_S)
            if time.monotonic() - shown > _SHOW_EVERY_S:
                bar.set_postfix_str(f"{name}: {_last_words(path)}")
                shown = time.monotonic()
    return process.returncode


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
