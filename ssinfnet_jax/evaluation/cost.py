"""Measures a network's cost on this device: time of inference and training, parameters, FLOPs, memory.

Measure one network per process, since peak memory is that of the process. The chain of both networks is one program
(`inference.segmenter`), whose time per slice is the sum of the two.
"""

import contextlib
import json
import pathlib
from collections.abc import Mapping
from typing import Any

import jax
import pandas as pd
from jax.experimental.compilation_cache import compilation_cache

from ssinfnet_jax import models, rundir
from ssinfnet_jax.evaluation import timing, workload
from ssinfnet_jax.models import summary

FILE = "cost.json"
ENTRY = ("model", "options", "image_size", "batch_size", "seconds", "training")


def measure(
    model: str, options: Mapping[str, Any], *, image_size: int, batch_size: int, seconds: float, training: bool = True
) -> dict[str, Any]:
    """Measures the cost of a network on the first device of this process.

    Args:
      model, options: as for `models.create`; the network must segment.
      image_size: pixels per side, a multiple of 32.
      batch_size: slices per call.
      seconds: duration of the timing after compilation, for inference and again for training.
      training: whether to measure a training step too, which needs more time and memory.
    Returns: the entry and the machine, as JSON, and
      parameters_segmenting, parameters: those used for segmentation, and all, including the inpainting form's;
      gflop_per_slice: of a forward pass as trained, multiply-add = 2 (`models.summary`);
      inference_s_per_slice, training_s_per_slice: medians, of the network's inference form and of a step;
      inference_compile_s, training_compile_s: tracing and compiling, without a cache;
      inference_temp_mib, training_temp_mib: memory of the compiled program besides arguments and results;
      inference_peak_gib, training_peak_gib: peak memory so far, including compilation: of the device if it reports it,
        else of the process with everything that Python has loaded.
      Values for training are None if it was not measured.
    Raises: ValueError for an unknown model or option, a model that does not segment, and invalid sizes.
    """
    _check(model, options, image_size, batch_size, seconds)
    size = {"image_size": image_size, "batch_size": batch_size}
    network, num_inputs = models.create(model, **options), models.num_inputs(model)
    segmenting = models.shapes(network, num_inputs, method="__call__", train=False)["params"]
    found = {
        "model": model, "options": dict(options), **size, **timing.machine(),
        "parameters_segmenting": sum(leaf.size for leaf in jax.tree.leaves(segmenting)),
        "parameters": summary.num_parameters(model, options)["params"],
        "gflop_per_slice": summary.flops(model, options, **size) / batch_size / 1e9,
    }  # fmt: skip
    with _without_cache():
        found |= _timed("inference", workload.inference(model, options, **size), batch_size, seconds)
        if training:
            return found | _timed("training", workload.training("segment", model, options, **size), batch_size, seconds)
    return found | {name.replace("inference", "training"): None for name in found if name.startswith("inference")}


def run(entry: Mapping[str, Any], directory: pathlib.Path) -> None:
    """Measures the network of one entry of a grid and writes `cost.json`.

    Args:
      entry: the arguments of `measure` by name.
      directory: of the run.
    Raises: ValueError as `measure`, and for missing or unknown keys.
    """
    if set(entry) != set(ENTRY):
        raise ValueError(f"A cost entry must have the keys {', '.join(ENTRY)}; found {', '.join(sorted(entry))}.")
    found = measure(**entry)
    directory.mkdir(parents=True, exist_ok=True)
    rundir.write_text(directory / FILE, json.dumps(found, indent=2) + "\n")


def collect(folders: Mapping[str, pathlib.Path]) -> pd.DataFrame:
    """Reads what `run` wrote into several folders: a row per network, in the order given, columns as in `measure`.

    Raises: FileNotFoundError or ValueError for a folder whose `cost.json` is missing or damaged.
    """
    rows = []
    for name, folder in folders.items():
        path = folder / FILE
        if not path.is_file():
            raise FileNotFoundError(f"{path} does not exist; measure {name!r} first.")
        try:
            found = json.loads(path.read_text())
            options = ", ".join(f"{key}={value}" for key, value in found["options"].items())
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"{path} is not the cost of a network; delete it and measure {name!r} again.") from error
        rows.append({"network": name, **found, "options": options})
    return pd.DataFrame(rows)


@contextlib.contextmanager
def _without_cache():
    """Compiles programs even if an earlier process has cached them."""
    enabled = jax.config.jax_enable_compilation_cache
    jax.config.update("jax_enable_compilation_cache", False)
    compilation_cache.reset_cache()  # JAX checks once per process whether there is a cache
    try:
        yield
    finally:
        jax.config.update("jax_enable_compilation_cache", enabled)
        compilation_cache.reset_cache()


def _timed(kind: str, work: workload.Workload, batch_size: int, seconds: float) -> dict[str, Any]:
    time_s = timing.in_turns({kind: work.call}, seconds=seconds)[kind]
    return {
        f"{kind}_s_per_slice": time_s / batch_size,
        f"{kind}_compile_s": work.compile_s,
        f"{kind}_temp_mib": None if work.temp_bytes is None else work.temp_bytes / 2**20,
        f"{kind}_peak_gib": timing.peak_gib(),
    }


def _check(model: str, options: Mapping[str, Any], image_size: int, batch_size: int, seconds: float) -> None:
    if models.output(model, **options) == "scores":
        raise ValueError(f"Model {model!r} does not segment; benchmarks.training measures the coach.")
    if image_size < 32 or image_size % 32:
        raise ValueError(f"image_size is {image_size}; it must be a multiple of 32.")
    if batch_size < 1:
        raise ValueError(f"batch_size is {batch_size}; it must be at least 1.")
    if seconds < 0:
        raise ValueError(f"seconds is {seconds}; it must not be negative.")
