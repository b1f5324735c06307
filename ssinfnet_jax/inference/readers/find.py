"""From what a user points at to the scans in it."""

import dataclasses
import hashlib
import os
import pathlib
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence

from absl import logging

from ssinfnet_jax.inference.readers import dicom, dicom_header, nifti, pictures, scan

RESULTS = ("config.json", "scans", "masks")  # what tells a folder of results from one of scans


@dataclasses.dataclass(frozen=True)
class Source:
    """A scan that was found; small, so that it can be sent to another process.

    Attributes:
      name: unique; made of the letters that a file name can hold.
      path: the file or folder.
      format: "dicom" | "nifti" | "pictures" | "unreadable".
      files: that it is made of.
      reason: why it cannot be read, where that is known already.
      note: what a user should know of how it was found.
    """

    name: str
    path: pathlib.Path
    format: str
    files: tuple[pathlib.Path, ...]
    reason: str = ""
    note: str = ""

    @property
    def identity(self) -> str:
        """Tells it from all others: a hash of where its files are."""
        return hashlib.sha256(b"\n".join(os.fsencode(path.resolve()) for path in self.files)).hexdigest()

    @property
    def stamp(self) -> str:
        """Changes when a file does: a hash of their sizes and of when they were written. Raises OSError."""
        stats = [path.stat() for path in self.files]
        return hashlib.sha256("\n".join(f"{stat.st_size} {stat.st_mtime_ns}" for stat in stats).encode()).hexdigest()

    def open(self, scratch_dir: pathlib.Path) -> scan.Scan:
        """Opens the scan; raises ValueError or OSError for what cannot be segmented."""
        if self.reason:
            raise ValueError(self.reason)
        if self.format == "dicom":
            found = dicom.read(self.files)
            return dataclasses.replace(found, notes=(self.note, *found.notes)) if self.note else found
        if self.format == "nifti":
            return nifti.read(self.files[0], scratch_dir=scratch_dir)
        return pictures.read(self.files, self.path)


def find(inputs: Sequence[pathlib.Path]) -> list[Source]:
    """The scans in files and folders, folders in folders too; symbolic links are followed.

    A NIfTI file is a scan, a DICOM series is one, in however many folders its files lie, and so are all pictures of a
    folder, or a picture given by itself. Other files are left alone, and so are results of earlier calls. What cannot
    be opened is a scan with a `reason`. What several paths or links lead to is taken once.

    Raises: FileNotFoundError for a path that does not exist; ValueError if there is no scan in a path.
    """
    sources: dict[tuple[str, str], Source] = {}
    slices: dict[pathlib.Path, pathlib.Path] = {}  # of DICOM, by where they really are
    for path in inputs:
        if not _exists(path):
            raise FileNotFoundError(f"--input={path} does not exist.")
        others, found = [], False
        for folder, files in _folders(path) if path.is_dir() else [(path, [path])]:
            for source in _in_folder(folder, files, others):
                found = True
                if source.format == "slices":
                    slices |= {file.resolve(): file for file in source.files if file.resolve() not in slices}
                else:
                    sources.setdefault((source.name, source.identity), source)
        if not found:
            raise ValueError(
                f"--input={path} holds no scan: expected DICOM files, .nii, .nii.gz, .png or .jpg; "
                f"found {', '.join(file.name for file in others[:3]) or 'nothing, or results of earlier calls'}."
            )
        if others:
            logging.info("%s: %d other files are left alone, such as %s.", path, len(others), others[0].name)
    return _with_unique_names([*sources.values(), *_series([*slices.values()])])


def _exists(path: pathlib.Path) -> bool:
    try:
        return path.exists()
    except OSError as error:  # such as a name that is too long
        raise ValueError(f"--input={path} cannot be read ({error.strerror}).") from error


