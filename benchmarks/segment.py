"""launch.segment on one volume: start-up, seconds per slice, memory.

python -m benchmarks.segment [--num_slices=300] [--json=FILE]

Networks of the paper's size (freshly initialised, since speed does not depend on the weights) segment volumes of
512 x 512 pixels with one slice and with many, each in its own process; a first run, not measured, fills the compilation
cache. The run with one slice measures start-up; the remaining time divided by the number of slices is the time per
slice, including reading it and writing its results.
"""

import os
import pathlib
import subprocess
import sys
import tempfile
import time
from typing import Any

import numpy as np
from absl import app, flags

from benchmarks import measure
from ssinfnet_jax import models
from ssinfnet_jax.data import ct
from ssinfnet_jax.data.datasets.ct_phantom import volume
from ssinfnet_jax.networks import storage
from ssinfnet_jax.networks.card import NetworkCard

_NUM_SLICES = flags.DEFINE_integer("num_slices", 300, "Slices of the volume.", 2)
_BATCH_SIZE = flags.DEFINE_integer("batch_size", 4, "Slices per call.", 1)
_JSON = flags.DEFINE_string("json", None, "File for the numbers.")
_DRAWN = 8  # slices; the volume repeats them
_SIZE = 512


def write_networks(folder: pathlib.Path) -> None:
    """Writes both networks of the paper, untrained."""
    for which, name in (("single", "infnet"), ("multi", "multi_ssinfnet")):
        description = {
            "model": name, "options": {}, "image_size": 352, "normalisation": {"mean": 0.45, "std": 0.27},
            "window_hu": [ct.LOW_HU, ct.HIGH_HU], "view": "lungs",
        }  # fmt: skip
        storage.save(
            folder / which,
            models.init(models.create(name), 0, models.num_inputs(name)),
            NetworkCard.from_json(description),
        )


def segment(folder: pathlib.Path, num_slices: int, batch_size: int, name: str) -> dict[str, Any]:
    """Runs the program on a volume of `num_slices`; returns wall and processor seconds and the peak memory."""
    hu, _, affine = volume.render(0, 7, min(num_slices, _DRAWN), _SIZE)
    hu = hu[:, :, np.arange(num_slices) % hu.shape[2]]
    scan = folder / f"{name}.nii.gz"
    volume.write_nifti(scan, hu, affine)
    command = [
        sys.executable, "-m", "launch.segment", f"--input={scan}", f"--single={folder / 'single'}",
        f"--multi={folder / 'multi'}", f"--out={folder / name}", f"--compilation_cache_dir={folder / 'cache'}",
        f"--batch_size={batch_size}",
    ]  # fmt: skip
    start = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.monotonic() - start
    if status:
        raise RuntimeError(f"{' '.join(command)} ended with status {status}.")
    return {
        "slices": num_slices,
        "seconds": seconds,
        "processor_seconds": usage.ru_utime + usage.ru_stime,
        "peak_gib": usage.ru_maxrss / 2**20,
    }


def main(argv) -> None:
    """Measures and prints."""
    del argv
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        write_networks(folder)
        segment(folder, 1, _BATCH_SIZE.value, "warm")
        one = segment(folder, 1, _BATCH_SIZE.value, "one")
        many = segment(folder, _NUM_SLICES.value, _BATCH_SIZE.value, "many")
    rows = [one, many]
    for row in rows:
        print(", ".join(f"{key} {value:.2f}" for key, value in row.items()))
    per_slice = {key: (many[key] - one[key]) / (many["slices"] - 1) for key in ("seconds", "processor_seconds")}
    print("per slice: " + ", ".join(f"{key} {value:.3f}" for key, value in per_slice.items()))
    measure.write(_JSON.value, {"batch_size": _BATCH_SIZE.value, "per_slice": per_slice}, rows)


if __name__ == "__main__":
    app.run(main)
