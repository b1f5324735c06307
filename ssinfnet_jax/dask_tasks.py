"""Many independent tasks in many processes, by Dask: on this machine, or on a cluster that runs already.

    with distributed.client(scheduler=None, num_workers=2) as client:
        for task, result in distributed.run_all(function, tasks, client=client, description="slices"):
            ...

A task that fails, or whose process dies, comes back as its error; the others go on.
"""

import contextlib
import itertools
import logging as standard_logging
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

import dask
import dask.distributed
import dask.system
import tqdm
from absl import logging

Task = TypeVar("Task")

_CONNECT_SECONDS = 10
# One thread per process: those of image libraries and of linear algebra would fight over the cores. Dask's own
# variables also have freed arrays given back to the system at once, which made work on small matrices take half as
# long again.
_ITK_ENVIRONMENT = {"ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS": "1"}
_SPAWN_ENVIRONMENT = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
_OPTIONS = {
    # What a dying worker takes with it is tried again by run_all, one by one, not by Dask, together.
    "distributed.scheduler.allowed-failures": 0,
    "distributed.nanny.pre-spawn-environ": _SPAWN_ENVIRONMENT,
    # Dask watches itself for a dashboard that nobody opens: a stack trace every 10 ms, the event loops every 20 ms, the
    # system every 500 ms. In each process that took a fifth of the time of work in Python.
    "distributed.worker.profile.enabled": False,
    "distributed.admin.tick.interval": "1s",
    "distributed.admin.system-monitor.interval": "5s",
    "distributed.admin.system-monitor.gil.enabled": False,
}


class WorkerDiedError(RuntimeError):
    """A task's process died, and died again when the task was tried alone."""


@contextlib.contextmanager
def client(scheduler: str | None = None, num_workers: int | None = None) -> Iterator[dask.distributed.Client]:
    """A Dask client, and while it is open the processes behind it.

    Without a scheduler, new processes of one thread each on this machine, which end with the block (and with this
    process, however it ends). They are spawned, since forking a process that has JAX loaded can hang; so a script
    needs `if __name__ == "__main__":` around its main code.

    Args:
      scheduler: address of a running Dask scheduler, as tcp://host:8786; its workers must have this package installed
        and see the same files.
      num_workers: processes on this machine; None takes the cores that this process may use. Not with a scheduler.
    Raises: ValueError for num_workers < 1 or beside a scheduler; ConnectionError if no scheduler answers there within
      10 seconds.
    """
    if scheduler is None:
        with _local_cluster(num_workers) as cluster, dask.distributed.Client(cluster) as connected:
            yield connected
        return
    if num_workers is not None:
        raise ValueError(f"num_workers={num_workers} is for processes on this machine; the scheduler has its own.")
    with _connected(scheduler) as connected:
        if not connected.scheduler_info()["workers"]:
            logging.warning(
                "The scheduler at %s has no workers yet; waiting for some: python -m dask worker %s", *[scheduler] * 2
            )
        yield connected


def run_all(
    function: Callable[[Task], Any],
    tasks: Iterable[Task],
    *,
    client: dask.distributed.Client,
    description: str | None = None,
    total: int | None = None,
    unit: str = "task",
) -> Iterator[tuple[Task, Any]]:
    """Calls a function on every task, and gives the results as they come, in any order.

    Tasks are read when there is room for them: at most three per thread are on their way. When a process dies, what it
    was given is tried again, alone in its process; a task whose process dies then, too, comes back as WorkerDiedError.

    Args:
      function: of one task, with the same result whenever it is called; must be picklable, as tasks and results.
      tasks: read lazily.
      client: see `client()`.
      description: of the progress bar; None shows none.
      total: of the progress bar.  unit: of the progress bar.
    Returns: (task, result), or (task, exception) where the function raised one.
    Raises: ConnectionError if the scheduler goes away.
    """
    suspects: list[Task] = []
    with tqdm.tqdm(total=total, desc=description, unit=unit, disable=description is None) as bar:
        for task, result in _completed(function, tasks, client, room=lambda: 3 * _num_threads(client)):
            if isinstance(result, dask.distributed.KilledWorker):
                suspects.append(task)
                continue
            bar.update()
            yield task, result
        # Alone, so that a process that dies has died of its task.
        for task, result in _completed(function, suspects, client, room=lambda: 1):
            if isinstance(result, dask.distributed.KilledWorker):
                result = WorkerDiedError("the worker process died twice (killed, or crashed in native code)")
            bar.update()
            yield task, result


def _completed(function, tasks: Iterable[Task], client, room: Callable[[], int]) -> Iterator[tuple[Task, Any]]:
    """(task, result or exception) as they come; no more than room() tasks are with the scheduler."""
    tasks = iter(tasks)
    running: dict[str, tuple[dask.distributed.Future, Task]] = {}
    completed = dask.distributed.as_completed()

    def submit() -> None:
        for task in itertools.islice(tasks, max(room() - len(running), 0)):
            try:
                future = client.submit(function, task, pure=False)
            except TypeError as error:
                raise TypeError(
                    f"{function} of {task!r:.200} cannot be sent to another process; both must be picklable, as "
                    "functions of a module and functools.partial of them are."
                ) from error
            running[future.key] = future, task
            completed.add(future)

    try:
        submit()
        while running:
            for future in completed.next_batch():
                _, task = running.pop(future.key)
                yield task, _outcome(future)
            submit()
    finally:
        client.cancel([future for future, _ in running.values()])


def _outcome(future: dask.distributed.Future) -> Any:
    try:
        return future.result()
    except Exception as error:
        if future.status in ("cancelled", "lost"):
            raise ConnectionError(
                "The Dask scheduler went away; start it again, then the same command goes on."
            ) from error
        return error


def _num_threads(client: dask.distributed.Client) -> int:
    """Threads of all workers now: a cluster may grow and shrink."""
    return max(client.scheduler_info(n_workers=1)["total_threads"], 1)


def _local_cluster(num_workers: int | None) -> dask.distributed.LocalCluster:
    if num_workers is not None and num_workers < 1:
        raise ValueError(f"num_workers must be >= 1, got {num_workers}.")
    with dask.config.set(_OPTIONS):
        try:
            return dask.distributed.LocalCluster(
                n_workers=num_workers or dask.system.CPU_COUNT,
                threads_per_worker=1,
                processes=True,
                memory_limit=None,
                dashboard_address="127.0.0.1:0",
                silence_logs=standard_logging.CRITICAL,
                env=_ITK_ENVIRONMENT,
            )
        except RuntimeError as error:
            raise RuntimeError(
                f"Worker processes cannot be started ({error}). A script that starts them needs "
                "`if __name__ == '__main__':` around its main code."
            ) from error


def _connected(scheduler: str) -> dask.distributed.Client:
    try:
        return dask.distributed.Client(scheduler, timeout=_CONNECT_SECONDS)
    except (OSError, ValueError) as error:
        raise ConnectionError(
            f"No Dask scheduler answers at {scheduler} ({error}); start one with `python -m dask scheduler` and give "
            "the address that it prints, as tcp://HOST:8786."
        ) from error
