"""Speed of a network's forward pass, as trained and folded for inference (`ssinfnet_jax.networks.folded`).

python -m benchmarks.inference --model=infnet [--backbone=resnet50 --width=1] [--image_size=352] [--batch_sizes=1,4]

Both forms run in turns, so that other work on the machine slows both alike; medians are reported. The weights are
freshly initialised; speed does not depend on them. FLOPs count a multiply-add as 2 (`launch.summarize`); both rows use
those of the unfolded form.
"""

import functools
from typing import Any

import jax
import numpy as np
from absl import flags

from benchmarks import measure
from launch import model_flags
from ssinfnet_jax import models
from ssinfnet_jax.evaluation import timing
from ssinfnet_jax.models import summary
from ssinfnet_jax.networks import folded

_IMAGE_SIZE = flags.DEFINE_integer("image_size", 352, "Pixels per side.", lower_bound=32)
_BATCH_SIZES = flags.DEFINE_list("batch_sizes", ["1", "4"], "Slices per call.")
_SECONDS = flags.DEFINE_float("seconds", 30.0, "Time for measuring each batch size, after compilation.")
_JSON = flags.DEFINE_string("json", None, "File for the numbers.")


def measure_batch(
    name: str, options: dict[str, Any], *, image_size: int, batch_size: int, seconds: float
) -> list[dict[str, Any]]:
    """Returns a row per form: ms per slice, slices/s, GFLOP/s, difference from the unfolded result, speed-up."""
    model, num_inputs = models.create(name, **options), models.num_inputs(name)
    variables = models.init(model, 0, num_inputs)
    network, less = folded.fold(model, variables, num_inputs=num_inputs)
    grey = np.random.default_rng(0).normal(size=(batch_size, image_size, image_size, num_inputs // folded.REPEATS))
    inputs = jax.device_put(np.repeat(grey, folded.REPEATS, axis=-1).astype(np.float32))
    forms = {
        "unfolded": (jax.jit(lambda v, x: model.apply(v, x, train=False)), jax.device_put(variables)),
        "folded": (jax.jit(network.apply), jax.device_put(less)),
    }
    calls = {form: functools.partial(apply, tree, inputs) for form, (apply, tree) in forms.items()}
    results = {form: call() for form, call in calls.items()}
    times = timing.in_turns(calls, seconds=seconds)
    flops = summary.flops(name, options, image_size=image_size, batch_size=batch_size)
    return [
        {
            "form": form, "image_size": image_size, "batch_size": batch_size,
            "ms_per_slice": 1e3 * time / batch_size, "slices_per_s": batch_size / time,
            "gflop_per_s": flops / time / 1e9, "speed_up": times["unfolded"] / time,
            "difference": _difference(results["unfolded"], results[form]),
        }
        for form, time in times.items()
    ]  # fmt: skip


def _difference(one, other) -> float:
    """Returns the largest difference of the outputs, divided by the largest value of the first."""
    pairs = list(zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True))
    return float(max(np.abs(a - b).max() for a, b in pairs) / max(np.abs(a).max() for a, _ in pairs))


def main(name: str, options: dict[str, Any]) -> None:
    """Measures every batch size, prints a table, writes --json."""
    size, rows = _IMAGE_SIZE.value, []
    for batch_size in map(int, _BATCH_SIZES.value):
        for row in measure_batch(name, options, image_size=size, batch_size=batch_size, seconds=_SECONDS.value):
            rows.append(row)
            print(
                f"{name} {row['form']:>8} {size} batch {batch_size:2d}: {row['ms_per_slice']:8.1f} ms/slice "
                f"{row['slices_per_s']:7.2f} slices/s {row['gflop_per_s']:8.1f} GFLOP/s, speed-up "
                f"{row['speed_up']:.3f}, relative difference {row['difference']:.1e}",
                flush=True,
            )
    measure.write(_JSON.value, {"model": name, "options": options}, rows)


if __name__ == "__main__":
    model_flags.run(main)
