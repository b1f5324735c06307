"""The base class of all dataset builders: a subclass lists its slices, the base class checks and writes them."""

import abc
import dataclasses
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import tensorflow_datasets as tfds
import tqdm
from absl import logging

from ssinfnet_jax.data import splits
from ssinfnet_jax.data.stage_files import VOLUME

# labeled: with lesion or class labels, for training.  unlabeled: images only, for self-supervision.
# cohort: images with clinical columns, for mediation analysis.  test: an official test set.
PARTS = ("labeled", "unlabeled", "cohort", "test")

# Maps that a record may have beside its image.
LABELS = ("lesion", "classes", "ignore")

# The values that mark missing columns in the files, since a TFDS record has every feature; store.py removes them.
CLINICAL = {"age": np.nan, "gender": -1, "underlying": -1, "severity_level": ""}

SLICES_FILE = "slices.csv"
NOTES_FILE = "notes.json"
SOURCE_FILE = "source.json"


@dataclasses.dataclass(frozen=True)
class Slice:
    """A slice to write.

    Attributes:
      slice_id: unique in the dataset.
      patient_id: the patient, or the finest unit that the layout identifies.
      part: one of PARTS.
      read: reads the arrays: image uint8[H,W] and, if labeled, lesion uint8[H,W] {0,1} and
        classes uint8[H,W] {0,1,2}. If only classes are given, the lesion is classes > 0. ignore uint8[H,W] {0,1}, if
        given, marks pixels that count in no loss and no metric; the labels become 0 there.
      clinical: age (years), gender (0 female, 1 male), underlying (number of diseases), severity_level; without
        keys for missing values.
      volume: the scan that it is a slice of, and the distances in mm between slices, rows and columns: the keys of
        VOLUME; empty for a picture. The slices of a volume follow each other, in order.
    """

    slice_id: str
    patient_id: str
    part: str
    read: Callable[[], Mapping[str, np.ndarray]]
    clinical: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    volume: Mapping[str, Any] = dataclasses.field(default_factory=dict)


