"""Flags of the stages that use many processes without JAX."""

from absl import flags

_SCHEDULER = flags.DEFINE_string(
    "dask_scheduler",
    None,
    "Address of a running Dask scheduler, such as tcp://HOST:8786; default: start processes on this machine.",
)
_NUM_WORKERS = flags.DEFINE_integer(
    "num_workers", None, "Processes on this machine; 0: only this one; default: one per core.", lower_bound=0
)


def options() -> dict[str, str | int | None]:
    """`scheduler` and `num_workers` from the flags."""
    return {"scheduler": _SCHEDULER.value, "num_workers": _NUM_WORKERS.value}
