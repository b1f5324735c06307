"""The page of a checked dataset."""

import pathlib
from collections.abc import Sequence

import numpy as np
import pandas as pd

from ssinfnet_jax.data import labels
from ssinfnet_jax.data.datasets.folder import reading
from ssinfnet_jax.data.datasets.folder.findings import Finding
from ssinfnet_jax.data.datasets.folder.inspection import Inspection
from ssinfnet_jax.data.datasets.folder.seen import COUNTS, Seen
from ssinfnet_jax.report.kit import blocks, figure_style, render, slice_figures, tables
from ssinfnet_jax.report.run import run_files

PAGE = "check.html"
_LESION, _IGNORE = 3, 4  # numbers in the contact sheet, after those of the classes
_COLOURS = {**figure_style.CLASSES, _LESION: figure_style.LESION, _IGNORE: "#FFFFFF"}
_MAX_SLICES = 30
_SIZE = 192  # pixels of a slice in the contact sheet
_PARTS = {"part": "Part", "images": "Images", "patients": "Patients", "slices": "Slices"}
_COLUMNS = {
    "name": "Name", "part": "Part", "patient": "Patient", "image": "Image", "masks": "Masks", "slices": "Slices",
    "rows": "Rows", "columns": "Columns", "slice_mm": "Slice mm", "row_mm": "Row mm", "column_mm": "Column mm",
    "values": "Values", "low": "Lowest", "high": "Highest",
    **{f"{name}_slices": f"Slices with {name}" for name in COUNTS},
}  # fmt: skip


def write(out_dir: pathlib.Path, inspected: Inspection) -> pathlib.Path:
    """Writes `check.html` and `figures/contact_sheet.{png,svg}`.

    Args:
      out_dir: folder to write to.
      inspected: the dataset.
    Returns: path of the page.
    """
    name = inspected.description.title or inspected.root.resolve().name
    sections = [_findings(inspected), _labels(inspected), _slices(out_dir, inspected), _images(inspected)]
    return render.write(
        out_dir / PAGE,
        "report.html.j2",
        name=name,
        dataset="",
        kind="data check",
        lead=f"Contents of {inspected.root}, checked before training.",
        headline=_headline(inspected),
        sections=[section for section in sections if section.blocks],
    )


def summary(inspected: Inspection) -> pd.DataFrame:
    """One row per part, and per label the number of slices that have it."""
    rows = []
    for part, images in _by_part(inspected.images).items():
        row = {"part": part, "images": len(images), "patients": len(_patients(images))}
        row["slices"] = sum(seen.num_slices for seen in images)
        for label in COUNTS:
            row[label] = sum(one.get(label, 0) > 0 for seen in images for one in seen.counts)
        rows.append(row)
    return pd.DataFrame(rows, columns=[*_PARTS, *COUNTS])


def _by_part(images: Sequence[Seen]) -> dict[str, list[Seen]]:
    parts: dict[str, list[Seen]] = {}
    for seen in images:
        parts.setdefault(seen.item.part, []).append(seen)
    return parts


def _patients(images: Sequence[Seen]) -> set[str]:
    return {seen.patient_id(index) for seen in images for index in range(seen.num_slices)}


def _headline(inspected: Inspection) -> list[dict[str, str]]:
    errors, warnings = (len(inspected.findings.of(level)) for level in ("error", "warning"))
    slices = sum(seen.num_slices for seen in inspected.images)
    return [
        {"value": str(len(inspected.images)), "label": "Images", "note": blocks.count(slices, "slice")},
        {"value": str(len(_patients(inspected.images))), "label": "Patients", "note": "by name or table"},
        {"value": str(errors), "label": "Errors", "note": "to be mended" if errors else "nothing to mend"},
        {"value": str(warnings), "label": "Warnings", "note": "to be looked at" if warnings else "nothing suspicious"},
    ]


def _findings(inspected: Inspection) -> blocks.Section:
    section = blocks.Section("findings", "Errors and warnings", "Findings")
    for level, caption in (
        ("error", "Errors: correct them, or the data cannot be prepared."),
        ("warning", "Warnings: check each; no change is needed if the data are right."),
    ):
        if found := inspected.findings.of(level):
            section.add("table", _finding_table(inspected, found, caption))
    if not section.blocks:
        section.add("text", "No errors, and nothing suspicious.")
    if notes := inspected.findings.of("note"):
        table = _finding_table(inspected, notes, "How files were read.")
        section.fold(blocks.count(len(notes), "note"), table)
    return section


