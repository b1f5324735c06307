"""Finds the scans in a user's files and folders."""

import dataclasses
import hashlib
import os
import pathlib
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence

from ssinfnet_jax.data import input_files
from ssinfnet_jax.data.readers import dicom, dicom_header, nifti, opening, pictures, scan

_DICOM = (".dcm", ".dicom")
_SCANS = (*nifti.SUFFIXES, *pictures.SUFFIXES, *_DICOM)  # suffixes of files meant as scans


@dataclasses.dataclass(frozen=True)
class Source:
    """A scan that was found; small, so that it can be sent to another process.

    Attributes:
      name: unique, and valid as a file name.
      path: the file or folder.
      format: "dicom" | "nifti" | "pictures" | "unreadable".
      files: the scan's files.
      reason: why it cannot be read, if that is already known.
      note: what to tell the user about how it was found.
    """

    name: str
    path: pathlib.Path
    format: str
    files: tuple[pathlib.Path, ...]
    reason: str = ""
    note: str = ""

    @property
    def identity(self) -> str:
        """Identifies the scan: a hash of its files' paths."""
        return hashlib.sha256(b"\n".join(os.fsencode(os.path.realpath(path)) for path in self.files)).hexdigest()

    @property
    def stamp(self) -> str:
        """Changes when a file changes: a hash of sizes and modification times. Raises OSError."""
        stats = [path.stat() if path.exists() else None for path in self.files]  # None: a dangling link
        told = "\n".join(f"{stat.st_size} {stat.st_mtime_ns}" if stat else "" for stat in stats)
        return hashlib.sha256(told.encode()).hexdigest()

    def open(self, scratch_dir: pathlib.Path) -> scan.Scan:
        """Opens the scan; raises ValueError or OSError if it cannot be segmented."""
        if self.reason:
            raise ValueError(self.reason)
        if self.format == "dicom":
            found = dicom.read(self.files)
        elif self.format == "pictures":
            found = pictures.read(self.files, self.path)
        else:
            found = opening.open_scan(self.files[0], scratch_dir)
            if found.header is not None:
                nifti.check_mm(found.header, self.path)
        return dataclasses.replace(found, notes=(self.note, *found.notes)) if self.note else found


def find(inputs: Sequence[pathlib.Path], report: input_files.Report | None = None) -> list[Source]:
    """Finds scans in files and folders, recursively; follows symbolic links.

    A scan is a NIfTI file, a DICOM series (its files may lie in several folders), all pictures of a
    folder, or a single picture given by itself. Other files and results of earlier calls are skipped and go to
    `report`. Files that cannot be opened become a scan with a `reason`. A file reached by several paths or links
    counts once. Scans beside empty files or dangling links get a note.

    Raises: FileNotFoundError for a path that does not exist; ValueError if a path holds no scan.
    """
    report = input_files.Report() if report is None else report
    sources: dict[tuple[str, str], Source] = {}
    slices: dict[pathlib.Path, pathlib.Path] = {}  # DICOM files by resolved path
    void: dict[pathlib.Path, list[pathlib.Path]] = {}  # empty files and dangling links, by folder
    for path in inputs:
        if not input_files.exists(path, f"--input={path}"):
            raise FileNotFoundError(f"--input={path} does not exist.")
        others, any_scan = [], False
        for folder, files in input_files.folders(path, report) if path.is_dir() else [(path, [path])]:
            void[folder] = [file for file in files if input_files.fault(file) in input_files.VOID]
            for source in _in_folder(folder, files, others, report):
                any_scan = True
                if source.format == "slices":
                    first = [slices.setdefault(file.resolve(), file) for file in source.files]
                else:
                    first = sources.setdefault((source.name, source.identity), source).files
                for file, taken in zip(source.files, first, strict=True):
                    if file != taken:
                        report.leave_out(file, "the same file again", f"it is {taken}")
        if not any_scan:
            raise ValueError(
                f"--input={path} holds no scan: expected DICOM files, .nii, .nii.gz, .png or .jpg; "
                f"found {', '.join(file.name for file in others[:3]) or 'nothing, or results of earlier calls'}."
            )
    found = [*sources.values(), *_series([*slices.values()])]
    return _with_unique_names([_with_note(source, void) for source in found])


