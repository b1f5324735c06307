"""From what a user points at to the scans in it."""

import dataclasses
import hashlib
import pathlib
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

from absl import logging

from ssinfnet_jax.inference.readers import dicom, nifti, pictures, scan


@dataclasses.dataclass(frozen=True)
class Source:
    """A scan that was found; small, so that it can be sent to another process.

    Attributes:
      name: unique; made of the letters that a file name can hold.
      path: the file or folder.
      format: "dicom" | "nifti" | "pictures".
      files: that it is made of.
      reason: why it cannot be read, where that is known already.
    """

    name: str
    path: pathlib.Path
    format: str
    files: tuple[pathlib.Path, ...]
    reason: str = ""

    def open(self, scratch_dir: pathlib.Path) -> scan.Scan:
        """Opens the scan; raises ValueError or OSError for what cannot be segmented."""
        if self.reason:
            raise ValueError(self.reason)
        if self.format == "dicom":
            return dicom.read(self.files)
        if self.format == "nifti":
            return nifti.read(self.files[0], scratch_dir=scratch_dir)
        return pictures.read(self.files, self.path)


def find(inputs: Sequence[pathlib.Path]) -> list[Source]:
    """The scans in files and folders, folders in folders too.

    A NIfTI file is a scan, a DICOM series is one, and so are all pictures of a folder, or a picture given by itself.
    Other files are left alone.

    Raises: FileNotFoundError for a path that does not exist; ValueError if there is no scan in a path.
    """
    sources: dict[tuple, Source] = {}
    for path in inputs:
        if not path.exists():
            raise FileNotFoundError(f"--input={path} does not exist.")
        before, others = len(sources), []
        folders = _folders(path) if path.is_dir() else [(path, [path])]
        for folder, files in folders:
            for source in _in_folder(folder, files, others):
                sources.setdefault(source.files, source)
        if len(sources) == before and not any(
            path in (source.path, *source.path.parents) for source in sources.values()
        ):
            raise ValueError(
                f"--input={path} holds no scan: expected DICOM files, .nii, .nii.gz, .png or .jpg; "
                f"found {', '.join(file.name for file in others[:3]) or 'nothing'}."
            )
        if others:
            logging.info("%s: %d other files are left alone, such as %s.", path, len(others), others[0].name)
    return _with_unique_names(list(sources.values()))


def _folders(path: pathlib.Path) -> Iterable[tuple[pathlib.Path, list[pathlib.Path]]]:
    """Every folder from `path` down with its files, hidden ones left out; links to folders are not followed."""
    children = sorted(child for child in path.iterdir() if not child.name.startswith("."))
    files = [child for child in children if child.is_file()]
    if files:
        yield path, files
    for child in children:
        if child.is_dir() and not child.is_symlink():
            yield from _folders(child)


def _in_folder(folder: pathlib.Path, files: list[pathlib.Path], others: list[pathlib.Path]) -> Iterable[Source]:
    def take(test: Callable[[pathlib.Path], bool]) -> list[pathlib.Path]:
        nonlocal files
        taken = [path for path in files if test(path)]
        files = [path for path in files if path not in set(taken)]
        return taken

    for path in take(lambda path: path.name.lower().endswith(nifti.SUFFIXES)):
        yield Source(nifti.stem(path), path, "nifti", (path,))
    found = sorted(take(lambda path: path.suffix.lower() in pictures.SUFFIXES), key=pictures.natural)
    if found:
        yield Source(found[0].stem if found == [folder] else folder.resolve().name, folder, "pictures", tuple(found))
    slices = take(lambda path: dicom.is_dicom(path) and path.name != "DICOMDIR")
    damaged = take(lambda path: path.suffix.lower() in (".dcm", ".dicom"))
    series, unreadable = dicom.find_series(slices)
    unreadable |= {path: f"{path} does not begin as a DICOM file does; copy or export it again." for path in damaged}
    for one in series:
        name = f"{(folder if folder.is_dir() else folder.parent).resolve().name}_series{one.number}"
        yield Source(name, folder, "dicom", one.files)
    for path, reason in unreadable.items():
        yield Source(path.stem, path, "dicom", (path,), reason)
    others += files


def _with_unique_names(sources: list[Source]) -> list[Source]:
    """Names as file names; where several are equal, each gets a hash of its files."""
    clean = [re.sub(r"[^A-Za-z0-9._-]", "_", source.name).strip("._")[:80] or "scan" for source in sources]
    counts = Counter(name.lower() for name in clean)  # some file systems do not tell case
    return [
        dataclasses.replace(source, name=name if counts[name.lower()] == 1 else f"{name}_{_hash(source)}")
        for source, name in zip(sources, clean, strict=True)
    ]


def _hash(source: Source) -> str:
    return hashlib.sha256("\n".join(str(path.resolve()) for path in source.files).encode()).hexdigest()[:8]
