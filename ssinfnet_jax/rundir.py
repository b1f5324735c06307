"""The run folder: its config, one folder per stage, and which stages are finished.

A stage is finished when its `done.json` exists, which is written last, by renaming. A stage that was stopped has none;
running the same command again resumes it from its own checkpoints. `made_from.json` lists the runs of earlier stages
that a stage has read, so that a stage counts as outdated once one of these has been run again.
"""

import contextlib
import dataclasses
import fcntl
import importlib.metadata
import json
import os
import pathlib
import shlex
import shutil
import socket
import subprocess
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TextIO

from absl import logging

PACKAGES = (
    "jax",
    "flax",
    "optax",
    "orbax-checkpoint",
    "grain",
    "tensorflow-datasets",
    "numpy",
    "pyradiomics",
    "statsmodels",
)
STAGES = {  # name of a stage, which is that of its folder, in the order of the pipeline -> its title
    "prepare": "Prepare data",
    "pretrain_single": "Pretrain single network",
    "train_single": "Train single network",
    "crossfit_single": "Cross-fit single networks",
    "predict_priors": "Predict priors",
    "pretrain_multi": "Pretrain multi network",
    "train_multi": "Train multi network",
    "evaluate": "Evaluate",
    "segment_cohort": "Segment cohort",
    "phenotypes": "Phenotypes",
    "mediate": "Mediation analysis",
}
# Config keys that affect how a run is computed but not its result: they may change when it is resumed.
EXECUTION = ("parallel", "fsdp_min_size", "save_every_s")


class UnfinishedError(FileNotFoundError):
    """A required stage has not finished."""


@dataclasses.dataclass(frozen=True)
class RunDir:
    """Paths of one run.

    Attributes:
      path: the folder.
      current: the running stage; the stages it `require`s are recorded in its `made_from.json`.
      lock: the lock file, open while this process works in the folder.
    """

    path: pathlib.Path
    current: str | None = None
    lock: TextIO | None = None

    def stage(self, name: str) -> pathlib.Path:
        """Returns the folder of a stage, creating it if needed."""
        folder = self.path / name
        if folder.is_symlink() and not folder.exists():
            folder.unlink()  # linked to a run that was deleted
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def is_done(self, name: str) -> bool:
        """Whether a stage has finished (or was skipped for a reason)."""
        return (self.path / name / "done.json").is_file()

    def was_skipped(self, name: str) -> bool:
        """Whether a stage was skipped."""
        return self.is_done(name) and bool(self._done(name)["skipped"])

    def require(self, name: str, *files: str) -> pathlib.Path:
        """Returns the folder of a finished stage, checking that the required `files` exist.

        Raises: UnfinishedError if the stage has not finished, FileNotFoundError if a file is missing, ValueError if the
          current stage was started with an earlier run of it; all name the remedy.
        """
        if not self.is_done(name):
            raise UnfinishedError(
                f"Stage {name!r} has not finished in {self.path}; run it first (launch.pipeline --stages={name})."
            )
        gone = [self.path / name / file for file in files if not (self.path / name / file).exists()]
        if gone and not self.was_skipped(name):
            raise FileNotFoundError(f"{gone[0]}, written by stage {name!r}, is missing; {self.remedy(name)}")
        if self.current is not None:
            self.check_current(self.current)
            made_from = {**self._made_from(self.current), name: self._done(name)["id"]}
            write_text(self.stage(self.current) / "made_from.json", json.dumps(made_from, indent=2) + "\n")
        return self.path / name

    def take_over(self, name: str, other: "RunDir", folders: Sequence[str] = ()) -> bool:
        """Links a finished stage of another run into this run, if it fits.

        It fits if the stages it was made from are the same in both runs, that is, also linked. The caller must check
        that the configs agree.

        Args:
          name: of the stage.
          other: the run that has finished it.
          folders: folders that the stage wrote besides its own.
        Returns: whether it was linked; False if this run has started the stage itself.
        """
        made_from = other._made_from(name)
        if not other.is_done(name) or self.ids(made_from) != made_from:
            return False
        return self._link(name, other, folders)

    def take_up(self, name: str, other: "RunDir", needs: Sequence[str], folders: Sequence[str] = ()) -> bool:
        """Links a stage that another run has started but not finished into this run, to resume it there.

        The caller must also ensure that no other process works in it.

        Args:
          name: of the stage.
          other: the run that has started it.
          needs: the stages that it is made from; they must be the same in both runs.
          folders: folders that the stage writes besides its own.
        Returns: whether it was linked; False if this run has started the stage itself.
        """
        begun = all((other.path / folder).exists() for folder in (name, *folders))
        if other.is_done(name) or not begun or self.ids(needs) != other.ids(needs):
            return False
        return self._link(name, other, folders)

    def ids(self, names: Iterable[str]) -> dict[str, str]:
        """Returns the ids of the runs of those stages that have finished."""
        return {name: self._done(name)["id"] for name in names if self.is_done(name)}

    def _link(self, name: str, other: "RunDir", folders: Sequence[str]) -> bool:
        """Links a stage of another run with its other folders, unless this run has started the stage."""
        names = [folder for folder in (*folders, name) if (other.path / folder).exists()]
        if any((self.path / folder).exists() for folder in names):
            return False
        for folder in names:
            link = self.path / folder
            link.unlink(missing_ok=True)
            link.symlink_to(os.path.relpath((other.path / folder).resolve(), self.path.resolve()))
        return True

    def check_current(self, name: str) -> None:
        """Raises ValueError if a stage that `name` was made from has been run again since."""
        for earlier, identity in self._made_from(name).items():
            if self.is_done(earlier) and self._done(earlier)["id"] != identity:
                stale = shlex.join(str(self.path / stage) for stage in self._made_after(earlier))
                raise ValueError(
                    f"Stage {name!r} was made from an earlier run of {earlier!r}, which has been run again since. "
                    f"Delete the outdated stages, and run the same command again: rm -r {stale}"
                )

    def remedy(self, name: str) -> str:
        """Says how to rewrite the output of a finished stage: it resumes, and later stages must run again."""
        stale = [self.path / name / "done.json", *(self.path / stage for stage in self._made_after(name))]
        return f"to rewrite it, run rm -r {shlex.join(map(str, stale))} and then the same command."

    def _done(self, name: str) -> dict[str, Any]:
        return read_json(self.path / name / "done.json")

    def _made_from(self, name: str) -> dict[str, str]:
        path = self.path / name / "made_from.json"
        return read_json(path) if path.is_file() else {}

    def _made_after(self, earlier: str) -> list[str]:
        """Lists the stages made from a stage, directly or indirectly."""
        stages = [path.parent.name for path in self.path.glob("*/made_from.json")]
        found, new = [], [earlier]
        while new:
            new = [name for name in stages if name not in found and {*self._made_from(name)} & {*new}]
            found += new
        return sorted(found)


