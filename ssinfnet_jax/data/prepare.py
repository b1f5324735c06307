"""Stage `prepare`: converts the datasets to records and assigns every slice to a split."""

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from absl import logging

from ssinfnet_jax import rundir
from ssinfnet_jax.config import Config, Data, Splits, plain
from ssinfnet_jax.data import datasets, splits
from ssinfnet_jax.data.datasets import registry

_WAYS = ("fractions", "num_folds", "test_datasets")  # to split the labeled slices


def run(config: Config, run_dir: rundir.RunDir, source_dirs: Mapping[str, str]) -> None:
    """Prepares the datasets of a config below the run folder and writes `prepare/slices.csv`.

    Args:
      config: only `data` is used. The paper uses one dataset with labels (medseg) and one with patients (ictcf).
      run_dir: the run folder.
      source_dirs: dataset -> folder of its source files, for datasets that need one.
    """
    data = config.data
    for name, variant in data.datasets:
        datasets.prepare(name, variant, source_dir=source_dirs.get(name), prepared_dir=run_dir.path / "data")
    _, slices = _load(data, run_dir)
    table = assign_splits(slices, data.splits, data.pretrain_holdout)
    counts = table.groupby("split", sort=False).agg(slices=("slice_id", "size"), patients=("patient_id", "nunique"))
    logging.info("Slices and patients per split:\n%s", counts.to_string())
    with rundir.writing(run_dir.stage("prepare") / "slices.csv") as path:
        table.to_csv(path, index=False)


def check(config: Config) -> None:
    """Raises ValueError for unknown datasets or variants, and for invalid splits."""
    if not config.data.datasets:
        raise ValueError("config.data.datasets is empty; list (name, config) of each dataset.")
    for name, variant in config.data.datasets:
        registry.check_config(name, variant)
    options = config.data.splits
    ways = [way for way in _WAYS if getattr(options, way) is not None]
    if len(ways) != 1 or ((options.test_fold or options.val_fold) and ways != ["num_folds"]):
        found = {key: value for key, value in vars(options).items() if value not in (None, ())}
        raise ValueError(
            f"config.data.splits must have either fractions of train, val and test, or num_folds, test_fold and "
            f"val_fold, or test_datasets, with a seed (and official_test); found {plain(found)}."
        )
    if options.fractions is not None:
        splits.check_fractions(options.fractions, "config.data.splits.fractions")
    if options.num_folds:
        _roles(options)
    names = ["/".join(pair) for pair in config.data.datasets]
    tested = set(options.test_datasets or ())
    if tested - set(names) or tested == set(names) or (options.test_datasets is not None and not tested):
        raise ValueError(
            f"config.data.splits.test_datasets must name some, but not all, of the datasets {', '.join(names)}; found "
            f"{', '.join(sorted(tested))}."
        )


def load(data: Data, run_dir: rundir.RunDir) -> tuple["Records", pd.DataFrame]:
    """Loads all records and their table with the columns `split` and `pretrain`, in the same order.

    Raises: FileNotFoundError if the stage has not finished or its output is gone.
    """
    folder: pathlib.Path = run_dir.require("prepare", "slices.csv")
    try:
        records, _ = _load(data, run_dir)
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"The output of stage 'prepare' in {run_dir.path / 'data'} is gone; {run_dir.remedy('prepare')}"
        ) from error
    text = dict.fromkeys(("slice_id", "patient_id", "volume_id"), str)
    table = pd.read_csv(folder / "slices.csv", dtype=text, keep_default_na=False, na_values=[""])
    return records, table


def view(data: Data, run_dir: rundir.RunDir) -> str:
    """Returns "lungs" if the slices of all datasets that a run trains on are cropped to the lungs, else "frame"."""
    seen = [pair for pair in data.datasets if "/".join(pair) not in (data.splits.test_datasets or ())]
    views = {datasets.view(name, variant, prepared_dir=run_dir.path / "data") for name, variant in seen}
    return "lungs" if views == {"lungs"} else "frame"


def left_out(config: Config, which: str, stage: str = "train") -> str | None:
    """Says why a config skips a network ("single" | "multi"), or its `stage` "pretrain"; None if it does not."""
    network = getattr(config, which)
    if network is None:
        return "the config has no such network"
    if stage == "pretrain" and not network.pretrain:
        return "the config trains this network without pretraining"
    return None


def reason_to_skip(config: Config, run_dir: rundir.RunDir, which: str, stage: str = "train") -> str | None:
    """Says why config or data skip a stage of a network: the multi network needs slices with class labels."""
    if reason := left_out(config, which, stage):
        return reason
    _, table = load(config.data, run_dir)
    train = table["split"] == "train"
    if which == "multi" and not (train & table["has_classes"].astype(bool)).any():
        return "no training slice has labels of GGO and consolidation"
    return None


class Records:
    """The concatenated records of several datasets: `len(records)`, `records[i]`."""

    def __init__(self, parts: Sequence[Any]):
        self._parts = parts
        self._ends = np.cumsum([len(part) for part in parts])

    def __len__(self) -> int:
        return int(self._ends[-1])

    def __getitem__(self, index: int) -> dict[str, Any]:
        part = int(np.searchsorted(self._ends, index, side="right"))
        return self._parts[part][index - (int(self._ends[part - 1]) if part else 0)]


