"""The files that a user points at: found in folders, and those that were not used, each with its reason."""

import os
import pathlib
from collections import Counter
from collections.abc import Iterator

import pandas as pd
from absl import logging

from ssinfnet_jax import rundir

FILE = "unused_files.csv"
COLUMNS = ("path", "files", "kind", "reason")
# What tells folders that programs of ours have written: the results of launch.segment, and of launch.phenotypes.
_RESULTS = (("config.json", "scans", "masks"), ("about.json", "slices.csv", "patients.csv"))
_SHOWN = 6  # kinds in the log


class Report:
    """What a user should know of the input beside what is made of it.

    Attributes:
      notes: on the files that are used.
    """

    def __init__(self) -> None:
        self.notes: list[str] = []
        self._rows: dict[pathlib.Path, tuple[int, str, str]] = {}

    def leave_out(self, path: pathlib.Path, kind: str, reason: str = "", *, files: int = 1) -> None:
        """Counts a file, or a folder with so many `files`, that is not used.

        Args:
          path: of it; of two calls with one path the first counts.
          kind: few words, the same for all files of a kind.
          reason: more, where there is more to say.
          files: how many there are at `path`.
        """
        self._rows.setdefault(path, (files, kind, reason))

    def table(self) -> pd.DataFrame:
        """One row per file or folder that was not used: path, files, kind, reason."""
        rows = [(os.fsencode(path).decode(errors="replace"), *row) for path, row in sorted(self._rows.items())]
        return pd.DataFrame(rows, columns=list(COLUMNS))

    def write(self, folder: pathlib.Path) -> None:
        """Writes the table, with its header alone where every file was used, and logs how many were not, by kind."""
        rundir.write_text(folder / FILE, self.table().to_csv(index=False))
        counts: Counter[str] = Counter()
        for files, kind, _ in self._rows.values():
            counts[kind] += files
        if counts.total():
            kinds = [f"{kind}: {count}" for kind, count in counts.most_common(_SHOWN)]
            kinds += ["..."] if len(counts) > _SHOWN else []
            told = (counts.total(), "; ".join(kinds), folder / FILE)
            logging.warning("%d files of the input were not used (%s); the reasons are in %s.", *told)


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
