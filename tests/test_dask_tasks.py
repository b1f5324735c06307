"""Tasks in real processes that work, fail, and are killed."""

import asyncio
import contextlib
import json
import os
import pathlib
import signal
import subprocess
import sys
import threading
import time

import dask.distributed
import psutil
import pytest
from distributed.process import AsyncProcess

from ssinfnet_jax import dask_tasks

ROOT = pathlib.Path(__file__).parents[1]


@pytest.fixture(scope="module")
def client():
    with dask_tasks.client(num_workers=2) as client:
        yield client


def run(function, tasks, client, **options):
    """Returns task -> result; functions are lambdas, which Dask can send."""
    return dict(dask_tasks.run_all(function, tasks, client=client, **options))


def test_results_come_from_other_processes_of_one_thread(client):
    names = ("OMP_NUM_THREADS", "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS", "MALLOC_TRIM_THRESHOLD_")
    found = run(lambda task: (task**2, os.getpid(), tuple(map(os.environ.get, names))), range(20), client)
    assert {task: result[0] for task, result in found.items()} == {task: task**2 for task in range(20)}
    processes = {result[1] for result in found.values()}
    assert len(processes) == 2
    assert os.getpid() not in processes
    assert {result[2] for result in found.values()} == {("1", "1", None)}
    assert set(client.nthreads().values()) == {1}


def test_workers_do_not_monitor_themselves(client):
    def watching(dask_worker):
        callbacks = dask_worker.periodic_callbacks
        return {name: callbacks[name].callback_time for name in ("tick", "monitor")}, "profile" in callbacks

    assert list(client.run(watching).values()) == [({"tick": 1000, "monitor": 5000}, False)] * 2


def test_a_failing_task_returns_its_error(client):
    found = run(lambda task: 6 / task, [1, 0, 3], client)
    assert (found[1], found[3]) == (6, 2)
    assert isinstance(found[0], ZeroDivisionError)
    assert isinstance(run(lambda task: threading.Lock(), [1], client)[1], TypeError)


def test_a_task_that_kills_its_process_takes_no_others_with_it(client):
    def deadly(task):
        if task in (3, 8):
            os._exit(3)  # like a crash in native code, or an out-of-memory kill
        return task

    found = run(deadly, range(20), client)
    assert {task for task, result in found.items() if result == task} == set(range(20)) - {3, 8}
    assert isinstance(found[3], dask_tasks.WorkerDiedError)
    assert str(found[8]) == "the worker process died twice (killed, or crashed in native code)"


def test_a_worker_that_is_killed_loses_nothing(client):
    def slow(task):
        time.sleep(0.1)
        return os.getpid()

    found = {}
    for task, process in dask_tasks.run_all(slow, range(30), client=client):
        if not found:
            os.kill(process, signal.SIGKILL)
        found[task] = process
    assert set(found) == set(range(30))
    assert not [result for result in found.values() if isinstance(result, Exception)]
    assert len(set(found.values())) >= 2


def test_a_worker_that_keeps_dying_is_always_restarted():
    def deadly(task):
        os._exit(3)

    # Dask's own default, 15 s, ends the worker only if it happens to be dead at that time.
    with (
        dask.config.set({"distributed.deploy.lost-worker-timeout": "0.3s"}),
        dask_tasks.client(num_workers=1) as client,
    ):
        found = run(deadly, range(2), client)
    assert [type(found[task]) for task in range(2)] == [dask_tasks.WorkerDiedError] * 2


def test_a_worker_that_is_just_restarted_can_be_closed(monkeypatch):
    start = AsyncProcess.start

    async def start_late(self):
        await asyncio.sleep(1.0)
        await start(self)

    with dask_tasks.client(num_workers=1) as client:
        monkeypatch.setattr(AsyncProcess, "start", start_late)
        found = run(lambda task: os._exit(3), [0], client)
    assert isinstance(found[0], dask_tasks.WorkerDiedError)


def test_tasks_are_read_on_demand(client):
    read = []

    def tasks():
        for task in range(40):
            read.append(task)
            yield task

    for number, _ in enumerate(dask_tasks.run_all(abs, tasks(), client=client), 1):
        assert len(read) <= number + 2 * 3 * 2  # three per thread are in flight, and as many may have finished at once
    assert len(read) == 40


