"""Stage `prepare`: the datasets are brought into records, and every slice is given its role."""

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from absl import logging

from ssinfnet_jax import rundir
from ssinfnet_jax.data import datasets, splits
from ssinfnet_jax.data.datasets import registry

# What splits the labeled slices: its options, the first of which is the sign.
_SPLITS = (("fractions",), ("num_folds", "test_fold", "val_fold"), ("test_datasets",))


def run(config: Mapping[str, Any], run_dir: rundir.RunDir, source_dirs: Mapping[str, str]) -> None:
    """Prepares the datasets of a config below the run folder and writes `prepare/slices.csv`.

    Args:
      config: `data` is read: {"datasets": [(name, config), ...], "splits": see `assign_splits`, "pretrain_holdout":
        fraction}. With several datasets the paper's design is one of labels (medseg) and one of patients (ictcf).
      run_dir: the run folder.
      source_dirs: folder of the source files by dataset, for datasets that need one.
    """
    data = config["data"]
    for name, variant in data["datasets"]:
        datasets.prepare(name, variant, source_dir=source_dirs.get(name), prepared_dir=run_dir.path / "data")
    _, slices = _load(config, run_dir)
    table = assign_splits(slices, data["splits"], data["pretrain_holdout"])
    counts = table.groupby("split", sort=False).agg(slices=("slice_id", "size"), patients=("patient_id", "nunique"))
    logging.info("Slices and patients per split:\n%s", counts.to_string())
    with rundir.writing(run_dir.stage("prepare") / "slices.csv") as path:
        table.to_csv(path, index=False)


def check(config: Mapping[str, Any]) -> None:
    """Raises ValueError for unknown datasets or variants, and for splits or image options that cannot be."""
    data = config["data"]
    if not data["datasets"]:
        raise ValueError("config.data.datasets is empty; give (name, config) of each dataset.")
    for name, variant in data["datasets"]:
        registry.check_config(name, variant)
    options = data["splits"]
    kinds = [keys for keys in _SPLITS if keys[0] in options]
    allowed = {"seed", "official_test", *(key for keys in kinds for key in keys)}
    fractions = options.get("fractions", {})
    if len(kinds) != 1 or set(options) - allowed or "seed" not in options or set(fractions) - {"train", "val", "test"}:
        raise ValueError(
            f"config.data.splits has either fractions of train, val and test, or num_folds, test_fold and val_fold, or "
            f"test_datasets, with a seed (and official_test); found {dict(options)}."
        )
    if "fractions" in options:
        splits.check_fractions(fractions)
    if "num_folds" in options:
        _roles(options)
    names = ["/".join(pair) for pair in data["datasets"]]
    tested = set(options.get("test_datasets", ()))
    if tested - set(names) or tested == set(names) or ("test_datasets" in options and not tested):
        raise ValueError(
            f"config.data.splits.test_datasets must be some, not all, of the datasets {', '.join(names)}; found "
            f"{', '.join(sorted(tested))}."
        )
    if not 0 <= data["pretrain_holdout"] < 1:
        raise ValueError(f"config.data.pretrain_holdout must be in [0, 1), found {data['pretrain_holdout']}.")


def load(config: Mapping[str, Any], run_dir: rundir.RunDir) -> tuple["Records", pd.DataFrame]:
    """All records, and their table with the columns `split` and `pretrain`, in the same order.

    Raises: FileNotFoundError if the stage has not finished, or what it prepared is gone.
    """
    folder: pathlib.Path = run_dir.require("prepare", "slices.csv")
    try:
        records, _ = _load(config, run_dir)
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"What stage 'prepare' wrote below {run_dir.path / 'data'} is gone; {run_dir.remedy('prepare')}"
        ) from error
    table = pd.read_csv(
        folder / "slices.csv", dtype={"slice_id": str, "patient_id": str}, keep_default_na=False, na_values=[""]
    )
    return records, table


def left_out(config: Mapping[str, Any], which: str, stage: str = "train") -> str | None:
    """Why a config leaves out a network ("single" | "multi"), or its `stage` "pretrain"; None if it does not."""
    if config[which] is None:
        return "the config has no such network"
    if stage == "pretrain" and not config[which]["pretrain"]:
        return "the config trains this network without pretraining"
    return None


def reason_to_skip(config: Mapping[str, Any], run_dir: rundir.RunDir, which: str, stage: str = "train") -> str | None:
    """Why config or data leave out a stage of a network: the multi network needs slices that tell the classes."""
    if reason := left_out(config, which, stage):
        return reason
    _, table = load(config, run_dir)
    train = table["split"] == "train"
    if which == "multi" and not (train & table["has_classes"].astype(bool)).any():
        return "no training slice has labels of GGO and consolidation"
    return None


