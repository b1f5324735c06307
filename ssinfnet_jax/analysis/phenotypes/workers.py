"""Runs phenotype extraction over many slices, here or in other processes; no slice takes others with it."""

import concurrent.futures
import itertools
import multiprocessing
import pickle
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures.process import BrokenProcessPool
from typing import Any

import numpy as np
import SimpleITK

from ssinfnet_jax.analysis.phenotypes.extraction import extract
from ssinfnet_jax.analysis.phenotypes.settings import Settings

# image, classes and, where known, (height, width) of a pixel in mm; or a function that loads them.
Arrays = tuple[np.ndarray, np.ndarray] | tuple[np.ndarray, np.ndarray, tuple[float, float]]
Item = tuple[str, str, Arrays | Callable[[], Arrays]]
Row = dict[str, Any]

_SLICES_PER_TASK = 8
_DIED = "the worker process died (killed, or crashed in native code)"


def compute_rows(items: list[Item], settings: Settings) -> list[Row]:
    """One row per item: slice_id, patient_id, error ("" or why there is nothing else), phenotypes."""
    rows = []
    for slice_id, patient_id, source in items:
        row = {"slice_id": slice_id, "patient_id": patient_id, "error": ""}
        try:
            image, classes, *spacing_mm = source() if callable(source) else source
            options = {"spacing_mm": tuple(spacing_mm[0])} if spacing_mm else {}
            row.update(extract(image, classes, settings=settings, **options))
        except Exception as error:  # told in the row
            row["error"] = f"{type(error).__name__}: {error}"
        rows.append(row)
    return rows


def run_here(items: Iterable[Item], settings: Settings) -> Iterator[Row]:
    """Rows in the order of the items, computed in this process."""
    for item in items:
        yield from compute_rows([item], settings)


def run_in_executor(items: Iterable[Item], settings: Settings, executor: concurrent.futures.Executor) -> Iterator[Row]:
    """Rows as they come, by any executor (a Dask cluster: `client.get_executor()`)."""
    for chunk, future in _submitted(executor, _chunks(items), settings, ahead=64):
        yield from _result(chunk, future)


def run_in_processes(items: Iterable[Item], settings: Settings, num_workers: int) -> Iterator[Row]:
    """Rows as they come, by new processes ("spawn": forking a process that has JAX loaded can hang).

    When a worker dies, the slices that were on their way are tried again one at a time in a process of their
    own; those that kill it once more get an error row, and the others go on.

    Raises: RuntimeError if processes cannot be started at all; TypeError for an item that cannot be pickled.
    """
    chunks = _chunks(items)
    num_rows = 0
    while True:
        unfinished: list[list[Item]] = []
        with _pool(num_workers) as pool:
            for chunk, future in _submitted(pool, chunks, settings, ahead=2 * num_workers, refused=unfinished):
                try:
                    rows = _result(chunk, future)
                except BrokenProcessPool:
                    unfinished.append(chunk)
                    continue
                num_rows += len(rows)
                yield from rows
        if not unfinished:
            return
        rows = list(_run_alone(itertools.chain.from_iterable(unfinished), settings))
        if not num_rows and all(row["error"] == _DIED for row in rows):
            raise RuntimeError(
                "Worker processes die at once. A script that starts them needs `if __name__ == '__main__':` "
                "around its main code; otherwise num_workers=0 runs all in this process and shows the error."
            )
        num_rows += len(rows)
        yield from rows


def _run_alone(items: Iterable[Item], settings: Settings) -> Iterator[Row]:
    pool = None
    try:
        for item in items:
            pool = pool or _pool(1)
            try:
                yield from pool.submit(compute_rows, [item], settings).result()
            except BrokenProcessPool:
                pool.shutdown()
                pool = None
                yield {"slice_id": item[0], "patient_id": item[1], "error": _DIED}
    finally:
        if pool:
            pool.shutdown()


def _pool(num_workers: int) -> concurrent.futures.ProcessPoolExecutor:
    context = multiprocessing.get_context("spawn")
    return concurrent.futures.ProcessPoolExecutor(num_workers, mp_context=context, initializer=_use_one_thread)


def _use_one_thread() -> None:
    """One process per core: SimpleITK's threads (of loaders, say) would only fight over the cores."""
    SimpleITK.ProcessObject.SetGlobalDefaultNumberOfThreads(1)


def _chunks(items: Iterable[Item]) -> Iterator[list[Item]]:
    items = iter(items)
    while chunk := list(itertools.islice(items, _SLICES_PER_TASK)):
        yield chunk


def _submitted(executor, chunks, settings, *, ahead: int, refused: list | None = None):
    """Yields (chunk, finished future), at most `ahead` at once; a broken pool's chunk goes to `refused`."""
    running: dict[concurrent.futures.Future, list[Item]] = {}
    while True:
        for chunk in itertools.islice(chunks, max(ahead - len(running), 0)):
            try:
                running[executor.submit(compute_rows, chunk, settings)] = chunk
            except BrokenProcessPool:
                refused.append(chunk)
                ahead = 0
                break
        if not running:
            return
        finished, _ = concurrent.futures.wait(running, return_when=concurrent.futures.FIRST_COMPLETED)
        for future in finished:
            if isinstance(future.exception(), BrokenProcessPool):
                ahead = 0  # no new work for a broken pool
            yield running.pop(future), future


def _result(chunk: list[Item], future: concurrent.futures.Future) -> list[Row]:
    try:
        return future.result()
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise TypeError(
            f"The items {', '.join(str(item[0]) for item in chunk)} cannot be sent to a worker "
            f"process ({error}); load them by functools.partial of a module's function, or use num_workers=0."
        ) from error
