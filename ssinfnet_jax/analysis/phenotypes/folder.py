"""Finds slices and their masks in two folders, matched by name; workers read them."""

import functools
import hashlib
import os
import pathlib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence

import pandas as pd
from absl import logging

from ssinfnet_jax.analysis.phenotypes import picture_slices, volume_slices
from ssinfnet_jax.analysis.phenotypes.rows import Item
from ssinfnet_jax.analysis.phenotypes.settings import HU
from ssinfnet_jax.data import input_files, patient_table
from ssinfnet_jax.data.readers import opening, pictures, volume

_JPEG = b"\xff\xd8\xff"
_PICTURES = "pictures"
_CHANNEL = re.compile(r"(.*)_(\d{4})", re.DOTALL)  # nnU-Net's names of images: case and channel
_TABLES = (".csv", ".xlsx")
_SHOWN = 5


def items(
    images: str | os.PathLike,
    masks: str | os.PathLike,
    *,
    preset: str = "eight_bit",
    patients: str | None = None,
    spacing_mm: tuple[float, float] | None = None,
    voxel_by_voxel: bool = False,
    report: input_files.Report | None = None,
) -> list[Item]:
    """Lists the slices of a folder: PNG or JPG, one slice each, or volumes, whose axial slices are numbered from below.

    Volumes are NIfTI, NRRD, MetaImage, or a DICOM series in a folder, one file or a zip archive. A mask is in the same
    subfolder as its image and has the same name except for the extension, or the name of its nnU-Net case (`a` for
    image `a_0000`). The mask of a DICOM series in a folder has the name of the folder, or is alone in a folder of this
    name. A mask is PNG or a volume of 0 background, 1 GGO, 2 consolidation, or .seg.nrrd or DICOM-SEG with segments of
    these names.

    Args:
      images: folder, or one file.
      masks: folder, or one file of any name.
      preset: "eight_bit": grey levels; volumes in HU are windowed as for the networks. "hu": volumes in HU.
      patients: patients of the slices: a CSV or XLSX file with the columns `file` (path below `images`, with or without
        extension) and `patient_id`, or a regular expression with one group, searched in the path without extension.
        None: pictures that launch.segment wrote belong to their scan, files in a subfolder to one patient of its name;
        every other file is a different patient, with a warning if all are.
      spacing_mm: height and width of a pixel of PNG and JPG; None: areas are in pixels. Volumes have their own.
      voxel_by_voxel: pairs voxels of volumes in the order they are stored, and ignores the geometry of masks other than
        segments.
      report: collects unused files and notes on headers.
    Returns: items whose slice_id is the path below `images` without extension, with `_<number>` for a slice of a
      volume. A file that cannot be opened is one item, which raises its error when read.
    Raises: FileNotFoundError or ValueError for folders without images, unmatched names, unknown patients, JPG masks, or
      a kind of file that does not suit the preset. Errors that only reading a file can reveal are left to the rows.
    """
    report = input_files.Report() if report is None else report
    image_of, mask_of = _matched(pathlib.Path(images), pathlib.Path(masks), report)
    volumes = [name for name, path in image_of.items() if _kind(path) != _PICTURES]
    if not volumes:
        report.notes += [f"{images}: {text}." for text in pictures.turned(list(image_of.values()))]
    _check_kind(images, len(volumes), len(image_of), preset, spacing_mm)
    scans = _scans(pathlib.Path(images).parent) if patients is None else {}
    patient_of = _patients(list(image_of), patients, scans)
    if patients is None and not volumes and len(set(patient_of.values())) == len(image_of) > 1:
        logging.warning("Each of %d slices counts as a different patient; tell patients by --patients.", len(image_of))
    found = []
    for name, image in image_of.items():
        try:
            version = _stamp(image) + _stamp(mask_of[name])
            readers = {name: functools.partial(picture_slices.read, image, mask_of[name], spacing_mm or (1.0, 1.0))}
            if volumes:
                how = {"preset": preset, "voxel_by_voxel": voxel_by_voxel, "version": version}
                readers = _of_volume(name, functools.partial(volume_slices.read, image, mask_of[name], **how), report)
        except (ValueError, OSError) as error:  # one bad file must not fail the others
            readers, version = {name: functools.partial(_fail, image, mask_of[name], str(error))}, ""
        found += [Item(slice_id, patient_of[name], read, version) for slice_id, read in readers.items()]
    if report.notes:
        logging.warning("%d notes on headers, such as: %s", len(report.notes), report.notes[0])
    return found


def _of_volume(name: str, read: functools.partial, report: input_files.Report) -> dict[str, Callable]:
    """slice_id -> `read` with the slice's index; its first argument is the volume."""
    image = read.args[0]
    grid, notes = volume.read_grid(image)
    report.notes += [f"{image}: {text}" + ("" if text.endswith("?") else ".") for text in notes]
    return {f"{name}_{index:04d}": functools.partial(read, index=index) for index in range(grid.view_shape[0])}


