"""Known effects of generated data, against what the mediation analysis finds."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

COLUMNS = ("exposure", "mediator", "expected", "found")  # of truth.csv, beside the numbers of the pair


def compare(univariate: pd.DataFrame, truth: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """What the analysis says of the pairs whose truth is known.

    Args:
      univariate: result of `mediation.univariate`.
      truth: {"exposure", "phenotype", "mediates"} per pair.
    Returns: exposure, mediator, expected ("mediator" | "null"), found (bool), indirect_std, indirect_p_adj.
    """
    pairs = pd.DataFrame(truth).rename(columns={"phenotype": "mediator"})
    pairs["expected"] = np.where(pairs["mediates"], "mediator", "null")
    merged = pairs[["exposure", "mediator", "expected"]].merge(univariate, on=["exposure", "mediator"], how="left")
    merged["found"] = merged["is_mediator"].fillna(False).astype(bool)
    return merged[[*COLUMNS, "indirect_std", "indirect_p_adj"]]


def as_expected(truth: pd.DataFrame) -> pd.Series:
    """bool of each pair of compare(): whether it was found to be what it was generated as."""
    return (truth["expected"] == "mediator") == truth["found"]
