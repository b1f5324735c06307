"""Speed of training steps: segmentation, inpainting, coach.

python -m benchmarks.training --model=infnet [--width=1 --dtype=bfloat16] [--image_size=352] [--batch_sizes=1,4]
    [--steps=segment,inpaint,coach]

A step holds all that a training does on the device: augmentation, forward, losses, gradients, update. Its FLOPs are
counted as three forwards of the network that learns, multiply-add = 2, so that fractions of the peak compare with other
programs. The peak is that of a matrix product of the same type, measured in turns with the step.
"""

import functools
import time
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from absl import flags

from benchmarks import measure
from configs import recommended
from launch import model_flags
from ssinfnet_jax import models
from ssinfnet_jax.data import augment
from ssinfnet_jax.models import summary
from ssinfnet_jax.training import adversarial_step, optim, segment_step, state
from ssinfnet_jax.training.inputs import Normalisation

_IMAGE_SIZE = flags.DEFINE_integer("image_size", 352, "Pixels per side.", lower_bound=32)
_BATCH_SIZES = flags.DEFINE_list("batch_sizes", ["1", "4"], "Slices per step.")
_STEPS = flags.DEFINE_list("steps", ["segment"], "Steps to measure: segment, inpaint, coach.")
_SECONDS = flags.DEFINE_float("seconds", 30.0, "Time for measuring each case, after compilation.")
_MATMUL = flags.DEFINE_integer("matmul", 2048, "Side of the matrices that the peak is measured with.")
_JSON = flags.DEFINE_string("json", None, "File for the numbers.")

AUGMENTATION = {"flip_left_right": True, "quarter_turns": True, "scale": (0.8, 1.0), "gamma": 0.3, "contrast": 0.2}


def make_call(
    kind: str, name: str, options: dict[str, Any], image_size: int, batch_size: int
) -> tuple[Callable[[], Any], float]:
    """A function that makes one more step of `kind` on synthetic slices, its states kept and donated; and the seconds
    that tracing and compiling took."""
    config = recommended.get_config().to_dict()
    num_inputs = models.num_inputs(name)
    section = config["single" if num_inputs == 3 else "multi"]
    model, normalisation = models.create(name, **options), Normalisation()
    augmentation = augment.make_options(AUGMENTATION)
    table = {"name": "sgd", "learning_rate": 1e-4, "momentum": 0.9}
    optimizer = optim.make_optimizer(table, lambda step: 1e-4)
    learner, batch = _state(model, optimizer, num_inputs), _batch(image_size, batch_size)
    key, frozen = jax.random.key(0), ()
    if kind == "segment":
        if num_inputs == 3:
            make = functools.partial(segment_step.make_single_step, output=models.output(name, **options))
        else:
            make = functools.partial(segment_step.make_multi_step, num_inputs=num_inputs)
        sees = segment_step.Options(augmentation, normalisation)
        step = make(model, optimizer, losses=section["train"]["losses"], options=sees)
    else:
        coach = models.create("coach", **_coach_options(options))
        game = adversarial_step.Game(model, coach, num_inputs, normalisation)
        other = _state(coach, optimizer, 3)
        make = {"inpaint": adversarial_step.make_inpaint_step, "coach": adversarial_step.make_coach_step}[kind]
        step = make(game, optimizer, augmentation=augmentation)
        learner, frozen = (learner, (other,)) if kind == "inpaint" else (other, (learner,))
    current = {"state": jax.device_put(learner)}
    frozen, batch = jax.device_put((frozen, batch))
    start = time.perf_counter()
    compiled = jax.jit(step, donate_argnums=0).lower(current["state"], *frozen, batch, key).compile()
    compile_s = time.perf_counter() - start

    def call():
        current["state"], metrics = compiled(current["state"], *frozen, batch, key)
        return metrics

    return call, compile_s


def measure_case(kind: str, name: str, options: dict[str, Any], image_size: int, batch_size: int) -> dict[str, Any]:
    """One row: seconds to compile, ms per slice, slices/s, GFLOP/s, fraction of the peak, memory."""
    call, compile_s = make_call(kind, name, options, image_size, batch_size)
    product, product_flops = measure.matmul(_MATMUL.value, options.get("dtype", "float32"))
    seconds = measure.in_turns({"step": call, "matmul": product}, seconds=_SECONDS.value)
    learner = ("coach", _coach_options(options)) if kind == "coach" else (name, options)
    flops = 3 * summary.flops(*learner, image_size=image_size, batch_size=batch_size)
    speed, peak = flops / seconds["step"], product_flops / seconds["matmul"]
    return {
        "step": kind, "image_size": image_size, "batch_size": batch_size, "compile_s": compile_s,
        "ms_per_slice": 1e3 * seconds["step"] / batch_size, "slices_per_s": batch_size / seconds["step"],
        "gflop_per_s": speed / 1e9, "matmul_gflop_per_s": peak / 1e9, "of_peak": speed / peak,
        "peak_gib": measure.peak_gib(),
    }  # fmt: skip


def main(name: str, options: dict[str, Any]) -> None:
    """Measures every case, prints a table, writes --json."""
    rows = []
    for kind in _STEPS.value:
        if kind not in ("segment", "inpaint", "coach"):
            raise ValueError(f"Unknown step {kind!r}; choose from segment, inpaint, coach.")
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


def _coach_options(options: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if name in ("width", "dtype")}


def _state(model, optimizer, num_channels: int) -> state.TrainState:
    return state.create(model, optimizer, seed=0, num_channels=num_channels)


def _batch(image_size: int, batch_size: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    shape = (batch_size, image_size, image_size)
    classes = rng.integers(0, 3, (batch_size, image_size // 16, image_size // 16)).repeat(16, 1).repeat(16, 2)
    return {
        "image": rng.integers(0, 256, shape, dtype=np.uint8),
        "prior": rng.integers(0, 256, shape, dtype=np.uint8),
        "lesion": (classes > 0).astype(np.uint8),
        "classes": classes.astype(np.uint8),
        "valid": np.ones(batch_size, np.float32),
        "position": np.arange(batch_size, dtype=np.int32),
        "erased_by_coach": np.ones(batch_size, np.float32),
    }


if __name__ == "__main__":
    model_flags.run(main)
