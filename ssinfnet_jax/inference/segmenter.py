"""Applies trained networks to slices: the single network alone, or both chained in one compiled program."""

import dataclasses
import functools
import pathlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from PIL import Image

from ssinfnet_jax import models
from ssinfnet_jax.data import pipeline
from ssinfnet_jax.networks import card, parallel, prediction, storage
from ssinfnet_jax.networks.card import NetworkCard
from ssinfnet_jax.networks.decision import Decision

BATCH_SIZE = 16
# Axes of [B,H,W] along which to flip a slice; the probabilities of all forms are flipped back and averaged.
FLIPS = {"none": [()], "left_right": [(), (2,)], "all": [(), (1,), (2,), (1, 2)]}


@dataclasses.dataclass(frozen=True)
class Segmentation:
    """A segmented slice, in its own geometry.

    Attributes:
      record: the slice as read.
      lesion_probs: float32[H,W] in [0, 1], from the single network.
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
    """Both networks as one pure function.

    Attributes:
      predict: (variables, {"image": uint8[B,S,S]}) -> (lesion float32[B,S,S][, classes float32[B,S,S,3]]).
      variables: {"single"[, "multi"]}, on the host.
      cards: of each network.
    """

    predict: Callable[[Any, dict[str, Any]], tuple[Any, ...]]
    variables: dict[str, Any]
    cards: dict[str, NetworkCard]

    @property
    def image_size(self) -> int:
        """S, pixels per side."""
        return self.cards["single"].image_size

    @property
    def decision(self) -> Decision:
        """How the probabilities become labels: the multi network's decision, or the paper's rule if it has none."""
        return ("multi" in self.cards and self.cards["multi"].decision) or Decision()


def load_program(single_dir: pathlib.Path, multi_dir: pathlib.Path | None = None, *, flips: str = "none") -> Program:
    """Loads both networks from model folders.

    Args:
      single_dir: of the single network.
      multi_dir: of the multi network, or None for lesions only.
      flips: a key of FLIPS.
    Raises: FileNotFoundError if there is no trained network; ValueError if a network is only a start for training, if
      its output does not fit its role, or if the two were trained on different input.
    """
    folders = {"single": single_dir} | ({"multi": multi_dir} if multi_dir is not None else {})
    variables, cards, predicts = {}, {}, {}
    for which, folder in folders.items():
        variables[which], cards[which] = storage.load(folder)
        cards[which].check_applicable(folder)
        predicts[which] = _make_predict(which, cards[which])
    if multi_dir is not None:
        card.check_same_input(*((folder, cards[which]) for which, folder in folders.items()))

    def predict(variables, batch):
        lesion = _flipped(predicts["single"], FLIPS[flips])(variables["single"], batch)
        shown = prediction.temper(lesion, cards["single"].temperature)
        if multi_dir is None:
            return (shown,)
        # In steps of 1/255, like the priors in the training of the multi network.
        prior = (lesion * 255).round().astype("uint8")
        classes = _flipped(predicts["multi"], FLIPS[flips])(variables["multi"], {**batch, "prior": prior})
        return shown, prediction.temper(classes, cards["multi"].temperature, classes=True)

    return Program(predict, variables, cards)


class Segmenter:
    """Both networks, compiled for this process's devices; the batch size is rounded up to a multiple of their number.

    Other arguments and errors are those of `load_program`.
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
        self.card = program.cards["single"]
        self.image_size = program.image_size
        self.decision = program.decision
        self.batch_size = parallel.eval_batch_size(batch_size)
        self._run = parallel.map_predict(program.predict)(program.variables)

    def probabilities(self, records, positions: Sequence[int]) -> Iterator[tuple[str, tuple[np.ndarray, ...]]]:
        """Yields (slice_id, (lesion float32[S,S][, classes float32[S,S,3]])) in network geometry, in order."""
        transform = pipeline.Resize(self.image_size)
        batches = pipeline.eval_batches(records, positions, transform, batch_size=self.batch_size)
        for batch, probs in parallel.predict_all(self._run, batches):
            for row, slice_id in enumerate(batch["slice_id"].tolist()):
                yield slice_id, tuple(part[row] for part in probs)

    def segment(self, records, positions: Sequence[int]) -> Iterator[Segmentation]:
        """Segments records in order; resizes probabilities bilinearly to each slice's own size."""
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
    """Resizes float32[H,W] bilinearly to float32[size]."""
    if probs.shape == tuple(size):
        return probs
    image = Image.fromarray(np.asarray(probs, np.float32), mode=None)
    return np.asarray(image.resize((size[1], size[0]), Image.Resampling.BILINEAR))


def _flipped(predict: Callable, flips: Sequence[tuple[int, ...]]) -> Callable:
    """Averages a prediction over copies of the batch flipped along axes."""

    def run(variables, batch):
        total = 0
        for axes in flips:
            turned = {name: jnp.flip(value, axes) if value.ndim == 3 else value for name, value in batch.items()}
            total += jnp.flip(predict(variables, turned), axes)
        return total / len(flips)

    return run


def _make_predict(which: str, stored: NetworkCard) -> Callable:
    """Returns the prediction function of a stored network."""
    stored.check_role(which)
    return prediction.make_predict(
        models.create(stored.model, **stored.options),
        num_inputs=models.num_inputs(stored.model),
        output=models.output(stored.model, **stored.options),
        normalisation=stored.normalisation,
    )
