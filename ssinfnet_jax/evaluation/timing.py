"""Measures the time and peak memory of computations on a machine that may have other work."""

import os
import pathlib
import platform
import resource
import time
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np


def machine() -> dict[str, Any]:
    """Describes the machine that the measurements apply to."""
    return {
        "jax": jax.__version__,
        "device": jax.devices()[0].device_kind,
        "num_devices": jax.device_count(),
        "cpus": len(os.sched_getaffinity(0)),
        "machine": _cpu() or platform.processor() or platform.machine(),
    }


def _cpu() -> str:
    """Returns the model of the processor, or "" if the system does not report it."""
    path = pathlib.Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.is_file() else []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")


def in_turns(calls: Mapping[str, Callable[[], Any]], *, seconds: float) -> dict[str, float]:
    """Measures the median seconds of each call, in turns, so that other work on the machine slows all alike.

    Args:
      calls: name -> function that returns arrays, possibly still being computed.
      seconds: for all together, after one call of each to compile it; there are at least three rounds.
    """
    for call in calls.values():
        jax.block_until_ready(call())
    times: dict[str, list[float]] = {name: [] for name in calls}
    end = time.monotonic() + seconds
    while time.monotonic() < end or min(map(len, times.values())) < 3:
        for name, call in calls.items():
            start = time.perf_counter()
            jax.block_until_ready(call())
            times[name].append(time.perf_counter() - start)
    return {name: float(np.median(values)) for name, values in times.items()}


def peak_gib() -> float:
    """Returns the peak memory so far in GiB: of the device if it reports it, else of the process."""
    statistics = jax.devices()[0].memory_stats() or {}
    if "peak_bytes_in_use" in statistics:
        return statistics["peak_bytes_in_use"] / 2**30
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
