"""Prints layers, parameters, FLOPs and memory of a network.

python -m launch.summarize --model=infnet [--backbone=resnet50 --width=1] [--image_size=352 --batch_size=1 --depth=1]
"""

from typing import Any

from absl import flags

from launch import model_flags
from ssinfnet_jax.models import summary

flags.adopt_module_key_flags(model_flags)  # for --help
_IMAGE_SIZE = flags.DEFINE_integer("image_size", 352, "Pixels per side.", lower_bound=1)
_BATCH_SIZE = flags.DEFINE_integer("batch_size", 1, "Slices per forward pass.", lower_bound=1)
_DEPTH = flags.DEFINE_integer("depth", 1, "Levels of modules in the table; every level takes time.", lower_bound=1)
_COMPILE = flags.DEFINE_bool("compile", False, "Compile the forward pass and print the memory it needs.")


def main(name: str, options: dict[str, Any]) -> None:
    """Prints the summary."""
    size = {"image_size": _IMAGE_SIZE.value, "batch_size": _BATCH_SIZE.value}
    print(summary.summarize(name, options, **size, depth=_DEPTH.value, compiled=_COMPILE.value))


if __name__ == "__main__":
    model_flags.run(main)
