"""Speed of a network's forward, as trained and folded for inference (`ssinfnet_jax.inference.folded`).

python -m benchmarks.inference --model=infnet [--backbone=resnet50 --width=1] [--image_size=352] [--batch_sizes=1,4]

Both forms run in turn, so that other work on the machine slows both alike; medians are reported. The weights are fresh:
speed does not depend on them. FLOPs count a multiply-add as 2 (`launch.summarize`), of the unfolded form in both rows.
"""

import json
import pathlib
import platform
import time
from typing import Any

import jax
import numpy as np
from absl import flags

from launch import model_flags
from ssinfnet_jax import models
from ssinfnet_jax.inference import folded
from ssinfnet_jax.models import summary

_IMAGE_SIZE = flags.DEFINE_integer("image_size", 352, "Pixels per side.", lower_bound=32)
_BATCH_SIZES = flags.DEFINE_list("batch_sizes", ["1", "4"], "Slices per call.")
_SECONDS = flags.DEFINE_float("seconds", 30.0, "Time for measuring each batch size, after compilation.")
_JSON = flags.DEFINE_string("json", None, "File for the numbers.")


def measure(
    name: str, options: dict[str, Any], *, image_size: int, batch_size: int, seconds: float
) -> list[dict[str, Any]]:
    """One row per form: ms per image, images/s, GFLOP/s, largest difference from the unfolded output, speed-up."""
    model, num_inputs = models.create(name, **options), models.num_inputs(name)
    variables = models.init(model, 0, num_inputs)
    network, less = folded.fold(model, variables, num_inputs=num_inputs)
    grey = np.random.default_rng(0).normal(size=(batch_size, image_size, image_size, num_inputs // folded.REPEATS))
    inputs = jax.device_put(np.repeat(grey, folded.REPEATS, axis=-1).astype(np.float32))
    forms = {
        "unfolded": (jax.jit(lambda v, x: model.apply(v, x, train=False)), jax.device_put(variables)),
        "folded": (jax.jit(network.apply), jax.device_put(less)),
    }
    outputs = {form: jax.block_until_ready(apply(tree, inputs)) for form, (apply, tree) in forms.items()}
    times = {form: [] for form in forms}
    end = time.monotonic() + seconds
    while time.monotonic() < end or len(times["folded"]) < 3:
        for form, (apply, tree) in forms.items():
            start = time.perf_counter()
            jax.block_until_ready(apply(tree, inputs))
            times[form].append(time.perf_counter() - start)
    flops = summary.flops(name, options, image_size=image_size, batch_size=batch_size)
    ratio = float(np.median(np.divide(times["unfolded"], times["folded"])))
    rows = []
    for form, values in times.items():
        median = float(np.median(values))
        rows.append({
            "form": form, "batch_size": batch_size, "calls": len(values), "ms_per_image": 1e3 * median / batch_size,
            "images_per_s": batch_size / median, "gflop_per_s": flops / median / 1e9,
            "difference": _difference(outputs["unfolded"], outputs[form]),
            "speed_up": ratio if form == "folded" else 1.0,
        })  # fmt: skip
    return rows


def _difference(one, other) -> float:
    """Largest difference of the outputs, over the largest value of the first."""
    pairs = list(zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True))
    return float(max(np.abs(a - b).max() for a, b in pairs) / max(np.abs(a).max() for a, _ in pairs))


def main(name: str, options: dict[str, Any]) -> None:
    """Measures every batch size, prints a table, writes --json."""
    rows = []
    for batch_size in map(int, _BATCH_SIZES.value):
        rows += measure(name, options, image_size=_IMAGE_SIZE.value, batch_size=batch_size, seconds=_SECONDS.value)
    for row in rows:
        print(
            f"{name} {row['form']:>8} batch {row['batch_size']}: {row['ms_per_image']:8.1f} ms/image "
            f"{row['images_per_s']:7.2f} images/s {row['gflop_per_s']:7.1f} GFLOP/s "
            f"speed-up {row['speed_up']:.3f} (relative difference {row['difference']:.1e}, {row['calls']} calls)"
        )
    if _JSON.value:
        about = {
            "model": name, "options": options, "image_size": _IMAGE_SIZE.value, "jax": jax.__version__,
            "device": jax.devices()[0].device_kind, "machine": platform.processor() or platform.machine(),
        }  # fmt: skip
        pathlib.Path(_JSON.value).write_text(json.dumps({**about, "rows": rows}, indent=2) + "\n")


if __name__ == "__main__":
    model_flags.run(main)
