"""Dice on the validation split during the training of a segmentation network."""

import pathlib
from collections.abc import Sequence

import numpy as np

from ssinfnet_jax.data import pipeline
from ssinfnet_jax.metrics import overlap
from ssinfnet_jax.networks import parallel, prediction
from ssinfnet_jax.training import checkpoint, network_setup
from ssinfnet_jax.training.steps import state as states


class Validation:
    """Evaluates a state on the validation split and tracks the best.

    Args:
      setup: of the network.
      label: "lesion" | "classes".
      positions: of the validation slices.
      directory: of the stage.
      keep_best: whether to keep the best variables.
    Attributes: best: by Dice, averaged over classes; empty without a validation split.
    """

    def __init__(
        self, setup: network_setup.Setup, label: str, positions: np.ndarray, directory: pathlib.Path, *, keep_best: bool
    ):
        self.best = checkpoint.Best(directory / "best", keep_variables=keep_best)
        self._label, self._fetch, self._batches = label, setup.strategy.fetch, []
        if not len(positions):
            return
        size = parallel.eval_batch_size(setup.section.train.batch_size)
        predict = prediction.make_predict(
            setup.model, num_inputs=setup.num_inputs, output=setup.output, normalisation=setup.normalisation
        )
        self._batches = list(pipeline.eval_batches(setup.records, positions, setup.transform, batch_size=size))
        self._predict = parallel.map_predict(predict)

    def __call__(self, state: states.TrainState, step: int) -> dict[str, float] | None:
        """{"dice_...": mean over slices} for a state on the devices, or None without a validation split."""
        if not self._batches:
            return None
        variables = self._fetch(states.variables(state))
        names = {1: "lesion"} if self._label == "lesion" else {1: "ggo", 2: "consolidation"}
        scores = {name: [] for name in names.values()}
        for batch, probs in parallel.predict_all(self._predict(variables), self._batches):
            pred = (probs > 0.5).astype(int) if self._label == "lesion" else probs.argmax(axis=-1)
            ignores = batch.get("ignore", [None] * len(pred))
            for one, truth, ignore in zip(pred, batch[self._label], ignores, strict=True):
                one, truth = overlap.counted(ignore, one, truth)
                for value, name in names.items():
                    scores[name].append(overlap.overlap(one == value, truth == value)["dice"])
        means = {f"dice_{name}": _mean(values) for name, values in scores.items()}
        self.best.offer(_mean(list(means.values())), step, variables)
        return means


def _mean(values: Sequence[float]) -> float:
    """Mean of the values that are not NaN; NaN if all are."""
    known = [value for value in values if not np.isnan(value)]
    return float(np.mean(known)) if known else float("nan")
