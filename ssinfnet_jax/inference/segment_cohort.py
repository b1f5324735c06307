"""Stage `segment_cohort`: segments the slices of all patients with clinical data."""

import pathlib
import re
from typing import Any

import numpy as np
import pandas as pd
import tqdm
from PIL import Image

from ssinfnet_jax import rundir
from ssinfnet_jax.config import Config
from ssinfnet_jax.data import labels, prepare, stage_files
from ssinfnet_jax.inference import segmenter
from ssinfnet_jax.inference.writers import pictures


def run(config: Config, run_dir: rundir.RunDir) -> str | None:
    """Segments every slice of the cohort; writes label maps (PNG, 0 background, 1 GGO, 2 consolidation), `summary.csv`.

    Skips slices that already have a label map.

    Returns: None, or the reason why there is nothing to segment.
    """
    records, table = prepare.load(config.data, run_dir)
    cohort = np.flatnonzero((table["split"] == "cohort").to_numpy())
    if not len(cohort):
        return "the data has no cohort: no patients with a clinical table"
    run_dir.require("train_multi")
    if run_dir.was_skipped("train_multi"):
        return "there is no multi network to divide lesions into GGO and consolidation"
    directory = run_dir.stage("segment_cohort")
    masks = directory / "masks"
    masks.mkdir(exist_ok=True)
    names = {int(position): mask_name(table["slice_id"][position]) for position in cohort}
    if len(set(names.values())) < len(names):
        raise ValueError("Slice ids of the cohort differ only in characters that a file name cannot hold; rename them.")
    missing = [position for position, name in names.items() if not (masks / name).is_file()]
    if missing:
        network = segmenter.Segmenter(
            run_dir.require("train_single", "model/model.json") / "model",
            run_dir.require("train_multi", "model/model.json") / "model",
        )
        found = network.segment(records, missing)
        for position, result in tqdm.tqdm(
            zip(missing, found, strict=True), total=len(missing), desc="segment cohort", unit="slice"
        ):
            pictures.write_labels(masks / names[position], result.pred)
    rows = []
    for position, name in names.items():
        pred = read_mask(masks / name)
        ids = table.loc[position, ["slice_id", "patient_id"]]
        rows.append((*ids, name, int((pred == 1).sum()), int((pred == 2).sum()), float((pred > 0).mean())))
    summary = pd.DataFrame(rows, columns=list(stage_files.COHORT))
    _keep_examples(directory, records, cohort, summary, config.data.image_size)
    rundir.write_text(directory / "summary.csv", summary.to_csv(index=False))
    return None


def _keep_examples(
    directory: pathlib.Path, records: Any, positions: np.ndarray, summary: pd.DataFrame, size: int
) -> None:
    """Writes `examples.npz` for the report: slices and label maps of patients with most, median and least lesion."""
    burden = summary.groupby("patient_id")["lesion_fraction"].mean().sort_values(ascending=False, kind="stable")
    patients = dict.fromkeys(burden.index[[0, len(burden) // 2, -1]])
    rows = [row for patient in patients for row in _thinned(np.flatnonzero(summary["patient_id"] == patient))]
    images = [labels.resize_image(records[int(positions[row])]["image"], (size, size)) for row in rows]
    masks = [read_mask(directory / "masks" / summary["mask"][row]) for row in rows]
    preds = [labels.resize_label(mask, (size, size)) for mask in masks]
    ids = [summary[name][rows].to_numpy(str) for name in ("slice_id", "patient_id")]
    arrays = [np.stack(images), np.stack(preds), *ids]
    with rundir.writing(directory / "examples.npz") as path:
        np.savez_compressed(path, **dict(zip(stage_files.COHORT_EXAMPLES, arrays, strict=True)))


def _thinned(rows: np.ndarray, limit: int = 60) -> np.ndarray:
    """Returns at most `limit` of the rows, evenly spread."""
    return rows if len(rows) <= limit else rows[np.linspace(0, len(rows) - 1, limit).astype(int)]


def mask_name(slice_id: str) -> str:
    """Returns the file name of a slice's label map."""
    return re.sub(r"[^A-Za-z0-9._-]", "_", slice_id) + ".png"


def read_mask(path: pathlib.Path) -> np.ndarray:
    """Reads what `write_labels` wrote."""
    with Image.open(path) as image:
        return np.array(image)
