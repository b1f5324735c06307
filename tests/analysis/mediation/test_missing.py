import numpy as np
import pandas as pd
import pytest
from scipy import stats

from ssinfnet_jax.analysis import mediation
from ssinfnet_jax.analysis.mediation import missing


@pytest.fixture
def patients():
    """40 patients: GGO is empty in four, too small in two, its entropy not recorded in one; age is lost in five."""
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"age": rng.normal(60, 10, 40), "severity": np.arange(40) % 2.0})
    table["ggo_shape2D_PixelSurface"] = 50.0
    table["ggo_num_slices"] = 3
    table["ggo_firstorder_Entropy"] = rng.normal(size=40) + table["age"] / 20
    table.loc[:3, ["ggo_shape2D_PixelSurface", "ggo_num_slices", "ggo_firstorder_Entropy"]] = [0.0, 0, np.nan]
    table.loc[4:5, ["ggo_num_slices", "ggo_firstorder_Entropy"]] = [0, np.nan]
    table.loc[6, "ggo_firstorder_Entropy"] = np.nan
    table.loc[[1, 3, 5, 7, 9], "age"] = np.nan
    return table


def test_reasons(patients):
    roles = {"age": "exposure", "ggo_firstorder_Entropy": "mediator", "severity": "outcome"}
    found = missing.missing_values(patients, roles, "severity").set_index("column")
    assert found.index.tolist() == ["age", "ggo_firstorder_Entropy"]
    counts = ["num_missing", "num_empty", "num_too_small", "num_other"]
    assert found.loc["ggo_firstorder_Entropy", counts].tolist() == [7, 4, 2, 1]
    assert found.loc["age", counts].tolist() == [5, 0, 0, 5]
    assert found.loc["age", "share"] == 5 / 40
    assert (found.loc["age", "outcome_missing"], found.loc["age", "outcome_known"]) == (1.0, 15 / 35)
    lost = patients["age"].isna()
    expected = stats.ttest_ind(patients["severity"][lost], patients["severity"][~lost], equal_var=False).pvalue
    assert found.loc["age", "p"] == expected


def test_the_analysis_tells_what_is_missing_and_uses_it(patients):
    options = {"exposures": ["age"], "mediators": ["ggo_firstorder_Entropy"], "alpha": 0.9, "bootstrap_draws": 50}
    listwise = mediation.analyse(patients, mediation.Options(**options))
    full = mediation.analyse(patients, mediation.Options(**options, missing="fiml"))
    assert listwise.missing["column"].tolist() == ["age", "ggo_firstorder_Entropy"]
    assert (listwise.multiple.fit["ntotal"], full.multiple.fit["ntotal"]) == (31, 40)
    assert listwise.multiple_intervals is not None
    assert full.multiple_intervals is None
    whole = mediation.analyse(patients.dropna(), mediation.Options(**options))
    assert whole.missing is None