def _check_kind(
    images: str | os.PathLike, num_volumes: int, num_files: int, preset: str, spacing_mm: tuple[float, float] | None
) -> None:
    if 0 < num_volumes < num_files:
        raise ValueError(f"{images} has volumes (areas in mm²) and PNG or JPG (in pixels); measure them separately.")
    if preset == HU.name and not num_volumes:
        raise ValueError(f"{images} has PNG or JPG, which are grey levels; Hounsfield units (hu) need volumes.")
    if spacing_mm is not None and num_volumes:
        raise ValueError(f"spacing_mm={spacing_mm} is for PNG and JPG; the volumes of {images} have their own.")


def leave_out_failed(found: Sequence[Item], errors: Sequence[str], report: input_files.Report) -> None:
    """Reports files of which no slice was measured as not used.

    Args:
      found: the result of `items`.
      errors: of each item; "" if it was measured.
      report: collects the files, each with its first error.
    """
    files = [item.source.args[:2] for item in found]
    used = {path for paths, error in zip(files, errors, strict=True) for path in paths if not error}
    report.used += sum(map(_num_files, used))
    first: dict[pathlib.Path, str] = {}
    for paths, error in zip(files, errors, strict=True):
        for path in set(paths) - used:
            first.setdefault(path, error)
    for path, error in first.items():
        report.leave_out(path, "failed", error, files=_num_files(path))


def _fail(image: pathlib.Path, mask: pathlib.Path, reason: str):
    raise ValueError(reason)


def _matched(
    images: pathlib.Path, masks: pathlib.Path, report: input_files.Report
) -> tuple[dict[str, pathlib.Path], dict[str, pathlib.Path]]:
    """name -> image, name -> mask."""
    for path in (images, masks):
        if not input_files.exists(path, str(path)):
            raise FileNotFoundError(f"{path} does not exist; pass a folder of pictures or volumes.")
    if images.is_file() and masks.is_file():
        name = patient_table.without_ending(images.name)
        _check_exact([masks])
        return {name: images}, {name: masks}
    image_of, mask_of = _files(images, report), _files(masks, report)
    _check_exact(mask_of.values())
    image_of, mask_of = _by_series(image_of, mask_of, images)
    image_of = _by_case(image_of, mask_of)
    for more, fewer in ((image_of, mask_of), (mask_of, image_of)):
        for name in set(more) - set(fewer):
            if kind := input_files.fault(more[name]):
                report.leave_out(more.pop(name), kind)
    if not image_of and not mask_of:
        raise ValueError(f"{images} and {masks} have only empty files and broken links; copy the files again.")
    for kind, more, folder, fewer in (("image", image_of, masks, mask_of), ("mask", mask_of, images, image_of)):
        alone = [path for name, path in more.items() if name not in fewer]
        if alone:
            raise ValueError(
                f"{len(alone)} of {len(more)} {kind} files have no file of the same name in {folder}: "
                f"{_some(alone)}. Name masks like their images (the folder of a DICOM series), and move files without "
                "a partner elsewhere."
            )
    for name, path in image_of.items():
        if (_kind(path) == _PICTURES) != (_kind(mask_of[name]) == _PICTURES):
            raise ValueError(
                f"{path} and {mask_of[name]} must both be volumes, or both PNG or JPG; convert one of them."
            )
    return image_of, mask_of


def _by_series(
    image_of: Mapping[str, pathlib.Path], mask_of: Mapping[str, pathlib.Path], images: pathlib.Path
) -> tuple[dict[str, pathlib.Path], dict[str, pathlib.Path]]:
    """Puts the folder of a DICOM series with a mask in the place of its files; masks get the name of the folder."""
    slices: dict[pathlib.PurePath, list[str]] = {}
    for name, path in image_of.items():
        if name not in mask_of and _kind(path) == "dicom":
            slices.setdefault(pathlib.PurePath(name).parent, []).append(name)
    image_of, mask_of = dict(image_of), dict(mask_of)
    for folder, names in slices.items():
        for place in (folder, *folder.parents):
            name = place.as_posix() if place.name else images.resolve().name
            free = [mask for mask in mask_of if mask not in image_of]
            inside = [mask for mask in free if pathlib.PurePath(mask).is_relative_to(place)]
            if name not in mask_of and len(inside) == 1 and (place.name or len(slices) == 1):
                mask_of[name] = mask_of.pop(inside[0])
            if name in mask_of:
                image_of = {other: path for other, path in image_of.items() if other not in names}
                image_of[name] = images / place
                break
    return image_of, mask_of


def _by_case(image_of: dict[str, pathlib.Path], mask_of: Mapping[str, pathlib.Path]) -> dict[str, pathlib.Path]:
    """Renames images `a_0000` to `a` if that is the name of a mask, as in nnU-Net's folders.

    Raises: ValueError for several channels of a case.
    """
    renamed: dict[str, pathlib.Path] = {}
    for name, path in image_of.items():
        found = _CHANNEL.fullmatch(name)
        case = found[1] if found and name not in mask_of and found[1] in mask_of else name
        if case in renamed or (case != name and case in image_of):
            raise ValueError(f"{renamed.get(case, image_of.get(case))} and {path} are images of one mask; keep the CT.")
        renamed[case] = path
    return renamed


