"""Speed of training steps: segmentation, inpainting, coach.

python -m benchmarks.training --model=infnet [--width=1 --dtype=bfloat16] [--image_size=352] [--batch_sizes=1,4]
    [--steps=segment,inpaint,coach]

A step includes everything that training does on the device: augmentation, forward, losses, gradients, update. Its FLOPs
count as three forward passes of the network that learns, multiply-add = 2, so that fractions of the peak are comparable
with other programs. The peak is that of a matrix product of the same type, measured in turns with the step.
"""

from typing import Any

from absl import flags

from benchmarks import measure
from launch import model_flags
from ssinfnet_jax.evaluation import timing, workload
from ssinfnet_jax.models import summary

_IMAGE_SIZE = flags.DEFINE_integer("image_size", 352, "Pixels per side.", lower_bound=32)
_BATCH_SIZES = flags.DEFINE_list("batch_sizes", ["1", "4"], "Slices per step.")
_STEPS = flags.DEFINE_list("steps", ["segment"], "Steps to measure: segment, inpaint, coach.")
_SECONDS = flags.DEFINE_float("seconds", 30.0, "Time for measuring each case, after compilation.")
_MATMUL = flags.DEFINE_integer("matmul", 2048, "Side of the matrices used to measure the peak.")
_JSON = flags.DEFINE_string("json", None, "File for the numbers.")


def measure_case(kind: str, name: str, options: dict[str, Any], image_size: int, batch_size: int) -> dict[str, Any]:
    """Returns a row: seconds to compile, ms per slice, slices/s, GFLOP/s, fraction of the peak, memory."""
    work = workload.training(kind, name, options, image_size=image_size, batch_size=batch_size)
    product, product_flops = measure.matmul(_MATMUL.value, options.get("dtype", "float32"))
    seconds = timing.in_turns({"step": work.call, "matmul": product}, seconds=_SECONDS.value)
    learner = ("coach", workload.coach_options(options)) if kind == "coach" else (name, options)
    flops = 3 * summary.flops(*learner, image_size=image_size, batch_size=batch_size)
    speed, peak = flops / seconds["step"], product_flops / seconds["matmul"]
    return {
        "step": kind, "image_size": image_size, "batch_size": batch_size, "compile_s": work.compile_s,
        "ms_per_slice": 1e3 * seconds["step"] / batch_size, "slices_per_s": batch_size / seconds["step"],
        "gflop_per_s": speed / 1e9, "matmul_gflop_per_s": peak / 1e9, "of_peak": speed / peak,
        "peak_gib": timing.peak_gib(),
    }  # fmt: skip


def main(name: str, options: dict[str, Any]) -> None:
    """Measures every case, prints a table, writes --json."""
    rows = []
    for kind in _STEPS.value:
        if kind not in workload.STEPS:
            raise ValueError(f"Unknown step {kind!r}; choose from {', '.join(workload.STEPS)}.")
        for batch_size in map(int, _BATCH_SIZES.value):
            row = measure_case(kind, name, options, _IMAGE_SIZE.value, batch_size)
            rows.append(row)
            print(
                f"{name} {kind:>8} {row['image_size']} batch {batch_size:2d}: {row['ms_per_slice']:8.1f} ms/slice "
                f"{row['slices_per_s']:7.2f} slices/s {row['gflop_per_s']:8.1f} GFLOP/s = {row['of_peak']:.2f} of "
                f"{row['matmul_gflop_per_s']:.0f}; compiled in {row['compile_s']:.1f} s, {row['peak_gib']:.1f} GiB",
                flush=True,
            )
    measure.write(_JSON.value, {"model": name, "options": options}, rows)


if __name__ == "__main__":
    model_flags.run(main)
