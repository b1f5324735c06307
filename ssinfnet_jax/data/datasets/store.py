"""Prepares each dataset once, into a folder, and opens prepared datasets."""

import contextlib
import dataclasses
import fcntl
import hashlib
import json
import os
import shutil
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import tensorflow_datasets as tfds
from absl import logging

from ssinfnet_jax.data.datasets import registry, slice_builder
from ssinfnet_jax.data.stage_files import VOLUME

_READ = ("dataset.yaml", "dataset.json")  # descriptions, of which an edit may keep the size


@dataclasses.dataclass(frozen=True)
class Dataset:
    """A prepared dataset.

    Attributes:
      name: of the dataset.  config: its variant.
      records: random-access sequence of records, see `Records`.
      slices: one row per record, in order: slice_id, patient_id, part, has_lesion, has_classes and, if the
        dataset has them, has_ignore, the columns of `stage_files.VOLUME`, age (years), gender (0 female, 1 male),
        underlying, severity_level; missing values are NaN or "".
    """

    name: str
    config: str
    records: "Records"
    slices: pd.DataFrame


class Records:
    """The records of a prepared folder: `len(records)`, `records[i]`.

    A record is a dict: image uint8[H,W], patient_id str, slice_id str, and if present lesion uint8[H,W]
    {0,1}, classes uint8[H,W] {0,1,2}, ignore uint8[H,W] {0,1} (pixels that count in no loss and no metric), age float
    (years), gender int (0 female, 1 male), underlying int, severity_level str. Missing values have no key. Files are
    opened at first use, once per process, so a pickled copy is small and can go to any worker; reading from several
    threads is safe.
    """

    def __init__(self, folder: str | os.PathLike):
        self._folder = os.fspath(folder)
        self._open()

    def _open(self) -> None:
        self._lock = threading.Lock()
        self._sources = None
        splits = tfds.builder_from_directory(self._folder).info.splits
        self._parts = [part for part in slice_builder.PARTS if part in splits]
        self._ends = np.cumsum([splits[part].num_examples for part in self._parts])

    def __getstate__(self) -> dict[str, Any]:
        return {"folder": self._folder}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["folder"])

    def __len__(self) -> int:
        return int(self._ends[-1])

    def __getitem__(self, index: int) -> dict[str, Any]:
        index = index.__index__()
        if not -len(self) <= index < len(self):
            raise IndexError(f"Record {index} of {len(self)}.")
        index %= len(self)
        part = int(np.searchsorted(self._ends, index, side="right"))
        begin = int(self._ends[part - 1]) if part else 0
        return _decode(self._open_sources()[part][index - begin])

    def _open_sources(self) -> list:
        with self._lock:
            if self._sources is None:
                builder = tfds.builder_from_directory(self._folder)
                self._sources = [builder.as_data_source(split=part) for part in self._parts]
            return self._sources


def prepare(name: str, config: str, *, source_dir: str | os.PathLike | None, prepared_dir: str | os.PathLike) -> None:
    """Writes a dataset to `prepared_dir/name/config/version`, unless it is already there.

    The folder appears complete or not at all: it is written under another name and renamed at the end. Leftovers
    of a killed run are removed first. Processes that prepare the same dataset at the same time wait for
    one another.

    Args:
      name, config: see `BUILDERS` and `config_names`.
      source_dir: the local folder with the data; None for generated datasets, or if the dataset is already prepared.
      prepared_dir: several datasets may share it.

    Raises:
      ValueError: name or config is unknown; source_dir is missing; the source does not match the dataset's description;
        or the dataset was prepared from files that differ from those in source_dir.
      FileNotFoundError: source_dir does not exist.
    """
    registry.check_config(name, config)
    builder = registry.builder_class(name)(config=config, data_dir=os.fspath(prepared_dir), file_format="array_record")
    folder = _folder(name, config, prepared_dir)
    source = None
    if builder.NEEDS_SOURCE and source_dir is not None:
        source = _check_source(name, source_dir)
    elif builder.NEEDS_SOURCE and not folder.exists():
        raise ValueError(
            f"Dataset {name!r} is read from a local folder; pass it with --data_dir. docs/own_data.md "
            "says how to lay out the folder."
        )
    with _locked(folder.parent):
        for stale in folder.parent.glob("incomplete.*"):
            logging.info("Removing %s, left by a stopped run.", stale)
            shutil.rmtree(stale)
        if not folder.exists():
            _build(builder, source)
        elif source is not None:
            _check_same_source(folder, source)
    logging.info("Dataset %s/%s is prepared in %s.", name, config, folder)