def open_run(workdir: str | pathlib.Path, config: Mapping[str, Any]) -> RunDir:
    """Opens the run folder of a config, creating it if needed, and locks it until the result is garbage-collected.

    Raises: ValueError, with the differences, if the folder belongs to a run of another config, or if another process
      works in it.
    """
    run = RunDir(pathlib.Path(workdir), lock=_lock(pathlib.Path(workdir)))
    path = run.path / "config.json"
    wanted = json.loads(json.dumps(config))
    found = read_json(path) if path.is_file() else wanted
    differing = config_differences(found, wanted)
    if differing and any(child.is_dir() for child in run.path.iterdir()):
        raise ValueError(
            f"{run.path} holds a run of another config; use a new folder, or resume with the old config. "
            "Differences (there -> now):\n  " + "\n  ".join(differing)
        )
    if found != wanted or not path.is_file():
        write_text(path, json.dumps(wanted, indent=2) + "\n")
    return run


def join_run(workdir: str | pathlib.Path, config: Mapping[str, Any]) -> RunDir:
    """Opens, for reading, the run folder that process 0 has opened; for the other processes of a run.

    Raises: ValueError if this process sees another folder.
    """
    path = pathlib.Path(workdir) / "config.json"
    if not path.is_file() or json.loads(path.read_text()) != json.loads(json.dumps(config)):
        raise ValueError(
            f"{workdir} is not the folder that process 0 has opened: with several processes, --workdir must be on a "
            "file system that all machines share, and all must have the same config."
        )
    return RunDir(pathlib.Path(workdir))


def run_stage(run: RunDir, name: str, function: Callable[[RunDir], str | None]) -> None:
    """Runs a stage unless it has finished, and records that it has.

    Args:
      run: the run folder.
      name: of the stage.
      function: does the work, given the run folder; may return the reason why there was nothing to do, which counts as
        finished.
    Raises: ValueError if a stage that this one was made from has been run again since.
    """
    run.check_current(name)
    if run.is_done(name):
        logging.info("%s: already finished, skipping.", name)
        return
    logging.info("%s: starting.", name)
    started = time.time()
    skipped = function(dataclasses.replace(run, current=name))
    seconds = time.time() - started
    note = {
        "stage": name,
        "id": uuid.uuid4().hex,
        "seconds": round(seconds, 1),
        "finished": time.strftime("%Y-%m-%d %H:%M:%S"),
        "skipped": skipped,
        **provenance(),
    }
    write_text(run.stage(name) / "done.json", json.dumps(note, indent=2) + "\n")
    logging.info("%s: %s after %.0f s.", name, f"skipped ({skipped})" if skipped else "finished", seconds)


