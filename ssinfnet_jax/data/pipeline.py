"""Grain pipeline: turns records into batches of fixed shape, as a function of (seed, step, process)."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import grain
import numpy as np

from ssinfnet_jax.data import labels

Batch = dict[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Resize:
    """Resizes a record to a fixed size: slice and prior bilinearly, labels by nearest neighbour.

    Attributes:
      image_size: side of the square result in pixels.
      label: "lesion", "classes", or None if no label is needed.
      priors: lesion probability uint8[S,S] by slice_id (255 = 1), or None.
      interpolate_labels: whether to interpolate class numbers as the published code does, for comparison with it:
        every border between consolidation (2) and background (0) then gets a rim of GGO (1).
      with_ignore: whether a batch with labels also says which pixels do not count; needed if any record does.
    """

    image_size: int
    label: str | None = None
    priors: Mapping[str, np.ndarray] | None = None
    interpolate_labels: bool = False
    with_ignore: bool = False

    def __call__(self, record: Mapping[str, Any]) -> Batch:
        """Record -> {"image", the label, "ignore", "prior": uint8[S,S], "slice_id": str, "valid": 1}."""
        size = (self.image_size, self.image_size)
        out = {"image": labels.resize_image(record["image"], size)}
        if self.label is not None:
            resize_label = labels.resize_image if self.interpolate_labels else labels.resize_label
            out[self.label] = resize_label(record[self.label], size)
            if self.with_ignore:
                ignore = record.get("ignore")
                out["ignore"] = np.zeros(size, np.uint8) if ignore is None else labels.resize_label(ignore, size)
        if self.priors is not None:
            out["prior"] = labels.resize_image(self.priors[record["slice_id"]], size)
        return {**out, "slice_id": np.asarray(record["slice_id"]), "valid": np.float32(1)}


class TrainBatches:
    """Endless shuffled batches; for a given seed and process, batch `step` is always the same.

    The batches `step` of all processes together are what a single process would see: `position` int32[B] is a slice's
    index in that global batch. Nothing is padded (`valid` is 1 everywhere): padding would enter batch norm.

    Args:
      records: random access to records by position.
      positions: records to use, e.g. those of the training split.
      transform: record -> arrays of fixed shape.
      batch_size: of this process; the global batch size is `process_count` times as large.
      seed: of the order, which changes from epoch to epoch.
      process_index, process_count: each process reads every `process_count`-th record of the common order.
    Raises: ValueError if there are no records.
    """

    def __init__(
        self,
        records,
        positions: Sequence[int],
        transform,
        *,
        batch_size: int,
        seed: int,
        process_index: int = 0,
        process_count: int = 1,
    ):
        if len(positions) == 0:
            raise ValueError(
                "No slices to train on: the split is empty; check the dataset's parts and config.data.splits."
            )
        dataset = grain.MapDataset.source(_Selected(records, positions)).seed(seed).shuffle().repeat()
        dataset = dataset[process_index::process_count]
        position = np.arange(process_index, batch_size * process_count, process_count, dtype=np.int32)
        batches = dataset.map(transform).batch(batch_size, drop_remainder=True)
        self._dataset = batches.map(lambda batch: {**batch, "position": position})
        self.steps_per_epoch = max(1, len(positions) // (batch_size * process_count))

    def __getitem__(self, step: int) -> Batch:
        return self._dataset[step]

    def starting_at(self, step: int, *, num_threads: int = 4) -> Iterator[Batch]:
        """Iterates over batches from `step` on, which threads read ahead."""
        options = grain.ReadOptions(num_threads=num_threads, prefetch_buffer_size=8)
        return iter(self._dataset[step:].to_iter_dataset(options))


class ReadAhead:
    """Batches by step. Threads read ahead while steps are consecutive; a jump restarts the reading."""

    def __init__(self, batches: TrainBatches):
        self._batches, self._next, self._iterator = batches, None, None

    def __getitem__(self, step: int) -> Batch:
        if step != self._next:
            self._iterator = self._batches.starting_at(step)
        self._next = step + 1
        return next(self._iterator)


def eval_batches(records, positions: Sequence[int], transform, *, batch_size: int) -> Iterator[Batch]:
    """Yields batches in order, each record once; pads the last batch with copies of its first slice, `valid` 0."""
    for start in range(0, len(positions), batch_size):
        rows = [transform(records[int(position)]) for position in positions[start : start + batch_size]]
        missing = batch_size - len(rows)
        rows += [{**rows[0], "valid": np.float32(0)}] * missing
        yield {name: np.stack([row[name] for row in rows]) for name in rows[0]}


class _Selected:
    """The records at `positions`, as a Grain source."""

    def __init__(self, records, positions: Sequence[int]):
        self._records = records
        self._positions = [int(position) for position in positions]

    def __len__(self) -> int:
        return len(self._positions)

    def __getitem__(self, index: int):
        return self._records[self._positions[index]]