def _with_note(source: Source, void: Mapping[pathlib.Path, list[pathlib.Path]]) -> Source:
    """Adds a note to a scan of several files if empty files or dangling links beside them may belong to it."""
    folders = {file.parent for file in source.files}
    beside = [file for folder in folders for file in void.get(folder, ()) if file not in source.files]
    if not beside or source.reason or source.format == "nifti":
        return source
    text = f"{len(beside)} files beside it are empty or links to nothing, such as {min(beside)}: is it complete?"
    return dataclasses.replace(source, note="; ".join(filter(None, (source.note, text))))


def _in_folder(
    folder: pathlib.Path, files: list[pathlib.Path], others: list[pathlib.Path], report: input_files.Report
) -> Iterable[Source]:
    """Yields the scans of a folder; other files go to `others`. Its DICOM files are one source, of format "slices"."""

    def take(test: Callable[[pathlib.Path], bool]) -> list[pathlib.Path]:
        nonlocal files
        taken = [path for path in files if test(path)]
        files = [path for path in files if path not in set(taken)]
        return taken

    for path in take(lambda path: not path.exists()):
        if path.name.lower().endswith(_SCANS):
            reason = f"{path} is a symbolic link to nothing ({os.readlink(path)}); copy the file itself, or remove it."
            yield Source(path.stem, path, "unreadable", (path,), reason)
        else:
            report.leave_out(path, input_files.fault(path))
            others.append(path)
    for path in take(lambda path: not os.access(path, os.R_OK)):
        reason = f"{path} cannot be read: permission denied; ask its owner for access."
        yield Source(path.stem, path, "unreadable", (path,), reason)
    for path in take(lambda path: path.name.lower().endswith(nifti.SUFFIXES)):
        yield Source(scan.stem(path), path, "nifti", (path,))
    found = sorted(take(lambda path: path.suffix.lower() in pictures.SUFFIXES), key=pictures.natural)
    if found:
        yield Source(found[0].stem if found == [folder] else folder.resolve().name, folder, "pictures", tuple(found))
    slices = take(dicom_header.is_dicom)
    directories = [path for path in slices if dicom_header.is_directory(path)]
    slices = [path for path in slices if path not in directories]
    if slices:
        yield Source("", folder, "slices", tuple(slices))
    broken = take(lambda path: path.suffix.lower() in _DICOM)
    if broken:
        reason = "does not start like a DICOM file, with or without a preamble; copy or export it again."
        yield _unreadable({path: f"{path} {reason}" for path in broken})
    for path in directories:
        report.leave_out(path, "DICOMDIR", "an index of other files")
    for path in files:
        report.leave_out(path, input_files.fault(path) or "no scan", "neither DICOM, NIfTI, PNG nor JPG")
    others += directories + files


def _series(slices: Sequence[pathlib.Path]) -> Iterable[Source]:
    series, unreadable = dicom.find_series(slices)
    for one in series:
        folder = one.files[0].parent
        name, note = f"{folder.resolve().name}_series{one.number}", ""
        if one.part:
            name += f"_{one.part[0][1]}"
            told = " and ".join(f"{element} {value}" for element, value in one.part)
            note = f"one of several sets of slices under one SeriesInstanceUID: that with {told}"
        yield Source(name, folder, "dicom", one.files, note=note)
    folders: dict[pathlib.Path, dict[pathlib.Path, str]] = {}
    for path, reason in unreadable.items():
        folders.setdefault(path.parent, {})[path] = reason
    yield from map(_unreadable, folders.values())


def _unreadable(reasons: Mapping[pathlib.Path, str]) -> Source:
    """Returns the unreadable DICOM files of a folder as one scan."""
    files = tuple(reasons)
    if len(files) == 1:
        return Source(files[0].stem, files[0], "dicom", files, reasons[files[0]])
    folder = files[0].parent
    reason = f"{len(files)} files of {folder} cannot be used, such as: {reasons[files[0]]}"
    return Source(folder.resolve().name, folder, "dicom", files, reason)


def _with_unique_names(sources: list[Source]) -> list[Source]:
    """Makes names valid as file names; equal names each get a hash of their files."""
    clean = [re.sub(r"[^A-Za-z0-9._-]", "_", source.name).strip("._")[:80] or "scan" for source in sources]
    counts = Counter(name.lower() for name in clean)  # some file systems ignore case
    return [
        dataclasses.replace(source, name=name if counts[name.lower()] == 1 else f"{name}_{source.identity[:8]}")
        for source, name in zip(sources, clean, strict=True)
    ]
