"""Exports both networks with their weights as one StableHLO program that runs without this package.

The program contains the forms of `models.ops` for the CPU and for GPU and TPU, and uses those of its platform;
it stores the weights once.
"""

import dataclasses
import hashlib
import pathlib
import shutil
from typing import Any

import jax
import jax.numpy as jnp
from jax import export

from ssinfnet_jax.inference import run_exported, segmenter
from ssinfnet_jax.models import ops

PLATFORMS = ("cpu", "cuda", "tpu")
PROGRAM = "program.jax_export"


def make_program(program: segmenter.Program) -> export.Exported:
    """Makes the program uint8[B, S, S] -> {"labels", "lesion"[, "classes"], "decision"}, B >= 1, weights included.

    `labels` is uint8[B, S, S] of {0 background, 1 GGO, 2 consolidation}, or of {0, 1 lesion} without a multi network,
    by the networks' decision;
    `lesion` float32[B, S, S] and `classes` float32[B, S, S, 3] are the probabilities of `Segmenter`. Callers that
    resize these before deciding use `decision` float32[5]: 1 for the rule "joint", and the numbers of
    `decision.Decision`.
    """

    rule = program.decision
    numbers = [rule.rule == "joint", *dataclasses.astuple(rule)[1:]]

    def run(backend: str):
        def forward(image, variables):
            with ops.forms_for(backend):
                lesion, *classes = program.predict(variables, {"image": image})
            labels = rule.labels(lesion, *classes)
            found = {"labels": labels, "lesion": lesion, "decision": jnp.asarray(numbers, jnp.float32)}
            return found | ({"classes": classes[0]} if classes else {})

        return forward

    def for_any_platform(image):
        return jax.lax.platform_dependent(image, program.variables, cpu=run("cpu"), default=run("gpu"))

    shape = export.symbolic_shape(f"B, {program.image_size}, {program.image_size}")
    image = jax.ShapeDtypeStruct(shape, jnp.uint8)
    return export.export(jax.jit(for_any_platform), platforms=PLATFORMS)(image)


def write(out_dir: pathlib.Path, single_dir: pathlib.Path, multi_dir: pathlib.Path | None = None) -> dict[str, Any]:
    """Writes the serialised program, `program.jax_export`, and the script `run_exported.py` that runs it.

    Args:
      out_dir: an existing folder.
      single_dir: folder of the single network.
      multi_dir: of the multi network, or None for lesions only.
    Returns: data for a model card: image_size, window_hu and view of the training, platforms, file,
      sha256, megabytes, and the networks' cards by name, as plain data.
    Raises: as `segmenter.load_program`; ValueError for a network whose card lacks window and view.
    """
    program = segmenter.load_program(single_dir, multi_dir)
    window_hu, view = program.cards["single"].scan_input(single_dir)
    data = bytes(make_program(program).serialize())
    (out_dir / PROGRAM).write_bytes(data)
    shutil.copy(run_exported.__file__, out_dir / "run_exported.py")
    return {
        "image_size": program.image_size,
        "window_hu": window_hu,
        "view": view,
        "platforms": PLATFORMS,
        "file": PROGRAM,
        "sha256": hashlib.sha256(data).hexdigest(),
        "megabytes": len(data) / 1e6,
        "networks": {which: card.to_json() for which, card in program.cards.items()},
    }
