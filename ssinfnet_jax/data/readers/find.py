"""Finds the scans in a user's files and folders."""

import dataclasses
import hashlib
import os
import pathlib
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from ssinfnet_jax.data import input_files
from ssinfnet_jax.data.readers import archive, nifti, opening, pictures, scan
from ssinfnet_jax.data.readers.dicom import header as dicom_header
from ssinfnet_jax.data.readers.dicom import parts as dicom_parts
from ssinfnet_jax.data.readers.dicom import series as dicom

_STRAY_SHARE = 0.05  # of a series' files: up to this many unreadable ones beside it, and at least one, are strays


@dataclasses.dataclass(frozen=True)
class Source:
    """A scan that was found; small, so that it can be sent to another process.

    Attributes:
      name: unique, and valid as a file name.
      path: the file or folder.
      format: as `opening.format_of`, or "unreadable".
      files: the scan's files; for a series in a zip archive, the archive.
      reason: why it cannot be read, if that is already known.
      left_out: whether the reason is no failure: the file is a stray beside a good series.
      members: of an archive: the names of the series' images in it.
      kernel: of a DICOM series; "" if unknown.
      to_hu: how the values of pictures become HU.
      select: the set of frames, where multi-frame images hold several (`dicom.read`).
      note: what to tell the user about how it was found.
    """

    name: str
    path: pathlib.Path
    format: str
    files: tuple[pathlib.Path, ...]
    reason: str = ""
    note: str = ""
    left_out: bool = False
    members: tuple[str, ...] = ()
    select: dicom_parts.Part = ()
    kernel: str = ""
    to_hu: pictures.ToHu | None = None

    @property
    def num_files(self) -> int:
        """Number of the scan's files, in an archive or not."""
        return len(self.members) or len(self.files)

    @property
    def identity(self) -> str:
        """Identifies the scan: a hash of its files' paths, and of what is read of them."""
        names = [os.path.realpath(path) for path in self.files]
        names += [*self.members, *(f"{name}={value}" for name, value in self.select)]
        names += [] if self.to_hu is None else [str(self.to_hu)]
        return hashlib.sha256(b"\n".join(map(os.fsencode, names))).hexdigest()

    @property
    def stamp(self) -> str:
        """Changes when a file changes: a hash of sizes and modification times. Raises OSError."""
        stats = [path.stat() if path.exists() else None for path in self.files]  # None: a dangling link
        told = "\n".join(f"{stat.st_size} {stat.st_mtime_ns}" if stat else "" for stat in stats)
        return hashlib.sha256(told.encode()).hexdigest()

    def open(self, scratch_dir: pathlib.Path) -> scan.Scan:
        """Opens the scan; raises ValueError or OSError if it cannot be segmented."""
        if self.reason:
            raise (dicom.LeftOutError if self.left_out else ValueError)(self.reason)
        if self.format == "dicom":
            found = dicom.read(self.files, self.select)
        elif self.format == "zip":
            found = archive.read(self.path, self.members, self.select)
        elif self.format == "pictures":
            found = pictures.read(self.files, self.path, self.to_hu)
        else:
            found = opening.open_scan(self.files[0], scratch_dir)
            if found.header is not None:
                nifti.check_mm(found.header, self.path)
        return dataclasses.replace(found, notes=(self.note, *found.notes)) if self.note else found


@dataclasses.dataclass(frozen=True)
class Choice:
    """Which of several sets of slices to use, and how to read pictures.

    Attributes:
      kernel: ConvolutionKernel of the reconstruction; None takes all.
      phase: number of the phase of a series that has several, from 1; None refuses multi-frame series with several.
      to_hu: how the values of pictures become HU; None for windowed pictures.
    """

    kernel: str | None = None
    phase: int | None = None
    to_hu: pictures.ToHu | None = None


def find(
    inputs: Sequence[pathlib.Path], report: input_files.Report | None = None, choice: Choice | None = None
) -> list[Source]:
    """Finds scans in files and folders, recursively; follows symbolic links.

    A scan is a volume (NIfTI, NRRD, MetaImage), a DICOM series (its files may lie in several folders, or in a zip
    archive), all pictures of a folder, or a single picture given by itself. Other files and results of earlier calls
    are skipped and go to `report`. Files that cannot be opened become a scan with a `reason`. A file reached by several
    paths or links counts once. Scans beside empty files or dangling links get a note.

    Raises: FileNotFoundError for a path that does not exist; ValueError if a path holds no scan.
    """
    report = input_files.Report() if report is None else report
    choice = choice or Choice()
    sources: dict[tuple[str, str], Source] = {}
    slices: dict[pathlib.Path, pathlib.Path] = {}  # DICOM files by resolved path
    void: dict[pathlib.Path, list[pathlib.Path]] = {}  # empty files and dangling links, by folder
    for path in inputs:
        if not input_files.exists(path, f"--input={path}"):
            raise FileNotFoundError(f"--input={path} does not exist.")
        others, any_scan = [], False
        for folder, files in input_files.folders(path, report) if path.is_dir() else [(path, [path])]:
            void[folder] = [file for file in files if input_files.fault(file) in input_files.VOID]
            for source in _in_folder(folder, files, others, report, choice):
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
                f"--input={path} holds no scan: expected {opening.EXPECTED}; "
                f"found {', '.join(file.name for file in others[:3]) or 'nothing, or results of earlier calls'}."
            )
    found = _without_strays([*sources.values(), *_series([*slices.values()], choice)])
    return _with_unique_names([_with_note(source, void) for source in found])


