"""The phenotypes of a whole cohort as one table, computed in parallel and resumed where a run stopped."""

import dataclasses
import functools
import hashlib
import math
import os
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import tqdm

from ssinfnet_jax import dask_tasks
from ssinfnet_jax.analysis.phenotypes import rows
from ssinfnet_jax.analysis.phenotypes.columns import AREA, REGIONS, columns, prefix
from ssinfnet_jax.analysis.phenotypes.parts import Parts
from ssinfnet_jax.analysis.phenotypes.settings import EIGHT_BIT, Settings, versions

# Fewer or more bins than this make texture phenotypes hard to compare (PyRadiomics' own advice is 16-128).
NUM_BINS_RANGE = (16, 200)
# The first rows are stored at once, later ones so often: a killed run loses the rows of so many seconds.
_SECONDS_PER_PART = 5.0
_TASKS_TOGETHER = 8


@dataclasses.dataclass(frozen=True)
class Work:
    """Where and how rows are computed.

    Attributes:
      parts_dir: folder of the rows that are there already; None stores nothing.
      num_workers: processes on this machine; 0 computes in this one; None takes the cores that this process may use.
        Processes are spawned, so a script needs `if __name__ == "__main__":`, and sources must be picklable.
      scheduler: address of a running Dask scheduler, used instead of own processes.
      progress: shows a bar.
      provenance: JSON values that must be the same in all runs on one parts_dir.
    """

    parts_dir: str | os.PathLike | None = None
    num_workers: int | None = None
    scheduler: str | None = None
    progress: bool = True
    provenance: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def __post_init__(self):
        if self.num_workers is not None and self.num_workers < 0:
            raise ValueError(f"num_workers must be >= 0, got {self.num_workers}; 0 computes in this process.")


def table(
    items: Iterable[rows.Item | tuple], *, settings: Settings = EIGHT_BIT, work: Work | None = None, **options: Any
) -> pd.DataFrame:
    """Phenotypes of many slices.

    A slice that cannot be loaded or computed becomes a row that says so in `error`. Rows are stored in
    `parts_dir` while they come; the next call computes only slices that are not there yet, whose version is
    another, or that failed. Name in `provenance` what all slices depend on (checkpoint, data set), so that a change
    is noticed.

    Args:
      items: slices with unique ids, or tuples of the attributes of an Item.
      settings: see Settings; stored as `settings.json` beside the parts.
      work: see Work; or its attributes as keywords.
    Returns: one row per item, in their order: slice_id, patient_id, error, then as `extract()`.
      `attrs["num_bins_outside"]` counts regions with fewer or more grey-level bins than 16-200, per region; a
      warning names them.
    Raises: ValueError for a repeated slice_id, or parts made with other settings, provenance or PyRadiomics
      version.
    """
    items = [rows.Item(*item) for item in items]
    names = ["slice_id", "patient_id", "error", *columns(settings)]
    found = _computed(rows.slice_row, items, names, settings, work or Work(**options), unit="slice")
    found["patient_id"] = pd.array([item.patient_id for item in items], dtype="str")
    _warn_of_bins(found, settings)
    return found


def merged_table(
    items: Iterable[rows.Item | tuple],
    slices: pd.DataFrame,
    *,
    settings: Settings = EIGHT_BIT,
    work: Work | None = None,
    **options: Any,
) -> pd.DataFrame:
    """Phenotypes of each patient's slices together, see `extract_merged()`.

    Args:
      items: as of `table()`.
      slices: what `table()` gave of them; slices with an error or without any lesion are left out.
      settings, work: as of `table()`; parts_dir must be another.
    Returns: one row per patient, in order of patient_id: patient_id, error, then as `extract_merged()`.
    Raises: as `table()`.
    """
    lesions = set(slices.loc[(slices["error"] == "") & (slices[f"lesion_{AREA}"] > 0), "slice_id"])
    patients: dict[str, list[rows.Item]] = {patient_id: [] for patient_id in sorted(set(slices["patient_id"]))}
    for item in (rows.Item(*item) for item in items):
        if item.slice_id in lesions:
            patients[item.patient_id].append(item)
    tasks = [rows.Patient(patient_id, tuple(own), _version(own)) for patient_id, own in patients.items()]
    names = ["patient_id", "error", *(name for name in columns(settings) if "_shape2D_" not in name)]
    found = _computed(rows.patient_row, tasks, names, settings, work or Work(**options), unit="patient")
    _warn_of_bins(found, settings)
    return found


def _version(items: Sequence[rows.Item]) -> str:
    """Of the slices that were merged: another slice, or another version of one, makes it another."""
    return hashlib.sha256(repr([(item.slice_id, item.version) for item in items]).encode()).hexdigest()


