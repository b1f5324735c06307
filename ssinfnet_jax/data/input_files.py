"""Finds input files in folders, and records the files that were not used, each with a reason."""

import csv
import os
import pathlib
from collections import Counter
from collections.abc import Iterator

from absl import logging

from ssinfnet_jax import rundir

FILE = "unused_files.csv"
COLUMNS = ("path", "files", "kind", "reason")
# Files that identify the results of launch.segment and launch.phenotypes.
_RESULTS = (("config.json", "scans", "masks"), ("about.json", "slices.csv", "patients.csv"))
_SHOWN = 6  # kinds in the log
VOID = ("empty", "symbolic link to nothing")


class Report:
    """What to tell the user about the input.

    Attributes:
      used: number of files that are used.
      notes: notes on these files.
    """

    def __init__(self) -> None:
        self.used = 0
        self.notes: list[str] = []
        self._rows: dict[tuple[pathlib.Path, str, str], int] = {}  # path, kind, reason -> files

    def leave_out(self, path: pathlib.Path, kind: str, reason: str = "", *, files: int = 1) -> None:
        """Records a file, or a folder with this many `files`, that is not used.

        Args:
          path: of the file or folder; repeated entries count once.
          kind: a few words, the same for all files of a kind.
          reason: details, if there are any.
          files: number of files at `path`.
        """
        self._rows[path, kind, reason] = files

    @property
    def num_left_out(self) -> int:
        """Number of files that are not used."""
        return sum(self._rows.values())

    def write(self, folder: pathlib.Path) -> None:
        """Writes `FILE`, one row per unused file or folder, and logs their number by kind."""
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
            logging.warning("%d of %d input files were not used (%s); see the reasons in %s.", *told)


def folders(path: pathlib.Path, report: Report) -> Iterator[tuple[pathlib.Path, list[pathlib.Path]]]:
    """Walks every folder from `path` down, once, and yields it with its sorted files; linked folders come last.

    Files may be empty or dangling links, see `fault`. A folder that cannot be listed is yielded as its own file. Hidden
    files and folders, results of earlier calls, and entries that are neither file nor folder go to `report`.
    """
    waiting, seen = [path], set()
    while waiting:
        folder = waiting.pop(0)
        if folder.resolve() in seen:
            report.leave_out(folder, "link to a folder that was already read", files=0)
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
    """Whether a file or folder exists; raises ValueError, with the user's name `called`, for an impossible path."""
    try:
        return path.exists()
    except OSError as error:  # such as a name that is too long
        raise ValueError(f"{called} cannot be read ({error.strerror}).") from error


def readable(text: str) -> str:
    """Makes a text valid UTF-8: file names need not be valid Unicode."""
    return os.fsencode(text).decode(errors="replace")


def fault(path: pathlib.Path) -> str:
    """Says why a file cannot be read: "empty", "symbolic link to nothing" or "no permission"; "" if it can."""
    if not path.exists():
        return "symbolic link to nothing"
    if not os.access(path, os.R_OK):
        return "no permission"
    return "empty" if path.is_file() and not path.stat().st_size else ""


def _num_files(path: pathlib.Path) -> int:
    if not path.is_dir() or path.is_symlink():
        return 1
    return sum(len(files) for _, _, files in os.walk(path))
