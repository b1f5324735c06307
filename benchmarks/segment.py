"""launch.segment on one volume: seconds of each part, seconds per slice, memory.

python -m benchmarks.segment [--num_slices=300] [--json=FILE]

A generated volume of 512 x 512 pixels, half of its slices with lung and a third with a lesion, 1 mm apart. The networks
have the size of the shipped recipe (`configs/covid_semiseg.py`: InfNet of half the width, multi SSInfNet of a quarter,
352 x 352 pixels, lesions by the single network alone). Their weights are untrained, since speed does not depend on
them, but the single one finds exactly the lesions of the volume (`marked_lesions`). Volumes with one slice and with
many are segmented, each in its own process; a first run, not measured, fills the compilation cache. The run with one
slice measures start-up; what the other takes beyond it is the time of the slices.
"""

import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time
from typing import Any

import numpy as np
from absl import app, flags
from scipy import ndimage

from benchmarks import marked_lesions, measure
from ssinfnet_jax import models
from ssinfnet_jax.data import ct
from ssinfnet_jax.data.datasets.ct_phantom import volume
from ssinfnet_jax.networks import storage
from ssinfnet_jax.networks.card import NetworkCard

_NUM_SLICES = flags.DEFINE_integer("num_slices", 300, "Slices of the volume.", 6)
_BATCH_SIZE = flags.DEFINE_integer("batch_size", 4, "Slices per call.", 1)
_SIZE = flags.DEFINE_integer("size", 512, "Pixels per side.", 64)
_IMAGE_SIZE = flags.DEFINE_integer("image_size", 352, "Pixels per side that the networks see.", 32)
_JSON = flags.DEFINE_string("json", None, "File for the numbers.")
_DRAWN = 8  # slices with lung; the volume repeats them
_LUNG_HU, _TISSUE_HU = -850, 40
_NETWORKS = {
    "single": ("benchmarks.marked_lesions:FINDER", {"width": 0.5}),
    "multi": ("multi_ssinfnet", {"width": 0.25}),
}


def write_networks(folder: pathlib.Path, image_size: int) -> None:
    """Writes networks of the recipe's size, untrained."""
    for which, (name, options) in _NETWORKS.items():
        description = {
            "model": name, "options": options, "image_size": image_size, "window_hu": [ct.LOW_HU, ct.HIGH_HU],
            "normalisation": {"mean": marked_lesions.MEAN, "std": marked_lesions.STD}, "view": "lungs",
        }  # fmt: skip
        if which == "multi":
            description["decision"] = {"rule": "joint"}
        model = models.create(name, **options)
        storage.save(folder / which, models.init(model, 0, models.num_inputs(name)), NetworkCard.from_json(description))


def draw(num_slices: int, size: int) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
    """Draws the volume: no lung in the first and the last quarter, lesions in the middle third.

    Returns: HU int16[size, size, num_slices], the affine, and bool[num_slices] of `lung` and `lesion`.
    """
    hu, classes, affine = volume.render(0, 7, _DRAWN, size)
    drawn = [slices for slices in range(_DRAWN) if (classes[..., slices] > 0).mean() > 0.002]
    healthy = np.where(classes > 0, _LUNG_HU, hu).astype(np.int16)
    ill = marked_lesions.mark(hu, classes)
    place = np.arange(num_slices)
    lung = abs(2 * place - num_slices + 1) < num_slices / 2
    lesion = abs(2 * place - num_slices + 1) < num_slices / 3
    out = np.empty((size, size, num_slices), np.int16)
    for index in place:
        number = drawn[index % len(drawn)]
        source = ill if lesion[index] else healthy
        out[..., index] = source[..., number] if lung[index] else _without_lung(healthy[..., number])
    return out, affine @ np.diag([1, 1, 1 / affine[2, 2], 1]), {"lung": lung, "lesion": lesion}


def _without_lung(hu: np.ndarray) -> np.ndarray:
    """Fills the air inside of the body with tissue."""
    parts, _ = ndimage.label(hu < _LUNG_HU / 2)
    outside = np.unique(np.concatenate([parts[0], parts[-1], parts[:, 0], parts[:, -1]]))
    return np.where(np.isin(parts, outside), hu, np.int16(_TISSUE_HU))


def segment(folder: pathlib.Path, hu: np.ndarray, affine: np.ndarray, batch_size: int, name: str) -> dict[str, Any]:
    """Runs the program on a volume; returns wall and processor seconds, the peak memory, and the parts.

    `parts` are {title: [seconds, calls]} (`segment_parts`); `lesion` is how many slices got a label.
    """
    scan, out, parts = folder / f"{name}.nii.gz", folder / name, folder / f"{name}.json"
    volume.write_nifti(scan, hu, affine)
    command = [
        sys.executable, "-m", "benchmarks.segment_parts", parts, f"--input={scan}", f"--single={folder / 'single'}",
        f"--multi={folder / 'multi'}", f"--out={out}", f"--compilation_cache_dir={folder / 'cache'}",
        f"--batch_size={batch_size}",
    ]  # fmt: skip
    start = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    stderr = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.monotonic() - start
    if status:
        raise RuntimeError(f"{' '.join(map(str, command))} ended with status {status}: {stderr[-2000:]}")
    return {
        "slices": hu.shape[2],
        "lesion": json.loads((out / "scans" / name / "scan.json").read_text())["slices_affected"],
        "seconds": seconds,
        "processor_seconds": usage.ru_utime + usage.ru_stime,
        "peak_gib": usage.ru_maxrss / 2**20,
        "parts": json.loads(parts.read_text()),
    }


def shares(one: dict[str, Any], many: dict[str, Any]) -> dict[str, float]:
    """Seconds of each part beyond those with one slice, and `all`: the wall time beyond it."""
    found = {title: spent - one["parts"].get(title, [0])[0] for title, (spent, _) in many["parts"].items()}
    return found | {"all": many["seconds"] - one["seconds"]}


def main(argv) -> None:
    """Measures and prints."""
    del argv
    hu, affine, kinds = draw(_NUM_SLICES.value, _SIZE.value)
    middle = hu[..., _NUM_SLICES.value // 2, None]  # has lung and lesion
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        write_networks(folder, _IMAGE_SIZE.value)
        segment(folder, middle, affine, _BATCH_SIZE.value, "warm")
        one = segment(folder, middle, affine, _BATCH_SIZE.value, "one")
        many = segment(folder, hu, affine, _BATCH_SIZE.value, "many")
    if many["lesion"] != kinds["lesion"].sum():
        raise RuntimeError(f"{many['lesion']} slices got a label; {kinds['lesion'].sum()} have a lesion.")
    for row in (one, many):
        print(", ".join(f"{key} {value:.2f}" for key, value in row.items() if key != "parts"))
    spent = shares(one, many)
    for title, seconds in spent.items():
        calls = many["parts"].get(title, [0, ""])[1]
        print(f"{title:36} {seconds:8.2f} s {seconds / spent['all']:6.1%}  {calls} calls")
    print(f"per slice: {spent['all'] / (many['slices'] - 1):.3f} s")
    about = {"batch_size": _BATCH_SIZE.value, **{name: int(kind.sum()) for name, kind in kinds.items()}}
    measure.write(_JSON.value, about | {"shares": spent}, [one, many])


if __name__ == "__main__":
    app.run(main)
