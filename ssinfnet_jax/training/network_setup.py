"""What pretraining and training of a network share: its config section, its data, its model."""

import dataclasses
import pathlib
from typing import Any

import flax.linen as nn
import jax
import numpy as np
import pandas as pd
from absl import logging

from ssinfnet_jax import models, rundir
from ssinfnet_jax.config import Config, Multi, Single, plain
from ssinfnet_jax.data import ct, pipeline, prepare, priors, splits
from ssinfnet_jax.networks import parallel, storage
from ssinfnet_jax.networks.card import NetworkCard
from ssinfnet_jax.networks.decision import Decision
from ssinfnet_jax.networks.inputs import Normalisation
from ssinfnet_jax.training import checkpoint
from ssinfnet_jax.training.steps import state as states


@dataclasses.dataclass(frozen=True)
class Setup:
    """A network of the run, "single" or "multi", with its data.

    Attributes:
      which: "single" | "multi".
      section: of the config.
      model: the module, with batch norm synchronised over devices.
      num_inputs: channels of its input.
      output: as `models.output`.
      records, table: the dataset's records and its slice table.
      transform: record -> arrays.
      normalisation: of the input.
      view: what the slices show, "lungs" or "frame".
      seed: of all randomness.
      strategy: of the devices.
    """

    which: str
    section: Single | Multi
    model: nn.Module
    num_inputs: int
    output: str
    records: Any
    table: pd.DataFrame
    transform: pipeline.Resize
    normalisation: Normalisation
    view: str
    seed: int
    strategy: parallel.Strategy

    def positions(self, rows: pd.Series) -> np.ndarray:
        """Record positions of the rows of `table` that are True."""
        return np.flatnonzero(rows.to_numpy())

    def training_rows(self, label: str) -> pd.Series:
        """Marks the rows of `table` whose label, "lesion" or "classes", the training learns from."""
        rows = self.table[f"has_{label}"].astype(bool) & (self.table["split"] == "train")
        return self._first_patients(rows, self.section.train.max_slices)

    def pretraining_rows(self) -> pd.Series:
        """Marks the rows of `table` that the inpainting learns from.

        Only labeled slices have the prior that the multi network needs.
        """
        options, labeled = self.section.pretrain, self.table["split"] == "train"
        used = self._first_patients(labeled, options.max_labeled)
        if self.which == "multi":
            return used
        unlabeled = (self.table["pretrain"] == "train") & ~labeled
        return used | self._first_patients(unlabeled, options.max_unlabeled)

    def _first_patients(self, rows: pd.Series, max_slices: int | None) -> pd.Series:
        kept = rows.copy()
        if max_slices is not None:
            kept[rows] = splits.first_patients(self.table.loc[rows, "patient_id"], max_slices, self.seed)
        return kept

    def train_batches(self, positions: np.ndarray, stage: str, *, seed: int) -> pipeline.TrainBatches:
        """Endless training batches of this process, with the config's global batch size for "pretrain" or "train"."""
        batch_size = getattr(self.section, stage).batch_size
        return pipeline.TrainBatches(
            self.records,
            positions,
            self.transform,
            batch_size=parallel.local_batch_size(batch_size, f"config.{self.which}.{stage}.batch_size"),
            seed=seed,
            process_index=jax.process_index(),
            process_count=jax.process_count(),
        )

    def card(self, config: Config, stage: str, weights: str) -> NetworkCard:
        """The card of the "last" or "best" weights from a stage, "pretrain" | "train"."""
        tested = config.data.splits.test_datasets or ()
        seen = [pair for pair in config.data.datasets if "/".join(pair) not in tested]
        divides = self.which == "multi" and stage == "train"
        return NetworkCard(
            self.section.model.name,
            plain(self.section.model.options),
            image_size=config.data.image_size,
            normalisation=self.normalisation,
            window_hu=(ct.LOW_HU, ct.HIGH_HU),
            view=self.view,
            task="inpainting" if stage == "pretrain" else "segmentation",
            datasets=["/".join(pair) for pair in seen],
            initial=getattr(self.section, stage).initial,
            weights=weights,
            decision=Decision(**vars(self.section.decision)) if divides else None,
        )

    def save(
        self, config: Config, stage: str, state: states.TrainState, best: checkpoint.Best, directory: pathlib.Path
    ) -> NetworkCard:
        """Writes `model/` with the last or best variables of a stage, "pretrain" | "train"; returns its card."""
        variables, weights = self.strategy.fetch(states.variables(state)), getattr(self.section, stage).keep
        if weights == "best" and best.step > 0:
            variables = best.variables(variables)
            logging.info("%s_%s: keeping the weights of step %d, the best in validation.", stage, self.which, best.step)
        card = self.card(config, stage, weights if best.step > 0 else "last")
        storage.save(directory / "model", variables, card)
        return card


def setup(config: Config, run_dir: rundir.RunDir, which: str, *, label: str | None = None) -> Setup:
    """The network `which` ("single" | "multi") of a run; batches of the multi network include priors.

    Args:
      config: of the run.
      run_dir: the run folder.
      which: the network.
      label: field of the batches beside the slices: "lesion", "classes" or None.
    Raises: FileNotFoundError if an earlier stage has not finished; ValueError for an unknown model or option, or if
      the processes find different slices.
    """
    section, data = getattr(config, which), config.data
    records, table = prepare.load(data, run_dir)
    parallel.check_same(table.to_csv(index=False), f"The slice table of {run_dir.path}")
    name, options = section.model.name, section.model.options
    strategy = parallel.strategy(config.parallel, config.fsdp_min_size)
    return Setup(
        which=which,
        section=section,
        model=models.create(name, **options, axis_name=strategy.axis_name),
        num_inputs=models.num_inputs(name),
        output=models.output(name, **options),
        records=records,
        table=table,
        transform=pipeline.Resize(
            data.image_size,
            label,
            with_ignore="has_ignore" in table and bool(table["has_ignore"].any()),
            priors=priors.read(run_dir) if which == "multi" else None,
            interpolate_labels=data.interpolate_labels,
        ),
        normalisation=data.normalisation,
        view=prepare.view(data, run_dir),
        seed=config.seed,
        strategy=strategy,
    )


def skip_together(config: Config, run_dir: rundir.RunDir, which: str, stage: str) -> str | None:
    """`prepare.reason_to_skip` as decided by process 0, for a stage that all processes run."""
    reason = prepare.reason_to_skip(config, run_dir, which, stage)
    return (reason or "process 0 skips it") if parallel.decide(reason is not None) else None
