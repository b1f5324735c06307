"""Trained networks applied to slices: the single one alone, or both chained in one compiled program."""

import dataclasses
import functools
import math
import pathlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from PIL import Image

from ssinfnet_jax import models
from ssinfnet_jax.data import pipeline
from ssinfnet_jax.networks import folded, parallel
from ssinfnet_jax.networks.decision import Decision
from ssinfnet_jax.networks.inputs import Normalisation
from ssinfnet_jax.training import checkpoint, network_setup, segment_step

BATCH_SIZE = 16
MAX_IMAGE_SIZE = 2048
# Axes of [B,H,W] along which a slice is turned over; the probabilities of all forms are turned back and averaged.
FLIPS = {"none": [()], "left_right": [(), (2,)], "all": [(), (1,), (2,), (1, 2)]}


@dataclasses.dataclass(frozen=True)
class Segmentation:
    """One slice, segmented, in its own geometry.

    Attributes:
      record: the slice as read.
      lesion_probs: float32[H,W] in [0, 1], of the single network.
      class_probs: float32[H,W,3] summing to 1 over background, GGO, consolidation; None without a multi network.
      decision: the networks' rule.
    """

    record: dict[str, Any]
    lesion_probs: np.ndarray
    class_probs: np.ndarray | None
    decision: Decision

    @functools.cached_property
    def pred(self) -> np.ndarray:
        """uint8[H,W] of {0 background, 1 GGO, 2 consolidation}; {0, 1 lesion} without a multi network."""
        return self.decision.labels(self.lesion_probs, self.class_probs)


class Program(NamedTuple):
    """Both stages as one pure function.

    Attributes:
      predict: (variables, {"image": uint8[B,S,S]}) -> (lesion float32[B,S,S][, classes float32[B,S,S,3]]).
      variables: {"single"[, "multi"]}, on the host.
      descriptions: of each network, as `checkpoint.save_model` got them.
    """

    predict: Callable[[Any, dict[str, Any]], tuple[Any, ...]]
    variables: dict[str, Any]
    descriptions: dict[str, dict[str, Any]]

    @property
    def image_size(self) -> int:
        """S, pixels per side."""
        return int(self.descriptions["single"]["image_size"])

    @property
    def decision(self) -> Decision:
        """How the probabilities become labels: what the last network of the chain was chosen with."""
        which = "multi" if "multi" in self.descriptions else "single"
        return Decision.of(self.descriptions[which].get("decision"), f'"decision" of the {which} network')


def load_program(single_dir: pathlib.Path, multi_dir: pathlib.Path | None = None, *, flips: str = "none") -> Program:
    """Both stages, from the folders that `checkpoint.save_model` wrote.

    Args:
      single_dir: of the single network.
      multi_dir: of the multi network, or None for lesions only.
      flips: a key of FLIPS.
    Raises: FileNotFoundError if there is no trained network; ValueError if one was not trained to the end or gives not
      what its place needs, or the two do not fit together.
    """
    single, description = _load(single_dir)
    predict_single, single = _make_predict("single", description, single)
    variables, descriptions = {"single": single}, {"single": description}
    predict_multi = None
    if multi_dir is not None:
        multi, other = _load(multi_dir)
        check_same_input((single_dir, description), (multi_dir, other))
        predict_multi, variables["multi"] = _make_predict("multi", other, multi)
        descriptions["multi"] = other

    def predict(variables, batch):
        lesion = _flipped(predict_single, FLIPS[flips])(variables["single"], batch)
        if predict_multi is None:
            return (lesion,)
        # In steps of 1/255, as the priors were that the multi network was trained with.
        prior = (lesion * 255).round().astype("uint8")
        return lesion, _flipped(predict_multi, FLIPS[flips])(variables["multi"], {**batch, "prior": prior})

    return Program(predict, variables, descriptions)


def check_same_input(*networks: tuple[pathlib.Path, dict[str, Any]]) -> None:
    """Raises ValueError if two networks, given as (folder, description), were trained on different input."""
    (one, first), (other, second) = networks
    for name in ("image_size", "normalisation", "window_hu", "view"):
        if first.get(name) != second.get(name):
            raise ValueError(
                f"{one} and {other} differ in {name} ({first.get(name)} and {second.get(name)}): the two stages must "
                "be trained on the same input."
            )


