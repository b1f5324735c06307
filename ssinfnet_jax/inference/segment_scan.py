"""Segments one scan, from its files to a folder of results; slices are streamed through the networks."""

import concurrent.futures
import contextlib
import dataclasses
import functools
import hashlib
import json
import pathlib
import re
import shutil
from typing import Any

import numpy as np
import pandas as pd
from absl import logging

from ssinfnet_jax.data import ct, lung_region, survey
from ssinfnet_jax.data.input_files import readable
from ssinfnet_jax.data.readers import find, itk
from ssinfnet_jax.data.readers.scan import Scan
from ssinfnet_jax.inference import measure, segmenter
from ssinfnet_jax.inference.writers import dicom_seg, nifti, pictures, seg_nrrd
from ssinfnet_jax.networks.decision import Decision

_MOST_STEM_BYTES = 120  # of a picture's name; with prefix and suffix it must fit the file system's 255
PROBABILITIES = ("lesion", "ggo", "consolidation")
COLUMNS = (  # of a row of measurements
    "scan", "patient_id", "source", "format", "kind", "slices", "slices_affected", "ggo_ml", "consolidation_ml",
    "lesion_ml", "lung_approx_ml", "ggo_px", "consolidation_px", "lesion_px", "lung_approx_px",
    "lesion_share_of_lung_approx", "slice_mm", "row_mm", "column_mm", "lowest_value", "highest_value", "mean_value",
    "empty", "notes",
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Options:
    """How to segment scans.

    Attributes:
      threshold: of the lesion's probability; overrides that of the networks' decision (`Decision.with_threshold`).
      min_island: removes lesions of a smaller area in a slice: mm2 if the spacing is known, else pixels.
      flips: a key of `segmenter.FLIPS`.
      view: "lungs" crops volumes to the lungs, with a margin; "frame" does not crop.
      outside_lungs: "remove" removes lesions outside the lungs from volumes in HU (`lung_region`) and skips slices
        far from any lung; "keep" does neither.
    """

    threshold: float | None = None
    min_island: float = 0.0
    flips: str = "none"
    view: str = "frame"
    outside_lungs: str = "remove"


class Networks:
    """Both networks and their input format."""

    def __init__(self, single_dir: pathlib.Path, multi_dir: pathlib.Path, flips: str, batch_size: int):
        self.segmenter = segmenter.Segmenter(single_dir, multi_dir, flips=flips, batch_size=batch_size)
        self.window_hu, _ = self.segmenter.card.scan_input(single_dir)


def decide_by(decision: Decision, options: Options) -> Decision:
    """Returns the networks' decision, with the threshold of the options if set."""
    return decision if options.threshold is None else decision.with_threshold(options.threshold)


def segment(
    source: find.Source,
    networks: Networks,
    options: Options,
    out_dir: pathlib.Path,
    input_kind: str | None = None,
    force: bool = False,
) -> dict[str, Any]:
    """Segments a scan and writes `scans/NAME`, complete or not at all, `masks/NAME*` and `images/NAME*`.

    Removes files of an earlier result of the scan from `masks` and `images`. A volume without lungs and pictures of
    another window are refused unless `force` is true.

    Returns: its row of measurements: `COLUMNS`, the `identity` and `stamp` of its source, and the files that were
      `left_out`, with reasons.
    Raises: ValueError or OSError for a scan that cannot be segmented, which leaves no files behind.
    """
    folder = out_dir / "scans" / source.name
    partial = folder.with_name(f".partial-{source.name}")
    shutil.rmtree(partial, ignore_errors=True)
    (partial / "scratch").mkdir(parents=True)
    try:
        stamp = source.stamp  # taken before reading, so that the next call notices files that change meanwhile
        scan = source.open(partial / "scratch")
        seen = survey.survey(scan, input_kind, networks.window_hu)
        if scan.grid is not None and not seen.lungs.any() and not force:
            raise ValueError(
                f"No lungs were found in {scan.source}: a head, an abdomen, or a frame that cuts both lungs? If it is "
                "a chest, --force segments it anyway."
            )
        if seen.other_window and not force:
            raise ValueError(
                f"{scan.source} was exported with another window: {seen.other_window}. Export it again with "
                f"{networks.window_hu[0]:g} to {networks.window_hu[1]:g} HU, or pass --hu_window=LOW,HIGH, the HU of "
                "its black and white; --force segments it as it is."
            )
        result = _Result(source.name, scan, seen, networks, options, partial)
        rows = result.fill()
        row = {"scan": source.name, "patient_id": scan.patient_id, "source": str(scan.source)}
        row |= measure.summarize(scan, seen, rows)
        notes = [*scan.notes, *result.write(rows)]
        if seen.padding_hu is not None:
            notes.append(f"{seen.padding_hu:g} is not a HU value: it counts as padding, that is, air")
        if scan.grid is not None and not seen.lungs.any():
            notes.append("no lungs were found by thresholds: is this a chest CT that shows both lungs completely?")
        if result.num_outside:
            notes.append(
                f"{result.num_outside} voxels outside the lungs were removed (--outside_lungs=keep keeps them)"
            )
        if row["empty"]:
            notes.append(
                f"EMPTY: no lesion was found (values {seen.low:g} to {seen.high:g}, mean {seen.mean:.1f}; highest "
                f"probability of a lesion {result.highest:.3f})"
            )
            logging.warning("%s: %s.", source.name, notes[-1])
        row["notes"] = "; ".join(notes)
        row = {name: readable(value) if isinstance(value, str) else value for name, value in row.items()}
        row |= {"identity": source.identity, "stamp": stamp}
        row["left_out"] = {readable(str(path)): readable(reason) for path, reason in sorted(scan.left_out.items())}
        pd.DataFrame(rows).to_csv(partial / "slices.csv", index=False)
        (partial / "scan.json").write_text(json.dumps(row, indent=2) + "\n")
        shutil.rmtree(partial / "scratch")
        for kind in ("images", "masks"):
            (out_dir / kind).mkdir(exist_ok=True)
            remove_files(out_dir / kind, out_dir / "scans", source.name)
            for file in sorted((partial / kind).iterdir()):
                file.rename(out_dir / kind / f"{source.name}{file.name}")
            (partial / kind).rmdir()
        partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return row


def lost_file(out_dir: pathlib.Path, name: str) -> pathlib.Path | None:
    """Returns the first file of a segmented scan that is missing in `images` or `masks`; None if all are there."""
    files = sorted(_files_of(name, out_dir / "scans"))
    paths = (out_dir / kind / file for kind in ("images", "masks") for file in files)
    return next((path for path in paths if not path.is_file()), None)


def remove_files(files_dir: pathlib.Path, scans_dir: pathlib.Path, name: str) -> None:
    """Removes the files of a scan, but not those of scans with similar names."""
    ours = re.compile(re.escape(name) + r"(\.nii\.gz|_\d{4,}_.*)", re.DOTALL)
    stale = {file.name for file in files_dir.glob("*") if ours.fullmatch(file.name)}
    for other in {folder.name.removeprefix(".partial-") for folder in scans_dir.iterdir()} - {name}:
        if other.startswith(name) or name.startswith(other):
            stale -= _files_of(other, scans_dir)
    for file in stale:
        (files_dir / file).unlink()


def _files_of(name: str, scans_dir: pathlib.Path) -> set[str]:
    """Returns the names of a scan's files in `images` and `masks`."""
    for folder in (f".partial-{name}", name):  # another process may be renaming it
        with contextlib.suppress(FileNotFoundError):
            return set(pd.read_csv(scans_dir / folder / "slices.csv", dtype=str).get("file", [f"{name}.nii.gz"]))
    return {f"{name}.nii.gz"}


class _Slices:
    """The slices as records for the networks: windowed, and cropped to the view."""

    def __init__(self, scan: Scan, seen: survey.Survey, networks: Networks, view: str):
        self._scan, self._seen, self._window = scan, seen, networks.window_hu
        self._cut = view == "lungs" and scan.grid is not None
        # A batch's slices are needed again for its results, after the next batch has been read.
        size = 2 * networks.segmenter.batch_size
        self.read = functools.lru_cache(maxsize=size)(self._read)
        self.grey = functools.lru_cache(maxsize=size)(self._grey)

    def __len__(self) -> int:
        return self._scan.num_slices

    def __getitem__(self, index: int) -> dict[str, Any]:
        grey = self.grey(index)
        return {"image": np.ascontiguousarray(grey[self.box(grey.shape)]), "slice_id": str(index)}

    def _read(self, index: int) -> np.ndarray:
        return self._seen.without_padding(self._scan.read(index))

    def _grey(self, index: int) -> np.ndarray:
        """Returns uint8[H,W], windowed as in training."""
        values = self.read(index)
        return ct.window_hu(values, *self._window) if self._seen.kind == "hu" else np.rint(values).astype(np.uint8)

    def box(self, shape: tuple[int, int]) -> tuple[slice, slice]:
        """Returns the rows and columns that the networks see of a slice of this shape."""
        return self._seen.box(shape, survey.MARGIN) if self._cut else (slice(0, shape[0]), slice(0, shape[1]))


class _Result:
    """The results of a scan in progress: volumes on disk in the grid of the source, or pictures."""

    def __init__(self, name: str, scan, seen, networks: Networks, options: Options, folder: pathlib.Path):
        self._name = name
        self._scan, self._seen, self._networks, self._options, self._folder = scan, seen, networks, options, folder
        self._slices = _Slices(scan, seen, networks, options.view)
        self._decision = decide_by(networks.segmenter.decision, options)
        self._volumes: dict[str, np.ndarray] = {}
        self._region = seen.region if options.outside_lungs == "remove" and seen.kind == "hu" else None
        self.highest = 0.0  # lesion probability
        self.num_outside = 0  # removed lesion pixels
        for name in ("images", "masks", "probabilities", "overlays"):
            (folder / name).mkdir()
        if scan.grid is not None:
            image_dtype = np.int16 if seen.kind == "hu" else np.uint8
            for name in ("image", "labels", *PROBABILITIES):
                self._volumes[name] = np.memmap(
                    folder / "scratch" / name,
                    dtype=image_dtype if name == "image" else np.uint8,
                    mode="w+",
                    shape=scan.grid.shape,
                    order="F",
                )

    def fill(self) -> list[dict[str, Any]]:
        """Runs the networks on the slices that may hold a lesion; returns `measure.count` of every slice."""
        asked = np.ones(self._scan.num_slices, bool) if self._region is None else self._region.any(axis=(1, 2))
        found = self._networks.segmenter.probabilities(self._slices, np.flatnonzero(asked), self._decision)
        return [self._fill(index, next(found)[1] if is_asked else None) for index, is_asked in enumerate(asked)]

    def _fill(self, index: int, probabilities: tuple[np.ndarray, np.ndarray] | None) -> dict[str, Any]:
        """Decides and stores a slice, empty if the networks skipped it; returns its `measure.count`."""
        grey = self._slices.grey(index)
        pred = np.zeros(grey.shape, np.uint8)
        probs = np.zeros((3, *grey.shape), np.uint8)  # 255 = 1
        if probabilities is not None:
            box = self._slices.box(grey.shape)
            size = grey[box].shape
            lesion, classes = probabilities
            lesion = segmenter.resize_probs(lesion, size)
            classes = np.stack([segmenter.resize_probs(classes[..., number], size) for number in range(3)], axis=-1)
            self.highest = max(self.highest, float(self._decision.lesion_probs(lesion, classes).max()))
            pred[box] = self._decision.labels(lesion, classes)
            for part, values in enumerate((lesion, classes[..., 1], classes[..., 2])):
                probs[part, *box] = np.rint(values * 255)
        if self._region is not None and pred.any():
            inside = lung_region.remove_outside(pred, self._seen.region_slice(index, grey.shape))
            self.num_outside += int((pred != inside).sum())
            pred = inside
        pred = measure.remove_islands(pred, self._min_pixels())
        lung = self._seen.lung_slice(index, grey.shape) if self._seen.lungs.any() else None
        row = measure.count(index, pred, lung)
        if self._scan.grid is None:
            row |= {"file": self._name + self._file(index), "picture": readable(self._scan.files[index].name)}
        self._store(index, grey, pred, probs)
        return row

    def _file(self, index: int) -> str:
        """Returns the part of a picture's file name after the scan's name; long names are cut and get a hash."""
        stem = readable(self._scan.files[index].stem)
        if len(stem.encode()) > _MOST_STEM_BYTES:
            start = stem.encode()[: _MOST_STEM_BYTES - 9].decode(errors="ignore")
            stem = f"{start}_{hashlib.sha256(stem.encode()).hexdigest()[:8]}"
        return f"_{index:04d}_{stem}.png"

    def _min_pixels(self) -> float:
        if self._scan.grid is None:
            return self._options.min_island
        _, row_mm, column_mm = self._scan.grid.spacing_mm
        return self._options.min_island / (row_mm * column_mm)

    def _store(self, index: int, grey: np.ndarray, pred: np.ndarray, probs: np.ndarray) -> None:
        if pred.any():
            pictures.overlay(grey, pred).save(self._folder / "overlays" / f"slice_{index:04d}.jpg", quality=90)
        if self._scan.grid is None:
            name = self._file(index)
            pictures.write_grey(self._folder / "images" / name, grey)
            pictures.write_labels(self._folder / "masks" / name, pred)
            for part, values in zip(PROBABILITIES, probs, strict=True):
                pictures.write_grey(self._folder / "probabilities" / f"{part}{name}", values)
            return
        image = grey if self._seen.kind == "uint8" else np.rint(self._slices.read(index))
        views = {"image": image, "labels": pred, **dict(zip(PROBABILITIES, probs, strict=True))}
        for name, view in views.items():
            volume = self._volumes[name]
            if name != "image" and not view.any():
                continue  # a new volume is 0
            volume[self._scan.grid.source_slice(index)] = self._scan.grid.to_source(view.astype(volume.dtype))

    def write(self, rows: list[dict[str, Any]]) -> list[str]:
        """Writes the files that need all slices; returns notes for the user."""
        notes = []
        if self._scan.grid is not None:
            self._write_volumes()
        if self._scan.format == itk.NRRD:
            seg_nrrd.write(self._folder / "segmentation.seg.nrrd", self._volumes["labels"], self._scan)
        if self._scan.format == "dicom":
            try:
                dicom_seg.write(self._folder / "segmentation.dcm", self._volumes["labels"], self._scan)
            except ValueError as error:
                notes.append(str(error))
        affected = [row["slice"] for row in rows if row["lesion_px"]]
        labels = {index: self._overview(index) for index in pictures.chosen(affected, len(rows))}
        pictures.write_sheet(self._folder / "overview.png", {f"slice {index}": view for index, view in labels.items()})
        return notes

    def _write_volumes(self) -> None:
        """Writes the NIfTI files, several at a time: compressing takes longest, and leaves Python to other threads."""
        volumes, about = self._volumes, "0 background, 1 GGO, 2 consolidation"
        files = {"image": ("images/.nii.gz", 1.0, "image"), "labels": ("masks/.nii.gz", 1.0, about)}
        files |= {name: (f"probabilities/{name}.nii.gz", 1 / 255, f"probability of {name}") for name in PROBABILITIES}
        with concurrent.futures.ThreadPoolExecutor() as pool:
            written = [
                pool.submit(
                    nifti.write, self._folder / path, volumes[name], self._scan, slope=slope, description=description
                )
                for name, (path, slope, description) in files.items()
            ]
        for one in written:
            one.result()

    def _overview(self, index: int):
        path = self._folder / "overlays" / f"slice_{index:04d}.jpg"
        if path.is_file():
            return pictures.Image.open(path)
        return pictures.overlay(self._slices.grey(index), np.zeros_like(self._slices.grey(index)))
