"""The phenotypes of a whole cohort as one table, computed in parallel and resumed where a run stopped."""

import concurrent.futures
import contextlib
import dataclasses
import os
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sized
from typing import Any

import numpy as np
import pandas as pd
import tqdm

from ssinfnet_jax.analysis.phenotypes import workers
from ssinfnet_jax.analysis.phenotypes.parts import Parts
from ssinfnet_jax.analysis.phenotypes.settings import (
    EIGHT_BIT,
    NUM_BINS_RANGE,
    REGIONS,
    Settings,
    names,
    versions,
)

_ROWS_PER_PART = 256


def table(
    items: Iterable[workers.Item],
    *,
    settings: Settings = EIGHT_BIT,
    parts_dir: str | os.PathLike | None = None,
    num_workers: int | None = None,
    progress: bool = True,
    provenance: Mapping[str, Any] | None = None,
    executor: concurrent.futures.Executor | None = None,
) -> pd.DataFrame:
    """Phenotypes of many slices.

    A slice that cannot be loaded or computed becomes a row that says so in `error`. Rows are stored in
    `parts_dir` while they come; the next call computes only slices that are not there yet, and those that
    failed. What was in a slice is not compared: name in `provenance` what the slices depend on (checkpoint,
    data set), so that a change is noticed.

    Args:
      items: (slice_id, patient_id, source) with unique slice ids; source is (image, classes), (image,
        classes, (row_mm, column_mm)), or a function without arguments that returns one of these in the
        worker. Read lazily.
      settings: see Settings; stored as `settings.json` beside the parts.
      parts_dir: folder of the parts; None stores nothing.
      num_workers: processes; 0 computes in this one; None takes the cores that this process may use.
        Processes are spawned, so a script needs `if __name__ == "__main__":`, and sources must be picklable.
      progress: shows a bar.
      provenance: JSON values that must be the same in all runs on one parts_dir.
      executor: used instead of own processes, e.g. `dask.distributed.Client(...).get_executor()`.
    Returns: one row per item, in their order: slice_id, patient_id, error, then as `extract()`.
      `attrs["num_bins_outside"]` counts regions with fewer or more grey-level bins than 16-200, per region; a
      warning names them.
    Raises: ValueError for a repeated slice_id, or parts made with other settings, provenance or PyRadiomics
      version.
    """
    if num_workers is None:
        num_workers = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if num_workers < 0:
        raise ValueError(f"num_workers must be >= 0, got {num_workers}; 0 computes in this process.")
    header = {
        "settings": dataclasses.asdict(settings),
        "versions": versions(),
        "provenance": dict(provenance or {}),
    }
    store = Parts(parts_dir, header) if parts_dir is not None else None
    stored = store.read() if store else pd.DataFrame()
    done = set(stored["slice_id"]) if len(stored) else set()
    order: dict[str, str] = {}

    total = len(items) if isinstance(items, Sized) else None
    with tqdm.tqdm(total=total, unit="slice", desc="phenotypes", disable=not progress) as bar:
        missing = _missing(items, done, order, bar)
        if executor is not None:
            rows = workers.run_in_executor(missing, settings, executor)
        elif num_workers == 0:
            rows = workers.run_here(missing, settings)
        else:
            rows = workers.run_in_processes(missing, settings, num_workers)
        computed = _collect(rows, store, bar)

    columns = ["slice_id", "patient_id", "error"]
    for region in REGIONS:
        columns += [*names([region]), f"{region}_num_bins", f"{region}_reason"]
    computed = pd.DataFrame(computed, columns=columns)
    result = pd.concat([stored, computed], ignore_index=True) if len(stored) else computed
    result = result.iloc[pd.Index(result["slice_id"]).get_indexer(list(order))].reset_index(drop=True)
    num_bins = [f"{region}_num_bins" for region in REGIONS]
    result[num_bins] = result[num_bins].astype(float)  # NaN for failed slices
    result["patient_id"] = list(order.values())
    _warn_of_bins(result)
    return result


def _missing(items, done: set[str], order: dict[str, str], bar: tqdm.tqdm) -> Iterator[workers.Item]:
    """Passes on the items that are not done yet and notes the order of all."""
    for slice_id, patient_id, source in items:
        if slice_id in order:
            raise ValueError(f"slice_id {slice_id!r} occurs twice; ids must be unique over all patients.")
        order[slice_id] = patient_id
        if slice_id in done:
            bar.update()
        else:
            yield slice_id, patient_id, source


def _collect(rows: Iterator[workers.Row], store: Parts | None, bar: tqdm.tqdm) -> list[workers.Row]:
    """Gathers all rows and stores the good ones, also when the run is interrupted."""
    computed, waiting = [], []
    with contextlib.closing(rows):
        try:
            for row in rows:
                bar.update()
                computed.append(row)
                if not row["error"]:
                    waiting.append(row)
                if store and len(waiting) >= _ROWS_PER_PART:
                    store.add(waiting)
                    waiting = []
        finally:
            if store and waiting:
                store.add(waiting)
    return computed


def _warn_of_bins(result: pd.DataFrame) -> None:
    low, high = NUM_BINS_RANGE
    outside = {}
    for region in REGIONS:
        computed = result[f"{region}_firstorder_Mean"].notna()
        num_bins = result.loc[computed, f"{region}_num_bins"]
        outside[region] = {
            "below": int(np.sum(num_bins < low)),
            "above": int(np.sum(num_bins > high)),
            "regions": int(computed.sum()),
        }
    result.attrs["num_bins_outside"] = outside
    told = [
        f"{region}: {count['below']} below and {count['above']} above, of {count['regions']}"
        for region, count in outside.items()
        if count["below"] or count["above"]
    ]
    if told:
        warnings.warn(
            f"Grey-level bins outside {low}-{high} ({'; '.join(told)}): texture phenotypes of such regions "
            "compare badly; choose another bin_width.",
            stacklevel=3,
        )