class Segmenter:
    """Both stages, compiled for the devices of this process, in batches of a size that is a multiple of theirs.

    The other arguments, and the errors, are those of `load_program`.
    """

    def __init__(
        self,
        single_dir: pathlib.Path,
        multi_dir: pathlib.Path | None = None,
        *,
        flips: str = "none",
        batch_size: int = BATCH_SIZE,
    ):
        program = load_program(single_dir, multi_dir, flips=flips)
        self.description = program.descriptions["single"]
        self.image_size = program.image_size
        self.decision = program.decision
        self.batch_size = parallel.eval_batch_size(batch_size)
        self._run = parallel.map_predict(program.predict)(program.variables)

    def probabilities(self, records, positions: Sequence[int]) -> Iterator[tuple[str, tuple[np.ndarray, ...]]]:
        """(slice_id, (lesion float32[S,S][, classes float32[S,S,3]])) in network geometry, in order."""
        transform = pipeline.Resize(self.image_size)
        batches = pipeline.eval_batches(records, positions, transform, batch_size=self.batch_size)
        for batch, probs in parallel.predict_all(self._run, batches):
            for row, slice_id in enumerate(batch["slice_id"].tolist()):
                yield slice_id, tuple(part[row] for part in probs)

    def segment(self, records, positions: Sequence[int]) -> Iterator[Segmentation]:
        """Segments records in order; probabilities are brought back to each slice's own size bilinearly."""
        found = self.probabilities(records, positions)
        for position, (_, probs) in zip(positions, found, strict=True):
            record = records[int(position)]
            shape = record["image"].shape
            lesion = resize_probs(probs[0], shape)
            classes = None
            if len(probs) > 1:
                classes = np.stack([resize_probs(probs[1][..., c], shape) for c in range(3)], axis=-1)
            yield Segmentation(record, lesion, classes, self.decision)


def resize_probs(probs: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Bilinear resizing of float32[H,W] to float32[size]."""
    if probs.shape == tuple(size):
        return probs
    image = Image.fromarray(np.asarray(probs, np.float32), mode=None)
    return np.asarray(image.resize((size[1], size[0]), Image.Resampling.BILINEAR))


def _flipped(predict: Callable, flips: Sequence[tuple[int, ...]]) -> Callable:
    """The mean of a prediction over forms of the batch that are turned over along axes."""

    def run(variables, batch):
        total = 0
        for axes in flips:
            turned = {name: jnp.flip(value, axes) if value.ndim == 3 else value for name, value in batch.items()}
            total += jnp.flip(predict(variables, turned), axes)
        return total / len(flips)

    return run


def _load(directory: pathlib.Path) -> tuple[dict[str, Any], dict[str, Any]]:
    variables, description = checkpoint.load_model(directory)
    if description.get("fresh"):
        raise ValueError(
            f"{directory} is a start for training, not a network to apply: never trained were "
            f"{', '.join(description['fresh'])}."
        )
    size, normalisation = description.get("image_size"), description.get("normalisation")
    numbers = [*normalisation.values()] if isinstance(normalisation, dict) else []
    if not (isinstance(size, int) and size % 32 == 0 and 32 <= size <= MAX_IMAGE_SIZE):
        raise ValueError(
            f'{directory / "model.json"} has "image_size" {size}; it must be a multiple of 32, at most '
            f"{MAX_IMAGE_SIZE}: the pixels per side that the network was trained on."
        )
    if not (
        all(isinstance(number, int | float) and math.isfinite(number) for number in numbers)
        and set(normalisation or ()) == set(Normalisation._fields)
        and normalisation["std"] > 0
    ):
        raise ValueError(
            f'{directory / "model.json"} has "normalisation" {normalisation}; it must give the mean and std (above 0) '
            "of the network's training."
        )
    return variables, description


def _make_predict(which: str, description: dict[str, Any], variables: dict[str, Any]):
    """The prediction function of a stored network in its form for inference, and the variables of that form."""
    name, options = description["model"], description["options"]
    network_setup.check_output(which, name, options)
    num_inputs = models.num_inputs(name)
    network, variables = folded.fold(models.create(name, **options), variables, num_inputs=num_inputs)
    predict = segment_step.make_predict(
        network,
        num_inputs=num_inputs,
        output=models.output(name, **options),
        normalisation=Normalisation(**description["normalisation"]),
    )
    return predict, variables
