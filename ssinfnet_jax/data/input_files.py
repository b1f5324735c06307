"""The files that a user points at: found in folders, and those that were not used, each with its reason."""

import csv
import os
import pathlib
from collections import Counter
from collections.abc import Iterator

from absl import logging

from ssinfnet_jax import rundir

FILE = "unused_files.csv"
COLUMNS = ("path", "files", "kind", "reason")
# What tells folders that programs of ours have written: the results of launch.segment, and of launch.phenotypes.
_RESULTS = (("config.json", "scans", "masks"), ("about.json", "slices.csv", "patients.csv"))
_SHOWN = 6  # kinds in the log
VOID = ("empty", "symbolic link to nothing")


class Report:
    """What a user should know of the input beside what is made of it.

    Attributes:
      used: number of files that are used.
      notes: on these.
    """

    def __init__(self) -> None:
        self.used = 0
        self.notes: list[str] = []
        self._rows: dict[tuple[pathlib.Path, str, str], int] = {}  # path, kind, reason -> files

    def leave_out(self, path: pathlib.Path, kind: str, reason: str = "", *, files: int = 1) -> None:
        """Counts a file, or a folder with so many `files`, that is not used.

        Args:
          path: of it; what is said twice counts once.
          kind: few words, the same for all files of a kind.
          reason: more, where there is more to say.
          files: how many there are at `path`.
        """
        self._rows[path, kind, reason] = files

    def write(self, folder: pathlib.Path) -> None:
        """Writes `FILE`, a row per file or folder that was not used, and logs how many were not, by kind."""
        with rundir.writing(folder / FILE) as path, path.open("w", newline="") as file:
            table = csv.writer(file, lineterminator="\n")
            table.writerow(COLUMNS)
            for (left_out, kind, reason), files in sorted(self._rows.items()):
                table.writerow((readable(str(left_out)), files, kind, readable(reason)))
        counts: Counter[str] = Counter()
        for (_, kind, _), files in self._rows.items():
            counts[kind] += files
        if counts.total():
            ordered = sorted(counts, key=lambda kind: (-counts[kind], kind))
            kinds = [f"{kind}: {counts[kind]}" for kind in ordered[:_SHOWN]]
            kinds += ["..."] if len(counts) > _SHOWN else []
            told = (counts.total(), self.used + counts.total(), "; ".join(kinds), folder / FILE)
            logging.warning("%d of %d files of the input were not used (%s); the reasons are in %s.", *told)


def folders(path: pathlib.Path, report: Report) -> Iterator[tuple[pathlib.Path, list[pathlib.Path]]]:
    """Every folder from `path` down with its files, sorted; links to folders come last, and each folder once.

    Files may be empty, or links to nothing: see `fault`. A folder that cannot be listed stands for itself. Hidden files
    and folders, results of earlier calls, and what is neither file nor folder go to `report`.
    """
    waiting, seen = [path], set()
    while waiting:
        folder = waiting.pop(0)
        if folder.resolve() in seen:
            report.leave_out(folder, "link to a folder that is read already", files=0)
            continue
        seen.add(folder.resolve())
        if any(all((folder / name).exists() for name in names) for names in _RESULTS):
            report.leave_out(folder, "results of an earlier call", files=_num_files(folder))
            continue
        try:
            children = sorted(folder.iterdir())
        except PermissionError:
            yield folder, [folder]
            continue
        shown = [child for child in children if not child.name.startswith(".")]
        for child in set(children) - set(shown):
            report.leave_out(child, "hidden", files=_num_files(child))
        subfolders = [child for child in shown if child.is_dir()]
        files = [child for child in shown if child.is_file() or (child.is_symlink() and child not in subfolders)]
        for child in set(shown) - set(subfolders) - set(files):
            report.leave_out(child, "neither file nor folder")
        if files:
            yield folder, files
        links = [child for child in subfolders if child.is_symlink()]
        waiting = [child for child in subfolders if child not in links] + waiting + links


def exists(path: pathlib.Path, called: str) -> bool:
    """Whether there is a file or folder; raises ValueError for a path, `called` so for the user, that cannot be one."""
    try:
        return path.exists()
    except OSError as error:  # such as a name that is too long
        raise ValueError(f"{called} cannot be read ({error.strerror}).") from error


def readable(text: str) -> str:
    """A text as UTF-8 can hold it: names of files need not be valid Unicode."""
    return os.fsencode(text).decode(errors="replace")


def fault(path: pathlib.Path) -> str:
    """Why a file holds nothing: "empty", "symbolic link to nothing", or "no permission"; "" if it can be read."""
    if not path.exists():
        return "symbolic link to nothing"
    if not os.access(path, os.R_OK):
        return "no permission"
    return "empty" if path.is_file() and not path.stat().st_size else ""


def _num_files(path: pathlib.Path) -> int:
    if not path.is_dir() or path.is_symlink():
        return 1
    return sum(len(files) for _, _, files in os.walk(path))
