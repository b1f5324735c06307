"""Reads every image and mask of a dataset once, and finds what is wrong or suspicious in it.

Images are read slice by slice, so that they may be larger than memory.
"""

import dataclasses
import hashlib
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import tqdm

from ssinfnet_jax.data import ct, survey
from ssinfnet_jax.data.datasets.folder import consistency, label_maps, pairing, patients, patterns, sources
from ssinfnet_jax.data.datasets.folder.description import Description
from ssinfnet_jax.data.datasets.folder.findings import Findings
from ssinfnet_jax.data.datasets.folder.pairing import Item
from ssinfnet_jax.data.datasets.folder.seen import COUNTS, Seen
from ssinfnet_jax.data.readers.scan import Scan

_AIR_HU, _TISSUE_HU = (-1100.0, -900.0), (-150.0, 200.0)  # around the body and in the lungs; muscle, blood and fat
_LEAST_AIR, _LEAST_TISSUE = 0.005, 0.01  # share of the voxels of a chest CT
_MOST_OUTSIDE = 0.25  # of a lesion's area, outside of the lungs
_VALUES = {
    "hu": f"holds HU, which are windowed to [{ct.LOW_HU:g}, {ct.HIGH_HU:g}]",
    "grey": "holds grey levels, windowed already (0..255)",
    "unit": "holds grey levels, windowed already (0..1)",
}
_DARK = 36  # grey level: below -950 HU, as dark as the air around the body
_MOST_DARK = 0.5  # of a lesion's area
_MOST_LESION = 0.7  # of a slice
_SPACINGS_MM = {"slices": (0.2, 15.0), "rows": (0.2, 6.0), "columns": (0.2, 6.0)}


@dataclasses.dataclass(frozen=True)
class Inspection:
    """A dataset that was inspected.

    Attributes:
      root: its folder.
      description: of it.
      images: what could be read, in the order of the records.
      findings: errors, warnings and notes.
      voxel_by_voxel: whether voxels are paired as they are stored.
    """

    root: pathlib.Path
    description: Description
    images: Sequence[Seen]
    findings: Findings
    voxel_by_voxel: bool

    def table(self) -> pd.DataFrame:
        """One row per image: its files, part, patient, size, values, and slices and pixels by label."""
        return pd.DataFrame([_row(self.root, seen) for seen in self.images])


def inspect(description: Description, root: pathlib.Path, *, voxel_by_voxel: bool = False) -> Inspection:
    """Pairs, opens and checks all images of a dataset.

    Args:
      description: of the dataset.
      root: its folder.
      voxel_by_voxel: pairs voxels as they are stored, whatever the description says.
    """
    findings = Findings()
    tree = pairing.Tree(root)
    items = [
        item
        for part, group in description.groups
        for item in pairing.pair(tree, part, group, findings, may_be_missing=description.any_subset)
    ]
    if not items and not findings:
        expected = patterns.some([pattern for _, group in description.groups for pattern in group.images])
        findings.error("pairing", root, f"holds none of {expected}", "pass the folder that contains them")
    items, clinical = patients.assign(items, description, tree, findings)
    voxel_by_voxel |= description.geometry == "voxel_by_voxel"
    images = []
    for item in tqdm.tqdm(items, desc="Checking images", unit="image"):
        try:
            with sources.opened(item, voxel_by_voxel=voxel_by_voxel) as opened:
                seen = _look(item, opened, description.view, findings)
        except (ValueError, OSError) as error:
            kind = "geometry" if isinstance(error, sources.GeometryError) else "cannot be read"
            findings.error(kind, item.image, _without(str(error), item.image), "")
            continue
        if seen is not None:
            seen.clinical = clinical.get(item.name, {})
            images.append(seen)
    images.sort(key=lambda seen: seen.item.part == "unlabeled" and bool({*seen.item.group.masks} - {"lung"}))
    consistency.check(images, description, tree, findings)
    return Inspection(root, description, images, findings, voxel_by_voxel)


