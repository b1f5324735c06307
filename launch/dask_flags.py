"""Flags of the stages that work in many processes without JAX."""

from absl import flags

_SCHEDULER = flags.DEFINE_string(
    "dask_scheduler",
    None,
    "Address of a running Dask scheduler, as tcp://HOST:8786; without it, processes are started.",
)
_NUM_WORKERS = flags.DEFINE_integer(
    "num_workers", None, "Processes on this machine; 0: this one only. Without it, one for each core.", lower_bound=0
)


def options() -> dict[str, str | int | None]:
    """`scheduler` and `num_workers` of the flags."""
    return {"scheduler": _SCHEDULER.value, "num_workers": _NUM_WORKERS.value}