def _finding_table(inspected: Inspection, found: Sequence[Finding], caption: str) -> tables.Table:
    frame = pd.DataFrame(
        [
            {"kind": one.kind, "file": _below(inspected.root, one.path), "found": one.text, "remedy": one.remedy}
            for one in found
        ]
    )
    heads = {"kind": "Kind", "file": "File", "found": "Found", "remedy": "Remedy"}
    return tables.from_frame(frame, caption, {name: (head, tables.text_cell) for name, head in heads.items()})


def _below(root: pathlib.Path, path: pathlib.Path) -> str:
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)


def _labels(inspected: Inspection) -> blocks.Section:
    section = blocks.Section("labels", "Parts and labels", "Labels")
    if inspected.images:
        columns = {
            name: (head, tables.text_cell if name == "part" else tables.number_cell) for name, head in _PARTS.items()
        }
        columns |= {name: (f"Slices with {name}", tables.number_cell) for name in COUNTS}
        section.add("table", tables.from_frame(summary(inspected), "Images, and slices with each label.", columns))
    return section


def _images(inspected: Inspection) -> blocks.Section:
    section = blocks.Section("images", "Images", "Images")
    if inspected.images:
        table = inspected.table()
        columns = {name: (head, tables.formatter(table[name])) for name, head in _COLUMNS.items()}
        section.add("table", tables.from_frame(table, "Images with the masks that were paired with them.", columns))
    return section


def _slices(out_dir: pathlib.Path, inspected: Inspection) -> blocks.Section:
    section = blocks.Section("slices", "Slices", "Slices")
    chosen = _chosen(inspected)
    if not chosen:
        return section
    reader = reading.Reader(voxel_by_voxel=inspected.voxel_by_voxel, view=inspected.description.view)
    drawn = [_drawn(dict(reader.read(seen, index))) for seen, index in chosen]
    figure = slice_figures.contact_sheet(
        np.stack([image for image, _ in drawn]),
        [f"{seen.slice_id(index)}\n{seen.item.part}" for seen, index in chosen],
        fill=np.stack([fill for _, fill in drawn]),
        colours=_COLOURS,
    )
    caption = (
        f"The slice with the largest lesion of {len(chosen)} images, or their middle slice, as the networks see it; "
        "suspicious images first. Filled: the masks; lesions without a class have the colour of lesion, ignored pixels "
        "are white."
    )
    section.add("figure", run_files.save_figure(out_dir, "contact_sheet", figure, caption))
    return section


def _chosen(inspected: Inspection) -> list[tuple[Seen, int]]:
    """(image, slice) pairs to show: suspicious images first, then others, evenly spread."""
    bad = {finding.path for finding in inspected.findings if finding.level != "note"}
    suspicious = [seen for seen in inspected.images if bad & {seen.item.image, *seen.item.masks.values()}]
    others = [seen for seen in inspected.images if not bad & {seen.item.image, *seen.item.masks.values()}]
    first = suspicious[: _MAX_SLICES // 2]
    at = np.unique(np.linspace(0, len(others) - 1, min(len(others), _MAX_SLICES - len(first))).astype(int))
    return [(seen, _slice_of(seen)) for seen in (*first, *(others[index] for index in at))]


def _slice_of(seen: Seen) -> int:
    sizes = [one["lesion"] for one in seen.counts]
    return int(np.argmax(sizes)) if len(sizes) == seen.num_slices and any(sizes) else seen.num_slices // 2


def _drawn(arrays: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """A slice and its label map, padded to a square and resized to uint8[_SIZE, _SIZE]."""
    image = arrays["image"]
    fill = arrays.get("classes", _LESION * arrays.get("lesion", np.zeros_like(image)))
    fill = np.where(arrays.get("ignore", np.zeros_like(image)) > 0, _IGNORE, fill).astype(np.uint8)
    room = [(max(image.shape) - side) // 2 for side in image.shape]
    widths = [(before, max(image.shape) - side - before) for before, side in zip(room, image.shape, strict=True)]
    image, fill = (np.pad(values, widths) for values in (image, fill))
    return labels.resize_image(image, (_SIZE, _SIZE)), labels.resize_label(fill, (_SIZE, _SIZE))
