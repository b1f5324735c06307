"""Reads DICOM series from zip archives, within limits; images are unpacked in memory, one by one."""

import contextlib
import dataclasses
import io
import pathlib
import re
import stat
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from typing import Any

import pydicom

from ssinfnet_jax.data.readers import scan
from ssinfnet_jax.data.readers.dicom import frames as dicom_frames
from ssinfnet_jax.data.readers.dicom import header as dicom_header
from ssinfnet_jax.data.readers.dicom import parts as dicom_parts
from ssinfnet_jax.data.readers.dicom import series as dicom

MOST_FILES = 20_000
MOST_BYTES = 16 * 2**30  # unpacked; the largest scan takes 12 GiB
MOST_PACKED = 200  # unpacked bytes per byte of the archive; CT packs to a half or a quarter
_ENCRYPTED = 0x1
_ERRORS = (zipfile.BadZipFile, zlib.error, OSError, EOFError, NotImplementedError, RuntimeError)


def find_series(path: pathlib.Path) -> tuple[list[dicom.Series], dict[pathlib.PurePath, str]]:
    """Groups the DICOM images of an archive into series; also returns its other files, with reasons.

    Returns: series whose files are the archive's path with the name of a member below it; the others likewise.
    Raises: ValueError for an archive that is damaged, beyond the limits, encrypted, or with a name that is absolute,
      leads out of its folder, or is a link.
    """
    headers: dict[Any, dict[str, Any]] = {}
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
                    headers |= dicom_frames.read(name, file)
                except ValueError as error:
                    others[name] = str(error)
    series, unreadable = dicom.group(headers)
    return series, others | unreadable


def read(path: pathlib.Path, members: Sequence[str], select: dicom_parts.Part = ()) -> scan.Scan:
    """Opens a series of an archive; each image is unpacked in memory when it is read.

    Args:
      path: the archive.
      members: names of the images in it.
      select: as for `dicom.read`.
    Raises: as `find_series` and `dicom.read`.
    """
    headers: dict[Any, dict[str, Any]] = {}
    with _opened(path) as archive:
        known = {member.filename: member for member in _members(archive, path)}
        for name in members:
            with archive.open(known[name]) as file:
                headers |= dicom_frames.read(path / name, file)

    def load(name: pathlib.PurePath, *, pixels: bool = True) -> pydicom.Dataset:
        with _opened(path) as archive:
            data = archive.read(name.relative_to(path).as_posix())
        return dicom_header.read_dataset(name, pixels=pixels, file=io.BytesIO(data))

    return dataclasses.replace(dicom.open_images(headers, load, select), source=path)


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