def open_series(folder: pathlib.Path, *, strays: bool = True) -> scan.Scan:
    """Opens the one CT series in DICOM in a folder and its subfolders; scouts and reports beside it do not count.

    Args:
      folder: of the series.
      strays: whether the few unreadable files that `find` calls strays may lie beside the series.
    Raises: ValueError, naming the folder, for none or several series, or one that cannot be read.
    """
    scans, others = [], []
    for source in find([folder]):
        if source.format == "dicom":
            if source.reason and not strays:
                raise ValueError(source.reason)
            try:
                scans.append(source.open(folder))  # a DICOM series unpacks nothing there
            except dicom.LeftOutError as error:
                others.append(str(error))
    if len(scans) != 1:
        told = f", such as: {others[0]}" if others and not scans else "."
        raise ValueError(
            f"{folder} holds {len(scans)} CT series in DICOM; expected one, so keep only the series that the mask was "
            f"drawn on{told}"
        )
    return scans[0]


def _without_strays(sources: list[Source]) -> list[Source]:
    """Turns the few unreadable DICOM files beside a good series into strays, with a note to the series."""
    good, bad = Counter(), Counter()  # DICOM files by folder
    for source in sources:
        if source.format == "dicom":
            (bad if source.reason else good).update(file.parent for file in source.files)
    strays = {folder for folder, count in bad.items() if count <= max(1, _STRAY_SHARE * good[folder]) < good[folder]}
    told = []
    for source in sources:
        beside = {file.parent for file in source.files} & strays
        if source.format == "dicom" and beside:
            text = f"{sum(bad[folder] for folder in beside)} files beside it cannot be read: is it complete?"
            changes = {"left_out": True} if source.reason else {"note": "; ".join(filter(None, (source.note, text)))}
            source = dataclasses.replace(source, **changes)
        told.append(source)
    return told


def _with_note(source: Source, void: Mapping[pathlib.Path, list[pathlib.Path]]) -> Source:
    """Adds a note to a scan of several files if empty files or dangling links beside them may belong to it."""
    folders = {file.parent for file in source.files}
    beside = [file for folder in folders for file in void.get(folder, ()) if file not in source.files]
    if not beside or source.reason or source.format in opening.VOLUMES:
        return source
    text = f"{len(beside)} files beside it are empty or links to nothing, such as {min(beside)}: is it complete?"
    return dataclasses.replace(source, note="; ".join(filter(None, (source.note, text))))


def _in_folder(
    folder: pathlib.Path,
    files: list[pathlib.Path],
    others: list[pathlib.Path],
    report: input_files.Report,
    choice: Choice,
) -> Iterable[Source]:
    """Yields the scans of a folder; other files go to `others`. Its DICOM files are one source, of format "slices"."""

    def take(test: Callable[[pathlib.Path], bool]) -> list[pathlib.Path]:
        nonlocal files
        taken = [path for path in files if test(path)]
        files = [path for path in files if path not in set(taken)]
        return taken

    for path in take(lambda path: not path.exists()):
        if opening.meant_as(path):
            reason = f"{path} is a symbolic link to nothing ({os.readlink(path)}); copy the file itself, or remove it."
            yield Source(path.stem, path, "unreadable", (path,), reason)
        else:
            report.leave_out(path, input_files.fault(path))
            others.append(path)
    for path in take(lambda path: not os.access(path, os.R_OK)):
        reason = f"{path} cannot be read: permission denied; ask its owner for access."
        yield Source(path.stem, path, "unreadable", (path,), reason)
    found_as = {path: opening.format_of(path) for path in files}
    told_as = {path: kind or opening.meant_as(path) for path, kind in found_as.items()}
    yield from _volumes(take(lambda path: told_as[path] in opening.VOLUMES), take)
    for path in take(lambda path: told_as[path] == "zip"):
        yield from _archived(path, report, choice)
    found = sorted(take(lambda path: told_as[path] == "pictures"), key=pictures.natural)
    if found:
        name = found[0].stem if found == [folder] else folder.resolve().name
        yield Source(name, folder, "pictures", tuple(found), to_hu=choice.to_hu)
    slices = take(lambda path: found_as[path] == "dicom")
    directories = [path for path in slices if dicom_header.is_directory(path)]
    slices = [path for path in slices if path not in directories]
    if slices:
        yield Source("", folder, "slices", tuple(slices))
    broken = take(lambda path: told_as[path] == "dicom")
    if broken:
        reason = "does not start like a DICOM file, with or without a preamble; copy or export it again."
        yield _unreadable({path: f"{path} {reason}" for path in broken})
    for path in directories:
        report.leave_out(path, "DICOMDIR", "an index of other files")
    for path in files:
        report.leave_out(path, input_files.fault(path) or "no scan", f"not {opening.EXPECTED}")
    others += directories + files


