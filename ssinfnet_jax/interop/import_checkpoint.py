"""Converts a checkpoint file to a model folder like those of a training, for inference or as initial weights."""

import dataclasses
import hashlib
import pathlib
from typing import Any

import flax
import numpy as np

from ssinfnet_jax import models
from ssinfnet_jax.data import ct
from ssinfnet_jax.interop import backbone_names, read_tensors, torch_checkpoint
from ssinfnet_jax.networks import storage
from ssinfnet_jax.networks.card import NetworkCard
from ssinfnet_jax.networks.inputs import Normalisation


@dataclasses.dataclass(frozen=True)
class Imported:
    """Variables of a network and their origin.

    Attributes:
      variables: {"params", "batch_stats"}.
      loaded, fresh: top-level modules loaded from the file, and those freshly initialised.
      ignored: tensors of the file that the network does not have.
    """

    variables: dict[str, Any]
    loaded: list[str]
    fresh: list[str]
    ignored: list[str]


def load(name: str, options: dict[str, Any], path: pathlib.Path, *, backbone_only: bool = False) -> Imported:
    """Loads the tensors of a file into the network `models.create(name, **options)`.

    Args:
      name, options: the network.
      path: a published checkpoint of it or, with `backbone_only`, an ImageNet classifier of its backbone's kind.
      backbone_only: whether to load the backbone only and initialise everything else.
    Raises: ValueError for a file that cannot be read or does not fit; FileNotFoundError; ImportError.
    """
    model = models.create(name, **options)
    tensors = read_tensors.read_tensors(path)
    if not backbone_only:
        variables = torch_checkpoint.convert(name, tensors, **options)
        return Imported(variables, sorted(variables["params"]), [], [])
    tensors, ignored = backbone_names.rename(name, getattr(model, "backbone", None), tensors)
    found = torch_checkpoint.convert_part(name, tensors, **options)
    flat = flax.traverse_util.flatten_dict(models.init(model, 0, models.num_inputs(name)))
    loaded = {path[1] for path in found}
    variables = flax.traverse_util.unflatten_dict({**flat, **found})
    return Imported(variables, sorted(loaded), sorted({path[1] for path in flat} - loaded), ignored)


def run(
    name: str,
    options: dict[str, Any],
    *,
    source: pathlib.Path,
    directory: pathlib.Path,
    image_size: int | None = None,
    normalisation: Normalisation | None = None,
    window_hu: tuple[float, float] = (ct.LOW_HU, ct.HIGH_HU),
    view: str = "lungs",
    backbone_only: bool = False,
) -> Imported:
    """Writes the model folder `directory`, complete or not at all.

    Args:
      name, options, backbone_only: as for `load`.
      source: the checkpoint file.
      directory: must not exist.
      image_size: pixels per side of the slices that the network was trained on; a multiple of 32.
      normalisation: of its training. A checkpoint contains neither; a backbone alone needs neither.
      window_hu: (low, high) of its training; by default that measured on the public slices.
      view: "lungs" if its slices were cropped to the lungs, as the public ones are, or "frame".
    Returns: what was imported.
    Raises: FileExistsError; ValueError for a missing or invalid image size or normalisation; as `load`.
    """
    if directory.exists():
        raise FileExistsError(f"{directory} already exists; choose a new folder, or remove it first.")
    seen = {}
    if not backbone_only:
        seen = {**_input(image_size, normalisation), "window_hu": window_hu, "view": view}
    imported = load(name, options, source, backbone_only=backbone_only)
    origin = {"file": source.name, "sha256": hashlib.sha256(source.read_bytes()).hexdigest()}
    partial = directory.with_name(directory.name + ".partial")
    storage.save(partial, imported.variables, NetworkCard(name, options, fresh=imported.fresh, imported=origin, **seen))
    partial.rename(directory)
    return imported


def report(imported: Imported) -> str:
    """Describes what was imported, for printing."""
    params = imported.variables["params"]
    counts = {
        module: sum(np.size(value) for value in flax.traverse_util.flatten_dict(params[module]).values())
        for module in (*imported.loaded, *imported.fresh)
    }
    parts = {"Loaded": imported.loaded, "Fresh": imported.fresh}
    lines = [
        f"{title}: {', '.join(f'{module} ({counts[module]:,})' for module in modules)}"
        for title, modules in parts.items()
        if modules
    ]
    if imported.ignored:
        lines.append(f"Ignored tensors of the file: {', '.join(imported.ignored)}")
    return "\n".join(lines)


def _input(image_size: int | None, normalisation: Normalisation | None) -> dict[str, Any]:
    if image_size is None or normalisation is None:
        raise ValueError(
            "A checkpoint does not contain the input format of its network; pass the image size and the mean and "
            "standard deviation of the normalisation (--image_size, --mean, --std)."
        )
    if image_size < 32 or image_size % 32:
        raise ValueError(f"The image size must be a multiple of 32, found {image_size}.")
    if not (np.isfinite([normalisation.mean, normalisation.std]).all() and normalisation.std > 0):
        raise ValueError(
            f"The normalisation needs a finite mean and a standard deviation above 0, found {normalisation}."
        )
    return {"image_size": image_size, "normalisation": normalisation}
