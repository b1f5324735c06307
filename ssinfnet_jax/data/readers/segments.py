"""Named segments of 3D Slicer (.seg.nrrd) and of DICOM-SEG, as a class map on the voxels of an image."""

import dataclasses
import pathlib
import re
from collections.abc import Callable, Mapping

import highdicom as hd
import numpy as np
from pydicom import uid

from ssinfnet_jax.data.readers import itk, opening, scan
from ssinfnet_jax.data.readers.dicom import header as dicom_header

_GGO = ("ggo", "groundglass", "groundglassopacity", "groundglassopacities", "groundglassopacification")
_CONSOLIDATION = ("consolidation", "consolidations", "pulmonaryconsolidation")
_CLASSES = dict.fromkeys(_GGO, 1) | dict.fromkeys(_CONSOLIDATION, 2)  # name in small letters alone -> class
_FIELD = re.compile(r"Segment(\d+)_LabelValue")
_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


@dataclasses.dataclass(frozen=True)
class Segments:
    """Segments that may overlap.

    Attributes:
      source: the file.
      grid: of its voxels, which may be fewer than those of the image.
      names: of the segments.
      numbers: the label value of each in the file.
      voxels: index of a segment -> bool of `grid.shape`.
    """

    source: pathlib.Path
    grid: scan.Grid
    names: tuple[str, ...]
    numbers: tuple[int, ...]
    voxels: Callable[[int], np.ndarray]


def holds_segments(path: pathlib.Path) -> bool:
    """Whether a file names its segments: .seg.nrrd of 3D Slicer, or DICOM-SEG."""
    kind = opening.format_of(path)
    if kind == "dicom":
        return _is_dicom_seg(path)
    return kind == itk.NRRD and any(map(_FIELD.fullmatch, itk.read_header(path).fields))


def load_classes(
    path: pathlib.Path, grid: scan.Grid, labels: Mapping[int | str, int] | None = None
) -> tuple[np.ndarray, str]:
    """Reads segments as a class map on the voxels of an image.

    The segments' names say what they are; where none is known, their label values 1 and 2 do. A file may cover a part
    of the image; the rest is background.

    Args:
      path: of the segments.
      grid: of the image.
      labels: class by a segment's number or name, which is looked up first; other classes than 1 and 2 may stand there.
    Returns: uint8[N,H,W] of {0 background, 1 GGO, 2 consolidation} in the radiologist's view, and the rule used.
    Raises: ValueError for segments that are neither, overlap, or do not lie on the image's voxels; names the file.
    """
    found = _read(path)
    classes_of, rule = _classes(found, labels or {})
    classes = np.zeros(found.grid.shape, np.uint8)
    for index, number in classes_of.items():
        voxels = found.voxels(index)
        if np.isin(classes[voxels], (0, number), invert=True).any():
            raise ValueError(f"{path} has segments of GGO and consolidation that overlap; a voxel has one class.")
        classes[voxels] = number
    return _viewed(classes, found, grid), rule


def load_mask(path: pathlib.Path, grid: scan.Grid) -> np.ndarray:
    """Reads the union of all segments, whatever their names: uint8[N,H,W] of {0, 1}; otherwise as `load_classes`."""
    found = _read(path)
    union = np.zeros(found.grid.shape, np.uint8)
    for index in range(len(found.names)):
        union[found.voxels(index)] = 1
    return _viewed(union, found, grid)


def _read(path: pathlib.Path) -> Segments:
    return _read_dicom(path) if opening.format_of(path) == "dicom" else _read_nrrd(path)


def _viewed(classes: np.ndarray, found: Segments, grid: scan.Grid) -> np.ndarray:
    """Turns a class map on the segments' grid into the view of an image."""
    views = [found.grid.to_view(classes[found.grid.source_slice(k)]) for k in range(found.grid.view_shape[0])]
    return _placed(np.stack(views), found, grid)


def _classes(found: Segments, labels: Mapping[int | str, int]) -> tuple[dict[int, int], str]:
    """Returns index of a segment -> class, and the rule."""
    if labels:
        return _given(found, labels), "segments by the given labels"
    plain = [re.sub(r"[^a-z]", "", name.lower()) for name in found.names]
    if any(name in _CLASSES for name in plain):
        unknown = [k for k, name in enumerate(plain) if name not in _CLASSES and found.voxels(k).any()]
        if unknown:
            shown = ", ".join(repr(found.names[k]) for k in unknown)
            raise ValueError(
                f"{found.source} holds the segments {shown}, which are neither GGO nor consolidation; remove them, or "
                "rename them if they are."
            )
        return {k: _CLASSES[name] for k, name in enumerate(plain) if name in _CLASSES}, "segments by name"
    wrong = [name for name, number in zip(found.names, found.numbers, strict=True) if number not in (1, 2)]
    if wrong:
        raise ValueError(
            f"{found.source} holds the segments {', '.join(map(repr, found.names))}; name them GGO and Consolidation, "
            "or give them the label values 1 (GGO) and 2 (consolidation)."
        )
    return dict(enumerate(found.numbers)), "segments by label value: 1 GGO, 2 consolidation"


