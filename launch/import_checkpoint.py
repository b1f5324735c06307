"""Converts a published checkpoint to a model folder, for inference or as initial weights.

python -m launch.import_checkpoint --model=infnet --checkpoint=FILE.pth --workdir=NEW_FOLDER \\
    --image_size=352 --mean=0.45 --std=0.23
python -m launch.import_checkpoint --model=infnet --checkpoint=resnet50.pth --workdir=NEW_FOLDER --backbone_only
"""

import pathlib
from typing import Any

from absl import flags

from launch import model_flags
from ssinfnet_jax.data import ct
from ssinfnet_jax.interop import import_checkpoint
from ssinfnet_jax.networks.inputs import Normalisation

flags.adopt_module_key_flags(model_flags)  # for --help
_CHECKPOINT = flags.DEFINE_string("checkpoint", None, "File: .pth, .pt, .safetensors or .npz.", required=True)
_WORKDIR = flags.DEFINE_string("workdir", None, "Model folder to write; must not exist.", required=True)
_IMAGE_SIZE = flags.DEFINE_integer("image_size", None, "Pixels per side of the training slices.")
_MEAN = flags.DEFINE_float("mean", None, "Of the training: input = (image - mean) / std, image in [0, 1].")
_STD = flags.DEFINE_float("std", None, "See --mean.")
_WINDOW_LOW = flags.DEFINE_float("window_low_hu", ct.LOW_HU, "HU of black in the training slices.")
_WINDOW_HIGH = flags.DEFINE_float("window_high_hu", ct.HIGH_HU, "HU of white in the training slices.")
_VIEW = flags.DEFINE_enum("view", "lungs", ["lungs", "frame"], "Whether training slices were cropped to the lungs.")
_BACKBONE_ONLY = flags.DEFINE_bool("backbone_only", False, "The file is an ImageNet classifier with this backbone.")


def main(name: str, options: dict[str, Any]) -> None:
    """Imports the file and prints a report."""
    known = None not in (_MEAN.value, _STD.value)
    imported = import_checkpoint.run(
        name,
        options,
        source=pathlib.Path(_CHECKPOINT.value),
        directory=pathlib.Path(_WORKDIR.value),
        image_size=_IMAGE_SIZE.value,
        normalisation=Normalisation(_MEAN.value, _STD.value) if known else None,
        window_hu=(_WINDOW_LOW.value, _WINDOW_HIGH.value),
        view=_VIEW.value,
        backbone_only=_BACKBONE_ONLY.value,
    )
    print(import_checkpoint.report(imported))


if __name__ == "__main__":
    model_flags.run(main)
