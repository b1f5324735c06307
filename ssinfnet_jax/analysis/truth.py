"""Compares known effects of generated data with the results of the mediation analysis."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

COLUMNS = ("exposure", "mediator", "expected", "found")  # of truth.csv, which also has numbers of the pair


def compare(univariate: pd.DataFrame, truth: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Compares the pairs whose truth is known.

    Args:
      univariate: as `mediation.univariate` returns it.
      truth: {"exposure", "phenotype", "mediates"} per pair.
    Returns: exposure, mediator, expected ("mediator" | "null"), found (bool), indirect_std, indirect_p_adj.
    """
    pairs = pd.DataFrame(truth).rename(columns={"phenotype": "mediator"})
    pairs["expected"] = np.where(pairs["mediates"], "mediator", "null")
    merged = pairs[["exposure", "mediator", "expected"]].merge(univariate, on=["exposure", "mediator"], how="left")
    merged["found"] = merged["is_mediator"].fillna(False).astype(bool)
    return merged[[*COLUMNS, "indirect_std", "indirect_p_adj"]]


def as_expected(truth: pd.DataFrame) -> pd.Series:
    """Whether each pair of compare() was found to be as generated: bool[N]."""
    return (truth["expected"] == "mediator") == truth["found"]
