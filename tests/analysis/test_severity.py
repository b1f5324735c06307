import numpy as np
import pandas as pd
import pytest

from ssinfnet_jax.analysis import severity
from ssinfnet_jax.data.clinical import clinical_table


def test_nine_levels_make_two_groups():
    found = severity.binarize(severity.LEVELS)
    assert found.tolist() == [0, 0, 0, 0, 1, 1, 1, 1, 1]
    assert found.name == "severity"


def test_spelling_of_case_spaces_and_hyphens_does_not_matter():
    written = ["CONTROL", "  mild ", "Suspected(COVID\u201119-confirmed  later)", "Control ( Healthy )"]
    assert severity.binarize(written).tolist() == [0, 1, 1, 0]
    assert severity.binarize(["critically-ill", "Suspected (COVID-19 confirmed later)"]).tolist() == [1, 1]
    assert severity.binarize(["unknown", "-", "Control"]).isna().tolist() == [True, True, False]
    assert tuple(severity.LEVELS) == clinical_table.SEVERITY_LEVELS


def test_unknown_patients_stay_unknown_and_keep_their_index():
    levels = pd.Series(["Severe", None, float("nan")], index=["a", "b", "c"])
    found = severity.binarize(levels)
    np.testing.assert_array_equal(found, [1, np.nan, np.nan])
    assert list(found.index) == ["a", "b", "c"]


def test_unknown_levels_are_listed_with_counts():
    with pytest.raises(ValueError, match=r"Unknown severity: 'Moderate' \(2x\), 'dead' \(1x\); the nine levels"):
        severity.binarize(["Mild", "Moderate", "dead", "Moderate"])
