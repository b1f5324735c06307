"""Stage `phenotypes`: measures phenotypes per slice and per patient in the cohort's label maps."""

import functools
import hashlib
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from absl import logging
from PIL import Image

from ssinfnet_jax import rundir
from ssinfnet_jax.analysis import phenotypes
from ssinfnet_jax.config import Config, plain
from ssinfnet_jax.data import prepare


def run(
    config: Config,
    run_dir: rundir.RunDir,
    *,
    scheduler: str | None = None,
    num_workers: int | None = None,
) -> str | None:
    """Writes phenotypes of the cohort per slice and per patient as CSV and Parquet, with their settings.

    Args:
      scheduler, num_workers: see `phenotypes.Work`.
    Returns: None, or the reason why there is nothing to measure.
    """
    segmented = run_dir.require("segment_cohort", "summary.csv", "masks")
    if run_dir.was_skipped("segment_cohort"):
        return "no cohort was segmented"
    records, table = prepare.load(config.data, run_dir)
    summary = pd.read_csv(segmented / "summary.csv", dtype={"slice_id": str, "patient_id": str})
    position_of = dict(zip(table["slice_id"], range(len(table)), strict=True))
    items = [
        phenotypes.Item(
            row.slice_id,
            row.patient_id,
            functools.partial(_read, records, position_of[row.slice_id], segmented / "masks" / row.mask),
        )
        for row in summary.itertuples()
    ]
    directory = run_dir.stage("phenotypes")
    work = phenotypes.Work(
        parts_dir=directory / "parts",
        num_workers=num_workers,
        scheduler=scheduler,
        # The summary has the pixel counts of the masks, so phenotypes of other masks are not mixed with these.
        provenance={"masks_sha256": hashlib.sha256((segmented / "summary.csv").read_bytes()).hexdigest()},
    )
    settings = phenotypes.make("eight_bit", plain(config.phenotypes.settings))
    tables = phenotypes.measure(items, settings=settings, how=config.phenotypes.by_patient, work=work)
    tables.write(directory)
    logging.info("Phenotypes:\n%s", tables.summary().to_string(index=False))
    return None


def _read(records: Sequence[Mapping[str, Any]], position: int, mask: pathlib.Path) -> tuple[np.ndarray, np.ndarray]:
    """Reads image and classes of a segmented slice."""
    with Image.open(mask) as classes:
        return records[position]["image"], np.array(classes)