def config_differences(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[str]:
    """Lists the `differences` of two configs, without `EXECUTION`."""
    what = ({key: value for key, value in config.items() if key not in EXECUTION} for config in (found, wanted))
    return differences(*what)


def differences(found: Any, wanted: Any, name: str = "") -> list[str]:
    """Lists the differences of two JSON trees as lines `key.of.key: value there -> value now`."""
    if isinstance(found, dict) and isinstance(wanted, dict):
        keys = sorted(found.keys() | wanted.keys())
        return [
            line
            for key in keys
            for line in differences(found.get(key, "absent"), wanted.get(key, "absent"), f"{name}.{key}".lstrip("."))
        ]
    return [] if found == wanted else [f"{name}: {found!r} -> {wanted!r}"]


def provenance() -> dict[str, Any]:
    """Returns the origin of a result: the `commit` of the code and the `versions` of the packages that affect it."""
    return {
        "commit": _commit(),
        "versions": {package: importlib.metadata.version(package) for package in PACKAGES},
    }


@contextlib.contextmanager
def holding(folder: pathlib.Path) -> Iterator[None]:
    """Creates and locks a folder; raises ValueError if another process works in it, or if it is a file."""
    with _lock(folder):
        yield


@contextlib.contextmanager
def in_turn(path: pathlib.Path, message: str) -> Iterator[None]:
    """Locks a file, waiting for other processes to release it; logs `message` if it has to wait.

    The system releases the lock however a process ends.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            logging.info(message)
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def writing(path: pathlib.Path) -> Iterator[pathlib.Path]:
    """Yields a temporary path and renames it to `path` at the end, so that the file is complete or does not exist."""
    partial = path.with_name(f".partial-{path.name}")
    yield partial
    partial.rename(path)


@contextlib.contextmanager
def new_folder(path: pathlib.Path) -> Iterator[pathlib.Path]:
    """Where to write the files of a folder that is to be there whole or not at all.

    Raises: ValueError if it exists.
    """
    if path.exists():
        raise ValueError(f"--out={path} exists; give a new folder, or delete this one.")
    path.parent.mkdir(parents=True, exist_ok=True)
    with writing(path) as partial:
        shutil.rmtree(partial, ignore_errors=True)  # of a call that was killed
        partial.mkdir()
        try:
            yield partial
        except BaseException:
            shutil.rmtree(partial)
            raise


def write_text(path: pathlib.Path, text: str) -> None:
    """Writes a text file, complete or not at all."""
    with writing(path) as partial:
        partial.write_text(text, encoding="utf-8")


def check_folder(folder: pathlib.Path) -> None:
    """Raises ValueError if a folder cannot be created, or if the path or one of its parents is not a directory."""
    try:
        there = next(path for path in (folder, *folder.parents) if path.exists())
    except OSError as error:  # such as a name that is too long
        raise ValueError(f"{folder} cannot be a folder ({error.strerror}); choose another.") from error
    if not there.is_dir():
        raise ValueError(
            f"{folder} must be a folder, new or from an earlier call, but {there} is a file; choose another."
        )


def read_json(path: pathlib.Path) -> Any:
    """Reads a JSON file; raises ValueError with the remedy if it is damaged."""
    try:
        return json.loads(path.read_text())
    except ValueError as error:  # also raised for text that is not UTF-8
        raise ValueError(f"{path} is not JSON ({error}); delete {path} and run the same command again.") from error


def _lock(folder: pathlib.Path) -> TextIO:
    """Locks a run folder; the system releases the lock however the process ends."""
    check_folder(folder)
    folder.mkdir(parents=True, exist_ok=True)
    file = (folder / ".lock").open("a+")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.seek(0)
        raise ValueError(
            f"Another process works in {folder} ({file.read().strip()}); wait for it, stop it, or use a new folder."
        ) from None
    file.truncate(0)
    file.write(f"process {os.getpid()} on {socket.gethostname()}")
    file.flush()
    return file


def _commit() -> str:
    """Returns the package's own commit, with + if its repository has changes; "unknown" for an installed package.

    A repository that merely contains the package, in a virtual environment or among its own files, does not count.
    """
    package = pathlib.Path(__file__).resolve().parent
    top = _git(package, "rev-parse", "--show-toplevel")
    is_own = top and pathlib.Path(top).resolve() == package.parent
    if not is_own or not _git(package, "ls-files", pathlib.Path(__file__).name):
        return "unknown"
    return _git(package, "describe", "--always", "--dirty=+", "--exclude=*") or "unknown"


def _git(folder: pathlib.Path, *arguments: str) -> str:
    """Runs git in the repository of a folder; returns "" if it fails or is not installed."""
    # Variables such as GIT_DIR, which hooks set, would select another repository.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    command = ["git", "-C", str(folder), *arguments]
    try:
        result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    except OSError:
        return ""
    return result.stdout.strip() if result.returncode == 0 else ""
