"""Applies trained networks to slices: the single network alone, or both."""

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
    """Both networks as pure functions.

    Attributes:
      find: (variables, {"image": uint8[B,S,S]}) -> (lesion float32[B,S,S], prior uint8[B,S,S]); the lesion's
        probability has the single network's temperature, the prior, in steps of 1/255 as in training, has none.
      divide: (variables, {"image", "prior"}) -> classes float32[B,S,S,3]; None without a multi network.
      variables: {"single"[, "multi"]}, on the host.
      cards: of each network.
    """

    find: Callable[[Any, dict[str, Any]], tuple[Any, Any]]
    divide: Callable[[Any, dict[str, Any]], Any] | None
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

    def predict(self, variables: dict[str, Any], batch: dict[str, Any]) -> tuple[Any, ...]:
        """Chains both: {"image": uint8[B,S,S]} -> (lesion float32[B,S,S][, classes float32[B,S,S,3]])."""
        lesion, prior = self.find(variables["single"], batch)
        if self.divide is None:
            return (lesion,)
        return lesion, self.divide(variables["multi"], {**batch, "prior": prior})


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
        predicts[which] = _flipped(_make_predict(which, cards[which]), FLIPS[flips])
    if multi_dir is not None:
        card.check_same_input(*((folder, cards[which]) for which, folder in folders.items()))

    def find(variables, batch):
        lesion = predicts["single"](variables, batch)
        return prediction.temper(lesion, cards["single"].temperature), (lesion * 255).round().astype("uint8")

    def divide(variables, batch):
        return prediction.temper(predicts["multi"](variables, batch), cards["multi"].temperature, classes=True)

    return Program(find, divide if multi_dir is not None else None, variables, cards)


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
        self._find = parallel.map_predict(program.find)(program.variables["single"])
        self._divide = program.divide and parallel.map_predict(program.divide)(program.variables["multi"])

    def probabilities(
        self, records, positions: Sequence[int], decision: Decision | None = None
    ) -> Iterator[tuple[str, tuple[np.ndarray, ...]]]:
        """Yields (slice_id, (lesion float32[S,S][, classes float32[S,S,3]])) in network geometry, in order.

        Args:
          records, positions: slices, and which of them.
          decision: if given, the multi network does not run on batches in which this decision finds no lesion whatever
            its classes are; they are background there. Labels by this decision are the same as without it.
        """
        transform = pipeline.Resize(self.image_size)
        batches = pipeline.eval_batches(records, positions, transform, batch_size=self.batch_size)
        excludes = -1.0 if decision is None else decision.excludes
        for batch, probs in parallel.predict_all(functools.partial(self._predict, excludes), batches):
            for row, slice_id in enumerate(batch["slice_id"].tolist()):
                yield slice_id, tuple(part[row] for part in probs)

    def _predict(self, excludes: float, batch: dict[str, Any]) -> tuple[np.ndarray, ...]:
        lesion, prior = self._find(batch)
        if self._divide is None:
            return (lesion,)
        if lesion.max() <= excludes:
            classes = np.zeros((*lesion.shape, 3), lesion.dtype)
            classes[..., 0] = 1
            return lesion, classes
        return lesion, self._divide({**batch, "prior": prior})

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
    if probs.min() == probs.max():  # where the multi network did not run
        return np.full(size, probs.flat[0], np.float32)
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
