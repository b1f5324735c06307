import functools
import pathlib

import pandas as pd
import pytest

_FOLDER = pathlib.Path(__file__).parent / "golden"


@pytest.fixture(scope="session")
def r_golden():
    """Tables that the R scripts beside them wrote: data sets of R packages, and what R computes of them."""
    return functools.cache(lambda name: pd.read_csv(_FOLDER / f"{name}.csv"))


@pytest.fixture(scope="session")
def r_values(r_golden):
    """Estimates and standard errors of one model in a table of the columns model, name, est, se, by name."""

    def values(name: str, model: str) -> pd.DataFrame:
        table = r_golden(name)
        return table[table["model"] == model].set_index("name")[["est", "se"]]

    return values
