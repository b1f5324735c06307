"""Segments the held-out slices of a cross-validation with networks that never saw them, chooses a decision and
temperatures from them, and measures the networks' accuracy and the bias of the areas."""

import dataclasses
import itertools
import pathlib
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy import optimize

from ssinfnet_jax import config, rundir
from ssinfnet_jax.data import prepare
from ssinfnet_jax.evaluation import evaluate
from ssinfnet_jax.inference import segmenter
from ssinfnet_jax.metrics import overlap
from ssinfnet_jax.networks import prediction
from ssinfnet_jax.networks.decision import Decision

_THRESHOLDS = np.round(np.arange(0.2, 0.81, 0.05), 2)
_MULTI_WEIGHTS = (0.0, 0.25, 0.5)
_LEAST_SHARES = (0.0, 0.05, 0.1, 0.15, 0.2)
_MIN_EXCLUDES = 0.1  # probability of the single network up to which it rules a lesion out
_PIXELS = 400_000  # approximate number pooled to fit a temperature
_TEMPERATURES = (0.2, 5.0)


@dataclasses.dataclass(frozen=True)
class Slice:
    """A held-out slice with the output of its fold's networks.

    Attributes:
      slice_id, patient_id: its names.
      fold: number of the run that held it out.
      truth: uint8[H,W] of {0, 1, 2}; of a slice with ignored pixels, [N] of those that count.
      lesion: float32 of the same pixels, in [0, 1], the single network's lesion probability.
      classes: float32 of the same pixels, [..., 3], the multi network's probabilities.
    """

    slice_id: str
    patient_id: str
    fold: int
    truth: np.ndarray
    lesion: np.ndarray
    classes: np.ndarray


def read(folders: Sequence[pathlib.Path], flips: str = "none") -> list[Slice]:
    """Segments the test slices of each run with the networks of that run.

    Args:
      folders: run folders of a cross-validation, one per fold, finished up to `train_multi`.
      flips: a key of `segmenter.FLIPS`.
    Raises: FileNotFoundError for an unfinished run; ValueError if two runs hold out the same slice, or no held-out
      slice has class labels.
    """
    found: dict[str, Slice] = {}
    for fold, folder in enumerate(folders):
        run_dir = rundir.RunDir(folder)
        single, multi = (
            run_dir.require(f"train_{which}", "model/model.json") / "model" for which in ("single", "multi")
        )
        path = folder / "config.json"
        data = config.read(config.Data, rundir.read_json(path)["data"], f"{path}: data")
        records, table = prepare.load(data, run_dir)
        wanted = np.flatnonzero(((table["split"] == "test") & table["has_classes"].astype(bool)).to_numpy())
        for result in segmenter.Segmenter(single, multi, flips=flips).segment(records, wanted):
            record = result.record
            name = str(record["slice_id"])
            if name in found:
                raise ValueError(
                    f"{name} is held out by both {folders[found[name].fold]} and {folder}; pass each fold of one "
                    "cross-validation once."
                )
            maps = (record["classes"], result.lesion_probs, result.class_probs)
            found[name] = Slice(name, str(record["patient_id"]), fold, *overlap.counted(record.get("ignore"), *maps))
    if not found:
        raise ValueError(f"None of the runs {', '.join(map(str, folders))} holds out slices with class labels.")
    return list(found.values())