class SliceBuilder(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """Writes slices as ArrayRecord, one TFDS split per part, in the order in which the subclass lists them.

    Beside the records it writes `slices.csv` (one row per record, in order), `notes.json` (decisions made and files
    left out while reading) and `source.json`. Everything goes into a temporary folder that is renamed at the
    end.
    """

    NEEDS_SOURCE: bool = True  # reads a local folder
    VIEW: str = "frame"  # or "lungs" if slices are cropped to the lungs
    view: str | None = None  # the same of one source folder, where folders differ
    source: Mapping[str, Any] = {}  # fingerprint of the source folder, for source.json
    _progress: tqdm.tqdm | None = None
    MANUAL_DOWNLOAD_INSTRUCTIONS = "Pass the folder that holds the data; docs/own_data.md shows its layout."

    @abc.abstractmethod
    def list_slices(self, source_dir: Path | None) -> Sequence[Slice]:
        """Lists the slices and checks everything that can be checked without decoding images.

        Args:
          source_dir: existing folder, or None if the dataset needs none.

        Raises: ValueError or FileNotFoundError naming the file, the rule, the value found and the remedy.
        """

    def note(self, kind: str, text: str) -> None:
        """Counts a message for the user, such as a label rule or a file that was left out."""
        self._notes.setdefault(kind, Counter())[text] += 1

    def _info(self) -> tfds.core.DatasetInfo:
        array = tfds.features.Tensor(shape=(None, None), dtype=np.uint8, encoding="zlib")
        return tfds.core.DatasetInfo(
            builder=self,
            description=type(self).__doc__,
            features=tfds.features.FeaturesDict(
                {
                    "image": array,
                    "lesion": array,  # of shape (0, 0) where absent
                    "classes": array,
                    "ignore": array,
                    "patient_id": tfds.features.Text(),
                    "slice_id": tfds.features.Text(),
                    "age": np.float32,
                    "gender": np.int64,
                    "underlying": np.int64,
                    "severity_level": tfds.features.Text(),
                }
            ),
            disable_shuffling=True,
        )

    def _split_generators(self, dl_manager) -> dict[str, Iterator]:
        self._notes: dict[str, Counter] = {}
        self._rows: list[dict[str, Any]] = []
        slices = list(self.list_slices(Path(dl_manager.manual_dir) if self.NEEDS_SOURCE else None))
        check_slices(slices)
        self._progress = tqdm.tqdm(total=len(slices), desc=f"Preparing {self.name}", unit="slice")
        return {
            part: self._generate_examples([item for item in slices if item.part == part])
            for part in PARTS
            if any(item.part == part for item in slices)
        }

    def _generate_examples(self, slices: Sequence[Slice]) -> Iterator[tuple[int, dict[str, Any]]]:
        for key, item in enumerate(slices):
            arrays = dict(item.read())
            _check_arrays(arrays, item.slice_id)
            if "classes" in arrays:
                arrays.setdefault("lesion", (arrays["classes"] > 0).astype(np.uint8))
            _blank_ignored(arrays)
            row = {"slice_id": item.slice_id, "patient_id": item.patient_id, "part": item.part}
            row |= {f"has_{label}": label in arrays for label in LABELS}
            self._rows.append(row | dict(item.volume) | dict(item.clinical))
            absent = dict.fromkeys(LABELS, np.zeros((0, 0), np.uint8))
            yield (
                key,
                absent
                | {
                    "patient_id": item.patient_id,
                    "slice_id": item.slice_id,
                }
                | CLINICAL
                | dict(item.clinical)
                | arrays,
            )
            self._progress.update()

    def _generate_splits(self, dl_manager, download_config):
        try:
            split_infos = super()._generate_splits(dl_manager, download_config)
        finally:
            if self._progress is not None:
                self._progress.close()
        table = pd.DataFrame(self._rows)
        clinical = [name for name in CLINICAL if name in table]
        ignore = ["has_ignore"] if table["has_ignore"].any() else []
        volume = [name for name in VOLUME if name in table]
        columns = ["slice_id", "patient_id", "part", "has_lesion", "has_classes", *ignore, *volume, *clinical]
        table[columns].to_csv(self.data_path / SLICES_FILE, index=False)
        (self.data_path / NOTES_FILE).write_text(json.dumps(self._notes, indent=2))
        (self.data_path / SOURCE_FILE).write_text(json.dumps({**self.source, "view": self.view or self.VIEW}, indent=2))
        for kind, texts in self._notes.items():
            for text, count in texts.items():
                logging.info("%s, %s: %s%s", self.name, kind, text, f" ({count} times)" if count > 1 else "")
        return split_infos


def check_slices(slices: Sequence[Slice]) -> None:
    """Raises ValueError if there are no slices, a part is unknown, a slice id repeats, or a patient is in two parts."""
    if not slices:
        raise ValueError("The dataset has no slices; compare the folder with its description.")
    unknown = sorted({item.part for item in slices} - set(PARTS))
    if unknown:
        raise ValueError(f"Unknown parts {unknown}; choose from {', '.join(PARTS)}.")
    counts = Counter(item.slice_id for item in slices)
    repeated = [slice_id for slice_id, count in counts.items() if count > 1]
    if repeated:
        raise ValueError(
            f"{len(repeated)} slice ids occur more than once: {repeated[:10]}; rename or remove the copies."
        )
    splits.check_disjoint({part: [s.patient_id for s in slices if s.part == part] for part in PARTS})


def _blank_ignored(arrays: dict[str, np.ndarray]) -> None:
    """Sets the labels to 0 where they are ignored; drops an `ignore` that marks no pixel, or is without labels."""
    ignore = arrays.pop("ignore", None)
    labels = [name for name in ("lesion", "classes") if name in arrays]
    if ignore is not None and ignore.any() and labels:
        arrays["ignore"] = ignore
        arrays.update({name: np.where(ignore, 0, arrays[name]).astype(np.uint8) for name in labels})


def _check_arrays(arrays: Mapping[str, np.ndarray], slice_id: str) -> None:
    for name, values in arrays.items():
        largest = {"image": 255, "lesion": 1, "classes": 2, "ignore": 1}[name]
        if values.dtype != np.uint8 or values.ndim != 2 or values.shape != arrays["image"].shape or not values.size:
            raise ValueError(
                f"Slice {slice_id}: {name} is {values.dtype}{list(values.shape)}; expected uint8 of the "
                f"image's size {list(arrays['image'].shape)}, not empty."
            )
        if values.max() > largest:
            raise ValueError(f"Slice {slice_id}: {name} holds {values.max()}, more than {largest}.")
