"""Reads NRRD and MetaImage volumes, in one file or with a header of their own, through SimpleITK."""

import contextlib
import dataclasses
import pathlib
import re

import numpy as np
import SimpleITK

from ssinfnet_jax.data.readers import scan

NRRD, META_IMAGE = "nrrd", "metaimage"
_READERS = {NRRD: "NrrdImageIO", META_IMAGE: "MetaImageIO"}
_NAMES = {NRRD: "NRRD", META_IMAGE: "MetaImage"}
_HEADER_BYTES = 2**20  # the longest header that is looked at; those of segmentations list every segment
_META_KEY = re.compile(rb"\s*(ObjectType|ObjectSubType|Comment|NDims)\s*=")
_DATA_FILE = {
    NRRD: re.compile(r"data ?file:\s*(.+)", re.IGNORECASE),
    META_IMAGE: re.compile(r"ElementDataFile\s*=\s*(.+)"),
}
_INSIDE = "LOCAL"  # MetaImage: the voxels follow the header
_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
_MOST_PACKED = 1100  # deflate packs at most 1032 bytes into one


@dataclasses.dataclass(frozen=True)
class Header:
    """What the header of a volume says.

    Attributes:
      grid: where the voxels lie.
      num_bytes: of all voxels.
      num_values: per voxel; more than 1 for layers of segments, or colours.
      fields: further fields by name, such as `Segment0_Name`.
      notes: what the user should know.
    """

    grid: scan.Grid
    num_bytes: int
    num_values: int
    fields: dict[str, str]
    notes: tuple[str, ...]


def format_of(start: bytes) -> str:
    """Returns `NRRD` or `META_IMAGE` by the first bytes of a file; "" for anything else."""
    if start.startswith(b"NRRD00"):
        return NRRD
    return META_IMAGE if _META_KEY.match(start) else ""


def files(path: pathlib.Path) -> tuple[pathlib.Path, ...]:
    """Returns the files of a volume: itself, and the one with its voxels if its header names one.

    Raises: ValueError for voxels in several files, outside of the header's folder, or missing.
    """
    kind, lines = _text(path)
    named = next((found[1].strip() for line in lines if (found := _DATA_FILE[kind].fullmatch(line.strip()))), None)
    if named is None or named.upper() == _INSIDE:
        return (path,)
    if named.upper().startswith("LIST") or "%" in named:
        raise ValueError(f"{path} keeps its voxels in several files ({named}); save the volume as one file.")
    beside = pathlib.PurePath(named)
    if beside.is_absolute() or ".." in beside.parts or "\\" in named:
        raise ValueError(f"{path} keeps its voxels outside of its folder ({named}); keep both files in one folder.")
    voxels = path.parent / beside
    if not voxels.is_file():
        raise ValueError(f"{path} is a header whose voxels, {named}, are not beside it; copy both files.")
    return path, voxels


def read_header(path: pathlib.Path, affine: np.ndarray | None = None) -> Header:
    """Reads the header of a volume; an `affine`, float64[4,4] RAS, takes the place of its own.

    Raises: ValueError, naming the file, for a header that cannot be that of a scan.
    """
    kind, lines = _text(path)
    reader = _reader(path, kind)
    try:
        reader.ReadImageInformation()
    except Exception as error:  # SimpleITK raises RuntimeError, and others for odd names
        raise _damaged(path, kind, error) from error
    size = list(reader.GetSize())
    while len(size) > 3 and size[-1] == 1:
        size.pop()
    if len(size) not in (2, 3):
        raise ValueError(f"{path} has shape {tuple(size)}; expected one 3-D volume. Save one file per volume.")
    fields = {}
    for name in reader.GetMetaDataKeys():
        with contextlib.suppress(TypeError, UnicodeDecodeError):  # texts that are not UTF-8 say nothing that we need
            fields[name] = reader.GetMetaData(name)
    grid = scan.check_grid(
        _affine(reader) if affine is None else affine, tuple(size + [1] * (3 - len(size))), str(path)
    )
    num_values = reader.GetNumberOfComponents()
    pixel = SimpleITK.Image([1] * reader.GetDimension(), reader.GetPixelIDValue(), num_values)
    num_bytes = int(np.prod(grid.shape)) * SimpleITK.GetArrayViewFromImage(pixel).nbytes
    return Header(grid, num_bytes, num_values, fields, _notes(kind, lines, fields))