class Records:
    """The records of several datasets, one after the other: `len(records)`, `records[i]`."""

    def __init__(self, parts: Sequence[Any]):
        self._parts = parts
        self._ends = np.cumsum([len(part) for part in parts])

    def __len__(self) -> int:
        return int(self._ends[-1])

    def __getitem__(self, index: int) -> dict[str, Any]:
        part = int(np.searchsorted(self._ends, index, side="right"))
        return self._parts[part][index - (int(self._ends[part - 1]) if part else 0)]


def _load(config: Mapping[str, Any], run_dir: rundir.RunDir) -> tuple[Records, pd.DataFrame]:
    found = [
        datasets.load(name, variant, prepared_dir=run_dir.path / "data") for name, variant in config["data"]["datasets"]
    ]
    slices = pd.concat(
        [dataset.slices.assign(dataset=f"{dataset.name}/{dataset.config}") for dataset in found], ignore_index=True
    )
    twice = slices.loc[slices["slice_id"].duplicated(), "slice_id"]
    if len(twice):
        raise ValueError(
            f"{len(twice)} slice ids are in more than one dataset, the first: {twice.iloc[0]!r}; rename the files of "
            "one of them, or train on one dataset."
        )
    return Records([dataset.records for dataset in found]), slices


def assign_splits(slices: pd.DataFrame, options: Mapping[str, Any], pretrain_holdout: float) -> pd.DataFrame:
    """Gives every slice its `split` and its role in `pretrain`ing; all slices of a patient get the same.

    `split`: labeled slices become train, val or test; an official test part is test, and labeled slices that would be
    are train then; the other parts keep their names (unlabeled, cohort). `pretrain`: "train" or "val" for what the
    single network's pretraining, which needs no labels, may use: all but val and test, and nothing of a dataset to be
    tested on; "" for the rest.

    Args:
      slices: one row per slice with `patient_id`, `part` and `dataset`.
      options: {"seed", "fractions": {"train", "val", "test"}} for a split by hash, stable under adding patients, or
        {"seed", "num_folds", "test_fold", "val_fold"} for folds of equal size; either fold may be a number, several, or
        left out; or {"test_datasets"}: all labeled slices of these datasets are test, those of the others train.
        "official_test": False deals an official test part like the labeled slices.
      pretrain_holdout: fraction of the patients without labels on which the pretraining is watched.
    Raises: ValueError if nothing is labeled, a fold does not exist, or a patient is in two splits.
    """
    table = slices.copy()
    if not options.get("official_test", True):
        table["part"] = table["part"].replace("test", "labeled")
    table["split"] = table["part"]
    labeled = table["part"] == "labeled"
    official = "test_datasets" not in options and bool((table["part"] == "test").any())
    tested = (
        table["dataset"].isin(options["test_datasets"]) if "test_datasets" in options else pd.Series(False, table.index)
    )
    if not labeled.any():
        raise ValueError("No labeled slices: there is nothing to train the segmentation on; check the dataset's parts.")
    patients = table.loc[labeled, "patient_id"]
    if "test_datasets" in options:
        labeled |= table["part"] == "test"
        sides = table.loc[labeled, "patient_id"].groupby(np.where(tested[labeled], "test", "train"))
        splits.check_disjoint({name: group for name, group in sides})
        assignment = {patient: name for name, group in sides for patient in group}
        patients = table.loc[labeled, "patient_id"]
    elif "num_folds" in options:
        roles = _roles(options)
        folds = splits.folds(patients, int(options["num_folds"]), int(options["seed"]))
        assignment = {patient: roles.get(fold, "train") for patient, fold in folds.items()}
    else:
        assignment = splits.by_patient(patients, options["fractions"], int(options["seed"]), allow_empty=official)
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
            int(options["seed"]),
            allow_empty=True,
        )
        table.loc[free, "pretrain"] = table.loc[free, "patient_id"].map(roles)
    return table


def has_validation(options: Mapping[str, Any]) -> bool:
    """Whether splits by these options hold labeled slices back for validation."""
    fractions = options.get("fractions", {})
    return "val" in _roles(options).values() if "num_folds" in options else bool(fractions.get("val"))


def _roles(options: Mapping[str, Any]) -> dict[int, str]:
    """What a fold is held out for, "val" or "test"; raises ValueError for one that does not exist, or is for both."""
    num_folds = int(options["num_folds"])
    val, test = (_folds(options, name, num_folds) for name in ("val_fold", "test_fold"))
    if set(val) & set(test):
        raise ValueError(f"val_fold {options['val_fold']} and test_fold {options['test_fold']} share a fold.")
    return {**dict.fromkeys(val, "val"), **dict.fromkeys(test, "test")}


def _folds(options: Mapping[str, Any], name: str, num_folds: int) -> list[int]:
    """The fold numbers given as `name`; raises ValueError for one that does not exist."""
    value = options.get(name, ())
    chosen = [int(value)] if np.ndim(value) == 0 else [int(fold) for fold in value]
    if any(not 0 <= fold < num_folds for fold in chosen):
        raise ValueError(f"{name} must be in 0..{num_folds - 1}, found {value}.")
    return chosen
