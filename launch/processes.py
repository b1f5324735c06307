"""Several processes, on one machine or many, that train together: how they find each other, and how they end."""

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
    "With several processes: HOST:PORT of process 0. On SLURM (srun) and TPU hosts they find each other by themselves.",
)
_NUM_PROCESSES = flags.DEFINE_integer("num_processes", None, "How many processes train together.", lower_bound=1)
_PROCESS_ID = flags.DEFINE_integer("process_id", None, "Which of them this is, from 0.", lower_bound=0)


def join() -> None:
    """Joins the other processes of this run, if there are any; a plain single machine does nothing.

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
    # SIGTERM is caught where there is something to save (training.loop); elsewhere it ends the process.
    jax.config.update("jax_enable_preemption_service", False)
    jax.distributed.initialize(_COORDINATOR.value, _NUM_PROCESSES.value, _PROCESS_ID.value)
    if jax.process_index() > 0:
        logging.set_verbosity(logging.WARNING)  # process 0 says it once for all


def leave(message: str) -> NoReturn:
    """Ends this process with an error; the others, which wait for it, then end too."""
    if jax.process_count() == 1:
        sys.exit(message)
    print(f"Process {jax.process_index()}: {message}", file=sys.stderr, flush=True)
    # An ordinary exit would wait for the others, and they for this one.
    os._exit(1)


def _on_cluster() -> bool:
    """Whether JAX can ask the surroundings for the other processes: a SLURM step of several tasks, or a TPU host."""
    if int(os.environ.get("SLURM_STEP_NUM_TASKS", 1)) > 1:
        return True
    has_tpu = bool(glob.glob("/dev/accel[0-9]*") or glob.glob("/dev/vfio/[0-9]*"))
    wanted = os.environ.get("JAX_PLATFORMS", "tpu").split(",")
    return has_tpu and "tpu" in wanted and importlib.util.find_spec("libtpu") is not None
