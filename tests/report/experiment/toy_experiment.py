"""Generates an experiment's folder: slices, methods of known quality, their real metrics and tables."""

import itertools
import json

import numpy as np
import pandas as pd
from scipy import ndimage

from ssinfnet_jax.evaluation import comparison
from ssinfnet_jax.evaluation import factors as effects
from ssinfnet_jax.metrics import overlap, roc

CLASSES = {"single": ("lesion",), "multi": ("background", "ggo", "consolidation")}


def slices(num, size, random):
    """uint8[N, H, W] slices and their classes: an elliptic GGO around a consolidation, of varied size and place."""
    y, x = np.mgrid[:size, :size] / size - 0.5
    images, truths = [], []
    for _ in range(num):
        cy, cx, radius = *random.uniform(-0.15, 0.15, 2), random.uniform(0.12, 0.22)
        distance = np.hypot(y - cy, x - cx)
        truth = np.where(distance < radius / 2, 2, np.where(distance < radius, 1, 0)).astype(np.uint8)
        image = np.where(np.hypot(y, x) < 0.48, 60, 0) + np.array([0, 60, 120])[truth] + random.normal(0, 6, y.shape)
        images.append(np.clip(image, 0, 255).astype(np.uint8))
        truths.append(truth)
    return np.stack(images), np.stack(truths)


def probabilities(truth, noise, random):
    """float[H, W, 3] probabilities: the classes, blurred and disturbed by smooth noise of this strength."""
    hot = np.eye(3)[truth]
    logits = np.stack([ndimage.gaussian_filter(hot[..., kind], 0.7) for kind in range(3)], axis=-1) * 6
    smooth = np.stack([ndimage.gaussian_filter(random.normal(size=truth.shape), 2) for _ in range(3)], axis=-1)
    power = np.exp(logits + 40 * noise * smooth)
    return power / power.sum(axis=-1, keepdims=True)


def build(folder, methods, *, network="single", folds=1, seeds=1, num=6, size=32, data=("default",), failed=(),
          not_run=(), factors=None, **config):  # fmt: skip
    """Writes the folder and returns its path.

    Args:
      folder: of the experiment.
      methods: (title, noise of its predictions) by name; the last one is the reference.
      failed, not_run: names of methods.
      factors: by method, of an ablation.
      **config: more keys of experiment.json.
    """
    grid = list(itertools.product(methods, data, range(folds), range(seeds)))
    names = {cell: f"run{number}-fold{cell[2]}-seed{cell[3]}" for number, cell in enumerate(grid)}
    described = {name: {"title": title} for name, (title, _) in methods.items()}
    for name, held in (factors or {}).items():
        described[name]["factors"] = held
    keys = ("name", "method", "data", "fold", "seed")
    experiment = {
        "name": "toy:small", "title": "A toy comparison", "task": "train", "network": network,
        "reference": list(methods)[-1], "methods": described, "command": "python -m launch.experiment --toy",
        "runs": [dict(zip(keys, (names[cell], *cell), strict=True)) for cell in grid],
    } | config  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "experiment.json").write_text(json.dumps(experiment))
    images = {
        (d, f): slices(num, size, np.random.default_rng([i, f])) for i, d in enumerate(data) for f in range(folds)
    }
    rows, failures = [], []
    for number, cell in enumerate(grid):
        method, where, fold, seed = cell
        if method in not_run:
            continue
        place = folder / "runs" / names[cell]
        _train(place, network, methods[method][1])
        if method in failed:
            failures.append({"run": names[cell], "stage": "train_single", "reason": "the loss is NaN at step 7"})
            continue
        made = _evaluate(
            place, network, *images[where, fold], methods[method][1], np.random.default_rng([9, number]), fold
        )
        rows.append(made.assign(data=where, method=method, fold=fold, seed=seed))
    if failures:
        pd.DataFrame(failures).to_csv(folder / "failures.csv", index=False)
    if rows:
        _tables(folder / "tables", pd.concat(rows, ignore_index=True), list(methods)[-1], factors)
    return folder


def done(place, stage, seconds, identity, **more):
    (place / stage).mkdir(parents=True, exist_ok=True)
    marker = {"stage": stage, "id": identity, "seconds": seconds, "finished": "2026-01-02 03:04:05", "skipped": None}
    marker |= {"commit": "abc1234", "versions": {"jax": "0.10.2"}}
    (place / stage / "done.json").write_text(json.dumps(marker | more))


def _train(place, network, noise):
    stage = f"train_{network}"
    done(place, stage, 60.0, f"{place.name}-{stage}")
    (place / "config.json").write_text(json.dumps({"name": place.name, "seed": 0}))
    rows = []
    for step in range(10, 310, 10):
        value = (0.4 + noise) * np.exp(-step / 100) + noise
        rows.append({"step": step, "phase": "train", "epoch": step / 10, "loss": value, "train_dice": 1 - value / 2})
        if step % 50 == 0:
            rows.append({"step": step, "phase": "val", "epoch": step / 10, "dice_lesion": 0.95 - value / 2})
    (place / stage / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def _evaluate(place, network, image, truth, noise, random, fold):
    """Writes evaluate/ as the stage does; returns its rows."""
    done(place, "evaluate", 5.0, f"{place.name}-evaluate")
    probs = np.stack([probabilities(one, noise, random) for one in truth])
    pred, lesion = probs.argmax(axis=-1).astype(np.uint8), 1 - probs[..., 0]
    rows, dice = [], []
    for index in range(len(image)):
        ids = {"slice_id": f"f{fold}s{index}", "patient_id": f"f{fold}p{index // 2}"}
        score = overlap.overlap(lesion[index] > 0.5, truth[index] > 0)
        dice.append(score["dice"])
        if network == "single":
            rows.append({**ids, "class": "lesion", **score, "auc": roc.auc(lesion[index], truth[index] > 0)})
            continue
        for value, name in enumerate(CLASSES["multi"]):
            score = overlap.overlap(pred[index] == value, truth[index] == value)
            rows.append(
                {**ids, "class": name, **score, "auc": roc.auc(probs[index, ..., value], truth[index] == value)}
            )
    curves = []
    for value, name in enumerate(CLASSES[network]):
        pooled, right = (lesion, truth > 0) if network == "single" else (probs[..., value], truth == value)
        curves.append(roc.curve(pooled.ravel(), right.ravel()).assign(**{"class": name}))
    pd.concat(curves).to_csv(place / "evaluate" / f"{network}_roc.csv", index=False)
    arrays = {"image": image, "truth": truth, "lesion_prob": lesion.astype(np.float32), "dice": np.float32(dice)}
    arrays |= {"slice_id": np.array([f"f{fold}s{index}" for index in range(len(image))])}
    np.savez(place / "evaluate" / "examples.npz", **arrays, **({"pred": pred} if network == "multi" else {}))
    return pd.DataFrame(rows)


def _tables(folder, table, reference, factors):
    """Writes the tables that the grid's program makes from the metrics."""
    folder.mkdir(exist_ok=True)
    made = {"slices": table, "summary": comparison.summarize(table, num_draws=200)}
    if table["method"].nunique() > 1 and (table["method"] == reference).any():
        made["comparison"] = comparison.compare(table, reference=reference, num_draws=200)
    if factors:
        made["factors"] = effects.effects(table, factors, num_draws=200)
    for name, each in made.items():
        each.to_csv(folder / f"{name}.csv", index=False)
