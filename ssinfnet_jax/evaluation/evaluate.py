"""Stage `evaluate`: metrics of both networks on the test split, per slice and scan, ROC curves, examples."""

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import tqdm
from absl import logging

from ssinfnet_jax import rundir
from ssinfnet_jax.config import Config
from ssinfnet_jax.data import labels, prepare
from ssinfnet_jax.evaluation import columns, volumes
from ssinfnet_jax.inference import segmenter
from ssinfnet_jax.metrics import overlap, roc, volume

CLASSES = ("background", "ggo", "consolidation")
_MAX_EXAMPLES = 500  # slices, evenly spread; whole scans have many more, which memory might not hold
_ROC_PIXELS = 400_000  # approximate number of pixels, evenly sampled, that are pooled into a ROC curve


def run(config: Config, run_dir: rundir.RunDir) -> str | None:
    """Evaluates both networks, chained, in the geometry of the labels, and writes tables and examples.

    Writes `{single,multi}_slices.csv`, `{single,multi}_summary.csv`, `{single,multi}_roc.csv` and `examples.npz`; where
    slices lie in volumes, `{single,multi}_volumes.csv` and `{single,multi}_volumes_summary.csv`; without a multi
    network or labels of GGO and consolidation, only the single network's.

    Returns: None, or the reason why there is nothing to evaluate.
    """
    records, table = prepare.load(config.data, run_dir)
    test = np.flatnonzero(((table["split"] == "test") & table["has_lesion"].astype(bool)).to_numpy())
    if not len(test):
        return "the test split has no labeled slices"
    multi = run_dir.require("train_multi", "model/model.json")
    divides = not run_dir.was_skipped("train_multi") and table["has_classes"].astype(bool).iloc[test].any()
    single = run_dir.require("train_single", "model/model.json")
    network = segmenter.Segmenter(single / "model", multi / "model" if divides else None)
    generator = np.random.default_rng(config.seed)
    rows = {"single": [], "multi": []}
    pools = {"single": [], "multi": []}
    examples, scans = [], volumes.Volumes(table)
    shown = set(np.linspace(0, len(test) - 1, min(len(test), _MAX_EXAMPLES)).astype(int).tolist())
    results = tqdm.tqdm(network.segment(records, test), total=len(test), desc="evaluate", unit="slice")
    for number, result in enumerate(results):
        scans.add(test[number], result)
        record = result.record
        ids = {"slice_id": record["slice_id"], "patient_id": record["patient_id"]}
        lesion, lesion_probs = overlap.counted(record.get("ignore"), record["lesion"] > 0, result.lesion_probs)
        score = overlap.overlap(lesion_probs > 0.5, lesion)
        rows["single"].append({**ids, "class": "lesion", **score, "auc": roc.auc(lesion_probs, lesion)})
        chosen = even_sample(lesion.size, _ROC_PIXELS // len(test), generator)
        pools["single"].append((lesion_probs.reshape(-1, 1)[chosen], lesion.reshape(-1, 1)[chosen]))
        if "classes" in record and result.class_probs is not None:
            maps = (record["classes"], result.pred, result.class_probs)
            truth, pred, probs = overlap.counted(record.get("ignore"), *maps)
            for value, name in enumerate(CLASSES):
                score = overlap.overlap(pred == value, truth == value)
                auc = roc.auc(probs[..., value], truth == value)
                rows["multi"].append({**ids, "class": name, **score, "auc": auc})
            one_hot = truth.reshape(-1, 1)[chosen] == np.arange(3)
            pools["multi"].append((probs.reshape(-1, 3)[chosen], one_hot))
        if number in shown:
            examples.append(_example(result, rows["single"][-1]["dice"], network.image_size))
    directory = run_dir.stage("evaluate")
    for which, classes in (("single", ("lesion",)), ("multi", CLASSES)):
        if not rows[which]:
            continue
        slices = pd.DataFrame(rows[which], columns=list(columns.SLICES))
        summary = summarize(slices, overall=which == "multi", seed=config.seed)
        curves = _pooled_roc(pools[which], classes)
        for name, part in (("slices", slices), ("summary", summary), ("roc", curves)):
            rundir.write_text(directory / f"{which}_{name}.csv", part.to_csv(index=False))
        logging.info("%s network on %d test slices:\n%s", which, slices["slice_id"].nunique(), _readable(summary))
    _write_volumes(directory, scans.tables(), config.seed)
    with rundir.writing(directory / "examples.npz") as path:
        np.savez_compressed(path, **{name: np.stack([example[name] for example in examples]) for name in examples[0]})
    return None


def _write_volumes(directory: pathlib.Path, tables: Mapping[str, pd.DataFrame], seed: int) -> None:
    for which, table in tables.items():
        if table.empty:
            continue
        named = table.rename(columns={"volume_id": "slice_id"})
        summary = summarize(named, overall=False, seed=seed, metrics=volume.METRICS)
        for name, part in (("volumes", table), ("volumes_summary", summary)):
            rundir.write_text(directory / f"{which}_{name}.csv", part.to_csv(index=False))
        logging.info(
            "%s network on %d test scans:\n%s", which, table["volume_id"].nunique(),
            _readable(summary, volume.METRICS),
        )  # fmt: skip


def even_sample(size: int, wanted: int, generator: np.random.Generator) -> np.ndarray:
    """Samples about `wanted` of the positions 0..size-1, in order: a random one in each of equal stretches.

    Every k-th position would fall into the same few columns if k and the width shared a factor.
    """
    step = max(1, size // max(1, wanted))
    return np.arange(0, size - step + 1, step) + generator.integers(step, size=size // step)


def summarize(
    slices: pd.DataFrame, *, overall: bool, seed: int, num_draws: int = 2000, metrics: Sequence[str] = overlap.METRICS
) -> pd.DataFrame:
    """Computes the mean over slices and 1.96 standard errors, per class and metric.

    Slices on which a metric is undefined (NaN) are excluded and counted. `overall` adds the class "overall": the mean
    of the classes' means, whose error comes from resampling slices with all their classes. A class that no
    slice has is left out of it; a class that is present but has no defined value of a metric makes it NaN.

    Args:
      slices: rows of slice_id, class and the metrics of `overlap.METRICS`.
      overall: whether to add the overall rows.
      seed: of the resampling.
      num_draws: number of resamples.
      metrics: metrics to summarize.
    Returns: table of `columns.SUMMARY`.
    Source: the paper, eqs. 12-13.
    """
    rows = []
    for metric in metrics:
        wide = slices.pivot(index="slice_id", columns="class", values=metric)[list(dict.fromkeys(slices["class"]))]
        for name in wide.columns:
            values = wide[name].dropna()
            error = 1.96 * values.std(ddof=1) / np.sqrt(len(values)) if len(values) > 1 else np.nan
            rows.append({"class": name, "metric": metric, "mean": values.mean(), "error": error, "n": len(values),
                         "excluded": len(wide) - len(values)})  # fmt: skip
        if overall:
            is_there = slices.groupby("class", sort=False)["recall"].count().to_numpy() > 0  # recall needs the class
            values = wide.to_numpy()
            draws = np.random.default_rng(seed).integers(len(values), size=(num_draws, len(values)))
            means = np.array([_mean_of_means(values[draw]) for draw in draws])
            rows.append({"class": "overall", "metric": metric, "mean": _mean_of_means(values),
                         "error": 1.96 * np.nanstd(means, ddof=1), "n": len(values), "excluded": 0})  # fmt: skip
            if (is_there & np.isnan(values).all(axis=0)).any():
                # A network that never predicts a class has no precision for it; averaging the rest would flatter it.
                rows[-1].update(mean=np.nan, error=np.nan, n=0, excluded=len(values))
    return pd.DataFrame(rows, columns=list(columns.SUMMARY))


def _mean_of_means(values: np.ndarray) -> float:
    """Averages the column means, ignoring NaN; columns of NaN only do not count."""
    counts = (~np.isnan(values)).sum(axis=0)
    sums = np.nansum(values, axis=0)
    return float((sums[counts > 0] / counts[counts > 0]).mean()) if counts.any() else np.nan


def _pooled_roc(pool: list[tuple[np.ndarray, np.ndarray]], classes: tuple[str, ...]) -> pd.DataFrame:
    probs, truth = (np.concatenate([pair[side] for pair in pool]) for side in (0, 1))
    curves = [
        roc.curve(probs[:, column], truth[:, column]).assign(**{"class": name}) for column, name in enumerate(classes)
    ]
    return pd.concat(curves)[list(columns.ROC)]


def _example(result: segmenter.Segmentation, dice: float, size: int) -> dict[str, Any]:
    """Resizes a slice, its truth and its prediction to a common size for the report."""
    record, shape = result.record, (size, size)
    truth = record.get("classes", record["lesion"])
    image, truth = labels.resize_image(record["image"], shape), labels.resize_label(truth, shape)
    probs = segmenter.resize_probs(result.lesion_probs, shape)
    example = dict(zip(columns.EXAMPLES, (image, truth, probs, record["slice_id"], np.float32(dice)), strict=True))
    # A lesion map alone has no classes to show.
    return example if result.class_probs is None else example | {columns.PRED: labels.resize_label(result.pred, shape)}


def _readable(summary: pd.DataFrame, metrics: Sequence[str] = overlap.METRICS) -> str:
    text = summary.assign(value=summary.apply(lambda row: f"{row['mean']:.3f} +- {row['error']:.3f}", axis=1))
    return text.pivot(index="class", columns="metric", values="value")[list(metrics)].to_string()
