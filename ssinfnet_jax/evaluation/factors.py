"""Main effects of factors in a grid whose methods are combinations of them, as in an ablation."""

import itertools
from collections.abc import Mapping
from typing import Any

import pandas as pd

from ssinfnet_jax.evaluation import comparison, evaluate
from ssinfnet_jax.metrics import overlap

SIDES = ("with", "without")
_PLACE = ["data", "class", "metric"]
_ROW = ["data", "seed", "slice_id", "patient_id", "class"]


def effects(slices: pd.DataFrame, factors: Mapping[str, Mapping[str, bool]], **options: Any) -> pd.DataFrame:
    """Computes each factor's effect, with minus without: the mean over the pairs of methods that differ only in it.

    The methods with the factor are averaged slice by slice, and so are those without it; the difference of the two
    is the mean over the pairs. It is tested like two methods (`comparison.compare`). Slices on which a metric is
    undefined for any of these methods are left out.

    Args:
      slices: the long table.
      factors: for each method, which factors it has.
      **options: of `comparison.compare`, except the reference.
    Returns: its table with `factor` in place of method and reference, p adjusted over the factors too, and pairs;
      smallest, largest (differences of single pairs; if they are far apart, the factor interacts with another
      one, and the mean says little). Empty if there is no pair.
    Raises: ValueError as `comparison.compare`.
    """
    found = []
    for name in dict.fromkeys(name for of_method in factors.values() for name in of_method):
        pairs = [pair for pair in pairs_of(factors, name) if set(pair) <= set(slices["method"])]
        if not pairs:
            continue
        having, lacking = (
            _average(slices, list(side), title) for side, title in zip(zip(*pairs, strict=True), SIDES, strict=True)
        )
        table = comparison.compare(pd.concat([having, lacking]), reference=SIDES[1], **options)
        single = pd.concat([_difference(slices, *pair) for pair in pairs]).groupby(_PLACE)["single"]
        spread = pd.DataFrame({"pairs": single.count(), "smallest": single.min(), "largest": single.max()})
        found.append(table.merge(spread, left_on=_PLACE, right_index=True).assign(factor=name))
    if not found:
        return pd.DataFrame()
    table = pd.concat(found, ignore_index=True)
    for data in table["data"].unique():
        rows = table["data"] == data
        for name in ("p", "seed_p"):
            table.loc[rows, f"{name}_adj"] = comparison.holm(table.loc[rows, name].to_numpy(float))
    return table[["data", "factor", *(name for name in table if name not in ("data", "factor", "method", "reference"))]]


def pairs_of(factors: Mapping[str, Mapping[str, bool]], name: str) -> list[tuple[str, str]]:
    """Lists the pairs of methods that differ only in factor `name`: (with it, without it)."""
    return [
        (having, lacking)
        for having, lacking in itertools.permutations(factors, 2)
        if dict(factors[having]) == {**factors[lacking], name: True} and factors[lacking].get(name) is False
    ]


def _average(slices: pd.DataFrame, methods: list[str], title: str) -> pd.DataFrame:
    """Averages methods slice by slice; NaN if one of them is undefined or missing on the slice."""
    part = slices[slices["method"].isin(methods)].assign(patient_id=slices["patient_id"].fillna(""))
    groups = part.groupby([*_ROW, *({"fold"} & set(part))], sort=False)[list(overlap.METRICS)]
    means = groups.mean().where(groups.count() == len(methods)).reset_index()
    return means.assign(method=title, patient_id=means["patient_id"].replace("", pd.NA))


def _difference(slices: pd.DataFrame, having: str, lacking: str) -> pd.DataFrame:
    """Computes the mean difference of two methods over slices on which both are defined, by data, class and metric."""
    measures = slices.groupby(["method", "data", "class", "slice_id"])[list(overlap.METRICS)].mean()
    each = (measures.loc[having] - measures.loc[lacking]).rename_axis(columns="metric").stack()
    multi = each[each.index.get_level_values("class").isin(evaluate.CLASSES)]
    overall = multi.groupby(["data", "slice_id", "metric"]).mean().to_frame("single").assign(**{"class": "overall"})
    both = pd.concat([each.to_frame("single").reset_index(), overall.reset_index()])
    return both.groupby(_PLACE)["single"].mean().reset_index()