def _given(found: Segments, labels: Mapping[int | str, int]) -> dict[int, int]:
    """Returns index of a segment -> class by the given labels, or else its name."""
    classes = {}
    for index, (name, number) in enumerate(zip(found.names, found.numbers, strict=True)):
        known = {**_CLASSES, **labels}
        keys = [key for key in (number, name, re.sub(r"[^a-z]", "", name.lower())) if key in known]
        if keys:
            classes[index] = known[keys[0]]
        elif found.voxels(index).any():
            raise ValueError(
                f"{found.source} holds the segment {number}, {name!r}, which the labels do not name; they name "
                f"{', '.join(map(str, labels))}. Add it to the labels, or remove it."
            )
    return classes


def _placed(classes: np.ndarray, found: Segments, grid: scan.Grid) -> np.ndarray:
    """Puts a class map [n,h,w] in the view of its own grid onto the voxels of an image."""
    shape = found.grid.view_shape[::-1]
    offset = np.linalg.solve(grid.view_affine, found.grid.view_affine)[:3, 3]
    start = np.rint(offset).astype(int)
    moved = grid.view_affine.copy()
    moved[:3, 3] = (grid.view_affine @ [*start, 1])[:3]
    distance = scan.distance_mm(moved, found.grid.view_affine, shape)
    if not distance <= scan.SAME_PLACE * min(grid.spacing_mm):
        raise ValueError(
            f"{found.source} does not lie on the voxels of its image: they are up to {distance:.3g} mm apart. Affine "
            f"of the segments: {scan.rows(found.grid.affine)}, of the image: {scan.rows(grid.affine)}. Draw or "
            "resample the segments on the image's own grid."
        )
    out = np.zeros(grid.view_shape, np.uint8)
    spans = list(zip(start[::-1], classes.shape, out.shape, strict=True))
    theirs = tuple(slice(max(-first, 0), max(min(side, whole - first), 0)) for first, side, whole in spans)
    ours = tuple(slice(max(first, 0), max(min(first + side, whole), 0)) for first, side, whole in spans)
    if (classes > 0).sum() > (classes[theirs] > 0).sum():
        raise ValueError(f"{found.source} has segments outside of its image; draw them on the image itself.")
    out[ours] = classes[theirs]
    return out


def _read_nrrd(path: pathlib.Path) -> Segments:
    header = itk.read_header(path)
    numbers = sorted(int(found[1]) for field in header.fields if (found := _FIELD.fullmatch(field)))

    def field(number: int, name: str, default: object) -> str:
        return header.fields.get(f"Segment{number}_{name}", str(default))

    try:
        labels = [int(field(number, "LabelValue", 1)) for number in numbers]
        layers = [int(field(number, "Layer", 0)) for number in numbers]
    except ValueError as error:
        raise ValueError(f"{path} has a label value or layer that is no whole number ({error}).") from error
    if any(not 0 <= layer < header.num_values for layer in layers):
        raise ValueError(f"{path} has {header.num_values} layers, but segments in the layers {layers}; save it again.")
    stored = itk.load(path, header).reshape(*header.grid.shape, header.num_values)
    return Segments(
        path,
        header.grid,
        tuple(field(number, "Name", f"Segment_{number + 1}") for number in numbers),
        tuple(labels),
        lambda index: stored[..., layers[index]] == labels[index],
    )


def _is_dicom_seg(path: pathlib.Path) -> bool:
    try:
        found = dicom_header.read_dataset(path, pixels=False, tags=("SOPClassUID",))
    except ValueError:
        return False
    return found.get("SOPClassUID") == uid.SegmentationStorage


def _read_dicom(path: pathlib.Path) -> Segments:
    try:
        segmentation = hd.seg.segread(path)
        volume = segmentation.get_volume(combine_segments=False)
        described = [segmentation.get_segment_description(number) for number in segmentation.segment_numbers]
        names = tuple(one.segment_label for one in described)
    except Exception as error:  # pydicom and highdicom raise many kinds of errors for damaged or odd objects
        raise ValueError(f"{path} cannot be read as DICOM-SEG ({error}); export it again.") from error
    stored = volume.array
    grid = scan.check_grid(_TO_RAS @ volume.affine, stored.shape[:3], str(path))
    return Segments(path, grid, names, tuple(segmentation.segment_numbers), lambda index: stored[..., index] >= 0.5)