def _look(item: Item, opened: sources.Opened, view: str, findings: Findings) -> Seen | None:
    """Reads an image and its masks; None, with an error in `findings`, for values that no CT has."""
    scan, watch = opened.scan, _Watch(opened.scan)
    seen = Seen(item, num_slices=scan.num_slices, spacing_mm=scan.grid.spacing_mm if scan.grid else None)
    for text in scan.notes:
        findings.note("header", item.image, text)
    found = None
    if scan.grid is None:
        picture = watch.read(0)
        seen.values, other = "grey", survey.other_window(picture, item.group.window_hu or (ct.LOW_HU, ct.HIGH_HU))
        if other:
            findings.warn(
                "window", item.image, f"was exported with another window: {other}",
                "set window_hu of its group to the HU of black and white",
            )  # fmt: skip
    else:
        _check_spacing(seen, findings)
        try:
            seen.values, found = _judge(watch, item)
        except ValueError as error:
            findings.error("values", item.image, _without(str(error), item.image), "")
            return None
        findings.note("values", item.image, _VALUES[seen.values])
    seen.shape, seen.low, seen.high, seen.digest = watch.shape, watch.low, watch.high, watch.digest.hexdigest()
    if seen.values == "hu":
        _check_hu(watch, item, findings)
    _look_at_masks(seen, opened, found, findings)
    if found is not None and seen.lung_box is None and found.lungs.any():
        seen.lung_box = found.box(seen.shape, survey.MARGIN)
    if view == "lungs" and scan.grid is not None and seen.lung_box is None:
        findings.warn("lungs", item.image, "has no lungs that could be found, so its slices stay whole", "look at it")
    return seen


class _Watch:
    """Reads the slices of a scan once, and keeps the digest of their values, the range, and shares of some HU."""

    def __init__(self, scan: Scan):
        self.scan, self.digest = scan, hashlib.sha256()
        self.low, self.high, self.shape = np.inf, -np.inf, (0, 0)
        self.num, self.num_air, self.num_tissue, self.is_finite = 0, 0, 0, True
        self.distinct = np.zeros(0)  # values, while they are as few as those of a label map

    def read(self, index: int) -> np.ndarray:
        """A slice of the scan, which is watched."""
        values = self.scan.read(index)
        self.shape = self.shape if index else values.shape
        self.digest.update(repr((values.shape, values.dtype.str)).encode() + np.ascontiguousarray(values).tobytes())
        measured = values[np.isfinite(values)]
        self.is_finite &= measured.size == values.size
        if measured.size:
            self.low, self.high = min(self.low, float(measured.min())), max(self.high, float(measured.max()))
        self.num += values.size
        for name, (low, high) in (("num_air", _AIR_HU), ("num_tissue", _TISSUE_HU)):
            setattr(self, name, getattr(self, name) + np.count_nonzero((values >= low) & (values <= high)))
        if len(self.distinct) <= survey.MAX_LABELS:
            self.distinct = np.union1d(self.distinct, measured)
        return values


def _judge(watch: _Watch, item: Item) -> tuple[str, survey.Survey | None]:
    """The kind of a volume's values, and a survey of it, which values of 0 to 1 do not have.

    Raises: ValueError for values that are neither HU nor grey, or not what the description says.
    """
    wanted = {"auto": None, "hu": "hu", "grey": "uint8"}[item.group.values]
    window = item.group.window_hu or (ct.LOW_HU, ct.HIGH_HU)
    watched = dataclasses.replace(watch.scan, read=watch.read)
    try:
        found = survey.survey(watched, wanted, window)
        return ("hu" if found.kind == "hu" else "grey"), found
    except ValueError:
        is_map = len(watch.distinct) <= survey.MAX_LABELS and (watch.distinct == np.rint(watch.distinct)).all()
        is_grey = watch.low >= 0 and 0 < watch.high <= 255 and watch.is_finite and not is_map
        if wanted == "hu" or not is_grey or (wanted == "uint8" and watch.high > 1):
            raise
    if watch.high <= 1:
        return "unit", None
    return "grey", survey.survey(watch.scan, "uint8", window)


