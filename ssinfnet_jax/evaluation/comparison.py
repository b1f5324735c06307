"""Compares several methods on the same slices: their means, and each method against a reference.

The input is one long table with a row per network, slice and class: data, method, seed, slice_id, patient_id, class
and the metrics of `overlap.METRICS`, NaN if undefined. A *method* is what a grid compares (a network, a loss, a kind
of pretraining); a *seed* is one training of it. In a cross-validation the networks of all folds share a seed, and one
of them measures each slice.

Two questions need two tests. Networks that differ only in the seed are different networks, and with enough slices a
test over slices will rightly tell them apart. So

- `p` (over patients) asks whether **these networks** differ on new patients like these. It says nothing about the
  method when trained again.
- `seed_p` (over seeds) asks whether **the method** differs by more than the noise of training, on these very slices.
  It says nothing about other patients.

To claim that a method is better on new patients, both are needed: p_adj < 0.05 and seed_p < 0.05. The interval
resamples patients and seeds. Both tests ignore that the networks of a cross-validation share training slices, which
makes them somewhat overconfident.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from absl import logging
from scipy import stats

from ssinfnet_jax.evaluation import evaluate, long_table, resampling
from ssinfnet_jax.metrics import overlap

MIN_UNITS = 6  # with five pairs the smallest p of a signed-rank test is 0.0625
_DECIMALS = 12  # differences due to rounding are ties


def summarize(slices: pd.DataFrame, *, seed: int = 0, num_draws: int = 2000) -> pd.DataFrame:
    """Computes the mean over slices and 1.96 standard errors, per data, method, class and metric.

    With several seeds, a slice counts once, with the mean over the seeds for which its metric is defined. The error is
    that of `evaluate.summarize`: over slices, as published, ignoring seeds and patients; `compare` accounts for both.

    Args:
      slices: the long table.
      seed: of the resampling for the multi network's class "overall".
      num_draws: number of its resamples.
    Returns: table with columns data, method, class, metric, mean, error, n (slices), excluded, patients, seeds.
    Raises: ValueError for a table that lacks columns or measures a slice twice.
    """
    long_table.check(slices, overlap.METRICS)
    tables = []
    for (data, method), part in slices.groupby(["data", "method"], sort=False):
        means = part.groupby(["slice_id", "class"], sort=False)[list(overlap.METRICS)].mean().reset_index()
        means["patient_id"] = means["slice_id"].map(long_table.patients(part))
        of_multi = means["class"].isin(evaluate.CLASSES)
        for overall, rows in ((False, means[~of_multi]), (True, means[of_multi])):
            if not rows.empty:
                table = evaluate.summarize(rows, overall=overall, seed=seed, num_draws=num_draws)
                table["patients"] = [
                    rows.loc[_counted(rows, name, metric), "patient_id"].nunique()
                    for name, metric in zip(table["class"], table["metric"], strict=True)
                ]
                table.insert(0, "data", data)
                table.insert(1, "method", method)
                tables.append(table.assign(seeds=part["seed"].nunique()))
    return pd.concat(tables, ignore_index=True)


def compare(
    slices: pd.DataFrame,
    *,
    reference: str,
    metrics: Sequence[str] = overlap.METRICS,
    test: str = "wilcoxon",
    num_draws: int = 10_000,
    seed: int = 0,
) -> pd.DataFrame:
    """Compares every other method with the reference on the same slices, per data, class and metric.

    A slice is compared if every seed of both methods has measured it and its metric is defined for all of them; all
    other slices that either method has measured count as excluded. Per slice, "overall" is the mean over those of
    background, GGO and consolidation that are defined for all these networks, so it is paired too; hence it
    can differ slightly from the difference of the overall means of `summarize`.

    Args:
      slices: the long table.
      reference: the method to compare the others with.
      metrics: metrics to compare, of `overlap.METRICS`. p values are adjusted over them (Holm); with many
        metrics and few slices nothing can be significant, so list only those that the comparison is about.
      test: "wilcoxon", signed ranks of the patients' mean differences (Pratt's treatment of zeros), since patients are
        the independent units; or "mannwhitney", the published test, which treats the slices of both methods as
        independent samples and ignores pairs and patients.
      num_draws: resamples for the interval.
      seed: of the resampling.
    Returns: table with columns
      data, method, reference, class, metric;
      n, patients: compared slices and their patients, or the finest unit that the data identify; excluded: slices;
      seeds, reference_seeds: trainings;
      difference: mean over slices of method - reference; low, high: 95 % interval, not adjusted
        (`resampling.interval`, over patients and, if there are several, seeds); detectable: the smallest true
        difference that a comparison of this size finds four times in five (`resampling.Interval`);
      folds: folds with compared slices; folds_better: those in which the method's mean is higher;
      effect: rank-biserial correlation in [-1, 1], for matched pairs with Wilcoxon, else for two samples;
      p, p_adj: of the test, and adjusted by Holm over all methods x classes x metrics of a dataset;
      seed_p, seed_p_adj: Welch's t test between the seeds' means over the compared slices, and adjusted likewise; in
        a cross-validation, where a seed trains another network in every fold, with the variance of each fold. NaN
        unless both methods have two seeds;
      note: why a number is NaN.
    Raises: ValueError for an unknown method, test or metric, and for tables as in `summarize`.
    Source: Pratt 1959, doi:10.1080/01621459.1959.10501526; Kerby 2014, doi:10.2466/11.IT.3.1 (effect).
    """
    long_table.check(slices, metrics)
    if test not in TESTS:
        raise ValueError(f"Unknown test {test!r}; choose one of {', '.join(TESTS)}.")
    methods = list(dict.fromkeys(slices["method"]))
    if reference not in methods:
        raise ValueError(f"Unknown reference method {reference!r}; the table has {', '.join(map(str, methods))}.")
    row_of = functools.partial(_compare, test=test, num_draws=num_draws, seed=seed)
    tables = [
        _compare_data(data, part, reference, metrics, row_of) for data, part in slices.groupby("data", sort=False)
    ]
    tables = [table for table in tables if table is not None]
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()


def _compare_data(
    data: str, slices: pd.DataFrame, reference: str, metrics: Sequence[str], row_of: Callable[..., dict[str, Any]]
) -> pd.DataFrame | None:
    """compare() on one data set, one row by `row_of(pair, patients, folds)`; None without the reference."""
    classes = pd.Index(slices["class"].unique())
    patients, folds = long_table.patients(slices), long_table.folds(slices)
    found = {
        method: long_table.arrange(rows, classes, patients.index, metrics)
        for method, rows in slices.groupby("method", sort=False)
    }
    if reference not in found:
        logging.warning("No comparison on %s: the reference %r has no results.", data, reference)
        return None
    other = found.pop(reference)
    rows = []
    for method, own in found.items():
        for name, members in _groups(classes, own, other).items():
            for column, metric in enumerate(metrics):
                pair = _pair(own, other, column, members)
                about = {"data": data, "method": method, "reference": reference, "class": name, "metric": metric}
                rows.append({**about, **row_of(pair, patients.to_numpy(), folds.to_numpy())})
    table = pd.DataFrame(rows)
    for name in ("p", "seed_p") if rows else ():
        table.insert(table.columns.get_loc(name) + 1, f"{name}_adj", holm(table[name].to_numpy(float)))
    return table


class _Pair(NamedTuple):
    """Values float64[seed, N] of both methods on N compared slices; kept: bool[slice]; excluded: number of slices."""

    method: np.ndarray
    reference: np.ndarray
    kept: np.ndarray
    excluded: int


def _groups(classes: pd.Index, *methods: long_table.Measured) -> dict[str, list[int]]:
    """Groups classes that both methods have: each alone, and "overall" with those of the multi network."""
    shared = np.flatnonzero(np.all([method.rows.any(axis=1) for method in methods], axis=0))
    groups = {classes[index]: [index] for index in shared}
    multi = [index for index in shared if classes[index] in evaluate.CLASSES]
    return {**groups, "overall": multi} if multi else groups


def _pair(own: long_table.Measured, other: long_table.Measured, metric: int, members: list[int]) -> _Pair:
    first, second = (measured.values[metric, members] for measured in (own, other))
    defined = ~(np.isnan(first).any(axis=-1) | np.isnan(second).any(axis=-1))  # [class, slice]
    kept = defined.any(axis=0)
    count = defined.sum(axis=0)[kept]
    means = [np.where(defined[..., None], each, 0.0).sum(axis=0)[kept].T / count for each in (first, second)]
    num_rows = int((own.rows[members] | other.rows[members]).any(axis=0).sum())
    return _Pair(*means, kept, num_rows - int(kept.sum()))


def _compare(
    pair: _Pair, patients: np.ndarray, folds: np.ndarray, test: str, num_draws: int, seed: int
) -> dict[str, Any]:
    """Computes the numbers of one row of `compare`."""
    names, units = np.unique(patients[pair.kept], return_inverse=True)
    folds = folds[pair.kept]
    num_slices, notes = len(units), []
    of_fold = np.bincount(folds, pair.method.mean(axis=0) - pair.reference.mean(axis=0)) if num_slices else np.zeros(0)
    difference, effect, p = [np.nan] * 3
    interval = resampling.Interval(np.nan, np.nan, np.nan)
    if num_slices:
        difference = float(pair.method.mean() - pair.reference.mean())
        effect, p = TESTS[test](pair, units)
    if len(names) < MIN_UNITS:
        p = np.nan
        notes.append(f"{len(names)} patients are too few for a test; it needs {MIN_UNITS}")
    else:
        interval = resampling.interval(pair.method, pair.reference, units, folds, num_draws=num_draws, seed=seed)
    seed_p, note = _welch(pair.method, pair.reference, folds)
    return {
        "n": num_slices, "patients": len(names), "excluded": pair.excluded,
        "seeds": len(pair.method), "reference_seeds": len(pair.reference),
        "difference": difference, **interval._asdict(),
        "folds": len(np.unique(folds)), "folds_better": int((of_fold.round(_DECIMALS) > 0).sum()),
        "effect": effect, "p": p, "seed_p": seed_p,
        "note": "; ".join([*notes, *note]),
    }  # fmt: skip


def _wilcoxon(pair: _Pair, units: np.ndarray) -> tuple[float, float]:
    difference = pair.method.mean(axis=0) - pair.reference.mean(axis=0)
    difference = (np.bincount(units, difference) / np.bincount(units)).round(_DECIMALS)
    if not difference.any():
        return 0.0, 1.0
    ranks = stats.rankdata(np.abs(difference))
    effect = (ranks * np.sign(difference)).sum() / ranks[difference != 0].sum()
    few = len(difference) < MIN_UNITS
    return float(effect), np.nan if few else float(stats.wilcoxon(difference, zero_method="pratt").pvalue)


def _mann_whitney(pair: _Pair, units: np.ndarray) -> tuple[float, float]:
    del units
    first, second = (values.mean(axis=0).round(_DECIMALS) for values in (pair.method, pair.reference))
    result = stats.mannwhitneyu(first, second)
    return float(2 * result.statistic / len(first) / len(second) - 1), float(result.pvalue)


TESTS = {"wilcoxon": _wilcoxon, "mannwhitney": _mann_whitney}


def _welch(method: np.ndarray, reference: np.ndarray, folds: np.ndarray) -> tuple[float, list[str]]:
    """Returns p of the seeds' means, or NaN and the reason."""
    if not method.size:
        return np.nan, []
    if min(len(method), len(reference)) < 2:
        return np.nan, ["seed_p needs two seeds of both methods"]
    found = [resampling.variance_of_seeds(values.round(_DECIMALS), folds) for values in (method, reference)]
    variances, freedoms = zip(*found, strict=True)
    if sum(variances) < 10.0 ** (-2 * _DECIMALS):
        return np.nan, ["all seeds of a method have the same result: are they one network?"]
    freedom = resampling.satterthwaite(variances, freedoms)
    distance = abs(method.mean() - reference.mean()) / np.sqrt(sum(variances))
    return float(2 * stats.t.sf(distance, freedom)), []


def holm(p: np.ndarray) -> np.ndarray:
    """Adjusts p values by Holm 1979; NaN does not count.

    statsmodels has the same, but collects garbage in each call: a second where JAX has many objects.
    """
    adjusted, order = p.copy(), np.argsort(p)[: np.count_nonzero(~np.isnan(p))]  # NaN is last
    adjusted[order] = np.minimum(np.maximum.accumulate(p[order] * np.arange(len(order), 0, -1)), 1)
    return adjusted


def _counted(rows: pd.DataFrame, name: str, metric: str) -> pd.Series:
    return rows["class"].notna() if name == "overall" else (rows["class"] == name) & rows[metric].notna()
