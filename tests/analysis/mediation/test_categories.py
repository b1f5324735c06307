import numpy as np
import pandas as pd
import pytest

from ssinfnet_jax.analysis.mediation import categories


def test_expand():
    table = pd.DataFrame({"age": [1.0] * 7, "scanner": ["B", "A", "C", "B", None, "A", "C"]})
    found, names = categories.expand(table, ["age", "C(scanner)"])
    assert names == ["age", "C(scanner)[T.B]", "C(scanner)[T.C]"]  # A, B, C are equally frequent
    np.testing.assert_array_equal(found[names[1]], [1, 0, 0, 1, np.nan, 0, 0])
    np.testing.assert_array_equal(found[names[2]], [0, 0, 1, 0, np.nan, 0, 1])
    assert categories.expand(pd.DataFrame({"h": [2.0, 2, 1, 1, 2, 10, 10]}), ["C(h)"])[1] == ["C(h)[T.1]", "C(h)[T.10]"]


def test_siblings():
    names = ["C(stage)[T.1]", "C(stage)[T.2]", "C(site)[T.1]", "age"]
    assert categories.siblings(names[0], names) == [names[1]]
    assert categories.siblings("age", names) == []
    assert categories.siblings(names[2], names) == []


@pytest.mark.parametrize("term", ["scanner", "C(scanner)", "C(scanner)[T.B (new)]"])
def test_every_name_of_a_column_leads_to_it(term):
    assert categories.column(term) == "scanner"
    assert categories.is_term(term) == (term == "C(scanner)")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (["A", "A", "B", "B", "C"], "C\\(c\\): one patient alone is in the category 'C'"),
        (["A", "B", "C", "C", "C"], "one patient alone is in each of the categories 'A', 'B'"),
        (["A", "A", None], "C\\(c\\) has the categories \\['A'\\]; it takes two or more"),
    ],
)
def test_bad_categories(values, message):
    with pytest.raises(ValueError, match=message):
        categories.expand(pd.DataFrame({"c": values}), ["C(c)"])


def test_missing_column():
    with pytest.raises(ValueError, match="Columns not in the table: \\['d'\\] of C\\(d\\)"):
        categories.expand(pd.DataFrame({"c": [1]}), ["C(d)"])