def _check_spacing(seen: Seen, findings: Findings) -> None:
    for (name, (low, high)), spacing in zip(_SPACINGS_MM.items(), seen.spacing_mm, strict=True):
        if not low <= spacing <= high:
            findings.warn(
                "spacing", seen.item.image,
                f"has {spacing:.3g} mm between {name}; a chest CT has {low:g} to {high:g} mm",
                "correct the header if it is wrong: volumes in ml and surfaces in mm are computed from it",
            )  # fmt: skip


def _check_hu(watch: _Watch, item: Item, findings: Findings) -> None:
    for name, (low, high), num, least in (
        ("air", _AIR_HU, watch.num_air, _LEAST_AIR),
        ("soft tissue", _TISSUE_HU, watch.num_tissue, _LEAST_TISSUE),
    ):
        if num < least * watch.num:
            findings.warn(
                "HU offset", item.image,
                f"holds {watch.low:g} to {watch.high:g}, but hardly any {name} ({low:g} to {high:g} HU: "
                f"{num / watch.num:.2%} of the voxels)",
                "apply the rescale slope and intercept of the scanner once, and only once",
            )  # fmt: skip


def _look_at_masks(seen: Seen, opened: sources.Opened, found: survey.Survey | None, findings: Findings) -> None:
    """Counts the labels of every slice, and checks values and place of the masks."""
    masks = opened.masks
    is_empty = seen.has_lesion and not {*masks} - {"lung", "ignore"}  # an image without masks that has no lesion
    seen.has_classes = seen.item.group.tells_classes if is_empty else label_maps.has_classes(masks)
    distinct = {kind: np.zeros(0) for kind in masks}
    inside = _Inside(seen.shape)
    region = None if found is None else found.region
    for index in range(seen.num_slices if masks else 0):
        values = opened.read_masks(index, seen.shape)
        for kind, one in values.items():
            distinct[kind] = np.union1d(distinct[kind], one)
        if any(label_maps.check_values(distinct[kind], kind, masks[kind]) for kind in masks):
            continue  # the count of what cannot be read
        arrays = label_maps.translate(values, masks)
        inside.add_lung(values.get("lung"))
        seen.counts.append(_count(arrays))
        if "lesion" in values and "classes" in arrays:
            inside.num_unlike += int((arrays["lesion"] != (arrays["classes"] > 0)).sum())
        if arrays["lesion"].any():
            lungs = values["lung"] != 0 if "lung" in values else None
            if lungs is None and region is not None:
                lungs = found.region_slice(index, seen.shape)
            inside.add_lesion(arrays, seen.to_grey(opened.scan.read(index)), lungs, seen.grey)
    for kind, mask in masks.items():
        if wrong := label_maps.check_values(distinct[kind], kind, mask):
            findings.error(wrong[0], mask.path, *wrong[1:])
    seen.lung_box = inside.lung_box()
    if seen.has_lesion:
        _check_place(seen, inside, findings)


def _count(arrays: Mapping[str, np.ndarray]) -> dict[str, int]:
    counts = {name: int(np.count_nonzero(arrays[name])) for name in ("lesion", "ignore")}
    if "classes" in arrays:
        counts |= {
            name: int(np.count_nonzero(arrays["classes"] == value)) for name, value in label_maps.CLASSES.items()
        }
    return counts