def read(path: pathlib.Path, *, scratch_dir: pathlib.Path, affine: np.ndarray | None = None) -> scan.Scan:
    """Opens a volume. It is read once, into a file of `scratch_dir`; slices are taken from there on demand.

    Returns: a scan of unknown kind.
    Raises: ValueError, naming the file, unless it is one undamaged 3-D volume with one number per voxel.
    """
    header = read_header(path, affine)
    check_one_value(path, header)
    grid = header.grid
    voxels = load(path, header).reshape(grid.shape, order="F")
    stored = np.memmap(scratch_dir / "voxels", dtype=voxels.dtype, mode="w+", shape=grid.shape, order="F")
    stored[:] = voxels
    del voxels
    return scan.Scan(
        source=path,
        format=_text(path)[0],
        kind=None,
        num_slices=grid.view_shape[0],
        read=lambda index: grid.to_view(np.asarray(stored[grid.source_slice(index)], np.float32)),
        grid=grid,
        patient_id=scan.stem(path),
        notes=header.notes,
    )


def check_one_value(path: pathlib.Path, header: Header) -> None:
    """Raises ValueError for a volume with several values per voxel."""
    if header.num_values > 1:
        raise ValueError(
            f"{path} has {header.num_values} values per voxel: colours, or layers of segments; a scan has one. Save "
            "the volume itself as greyscale."
        )


def load(path: pathlib.Path, header: Header) -> np.ndarray:
    """Reads all voxels: number[columns, rows, slices], with a last axis if there are several values per voxel."""
    kind, _ = _text(path)
    size = sum(file.stat().st_size for file in files(path))
    if header.num_bytes > _MOST_PACKED * size:
        raise ValueError(
            f"{path} is truncated or damaged: its header says {header.num_bytes} bytes of voxels, which {size} bytes "
            "cannot hold; copy or download it again."
        )
    try:
        voxels = SimpleITK.GetArrayFromImage(_reader(path, kind).Execute())
    except Exception as error:
        raise _damaged(path, kind, error) from error
    if voxels.dtype.kind not in "iuf":
        raise ValueError(f"{path} holds {voxels.dtype} voxels; a volume holds integers or floats.")
    several = (header.num_values,) if header.num_values > 1 else ()
    voxels = voxels.reshape(*header.grid.shape[::-1], *several)
    return np.moveaxis(voxels, (0, 1, 2), (2, 1, 0))


def _affine(reader: SimpleITK.ImageFileReader) -> np.ndarray:
    """Returns the affine of a header, float64[4,4], in RAS mm."""
    num_sides = reader.GetDimension()
    sides = min(num_sides, 3)
    directions = np.asarray(reader.GetDirection(), float).reshape(num_sides, num_sides)[:sides, :sides]
    affine = np.eye(4)
    affine[:sides, :sides] = directions * np.asarray(reader.GetSpacing(), float)[:sides]
    affine[:sides, 3] = np.asarray(reader.GetOrigin(), float)[:sides]
    return _TO_RAS @ affine


def _notes(kind: str, lines: list[str], fields: dict[str, str]) -> tuple[str, ...]:
    if kind == NRRD:
        space = fields.get("NRRD_space", "")
        known = all(word in space.lower() for word in ("posterior", "superior")) or "anterior" in space.lower()
        known = known or space.upper() in ("LPS", "RAS", "LAS")
        said = f"gives the space {space!r}" if space else "gives no space"
        return () if known else (f"the header {said}: its axes were taken as left, posterior, superior, as ITK does",)
    keys = {line.partition("=")[0].strip() for line in lines}
    notes = ()
    if not keys & {"TransformMatrix", "Orientation", "Rotation"}:
        notes = ("the header gives no orientation: its axes were taken as left, posterior, superior, as ITK does",)
    if keys & {"ElementToIntensityFunctionSlope", "ElementToIntensityFunctionOffset"}:
        notes += ("ElementToIntensityFunctionSlope and Offset were not applied, as in ITK and 3D Slicer",)
    return notes


def _text(path: pathlib.Path) -> tuple[str, list[str]]:
    """Returns the kind of a file, and the lines of its header."""
    with path.open("rb") as file:
        start = file.read(_HEADER_BYTES)
    kind = format_of(start)
    if not kind:
        raise ValueError(f"{path} starts neither as NRRD nor as MetaImage; copy or download it again.")
    lines = []
    for line in start.splitlines():
        if kind == NRRD and not line.strip():
            break
        lines.append(line.decode("utf-8", "replace"))
        if kind == META_IMAGE and line.lstrip().startswith(b"ElementDataFile"):
            break
    return kind, lines


def _reader(path: pathlib.Path, kind: str) -> SimpleITK.ImageFileReader:
    SimpleITK.ProcessObject.GlobalWarningDisplayOff()
    files(path)  # no other file than these is opened
    reader = SimpleITK.ImageFileReader()
    reader.SetImageIO(_READERS[kind])
    reader.SetFileName(str(path))
    return reader


def _damaged(path: pathlib.Path, kind: str, error: Exception) -> ValueError:
    reason = next((line.strip() for line in reversed(str(error).splitlines()) if line.strip()), type(error).__name__)
    return ValueError(f"{path} cannot be read as {_NAMES[kind]} ({reason}); copy it again, or save it as raw or gzip.")
