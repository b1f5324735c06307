"""Tables of phenotypes of a cohort, computed in parallel; an interrupted computation can be resumed."""

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

# Outside this range texture phenotypes are hard to compare (PyRadiomics recommends 16-128).
NUM_BINS_RANGE = (16, 200)
# The first row is stored at once, then rows at this interval: the most that a killed run loses.
_SECONDS_PER_PART = 5.0
_TASKS_TOGETHER = 8


@dataclasses.dataclass(frozen=True)
class Work:
    """Where and how to compute rows.

    Attributes:
      parts_dir: folder of stored rows; None stores nothing.
      num_workers: processes on this machine; 0: this process; None: as many as cores that this process may use.
        Processes are spawned, so a script needs `if __name__ == "__main__":`, and sources must be picklable.
      scheduler: address of a running Dask scheduler to use instead.
      progress: shows a progress bar.
      provenance: JSON values that must be equal in all runs with the same parts_dir.
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

    A slice that cannot be loaded or measured has a row with its `error`. Finished rows are stored in `parts_dir`; the
    next call computes only slices that are new, have another version, or failed. Put everything that all slices depend
    on (checkpoint, dataset) into `provenance`, so that a change is detected.

    Args:
      items: slices with unique ids, or tuples of the attributes of an Item.
      settings: see Settings; stored as `settings.json` in `parts_dir`.
      work: see Work; or its attributes as keywords.
    Returns: one row per item, in their order: slice_id, patient_id, error, then as `extract()`.
      `attrs["num_bins_outside"]` counts, per region, regions with fewer than 16 or more than 200 grey-level bins; a
      warning names them.
    Raises: ValueError for a repeated slice_id, or stored rows of other settings, provenance or PyRadiomics version.
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
    """Phenotypes of each patient's slices merged, see `extract_merged()`.

    Args:
      items: see `table()`.
      slices: the result of `table()`; slices with an error or without any lesion are left out.
      settings, work: see `table()`; parts_dir must be a different one.
    Returns: one row per patient, sorted by patient_id: patient_id, error, then as `extract_merged()`.
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
    """Changes with the set of merged slices and with the version of each."""
    return hashlib.sha256(repr([(item.slice_id, item.version) for item in items]).encode()).hexdigest()


def _computed(function, tasks: Sequence, names: list[str], settings: Settings, work: Work, unit: str) -> pd.DataFrame:
    """A row with the columns `names` per task, in the order of tasks; the first field of a task is the first column."""
    wanted = {(task[0], task.version): number for number, task in enumerate(tasks)}
    seen: set[str] = set()
    for task in tasks:
        if task[0] in seen:
            raise ValueError(f"{names[0]} {task[0]!r} occurs twice; ids must be unique over all patients.")
        seen.add(task[0])
    made_with = versions()
    made = {"settings": dataclasses.asdict(settings), "versions": made_with}
    header = made | {"provenance": dict(work.provenance)}
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
    # The dtypes must not depend on whether rows were stored before.
    text = [name for name in names if name in ("slice_id", "patient_id", "error") or name.endswith("_reason")]
    return found.astype({name: "str" if name in text else float for name in names})


def _run(compute: Callable, tasks: Sequence, work: Work, unit: str) -> Iterator[tuple[Any, Any]]:
    """Yields (task, row or exception) as they finish in this process, in processes of this machine, or on a cluster."""
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
    """Sends several slices at once, as a Dask task costs a fifth of a slice; retries those of dead workers singly."""
    alone = []
    with dask_tasks.client(work.scheduler, work.num_workers) as client:
        num_threads = sum(client.nthreads().values()) or 1
        size = min(_TASKS_TOGETHER, -(-len(tasks) // (4 * num_threads)))  # small enough for all workers to end together
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
    """Collects all rows and stores those without an error, even if the run is interrupted."""
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
            counts = {"below": int(np.sum(num_bins < low)), "above": int(np.sum(num_bins > high))}
            outside[name.removesuffix("_")] = counts | {"regions": len(num_bins)}
    found.attrs["num_bins_outside"] = outside
    told = [
        f"{region}: {count['below']} below and {count['above']} above, of {count['regions']}"
        for region, count in outside.items()
        if count["below"] or count["above"]
    ]
    if told:
        warnings.warn(
            f"Grey-level bins outside {low}-{high} ({'; '.join(told)}): texture phenotypes of such regions "
            "are hard to compare; choose another bin_width.",
            stacklevel=4,
        )
