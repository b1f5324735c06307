import pandas as pd

from ssinfnet_jax.analysis import truth


def test_known_effects_against_what_was_found():
    """A mediator found, a mediator missed, a null pair found, and a pair that is not in the table."""
    known = [("age", "a", True), ("age", "b", True), ("age", "c", False), ("age", "d", False)]
    known = [dict(zip(("exposure", "phenotype", "mediates"), row, strict=True)) for row in known]
    univariate = pd.DataFrame({"exposure": "age", "mediator": ["c", "b", "a"], "is_mediator": [True, False, True]})
    univariate = univariate.assign(indirect_std=[0.3, 0.2, 0.1], indirect_p_adj=[0.01, 0.5, 0.02])
    table = truth.compare(univariate, known)
    assert set(truth.COLUMNS) <= set(table)
    assert table["mediator"].tolist() == ["a", "b", "c", "d"]
    assert table["expected"].tolist() == ["mediator", "mediator", "null", "null"]
    assert table["found"].tolist() == [True, False, True, False]
    assert table["indirect_std"].tolist()[:3] == [0.1, 0.2, 0.3]
    assert truth.as_expected(table).tolist() == [True, False, False, True]