def test_leaving_early_cancels_the_rest(client, tmp_path):
    def noting(task):
        time.sleep(0.1)
        (tmp_path / str(task)).touch()

    next(iter(dask_tasks.run_all(noting, range(100), client=client)))
    time.sleep(0.5)
    done = len(list(tmp_path.iterdir()))
    time.sleep(0.5)
    assert len(list(tmp_path.iterdir())) == done < 100


def test_shows_a_bar_if_described(client, capsys):
    run(abs, range(3), client, description="slices", total=3, unit="slice")
    assert "slices: 100%" in capsys.readouterr().err
    run(abs, range(3), client)
    assert capsys.readouterr().err == ""


def test_unpicklable_tasks_are_named(client):
    with pytest.raises(
        TypeError, match=r"of <unlocked _thread.lock .* cannot be sent to another process; both must be"
    ):
        run(print, [threading.Lock()], client)


def test_processes_end_with_the_block():
    with dask_tasks.client(num_workers=1) as client:
        process = run(lambda task: os.getpid(), [0], client)[0]
        assert psutil.pid_exists(process)
    assert not psutil.pid_exists(process)


def test_processes_end_with_a_killed_program():
    code = """
import os, time
from ssinfnet_jax import dask_tasks
if __name__ == "__main__":
    with dask_tasks.client(num_workers=1) as client:
        print(*client.run(os.getpid).values(), flush=True)
        time.sleep(60)
"""
    with subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True) as program:
        worker = int(program.stdout.readline())
        program.kill()
    psutil.wait_procs([psutil.Process(worker)] if psutil.pid_exists(worker) else [], timeout=30)
    assert not psutil.pid_exists(worker) or psutil.Process(worker).status() == psutil.STATUS_ZOMBIE


def test_a_script_without_a_guard_gets_a_clear_error(tmp_path):
    script = tmp_path / "script.py"
    script.write_text("from ssinfnet_jax import dask_tasks\nwith dask_tasks.client(num_workers=1): pass\n")
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, str(script)]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert "A script that starts them needs `if __name__ == '__main__':` around its main code." in result.stderr


@pytest.fixture
def cluster(tmp_path):
    """Starts a scheduler; yields its address, its process, and a function that starts a worker."""
    file = tmp_path / "scheduler.json"
    dask = [sys.executable, "-m", "dask"]
    with contextlib.ExitStack() as stack:

        def start(*arguments):
            command = [*dask, *arguments]
            process = stack.enter_context(subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL))
            stack.callback(process.kill)
            return process

        scheduler = start("scheduler", "--port=0", "--no-dashboard", f"--scheduler-file={file}", "--host=127.0.0.1")
        while not file.exists():
            time.sleep(0.1)
        address = json.loads(file.read_text())["address"]
        yield address, scheduler, lambda: start("worker", address, "--nthreads=1", f"--local-directory={tmp_path}")


def test_a_running_cluster_is_used_and_its_end_is_reported(cluster):
    address, scheduler, start_worker = cluster
    worker = start_worker()
    with dask_tasks.client(address) as client:
        assert isinstance(client, dask.distributed.Client)
        assert run(lambda task: -task, range(5), client) == {task: -task for task in range(5)}
        assert worker.poll() is None

        def lasting(task):
            time.sleep(0.2)

        results = dask_tasks.run_all(lasting, range(200), client=client)
        next(results)
        scheduler.kill()
        with pytest.raises(ConnectionError, match="The connection to the Dask scheduler was lost; start it again"):
            list(results)


def test_a_missing_scheduler_is_reported(monkeypatch):
    monkeypatch.setattr(dask_tasks, "_CONNECT_SECONDS", 0.5)
    with (
        pytest.raises(
            ConnectionError, match=r"No Dask scheduler answers at tcp://127.0.0.1:9 .*start one with `python -m dask"
        ),
        dask_tasks.client("tcp://127.0.0.1:9"),
    ):
        pass
    with pytest.raises(ConnectionError, match="No Dask scheduler answers at nowhere"), dask_tasks.client("nowhere"):
        pass


def test_num_workers_errors():
    with pytest.raises(ValueError, match="num_workers must be >= 1, got 0"), dask_tasks.client(num_workers=0):
        pass
    with pytest.raises(ValueError, match="num_workers=2 is for processes on this"), dask_tasks.client("tcp://a:1", 2):
        pass
