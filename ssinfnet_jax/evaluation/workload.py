"""Compiled inference and training steps of a network on synthetic slices, for timing on one device.

The weights are freshly initialised; speed does not depend on them.
"""

import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from ssinfnet_jax import models
from ssinfnet_jax.config import Augmentation, Optimizer
from ssinfnet_jax.networks import prediction
from ssinfnet_jax.networks.inputs import Normalisation
from ssinfnet_jax.training.steps import adversarial_step, optim, segment_step, state

STEPS = ("segment", "inpaint", "coach")
AUGMENTATION = {"flip_left_right": True, "quarter_turns": True, "scale": (0.8, 1.0), "gamma": 0.3, "contrast": 0.2}
LOSSES = {  # of the recommended config
    "lesion": {
        "weighted_iou_bce": {"fn": "segmentation:weighted_iou_bce"},
        "edge": {"fn": "segmentation:contour_bce", "maps": {"edge": 1.0}},
    },
    "classes": {"focal": {"fn": "segmentation:focal", "gamma": 2.0, "alpha": 1.0}},
    "inpainter": {
        "reconstruction_loss": {"fn": "inpainting:reconstruction", "weight": 0.99},
        "context_loss": {"fn": "inpainting:context", "weight": 0.01},
    },
    "coach": {"coach_loss": {"fn": "inpainting:coach", "kl_weight": 1e-6}},
}


class Workload(NamedTuple):
    """A compiled computation.

    Attributes:
      call: runs it once more; returns arrays that may still be computing.
      compile_s: seconds of tracing and compiling.
      temp_bytes: memory besides arguments and results; None if the backend does not report it.
    """

    call: Callable[[], Any]
    compile_s: float
    temp_bytes: int | None


def inference(name: str, options: Mapping[str, Any], *, image_size: int, batch_size: int) -> Workload:
    """Predicts the probabilities of a batch of slices, as `inference.segmenter` does."""
    model, num_inputs = models.create(name, **options), models.num_inputs(name)
    variables = models.init(model, 0, num_inputs)
    predict = prediction.make_predict(
        model, num_inputs=num_inputs, output=models.output(name, **options), normalisation=Normalisation(0.5, 0.25)
    )
    inputs = {key: value for key, value in _batch(image_size, batch_size).items() if key in ("image", "prior")}
    arguments = jax.device_put((variables, inputs))
    compiled, compile_s = _compiled(jax.jit(predict), *arguments)
    return Workload(lambda: compiled(*arguments), compile_s, _temp_bytes(compiled))


def training(kind: str, name: str, options: Mapping[str, Any], *, image_size: int, batch_size: int) -> Workload:
    """Compiles a training step of `STEPS`: augmentation, forward, losses, gradients, update; donates its state."""
    num_inputs, output = models.num_inputs(name), models.output(name, **options)
    model, normalisation = models.create(name, **options), Normalisation(0.5, 0.25)
    augmentation = Augmentation(**AUGMENTATION)
    optimizer = optim.make_optimizer(Optimizer("sgd", 1e-4, options={"momentum": 0.9}), lambda step: 1e-4)
    learner, batch = _state(model, optimizer, num_inputs), _batch(image_size, batch_size)
    key, frozen = jax.random.key(0), ()
    if kind == "segment":
        seen = segment_step.Options(augmentation, normalisation)
        step = segment_step.make_step(
            model,
            optimizer,
            num_inputs=num_inputs,
            output=output,
            options=seen,
            losses=LOSSES["classes" if output == "classes" else "lesion"],
        )
    else:
        coach = models.create("coach", **coach_options(options))
        game = adversarial_step.Game(model, coach, num_inputs, normalisation, LOSSES["inpainter"], LOSSES["coach"])
        other = _state(coach, optimizer, 3)
        make = {"inpaint": adversarial_step.make_inpaint_step, "coach": adversarial_step.make_coach_step}[kind]
        step = make(game, optimizer, augmentation=augmentation)
        learner, frozen = (learner, (other,)) if kind == "inpaint" else (other, (learner,))
    current = {"state": jax.device_put(learner)}
    frozen, batch = jax.device_put((frozen, batch))
    compiled, compile_s = _compiled(jax.jit(step, donate_argnums=0), current["state"], *frozen, batch, key)

    def call():
        current["state"], metrics = compiled(current["state"], *frozen, batch, key)
        return metrics

    return Workload(call, compile_s, _temp_bytes(compiled))


def coach_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Returns those of a network's options that its coach has too."""
    return {name: value for name, value in options.items() if name in ("width", "dtype")}


def _compiled(function, *arguments) -> tuple[jax.stages.Compiled, float]:
    start = time.perf_counter()
    compiled = function.lower(*arguments).compile()
    return compiled, time.perf_counter() - start


def _temp_bytes(compiled: jax.stages.Compiled) -> int | None:
    memory = compiled.memory_analysis()
    return None if memory is None else int(memory.temp_size_in_bytes)


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