def _volumes(
    paths: Sequence[pathlib.Path], take: Callable[[Callable[[pathlib.Path], bool]], list[pathlib.Path]]
) -> Iterable[Source]:
    """Yields volumes, each once; takes the files with their voxels from the folder."""
    used: set[pathlib.Path] = set()
    for path in paths:
        try:
            parts, reason = opening.files(path), ""
        except ValueError as error:
            parts, reason = (path,), str(error)
        if path not in used:
            yield Source(scan.stem(path), path, opening.format_of(path) or opening.meant_as(path), parts, reason)
        used |= set(parts)
    take(lambda path: path in used)


def _archived(path: pathlib.Path, report: input_files.Report, choice: Choice) -> Iterable[Source]:
    """Yields the series of a zip archive; its other files go to `report`."""
    try:
        series, others = archive.find_series(path)
    except ValueError as error:
        yield Source(scan.stem(path), path, "zip", (path,), str(error))
        return
    for one, reason in _chosen(series, choice):
        name, note = _named(scan.stem(path), one)
        members = tuple(file.relative_to(path).as_posix() for file in one.files)
        told = {"members": members, "select": one.select, "kernel": one.kernel}
        yield Source(name, path, "zip", (path,), **reason, note=note, **told)
    if not series:
        shown = next(iter(others.values()), "it is empty")
        yield Source(scan.stem(path), path, "zip", (path,), f"{path} holds no DICOM series, such as: {shown}")
        return
    for file, reason in others.items():
        report.leave_out(pathlib.Path(file), "file of an archive", reason)


def _named(place: str, one: dicom.Series) -> tuple[str, str]:
    """Returns the name of a series found in a folder or archive, and a note if it is a part of one."""
    if not one.part:
        return f"{place}_series{one.number}", ""
    told = " and ".join(f"{element} {value}" for element, value in one.part)
    note = f"one of several sets of slices under one SeriesInstanceUID: that with {told}"
    return f"{place}_series{one.number}_{one.part[0][1]}", note


def _chosen(series: Sequence[dicom.Series], choice: Choice) -> Iterable[tuple[dicom.Series, dict[str, Any]]]:
    """Yields each series with the reason why it is not used, as arguments of `Source`; phases to choose from once."""
    told = set()
    for one in series:
        place = one.files[0] if one.select else one.files[0].parent
        others = [part for part in one.part if part not in one.phase_part]
        if one.phase and choice.phase is None and one.select:
            if (one.uid, *others) not in told:
                listed = "; ".join(f"{number}: {phase}" for number, phase in enumerate(one.phases, 1))
                yield one, {"reason": f"{place} holds {len(one.phases)} phases ({listed}); choose one with --phase=K."}
            told.add((one.uid, *others))
        elif one.phase and choice.phase is not None and choice.phase > len(one.phases):
            yield one, {"reason": f"{place} holds {len(one.phases)} phases, so there is no --phase={choice.phase}."}
        elif one.phase and choice.phase not in (None, one.phase):
            yield one, {"reason": f"{place}: phase {one.phase} was not chosen by --phase.", "left_out": True}
        elif choice.kernel and one.kernel and one.kernel.lower() != choice.kernel.lower():
            yield one, {"reason": f"{place}: the kernel {one.kernel} was not chosen by --kernel.", "left_out": True}
        else:
            yield one, {}


def _series(slices: Sequence[pathlib.Path], choice: Choice) -> Iterable[Source]:
    series, unreadable = dicom.find_series(slices)
    for one, reason in _chosen(series, choice):
        folder = one.files[0].parent
        name, note = _named(folder.resolve().name, one)
        yield Source(name, folder, "dicom", one.files, **reason, note=note, select=one.select, kernel=one.kernel)
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
