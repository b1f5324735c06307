"""Pairs the images of a folder with their masks, by the fields of their patterns."""

import dataclasses
import pathlib
from collections.abc import Iterator, Mapping, Sequence

from ssinfnet_jax.data import input_files
from ssinfnet_jax.data.datasets.folder import patterns
from ssinfnet_jax.data.datasets.folder.description import Group
from ssinfnet_jax.data.datasets.folder.findings import Findings

_JPEG = (".jpg", ".jpeg")


@dataclasses.dataclass(frozen=True)
class Item:
    """An image with its masks.

    Attributes:
      name: of the image, from which the ids of its slices are made.
      patient: whose it is.
      part: of the dataset.
      image: its file, or the folder of a DICOM series.
      same: other files that must hold the same image.
      masks: file by kind of mask.
      group: how it is read.
    """

    name: str
    patient: str
    part: str
    image: pathlib.Path
    same: tuple[pathlib.Path, ...]
    masks: Mapping[str, pathlib.Path]
    group: Group

    @property
    def is_labeled(self) -> bool:
        """Whether the part is one of labels."""
        return self.part in ("labeled", "test")


class Tree:
    """The files and folders below a folder, each with its path as patterns see it, in natural order."""

    def __init__(self, root: pathlib.Path):
        self.root, self.unused = root, input_files.Report()
        files, folders = [], []
        for folder, found in input_files.folders(root, self.unused):
            folders.append(folder)
            files += found
        self.files = dict(sorted(self._named(files), key=lambda pair: patterns.natural(pair[0])))
        self.folders = dict(sorted(self._named(folders), key=lambda pair: patterns.natural(pair[0])))
        self._used: set[pathlib.Path] = set()

    def _named(self, paths: Sequence[pathlib.Path]) -> Iterator[tuple[str, pathlib.Path]]:
        for path in paths:
            yield path.relative_to(self.root).as_posix(), path

    def match(self, text: str) -> list[tuple[dict[str, str], pathlib.Path]]:
        """(fields, path) of what matches a pattern; it counts as used."""
        pattern = patterns.Pattern(text)
        candidates = self.folders if pattern.of_folders else self.files
        found = [(fields, path) for name, path in candidates.items() if (fields := pattern.match(name)) is not None]
        self._used.update(path for _, path in found)
        return found

    def left_over(self) -> list[pathlib.Path]:
        """The files that no pattern has matched, below no folder that one has."""
        return [path for path in self.files.values() if self._used.isdisjoint((path, *path.parents))]


def pair(tree: Tree, part: str, group: Group, findings: Findings, *, may_be_missing: bool = False) -> list[Item]:
    """Finds the images of a group, each with its masks; what does not fit goes to `findings`.

    `may_be_missing`: whether a group without any file is fine.
    """
    owners = _owners(tree, group)
    image_fields = {field for pattern in group.images for field in patterns.Pattern(pattern).fields}
    masks = {
        kind: _by_key(tree, kind, pattern, image_fields, owners, findings) for kind, pattern in group.masks.items()
    }
    found: dict[tuple, list[tuple[dict[str, str], pathlib.Path]]] = {}
    for pattern in group.images:
        seen: dict[tuple, pathlib.Path] = {}
        for fields, path in tree.match(pattern):
            if owners[path] != pattern:
                continue
            key = tuple(sorted(fields.items()))
            if key in seen:
                findings.error(
                    "pairing",
                    path,
                    f"has the same name as {seen[key]}",
                    "keep one of them, or make the pattern tell them apart",
                )
                continue
            seen[key] = path
            found.setdefault(key, []).append((fields, path))
    if not found and not may_be_missing:
        text = f"has no file that matches the pattern {' or '.join(map(repr, group.images))} of the {part} images"
        findings.error("pairing", tree.root, text, "correct the pattern, or take it out of the description")
    items = []
    for places in found.values():
        (fields, path), *others = places
        own = {kind: by_key.get(_key(fields, names)) for kind, (names, by_key) in masks.items()}
        own = {kind: mask for kind, mask in own.items() if mask is not None}
        name = patterns.fill(group.name, fields, "name") if group.name else "_".join(fields.values()) or path.stem
        patient = patterns.fill(group.patient, fields, "patient") if group.patient else fields.get("patient", name)
        item = Item(name, patient, part, path, tuple(other for _, other in others), own, group)
        if item := _with_part(item, findings):
            items.append(item)
    _check_masks_used(masks, items, findings)
    return items


