"""Runs many independent tasks in many processes with Dask, on this machine or on a running cluster.

    with dask_tasks.client(scheduler=None, num_workers=2) as client:
        for task, result in dask_tasks.run_all(function, tasks, client=client, description="slices"):
            ...

A task that fails, or whose process dies, returns its error; the others continue.
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
_RESTART_SECONDS = 30
# One thread per process: threads of image and linear algebra libraries would compete for the cores. Dask's default
# variables also return freed arrays to the system at once, which made work on small matrices take 1.5 times as long.
_ITK_ENVIRONMENT = {"ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS": "1"}
_SPAWN_ENVIRONMENT = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
_OPTIONS = {
    # run_all retries the tasks of a dead worker one by one; Dask would retry them together.
    "distributed.scheduler.allowed-failures": 0,
    # Dask restarts a dead worker at once. But 15 s after a death it also looks whether the worker is back, and closes
    # it for good if it is not; a worker that has just died again is not. The tasks then wait forever.
    "distributed.deploy.lost-worker-timeout": "3650 days",
    "distributed.nanny.pre-spawn-environ": _SPAWN_ENVIRONMENT,
    # Dask monitors itself for an unused dashboard: a stack trace every 10 ms, the event loops every 20 ms, the
    # system every 500 ms. In each process this took a fifth of the time of Python work.
    "distributed.worker.profile.enabled": False,
    "distributed.admin.tick.interval": "1s",
    "distributed.admin.system-monitor.interval": "5s",
    "distributed.admin.system-monitor.gil.enabled": False,
}


class WorkerDiedError(RuntimeError):
    """A task's process died, and died again when the task was retried alone."""


@contextlib.contextmanager
def client(scheduler: str | None = None, num_workers: int | None = None) -> Iterator[dask.distributed.Client]:
    """Opens a Dask client and, without a scheduler, starts worker processes.

    The workers are new processes of one thread each on this machine; they end with the block (and with this
    process, however it ends). They are spawned, since forking a process that has loaded JAX can hang; so a script
    needs `if __name__ == "__main__":` around its main code.

    Args:
      scheduler: address of a running Dask scheduler, such as tcp://host:8786; its workers must have this package
        installed and see the same files.
      num_workers: processes on this machine; None uses all cores available to this process. Not with a scheduler.
    Raises: ValueError for num_workers < 1 or together with a scheduler; ConnectionError if no scheduler answers within
      10 seconds.
    """
    if scheduler is None:
        with (
            dask.config.set(_OPTIONS),
            _local_cluster(num_workers) as cluster,
            dask.distributed.Client(cluster) as connected,
        ):
            yield connected
            # Dask can fail to close a worker that it is just restarting.
            with contextlib.suppress(TimeoutError):
                connected.wait_for_workers(len(cluster.workers), timeout=_RESTART_SECONDS)
        return
    if num_workers is not None:
        raise ValueError(
            f"num_workers={num_workers} is for processes on this machine; omit it with a scheduler, which has its own."
        )
    with _connected(scheduler) as connected:
        if not connected.scheduler_info()["workers"]:
            logging.warning(
                "The scheduler at %s has no workers yet; start some: python -m dask worker %s", *[scheduler] * 2
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
    """Calls a function on every task, and yields the results as they finish, in any order.

    Tasks are read on demand: at most three per thread are in flight. When a process dies, its tasks are retried, each
    alone in a process; a task whose process dies again yields WorkerDiedError.

    Args:
      function: of one task, deterministic; must be picklable, as must tasks and results.
      tasks: read lazily.
      client: see `client()`.
      description: of the progress bar; None shows no bar.
      total: of the progress bar.  unit: of the progress bar.
    Returns: (task, result), or (task, exception) if the function raised one.
    Raises: ConnectionError if the connection to the scheduler is lost.
    """
    suspects: list[Task] = []
    with tqdm.tqdm(total=total, desc=description, unit=unit, disable=description is None) as bar:
        for task, result in _completed(function, tasks, client, room=lambda: 3 * _num_threads(client)):
            if isinstance(result, dask.distributed.KilledWorker):
                suspects.append(task)
                continue
            bar.update()
            yield task, result
        # One at a time, so that a dying process identifies its task.
        for task, result in _completed(function, suspects, client, room=lambda: 1):
            if isinstance(result, dask.distributed.KilledWorker):
                result = WorkerDiedError("the worker process died twice (killed, or crashed in native code)")
            bar.update()
            yield task, result


def _completed(function, tasks: Iterable[Task], client, room: Callable[[], int]) -> Iterator[tuple[Task, Any]]:
    """Yields (task, result or exception) as they finish; at most room() tasks are with the scheduler."""
    tasks = iter(tasks)
    running: dict[str, tuple[dask.distributed.Future, Task]] = {}
    completed = dask.distributed.as_completed()

    def submit() -> None:
        for task in itertools.islice(tasks, max(room() - len(running), 0)):
            try:
                future = client.submit(function, task, pure=False)
            except TypeError as error:
                raise TypeError(
                    f"{function} of {task!r:.200} cannot be sent to another process; both must be picklable. Use a "
                    "function of a module, or functools.partial of one."
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
                "The connection to the Dask scheduler was lost; start it again, and run the same command to resume."
            ) from error
        return error


def _num_threads(client: dask.distributed.Client) -> int:
    """Returns the current number of threads of all workers, since a cluster may grow and shrink."""
    return max(client.scheduler_info(n_workers=1)["total_threads"], 1)


def _local_cluster(num_workers: int | None) -> dask.distributed.LocalCluster:
    if num_workers is not None and num_workers < 1:
        raise ValueError(f"num_workers must be >= 1, got {num_workers}.")
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
            f"No Dask scheduler answers at {scheduler} ({error}); start one with `python -m dask scheduler` and pass "
            "the address it prints, such as tcp://HOST:8786."
        ) from error