def _folders(path: pathlib.Path) -> Iterable[tuple[pathlib.Path, list[pathlib.Path]]]:
    """Every folder from `path` down with its files, each once and hidden ones left out; links to folders come last.

    A folder that cannot be listed stands for itself.
    """
    waiting, seen = [path], set()
    while waiting:
        folder = waiting.pop(0)
        if folder.resolve() in seen:
            continue
        seen.add(folder.resolve())
        if all((folder / name).exists() for name in RESULTS):
            logging.info("%s holds results of an earlier call, and is left alone.", folder)
            continue
        try:
            children = sorted(child for child in folder.iterdir() if not child.name.startswith("."))
        except PermissionError:
            yield folder, [folder]
            continue
        files = [child for child in children if child.is_file()]
        if files:
            yield folder, files
        folders = [child for child in children if child.is_dir()]
        links = [child for child in folders if child.is_symlink()]
        waiting = [child for child in folders if child not in links] + waiting + links


def _in_folder(folder: pathlib.Path, files: list[pathlib.Path], others: list[pathlib.Path]) -> Iterable[Source]:
    """The scans of a folder; what is no scan goes to `others`. Its DICOM files come as one, of format "slices"."""

    def take(test: Callable[[pathlib.Path], bool]) -> list[pathlib.Path]:
        nonlocal files
        taken = [path for path in files if test(path)]
        files = [path for path in files if path not in set(taken)]
        return taken

    for path in take(lambda path: not os.access(path, os.R_OK)):
        reason = f"{path} cannot be read: this user has no permission; ask its owner, or copy it as a user who has."
        yield Source(path.stem, path, "unreadable", (path,), reason)
    for path in take(lambda path: path.name.lower().endswith(nifti.SUFFIXES)):
        yield Source(nifti.stem(path), path, "nifti", (path,))
    found = sorted(take(lambda path: path.suffix.lower() in pictures.SUFFIXES), key=pictures.natural)
    if found:
        yield Source(found[0].stem if found == [folder] else folder.resolve().name, folder, "pictures", tuple(found))
    slices = take(dicom_header.is_dicom)
    directories = [path for path in slices if dicom_header.is_directory(path)]
    slices = [path for path in slices if path not in directories]
    if slices:
        yield Source("", folder, "slices", tuple(slices))
    broken = take(lambda path: path.suffix.lower() in (".dcm", ".dicom"))
    if broken:
        reason = "does not begin as a DICOM file does, neither with a preamble nor without; copy or export it again."
        yield _unreadable({path: f"{path} {reason}" for path in broken})
    others += directories + files


def _series(slices: Sequence[pathlib.Path]) -> Iterable[Source]:
    series, unreadable = dicom.find_series(slices)
    for one in series:
        folder = one.files[0].parent
        name, note = f"{folder.resolve().name}_series{one.number}", ""
        if one.part:
            name += f"_{one.part[0][1]}"
            told = " and ".join(f"{element} {value}" for element, value in one.part)
            note = f"one of several sets of slices under one SeriesInstanceUID: the one with {told}"
        yield Source(name, folder, "dicom", one.files, note=note)
    folders: dict[pathlib.Path, dict[pathlib.Path, str]] = {}
    for path, reason in unreadable.items():
        folders.setdefault(path.parent, {})[path] = reason
    yield from map(_unreadable, folders.values())


def _unreadable(reasons: Mapping[pathlib.Path, str]) -> Source:
    """The DICOM files of a folder that cannot be read, as one scan."""
    files = tuple(reasons)
    if len(files) == 1:
        return Source(files[0].stem, files[0], "dicom", files, reasons[files[0]])
    folder = files[0].parent
    reason = f"{len(files)} files of {folder} cannot be used, such as: {reasons[files[0]]}"
    return Source(folder.resolve().name, folder, "dicom", files, reason)


def _with_unique_names(sources: list[Source]) -> list[Source]:
    """Names as file names; where several are equal, each gets a hash of its files."""
    clean = [re.sub(r"[^A-Za-z0-9._-]", "_", source.name).strip("._")[:80] or "scan" for source in sources]
    counts = Counter(name.lower() for name in clean)  # some file systems do not tell case
    return [
        dataclasses.replace(source, name=name if counts[name.lower()] == 1 else f"{name}_{source.identity[:8]}")
        for source, name in zip(sources, clean, strict=True)
    ]
