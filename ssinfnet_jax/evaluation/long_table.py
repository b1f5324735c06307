"""The long table of an experiment, with a row per network, slice and class, and its checks."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from ssinfnet_jax.evaluation import columns
from ssinfnet_jax.metrics import overlap


class Measured(NamedTuple):
    """Results of a method: values float64[metric, class, slice, seed], NaN if undefined; rows bool[class, slice]."""

    values: np.ndarray
    rows: np.ndarray


def check(slices: pd.DataFrame, metrics: Sequence[str]) -> None:
    """Raises ValueError for a table that cannot be compared, or an unknown metric."""
    unknown = [metric for metric in metrics if metric not in overlap.METRICS]
    if unknown or not metrics:
        raise ValueError(f"Unknown metric {unknown or 'none'}; choose from {', '.join(overlap.METRICS)}.")
    missing = [name for name in (*columns.ROW, "patient_id", *metrics) if name not in slices.columns]
    if missing:
        raise ValueError(f"The table of slices lacks the columns {', '.join(missing)}; it has {', '.join(slices)}.")
    text = [name for name in metrics if not pd.api.types.is_numeric_dtype(slices[name])]
    if text:
        raise ValueError(f"Column {text[0]} of the table of slices must hold numbers, found {slices[text[0]].dtype}.")
    if slices.empty:
        raise ValueError("The table of slices is empty; evaluate a run first.")
    for name in columns.ROW:
        if slices[name].isna().any():
            raise ValueError(
                f"The table of slices has no {name} in row {int(slices[name].isna().argmax())}; fill in every row."
            )
    twice = slices.duplicated(list(columns.ROW))
    if twice.any():
        row = slices[twice].iloc[0]
        raise ValueError(
            f"Slice {row['slice_id']} of {row['data']} is measured twice for class {row['class']} by method "
            f"{row['method']}, seed {row['seed']}; networks that test the same slice need different seeds."
        )
    of_slice = slices.groupby(["data", "slice_id"], sort=False)["patient_id"].nunique()
    if (of_slice > 1).any():
        data, name = of_slice.index[of_slice > 1][0]
        raise ValueError(f"Slice {name} of {data} belongs to {of_slice.max()} patients; rename it to make it unique.")


def patients(part: pd.DataFrame) -> pd.Series:
    """Maps slice_id to patient_id; a slice without a patient is its own."""
    first = part.drop_duplicates("slice_id").set_index("slice_id")["patient_id"]
    return first.astype(object).fillna(first.index.to_series()).astype(str)


def folds(part: pd.DataFrame) -> pd.Series:
    """Maps slice_id, as `patients`, to the number of the fold that tests it; one for all if folds do not split it."""
    first = part.drop_duplicates("slice_id").set_index("slice_id")
    if "fold" not in part:
        return pd.Series(0, first.index)
    places = part.assign(patient_id=part["slice_id"].map(patients(part)))
    split = (places.groupby("patient_id")["fold"].nunique() == 1).all()
    return pd.Series(pd.factorize(first["fold"])[0] if split else 0, first.index)


def arrange(part: pd.DataFrame, classes: pd.Index, slice_ids: pd.Index, metrics: Sequence[str]) -> Measured:
    """Arranges the rows of one method by class and slice, in the order given; seeds in order of appearance."""
    seeds, names = pd.factorize(part["seed"])
    place = classes.get_indexer(part["class"]), slice_ids.get_indexer(part["slice_id"])
    values = np.full((len(metrics), len(classes), len(slice_ids), len(names)), np.nan)
    values[:, *place, seeds] = part[list(metrics)].to_numpy(float).T
    rows = np.zeros((len(classes), len(slice_ids)), bool)
    rows[place] = True
    return Measured(values, rows)