class _Inside:
    """Where the lesions of an image lie: in the lungs, in the dark; and where its lung mask does."""

    def __init__(self, shape: tuple[int, int]):
        self.num, self.num_placed, self.num_outside, self.num_dark, self.largest = 0, 0, 0, 0, 0.0
        self.num_unlike = 0  # pixels in which a lesion mask and the classes differ
        self._sides = [np.zeros(side, bool) for side in shape]

    def add_lesion(
        self, arrays: Mapping[str, np.ndarray], grey: np.ndarray, lungs: np.ndarray | None, sums: dict[str, float]
    ) -> None:
        """Adds a slice with a lesion; adds the grey levels of its classes to `sums`."""
        lesion = arrays["lesion"] > 0
        self.num += int(lesion.sum())
        self.num_dark += int((grey[lesion] < _DARK).sum())
        self.largest = max(self.largest, float(lesion.mean()))
        if lungs is not None:
            self.num_placed += int(lesion.sum())
            self.num_outside += int((lesion & ~lungs).sum())
        for name, value in label_maps.CLASSES.items() if "classes" in arrays else ():
            sums[name] += float(grey[arrays["classes"] == value].sum())

    def add_lung(self, lung: np.ndarray | None) -> None:
        """Adds a slice of the lung mask, if there is one."""
        if lung is not None:
            for axis, side in enumerate(self._sides):
                side |= (lung != 0).any(axis=1 - axis)

    def lung_box(self) -> tuple[slice, slice] | None:
        """Rows and columns of the lung mask with the margin of the survey; None without one."""
        if not self._sides[0].any():
            return None
        box = []
        for side in self._sides:
            at, margin = np.flatnonzero(side), round(survey.MARGIN * len(side))
            box.append(slice(max(int(at[0]) - margin, 0), min(int(at[-1]) + 1 + margin, len(side))))
        return box[0], box[1]


def _check_place(seen: Seen, inside: _Inside, findings: Findings) -> None:
    path = next((path for kind, path in seen.item.masks.items() if kind not in ("lung", "ignore")), seen.item.image)
    if not inside.num and seen.counts:
        remedy = "check that the mask is the right one; keep it if the image has no lesion"
        findings.warn("empty mask", path, "marks no lesion in any slice", remedy)
    if inside.num_unlike:
        text = f"differs from the classes of the same image in {inside.num_unlike} pixels; both are kept"
        findings.note("labels disagree", seen.item.masks["lesion"], text)
    remedy = "check that the mask belongs to this image, and is not shifted or mirrored"
    if inside.num_outside > _MOST_OUTSIDE * inside.num_placed:
        share = inside.num_outside / inside.num_placed
        findings.warn(
            "mask off the lungs", path, f"marks lesions of which {share:.0%} lie outside of the lungs", remedy
        )
    if inside.num_dark > _MOST_DARK * inside.num:
        share = inside.num_dark / inside.num
        findings.warn(
            "mask on air", path, f"marks lesions of which {share:.0%} are as dark as the air around the body", remedy
        )
    if inside.largest > _MOST_LESION:
        findings.warn(
            "large mask", path, f"marks {inside.largest:.0%} of a slice as lesion",
            "check which value is the background, which must be 0",
        )  # fmt: skip


def _without(text: str, path: pathlib.Path) -> str:
    """A sentence about a file without the file's name at its start."""
    told = text.removeprefix(str(path)).strip()
    return told if told != text else f"cannot be used: {text}"


def _row(root: pathlib.Path, seen: Seen) -> dict[str, Any]:
    item = seen.item
    row = {"name": item.name, "part": item.part, "patient": item.patient, "image": _relative(root, item.image)}
    row["masks"] = " ".join(_relative(root, path) for path in item.masks.values())
    row |= {"slices": seen.num_slices, "rows": seen.shape[0], "columns": seen.shape[1]}
    spacing = seen.spacing_mm or (np.nan,) * 3
    row |= dict(zip(("slice_mm", "row_mm", "column_mm"), (round(value, 4) for value in spacing), strict=True))
    row |= {"values": seen.values, "low": seen.low, "high": seen.high}
    for name in COUNTS:
        is_known = seen.has_lesion and (seen.has_classes or name in ("lesion", "ignore"))
        counts = [one.get(name, 0) for one in seen.counts]
        row[f"{name}_slices"] = sum(count > 0 for count in counts) if is_known else np.nan
        row[f"{name}_px"] = sum(counts) if is_known else np.nan
    return row


def _relative(root: pathlib.Path, path: pathlib.Path) -> str:
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)