def _computed(function, tasks: Sequence, names: list[str], settings: Settings, work: Work, unit: str) -> pd.DataFrame:
    """A row with the columns `names` per task, in their order; a task's first field is the row's first column."""
    wanted = {(task[0], task.version): number for number, task in enumerate(tasks)}
    seen: set[str] = set()
    for task in tasks:
        if task[0] in seen:
            raise ValueError(f"{names[0]} {task[0]!r} occurs twice; ids must be unique over all patients.")
        seen.add(task[0])
    made_with = versions()
    header = {
        "settings": dataclasses.asdict(settings),
        "versions": made_with,
        "provenance": dict(work.provenance),
    }
    store = Parts(work.parts_dir, header) if work.parts_dir is not None else None
    stored = store.read() if store else pd.DataFrame()
    if len(stored):
        place = [wanted.get(key) for key in zip(stored[names[0]], stored["version"], strict=True)]
        stored = stored.assign(place=place).dropna(subset="place").drop_duplicates("place")
    done = set(stored["place"]) if len(stored) else set()
    missing = [task for number, task in enumerate(tasks) if number not in done]
    compute = functools.partial(function, settings=settings, made_with=made_with)
    new = _collect(_run(compute, missing, work, unit), store, names[0])
    found = pd.DataFrame(new, columns=[*names, "version"])
    found["place"] = [wanted[key] for key in zip(found[names[0]], found["version"], strict=True)]
    found = pd.concat([stored, found], ignore_index=True) if len(stored) else found
    found = found.sort_values("place", ignore_index=True)[names]
    # The same types, whether rows were stored before or not.
    text = [name for name in names if name in ("slice_id", "patient_id", "error") or name.endswith("_reason")]
    return found.astype({name: "str" if name in text else float for name in names})


def _run(compute: Callable, tasks: Sequence, work: Work, unit: str) -> Iterator[tuple[Any, Any]]:
    """(task, row or exception) as they come, here, in processes of this machine, or on a cluster."""
    shown = bool(work.progress and tasks)
    with tqdm.tqdm(total=len(tasks), unit=unit, desc=f"phenotypes, {unit}s", disable=not shown) as bar:
        if work.num_workers == 0 or not tasks:
            results = ((task, compute(task)) for task in tasks)
        else:
            results = _run_by_dask(compute, tasks, work)
        for task, row in results:
            bar.update()
            yield task, row


def _run_by_dask(compute: Callable, tasks: Sequence, work: Work) -> Iterator[tuple[Any, Any]]:
    """Several slices go together, since a task costs Dask about a fifth of what a slice costs; suspects go alone."""
    alone = []
    with dask_tasks.client(work.scheduler, work.num_workers) as client:
        num_threads = sum(client.nthreads().values()) or 1
        size = min(_TASKS_TOGETHER, -(-len(tasks) // (4 * num_threads)))  # and enough pieces for all to end together
        together = [tasks[start : start + size] for start in range(0, len(tasks), size)]
        for some, found in dask_tasks.run_all(functools.partial(rows.compute_all, compute), together, client=client):
            if isinstance(found, dask_tasks.WorkerDiedError):
                alone += some
            elif isinstance(found, Exception):
                yield from ((task, found) for task in some)
            else:
                yield from zip(some, found, strict=True)
        yield from dask_tasks.run_all(compute, alone, client=client)


def _collect(results: Iterator[tuple[Any, Any]], store: Parts | None, key: str) -> list[rows.Row]:
    """Gathers all rows and stores the good ones, also when the run is interrupted."""
    found, waiting = [], []
    written = -math.inf
    try:
        for task, row in results:
            if isinstance(row, Exception):
                row = {key: task[0], "version": task.version, "error": " ".join(str(row).split())}
            found.append(row)
            if not row["error"]:
                waiting.append(row)
            if store and waiting and time.monotonic() - written > _SECONDS_PER_PART:
                store.add(waiting)
                waiting, written = [], time.monotonic()
    finally:
        if store and waiting:
            store.add(waiting)
    return found


def _warn_of_bins(found: pd.DataFrame, settings: Settings) -> None:
    low, high = NUM_BINS_RANGE
    outside = {}
    for region in REGIONS:
        for image in settings.image_bins():
            name = f"{region}_{prefix(image)}"
            reasons = found[f"{name}reason"].fillna("failed")
            num_bins = found.loc[(reasons == "") | reasons.str.startswith("undefined"), f"{name}num_bins"]
            outside[name.removesuffix("_")] = {
                "below": int(np.sum(num_bins < low)),
                "above": int(np.sum(num_bins > high)),
                "regions": len(num_bins),
            }
    found.attrs["num_bins_outside"] = outside
    told = [
        f"{region}: {count['below']} below and {count['above']} above, of {count['regions']}"
        for region, count in outside.items()
        if count["below"] or count["above"]
    ]
    if told:
        warnings.warn(
            f"Grey-level bins outside {low}-{high} ({'; '.join(told)}): texture phenotypes of such regions "
            "compare badly; choose another bin_width.",
            stacklevel=4,
        )