def temperatures(slices: Sequence[Slice], seed: int = 0) -> tuple[float, float]:
    """Fits the temperatures of the single and the multi network to the pixels, by log loss."""
    generator = np.random.default_rng(seed)
    lesions, classes = [], []
    for one in slices:
        chosen = evaluate.even_sample(one.truth.size, _PIXELS // len(slices), generator)
        truth = one.truth.ravel()[chosen]
        lesions.append((one.lesion.ravel()[chosen], truth > 0))
        classes.append((one.classes.reshape(-1, 3)[chosen], truth))
    lesion_probs, is_lesion = (np.concatenate(part) for part in zip(*lesions, strict=True))
    class_probs, truth = (np.concatenate(part) for part in zip(*classes, strict=True))

    def single_loss(log_temperature: float) -> float:
        probs = prediction.temper(lesion_probs, float(np.exp(log_temperature)))
        return _log_loss(np.where(is_lesion, probs, 1 - probs))

    def multi_loss(log_temperature: float) -> float:
        probs = prediction.temper(class_probs, float(np.exp(log_temperature)), classes=True)
        return _log_loss(np.take_along_axis(probs, truth[:, None].astype(int), axis=1))

    bounds = tuple(np.log(_TEMPERATURES))
    best = [optimize.minimize_scalar(loss, bounds=bounds, method="bounded").x for loss in (single_loss, multi_loss)]
    return float(np.exp(best[0])), float(np.exp(best[1]))


def _log_loss(probs_of_truth: np.ndarray) -> float:
    return float(-np.log(np.clip(probs_of_truth, 1e-6, 1)).mean())


def tempered(slices: Iterable[Slice], single: float, multi: float) -> list[Slice]:
    """Applies temperatures to the probabilities of the slices."""
    return [
        dataclasses.replace(
            one,
            lesion=prediction.temper(one.lesion, single),
            classes=prediction.temper(one.classes, multi, classes=True),
        )
        for one in slices
    ]


def choose(slices: Sequence[Slice]) -> Decision:
    """Chooses the joint decision that maximises the mean Dice of the lesion, then that of GGO and consolidation.

    Only decisions by which the single network can rule a lesion out alone, since the multi network then runs on few
    slices of a scan. Ties go to the lowest weight and least share, and to the threshold and consolidation share nearest
    to 0.5.
    """

    def lesion_dice(decision: Decision) -> float:
        return np.nanmean([_dice(one.truth > 0, decision.labels(one.lesion, one.classes) > 0) for one in slices])

    def classes_dice(decision: Decision) -> float:
        preds = [decision.labels(one.lesion, one.classes) for one in slices]
        values = [
            [_dice(one.truth == label, pred == label) for label in (1, 2)]
            for one, pred in zip(slices, preds, strict=True)
        ]
        return np.nanmean(np.nanmean(np.array(values), axis=0))

    nearest = sorted(map(float, _THRESHOLDS), key=lambda value: abs(value - 0.5))
    found = [
        Decision("joint", threshold, 0.5, weight) for weight, threshold in itertools.product(_MULTI_WEIGHTS, nearest)
    ]
    best = max((one for one in found if one.excludes > _MIN_EXCLUDES), key=lesion_dice)
    divided = itertools.product(_LEAST_SHARES, nearest)
    return max(
        (dataclasses.replace(best, least_share=least, consolidation_share=share) for least, share in divided),
        key=classes_dice,
    )


def _dice(truth: np.ndarray, pred: np.ndarray) -> float:
    return overlap.overlap(pred, truth)["dice"]


def measures(slices: Sequence[Slice]) -> pd.DataFrame:
    """Measures each slice with the decision and temperatures chosen on the slices of all *other* folds.

    Returns: table with columns slice_id, patient_id, fold, class ("lesion", "background", "ggo", "consolidation"), the
      metrics of `overlap.overlap`, and the areas in pixels, `area_pred` and `area_true`.
    Raises: ValueError for slices of only one fold.
    """
    rows = []
    for fold in sorted({one.fold for one in slices}):
        others = [one for one in slices if one.fold != fold]
        if not others:
            raise ValueError("The decision is chosen on the other folds; pass the runs of at least two folds.")
        scale = temperatures(others)
        decision = choose(tempered(others, *scale))
        for one in tempered((one for one in slices if one.fold == fold), *scale):
            pred = decision.labels(one.lesion, one.classes)
            pairs = {"lesion": (pred > 0, one.truth > 0)}
            pairs |= {name: (pred == value, one.truth == value) for value, name in enumerate(evaluate.CLASSES)}
            for name, (found, truth) in pairs.items():
                rows.append(
                    {"slice_id": one.slice_id, "patient_id": one.patient_id, "fold": fold, "class": name,
                     **overlap.overlap(found, truth), "area_pred": int(found.sum()), "area_true": int(truth.sum())}
                )  # fmt: skip
    return pd.DataFrame(rows)


def summary(table: pd.DataFrame, seed: int = 0) -> list[dict[str, Any]]:
    """Summarizes `measures` per class: mean Dice, error (1.96 standard errors), n; "overall" averages three classes."""
    found = [
        evaluate.summarize(part, overall=overall, seed=seed, metrics=("dice",))
        for part, overall in ((table[table["class"] == "lesion"], False), (table[table["class"] != "lesion"], True))
    ]
    rows = pd.concat(found)
    return rows[["class", "mean", "error", "n"]].round(4).to_dict("records")


def agreement(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Compares the predicted with the true areas of `measures`.

    Returns: per lesion class: `bias`, the sum of predicted areas over the sum of true areas, minus 1; `low` and `high`,
      the limits between which the ratio of a slice lies 19 times in 20 (limits of agreement of its logarithm, over the
      `n` slices in which both areas are above 0); `missed` and `invented`, the numbers of slices in which the class is
      only in the truth, or only predicted.
    Source: Bland and Altman, Measuring agreement in method comparison studies, Stat Methods Med Res 1999;8:135.
    """
    rows = []
    for name in ("lesion", "ggo", "consolidation"):
        part = table[table["class"] == name]
        pred, truth = part["area_pred"].to_numpy(float), part["area_true"].to_numpy(float)
        both = (pred > 0) & (truth > 0)
        logs = np.log(pred[both] / truth[both])
        low, high = (
            np.exp(logs.mean() + 1.96 * logs.std(ddof=1) * np.array([-1, 1])) if both.sum() > 1 else [np.nan] * 2
        )
        rows.append(
            {"class": name, "bias": pred.sum() / truth.sum() - 1 if truth.sum() else np.nan, "low": low, "high": high,
             "n": int(both.sum()), "missed": int(((truth > 0) & (pred == 0)).sum()),
             "invented": int(((truth == 0) & (pred > 0)).sum())}
        )  # fmt: skip
    return rows