def _load(data: Data, run_dir: rundir.RunDir) -> tuple[Records, pd.DataFrame]:
    found = [datasets.load(name, variant, prepared_dir=run_dir.path / "data") for name, variant in data.datasets]
    slices = pd.concat(
        [dataset.slices.assign(dataset=f"{dataset.name}/{dataset.config}") for dataset in found], ignore_index=True
    )
    if "has_ignore" in slices:  # not all datasets have this column
        slices["has_ignore"] = slices["has_ignore"].eq(True)
    twice = slices.loc[slices["slice_id"].duplicated(), "slice_id"]
    if len(twice):
        raise ValueError(
            f"{len(twice)} slice ids are in more than one dataset, such as {twice.iloc[0]!r}; rename the files of "
            "one of them, or train on one dataset."
        )
    return Records([dataset.records for dataset in found]), slices


def assign_splits(slices: pd.DataFrame, options: Splits, pretrain_holdout: float) -> pd.DataFrame:
    """Assigns every slice its `split` and its role in `pretrain`ing; all slices of a patient get the same.

    `split`: labeled slices become train, val or test. If there is an official test part, it is test, and labeled slices
    assigned to test become train. The other parts keep their names (unlabeled, cohort). `pretrain`: "train" or "val"
    for slices that the single network's pretraining, which needs no labels, may use: all except val and test, and
    except those of a test dataset; "" for the rest.

    Args:
      slices: one row per slice with `patient_id`, `part` and `dataset`.
      options: `fractions` split by hash, stable under adding patients; `num_folds` makes folds of equal size; with
        `test_datasets`, all labeled slices of these datasets are test, the others train.
      pretrain_holdout: fraction of the patients without labels that is held out to validate the pretraining.
    Raises: ValueError if nothing is labeled, a fold does not exist, or a patient is in two splits.
    """
    table = slices.copy()
    if not options.official_test:
        table["part"] = table["part"].replace("test", "labeled")
    table["split"] = table["part"]
    labeled = table["part"] == "labeled"
    by_dataset = options.test_datasets is not None
    official = not by_dataset and bool((table["part"] == "test").any())
    tested = table["dataset"].isin(options.test_datasets) if by_dataset else pd.Series(False, table.index)
    if not labeled.any():
        raise ValueError("No labeled slices: there is nothing to train the segmentation on; check the dataset's parts.")
    patients = table.loc[labeled, "patient_id"]
    if by_dataset:
        labeled |= table["part"] == "test"
        sides = table.loc[labeled, "patient_id"].groupby(np.where(tested[labeled], "test", "train"))
        splits.check_disjoint({name: group for name, group in sides})
        assignment = {patient: name for name, group in sides for patient in group}
        patients = table.loc[labeled, "patient_id"]
    elif options.num_folds:
        roles = _roles(options)
        folds = splits.folds(patients, options.num_folds, options.seed)
        assignment = {patient: roles.get(fold, "train") for patient, fold in folds.items()}
    else:
        assignment = splits.by_patient(patients, options.fractions, options.seed, allow_empty=official)
    if official:
        assignment = {patient: "train" if split == "test" else split for patient, split in assignment.items()}
    table.loc[labeled, "split"] = patients.map(assignment)
    splits.check_disjoint({name: group["patient_id"] for name, group in table.groupby("split")})

    table["pretrain"] = ""
    table.loc[table["split"] == "train", "pretrain"] = "train"
    free = table["part"].isin(["unlabeled", "cohort"]) & ~tested
    if free.any():
        roles = splits.by_patient(
            table.loc[free, "patient_id"],
            {"val": pretrain_holdout, "train": 1 - pretrain_holdout},
            options.seed,
            allow_empty=True,
        )
        table.loc[free, "pretrain"] = table.loc[free, "patient_id"].map(roles)
    return table


def has_validation(options: Splits) -> bool:
    """Whether these options hold out labeled slices for validation."""
    return bool(options.val_fold) if options.num_folds else bool((options.fractions or {}).get("val"))


def _roles(options: Splits) -> dict[int, str]:
    """Maps held-out folds to "val" or "test"; raises ValueError if a fold does not exist or is in both."""
    for name, folds in (("test_fold", options.test_fold), ("val_fold", options.val_fold)):
        if any(fold >= options.num_folds for fold in folds):
            raise ValueError(
                f"config.data.splits.{name} must be in 0..{options.num_folds - 1}, since num_folds is "
                f"{options.num_folds}; found {', '.join(map(str, folds))}."
            )
    if set(options.val_fold) & set(options.test_fold):
        raise ValueError(
            f"config.data.splits.val_fold {options.val_fold} and test_fold {options.test_fold} share a fold; use each "
            "fold for one of them."
        )
    return {**dict.fromkeys(options.val_fold, "val"), **dict.fromkeys(options.test_fold, "test")}
