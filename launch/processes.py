"""Several processes that train together, on one or more machines: how they connect and exit; sharing of GPUs."""

import glob
import importlib.util
import os
import sys
from typing import NoReturn

import jax
from absl import flags, logging

_COORDINATOR = flags.DEFINE_string(
    "coordinator_address",
    None,
    "With several processes: HOST:PORT of process 0. Not needed on SLURM (srun) and TPU hosts.",
)
_NUM_PROCESSES = flags.DEFINE_integer("num_processes", None, "Number of processes that train together.", lower_bound=1)
_PROCESS_ID = flags.DEFINE_integer("process_id", None, "Number of this process, from 0.", lower_bound=0)


def join() -> None:
    """Connects to the other processes of this run, if there are any.

    Raises: ValueError if only some of the three flags are given.
    """
    given = {flag.name: flag.value for flag in (_COORDINATOR, _NUM_PROCESSES, _PROCESS_ID)}
    missing = [f"--{name}" for name, value in given.items() if value is None]
    if 0 < len(missing) < len(given):
        raise ValueError(
            "--coordinator_address, --num_processes and --process_id belong together; missing: " + ", ".join(missing)
        )
    if missing and not _on_cluster():
        return
    # training.loop handles SIGTERM, to save its state; elsewhere SIGTERM ends the process.
    jax.config.update("jax_enable_preemption_service", False)
    jax.distributed.initialize(_COORDINATOR.value, _NUM_PROCESSES.value, _PROCESS_ID.value)
    if jax.process_index() > 0:
        logging.set_verbosity(logging.WARNING)  # process 0 logs for all


def leave(message: str) -> NoReturn:
    """Exits with an error; the other processes, which wait for this one, then exit too."""
    if jax.process_count() == 1:
        sys.exit(message)
    lines = [f"Process {jax.process_index()}: {line}" for line in message.splitlines()]
    print("\n".join(lines), file=sys.stderr, flush=True)
    # A normal exit would wait for the others, and they for this process.
    os._exit(1)


def apart(num_programs: int) -> list[dict[str, str]]:
    """Environment variables that divide this machine's GPUs among programs running at the same time.

    Each program gets separate GPUs; the first ones get one more if the division leaves a remainder. Without GPUs all
    share the CPU cores.

    Raises: ValueError for more programs than GPUs, or several on a TPU, which serves one at a time.
    """
    if num_programs > 1 and _has_tpu():
        raise ValueError(f"--num_parallel={num_programs}: a TPU serves one program at a time; use 1.")
    plugins = ("jax_cuda12_plugin", "jax_cuda13_plugin")
    if os.environ.get("JAX_PLATFORMS") == "cpu" or not any(importlib.util.find_spec(name) for name in plugins):
        return [{} for _ in range(num_programs)]
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    gpus = [str(number) for number in range(len(glob.glob("/dev/nvidia[0-9]*")))]
    if visible is not None:
        gpus = [name.strip() for name in visible.split(",") if name.strip() not in ("", "-1")]
    if not gpus:
        return [{} for _ in range(num_programs)]
    if num_programs > len(gpus):
        raise ValueError(f"--num_parallel={num_programs}: there are {len(gpus)} GPUs, and each run needs its own.")
    return [{"CUDA_VISIBLE_DEVICES": ",".join(gpus[first::num_programs])} for first in range(num_programs)]


def _on_cluster() -> bool:
    """Whether JAX can detect the other processes: in a SLURM step of several tasks, or on a TPU host."""
    return int(os.environ.get("SLURM_STEP_NUM_TASKS", 1)) > 1 or _has_tpu()


def _has_tpu() -> bool:
    """Whether this is a TPU host and JAX may use its TPU."""
    found = bool(glob.glob("/dev/accel[0-9]*") or glob.glob("/dev/vfio/[0-9]*"))
    wanted = os.environ.get("JAX_PLATFORMS", "tpu").split(",")
    return found and "tpu" in wanted and importlib.util.find_spec("libtpu") is not None