def _owners(tree: Tree, group: Group) -> dict[pathlib.Path, str]:
    """The most specific pattern of each file: `{id}.nii.gz` does not take what `{id}_seg.nii.gz` matches too."""
    owners: dict[pathlib.Path, str] = {}
    for text in sorted((*group.images, *group.masks.values()), key=lambda text: patterns.Pattern(text).num_literal):
        owners.update(dict.fromkeys((path for _, path in tree.match(text)), text))
    return owners


def _by_key(
    tree: Tree,
    kind: str,
    text: str,
    image_fields: set[str],
    owners: Mapping[pathlib.Path, str],
    findings: Findings,
) -> tuple[list[str], dict[tuple, pathlib.Path]]:
    """The fields that a mask's pattern shares with the images', and the masks by their values."""
    names = [field for field in patterns.Pattern(text).fields if field in image_fields]
    by_key: dict[tuple, pathlib.Path] = {}
    for fields, path in tree.match(text):
        if owners[path] != text:
            continue
        key = _key(fields, names)
        if key in by_key:
            findings.error(
                "pairing", path, f"is a second {kind} mask of the image of {by_key[key]}",
                "keep one of them, or give the patterns of images and masks a field that tells them apart",
            )  # fmt: skip
        elif path.suffix.lower() in _JPEG:
            findings.error(
                "mask format", path, "is a JPG, whose compression changes values along borders",
                "save masks as PNG or NIfTI from where they were drawn",
            )  # fmt: skip
            by_key[key] = path
        else:
            by_key[key] = path
    return names, by_key


def _key(fields: Mapping[str, str], names: Sequence[str]) -> tuple:
    return tuple(fields.get(name) for name in names)


def _with_part(item: Item, findings: Findings) -> Item | None:
    """The item in its part; unlabeled where it lacks masks and its group says so, None where that is an error."""
    kinds = {*item.group.masks} - {"lung", "ignore"}
    missing = sorted(kinds - {*item.masks})
    if not item.is_labeled or not missing:
        return item
    if {"classes", "lesion"} & {*item.masks}:  # either says where the lesion is
        findings.note("one label only", item.image, f"has no {' and no '.join(missing)} mask; the other masks are used")
        return item
    if item.group.without_mask == "empty":
        findings.note("no mask", item.image, f"has no {' and no '.join(missing)} mask: taken for empty")
        return item
    if item.group.without_mask == "unlabeled" and len(missing) == len(kinds):
        findings.note("no mask", item.image, "has no mask: used as unlabeled")
        return dataclasses.replace(item, part="unlabeled")
    remedy = "add the mask, or move the image to `unlabeled` (key without_mask: unlabeled, or empty)"
    findings.error("no mask", item.image, f"has no {' and no '.join(missing)} mask", remedy)
    return None


def _check_masks_used(masks: Mapping[str, tuple], items: Sequence[Item], findings: Findings) -> None:
    used: dict[pathlib.Path, list[Item]] = {}
    for item in items:
        for path in item.masks.values():
            used.setdefault(path, []).append(item)
    for kind, (_, by_key) in masks.items():
        for path in by_key.values():
            if path not in used:
                remedy = "add the image, take the mask away, or correct the patterns, whose common fields pair them"
                findings.error("pairing", path, f"is a {kind} mask without an image", remedy)
            elif len(used[path]) > 1:
                findings.error(
                    "pairing", path, f"is the {kind} mask of {len(used[path])} images: "
                    f"{patterns.some([item.image.name for item in used[path]])}",
                    "give its pattern every field in which the images differ",
                )  # fmt: skip