def _check_exact(masks: Iterable[pathlib.Path]) -> None:
    jpeg = [path for path in masks if input_files.fault(path) == "" and path.open("rb").read(3) == _JPEG]
    if jpeg:
        raise ValueError(
            f"{len(jpeg)} masks are JPG, whose compression changes classes along borders: {_some(jpeg)}. Export masks "
            "as PNG from the program they were drawn in; converting a JPG does not undo the changes."
        )


def _files(folder: pathlib.Path, report: input_files.Report) -> dict[str, pathlib.Path]:
    files: dict[str, pathlib.Path] = {}
    below = folder if folder.is_dir() else folder.parent
    found = input_files.folders(folder, report) if folder.is_dir() else [(below, [folder])]
    kinds = {path: _kind(path) for path in sorted(path for _, paths in found for path in paths)}
    voxels = {part for path, kind in kinds.items() if kind in opening.VOLUMES for part in _parts(path)[1:]}
    for path, kind in kinds.items():
        fault = input_files.fault(path)
        if path.is_dir() or (fault and not kind):
            report.leave_out(path, fault)
        elif not kind and path not in voxels:
            report.leave_out(path, "neither volume, PNG nor JPG")
        elif path in voxels:
            report.used += 1
        else:
            name = input_files.readable(patient_table.without_ending(path.relative_to(below).as_posix()))
            if name in files:
                raise ValueError(f"{files[name]} and {path} differ in their extension only; keep one of them.")
            files[name] = path
    if not files:
        raise ValueError(f"{folder} has neither PNG or JPG nor volumes; pass a folder that does.")
    return files


def _kind(path: pathlib.Path) -> str:
    """The format of a file by its content, or by its ending if it is damaged; "" for none that is measured."""
    kind = "" if input_files.fault(path) or path.is_dir() else opening.format_of(path)
    kind = kind or opening.meant_as(path)
    return kind if kind in (*opening.VOLUMES, "dicom", "zip", _PICTURES) else ""


def _parts(path: pathlib.Path) -> tuple[pathlib.Path, ...]:
    try:
        return opening.files(path)
    except (ValueError, OSError):  # reading says what is wrong
        return (path,)


def _some(names: Iterable[object]) -> str:
    names = [str(name) for name in names]
    return ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")


def _scans(results: pathlib.Path) -> dict[str, str]:
    """Picture -> scan, from results of launch.segment."""
    return {
        patient_table.without_ending(file): path.parent.name
        for path in results.glob("scans/*/slices.csv")
        for file in pd.read_csv(path, dtype=str).get("file", ())
    }


def _patients(names: list[str], rule: str | None, scans: Mapping[str, str]) -> dict[str, str]:
    if rule is None:
        alone = {name: str(pathlib.PurePath(name).parent) if "/" in name else name for name in names}
        return {name: scans.get(name, alone[name]) for name in names}
    if rule.lower().endswith(_TABLES):
        known = patient_table.read(rule)
        missing = [name for name in names if name not in known]
        remedy = f"add them to {rule}"
    else:
        try:
            pattern = re.compile(rule)
        except re.error as error:
            raise ValueError(
                f"patients={rule!r} is neither a CSV or XLSX file nor a regular expression ({error})."
            ) from error
        if pattern.groups != 1:
            raise ValueError(f"patients={rule!r} must have one group, as in '^(P[0-9]+)_', has {pattern.groups}.")
        known = {name: match[1] for name in names if (match := pattern.search(name)) and match[1]}
        missing = [name for name in names if name not in known]
        remedy = f"change the regular expression {rule!r}"
    if missing:
        raise ValueError(f"{len(missing)} of {len(names)} files have no patient: {_some(missing)}; {remedy}.")
    return {name: known[name] for name in names}


def _stamp(path: pathlib.Path) -> str:
    """A text that changes when the file does; raises ValueError for an empty file or broken link."""
    if kind := input_files.fault(path):
        raise ValueError(f"{path} cannot be read ({kind}); copy or download it again.")
    if not path.is_dir():
        status = path.stat()
        return f"{status.st_size}-{status.st_mtime_ns};"
    stats = [(file.name, file.stat()) for file in _files_in(path) if file.exists()]
    told = "".join(f"{name} {status.st_size}-{status.st_mtime_ns};" for name, status in stats)
    return f"{hashlib.sha256(os.fsencode(told)).hexdigest()};"


def _files_in(folder: pathlib.Path) -> list[pathlib.Path]:
    """The files of a DICOM series, and those beside them."""
    return sorted(path for path in folder.rglob("*") if not path.is_dir())


def _num_files(path: pathlib.Path) -> int:
    return len(_files_in(path)) if path.is_dir() else 1