def load(name: str, config: str, *, prepared_dir: str | os.PathLike) -> Dataset:
    """Opens a prepared dataset.

    Raises:
      ValueError: the name or config is unknown.
      FileNotFoundError: the dataset is not prepared; names the remedy.
    """
    registry.check_config(name, config)
    folder = _folder(name, config, prepared_dir)
    if not (folder / slice_builder.SLICES_FILE).exists():
        raise FileNotFoundError(
            f"Dataset {name!r} with config {config!r} is not prepared ({folder} is missing); prepare it "
            "first (the stage `prepare`)."
        )
    records = Records(folder)
    slices = _read_slices(folder / slice_builder.SLICES_FILE)
    if len(slices) != len(records):
        raise ValueError(
            f"{folder} is damaged: {len(slices)} rows but {len(records)} records. Delete it and prepare it again."
        )
    return Dataset(name=name, config=config, records=records, slices=slices)


def view(name: str, config: str, *, prepared_dir: str | os.PathLike) -> str:
    """Returns "lungs" if the slices of a dataset are cropped to the lungs, else "frame"."""
    path = _folder(name, config, prepared_dir) / slice_builder.SOURCE_FILE
    prepared = json.loads(path.read_text()) if path.is_file() else {}
    return prepared.get("view", registry.builder_class(name).VIEW)


def _folder(name: str, config: str, prepared_dir: str | os.PathLike) -> Path:
    """Returns the folder to which TFDS writes a dataset."""
    builder = registry.builder_class(name)
    return Path(prepared_dir) / builder.name / config / str(builder.VERSION)


def _build(builder: slice_builder.SliceBuilder, source: Path | None) -> None:
    if source is not None:
        builder.source = _fingerprint(source)
    tfds.disable_progress_bar()  # the builder shows its own, with a total
    try:
        with tempfile.TemporaryDirectory() as downloads:  # TFDS requires one; nothing is downloaded
            builder.download_and_prepare(
                download_dir=downloads,
                download_config=tfds.download.DownloadConfig(manual_dir=source and os.fspath(source)),
            )
    finally:
        tfds.enable_progress_bar()


def _decode(raw: dict[str, Any]) -> dict[str, Any]:
    """Converts a TFDS record to ours: text as str, Python numbers, and no keys for missing values."""
    record = {
        "image": raw["image"],
        "patient_id": raw["patient_id"].decode(),
        "slice_id": raw["slice_id"].decode(),
    }
    record |= {label: raw[label] for label in slice_builder.LABELS if label in raw and raw[label].size}
    if not np.isnan(raw["age"]):
        record["age"] = float(raw["age"])
    record |= {column: int(raw[column]) for column in ("gender", "underlying") if raw[column] >= 0}
    if raw["severity_level"]:
        record["severity_level"] = raw["severity_level"].decode()
    return record


def _read_slices(path: Path) -> pd.DataFrame:
    text = {"slice_id": str, "patient_id": str, "part": str, "volume_id": str, "severity_level": str}
    numbers = ("age", "gender", "underlying", *VOLUME[1:])
    table = pd.read_csv(path, dtype=text, keep_default_na=False, na_values={name: [""] for name in numbers})
    return table.astype({name: "float64" for name in numbers if name in table})


def _check_source(name: str, source_dir: str | os.PathLike) -> Path:
    folder = Path(source_dir).expanduser().resolve()
    if not folder.is_dir():
        raise FileNotFoundError(f"The source folder {source_dir} of dataset {name!r} does not exist; check --data_dir.")
    if not any(folder.iterdir()):
        raise ValueError(
            f"The source folder {source_dir} of dataset {name!r} is empty; docs/own_data.md shows layouts."
        )
    return folder


def _fingerprint(folder: Path) -> dict[str, Any]:
    """Hashes names and sizes of all files, and descriptions: cheap, and detects files added, removed or replaced."""
    files = sorted(
        (p.relative_to(folder).as_posix(), _sha256(p) if p.parent == folder and p.name in _READ else p.stat().st_size)
        for p in folder.rglob("*")
        if p.is_file()
    )
    digest = hashlib.sha256(json.dumps(files).encode()).hexdigest()
    return {"source_dir": os.fspath(folder), "num_files": len(files), "sha256_of_names_and_sizes": digest}


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _check_same_source(folder: Path, source_dir: Path) -> None:
    then = json.loads((folder / slice_builder.SOURCE_FILE).read_text())
    now = _fingerprint(source_dir)
    if then["sha256_of_names_and_sizes"] != now["sha256_of_names_and_sizes"]:
        raise ValueError(
            f"{folder} was prepared from {then['source_dir']} with {then['num_files']} files; {source_dir} "
            f"holds other files ({now['num_files']}). Delete the prepared folder to prepare it again, or choose "
            "another prepared_dir."
        )


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Locks a folder exclusively; the system releases the lock however the process ends."""
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / ".lock", "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
