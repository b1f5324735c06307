"""Reads DICOM series from zip archives: headers from the archive, images unpacked one by one, within limits."""

import contextlib
import pathlib
import re
import shutil
import stat
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from typing import Any

from ssinfnet_jax.data.readers import dicom, dicom_header, scan

MOST_FILES = 20_000
MOST_BYTES = 16 * 2**30  # unpacked; the largest scan takes 12 GiB
MOST_PACKED = 200  # unpacked bytes per byte of the archive; CT packs to a half or a quarter
_CHUNK = 2**20
_ENCRYPTED = 0x1
_ERRORS = (zipfile.BadZipFile, zlib.error, OSError, EOFError, NotImplementedError, RuntimeError)


def find_series(path: pathlib.Path) -> tuple[list[dicom.Series], dict[pathlib.PurePath, str]]:
    """Groups the DICOM images of an archive into series; also returns its other files, with reasons.

    Returns: series whose files are the archive's path with the name of a member below it; the others likewise.
    Raises: ValueError for an archive that is damaged, beyond the limits, encrypted, or with a name that is absolute,
      leads out of its folder, or is a link.
    """
    headers: dict[pathlib.PurePath, dict[str, Any]] = {}
    others: dict[pathlib.PurePath, str] = {}
    with _opened(path) as archive:
        for member in _members(archive, path):
            name = path / member.filename
            with archive.open(member) as file:
                if not dicom_header.is_dicom_file(file):
                    others[name] = "a file of an archive that is not DICOM"
                    continue
                file.seek(0)
                try:
                    headers[name] = dicom_header.read(name, file)
                except ValueError as error:
                    others[name] = str(error)
    series, unreadable = dicom.group(headers)
    return series, others | unreadable


def read(path: pathlib.Path, members: Sequence[str], *, scratch_dir: pathlib.Path) -> scan.Scan:
    """Opens a series of an archive; its images are unpacked into `scratch_dir`.

    Args:
      path: the archive.
      members: names of the images in it.
    Raises: as `find_series` and `dicom.read`, with the names in the archive.
    """
    folder = scratch_dir / "unpacked"
    folder.mkdir()
    with _opened(path) as archive:
        known = {member.filename: member for member in _members(archive, path)}
        names = {f"{number:06d}": name for number, name in enumerate(members)}
        for file, name in names.items():
            with archive.open(known[name]) as packed, (folder / file).open("wb") as out:
                shutil.copyfileobj(packed, out, _CHUNK)

    def told(text: str) -> str:
        named = re.sub(re.escape(f"{folder}/") + r"(\d{6})", lambda found: f"{path}/{names[found[1]]}", text)
        return named.replace(str(folder), str(path))

    try:
        found = dicom.read([folder / file for file in names])
    except dicom.LeftOutError as error:
        raise dicom.LeftOutError(told(str(error))) from error
    except ValueError as error:
        raise ValueError(told(str(error))) from error
    return scan.replace_source(found, path, told)


@contextlib.contextmanager
def _opened(path: pathlib.Path) -> Iterator[zipfile.ZipFile]:
    try:
        with zipfile.ZipFile(path) as archive:
            yield archive
    except ValueError:
        raise
    except _ERRORS as error:
        raise ValueError(f"{path} is truncated or damaged as a zip archive ({error}); copy it again.") from error


def _members(archive: zipfile.ZipFile, path: pathlib.Path) -> list[zipfile.ZipInfo]:
    """Returns the files of an archive; raises ValueError if it is beyond the limits or has names that it must not."""
    found = [member for member in archive.infolist() if not member.is_dir()]
    size, packed = sum(member.file_size for member in found), path.stat().st_size
    if len(found) > MOST_FILES or size > MOST_BYTES or size > MOST_PACKED * packed:
        raise ValueError(
            f"{path} holds {len(found)} files of {size} bytes, packed into {packed}; at most {MOST_FILES} files, "
            f"{MOST_BYTES} bytes and {MOST_PACKED} times its size are unpacked. Unpack it yourself if you trust it."
        )
    names = set()
    for member in found:
        name = pathlib.PurePosixPath(member.filename)
        reason = ""
        if name.is_absolute() or ".." in name.parts or re.match(r"[A-Za-z]:|.*\\", member.filename):
            reason = "a name that leads out of it"
        elif stat.S_ISLNK(member.external_attr >> 16):
            reason = "a symbolic link"
        elif member.flag_bits & _ENCRYPTED:
            reason = "an encrypted file"
        elif member.filename in names:
            reason = "two files of one name"
        if reason:
            raise ValueError(f"{path} holds {reason}, {member.filename!r}; unpack it yourself if you trust it.")
        names.add(member.filename)
    return found
