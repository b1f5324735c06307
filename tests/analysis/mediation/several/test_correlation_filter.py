import numpy as np
import pandas as pd
import pytest

from ssinfnet_jax.analysis import mediation


def table_of(r):
    """200 rows whose sample correlations are exactly r, a dict of (name, name) -> r."""
    names = sorted({name for pair in r for name in pair})
    matrix = pd.DataFrame(np.eye(len(names)), names, names)
    for (first, second), value in r.items():
        matrix.loc[first, second] = matrix.loc[second, first] = value
    z = np.random.default_rng(0).normal(size=(200, len(names)))
    z = np.linalg.qr(z - z.mean(0))[0]
    return pd.DataFrame(z @ np.linalg.cholesky(matrix).T, columns=names)


def candidates(**effects):
    return pd.DataFrame({"mediator": list(effects), "indirect_std": list(effects.values())})


def test_smaller_indirect_effect_goes():
    table = table_of({("a", "b"): -0.9, ("a", "c"): 0.3})
    found = mediation.correlation_filter(table, candidates(a=0.1, b=-0.2, c=0.01))
    assert found.kept == ["b", "c"]
    row = found.log.iloc[0]
    assert (row["removed"], row["kept_instead"]) == ("a", "b")
    assert row["r"] == pytest.approx(-0.9)
    assert row["why"] == "smaller indirect effect (|std| 0.1 against 0.2)"


def test_threshold_is_exclusive_and_chains_lose_no_more_than_they_must():
    """a-b and b-c are close, a-c is not: b goes, and c stays since its rival is gone."""
    table = table_of({("a", "b"): 0.85, ("b", "c"): 0.82, ("a", "c"): 0.6})
    found = mediation.correlation_filter(table, candidates(c=0.1, b=0.2, a=0.3))
    assert found.kept == ["c", "a"]
    assert found.log["removed"].tolist() == ["b"]
    assert mediation.correlation_filter(table, candidates(c=0.1, b=0.2, a=0.3), threshold=0.86).kept == [
        "c",
        "b",
        "a",
    ]


def test_preferred_features_stay_in_their_order():
    names = ["ggo_firstorder_Entropy", "ggo_glcm_JointEntropy", "ggo_shape2D_PixelSurface"]
    table = table_of({(names[0], names[1]): 0.95, (names[0], names[2]): 0.9, (names[1], names[2]): 0.9})
    found = mediation.correlation_filter(table, candidates(**dict.fromkeys(names[:2], 0.3), **{names[2]: 0.01}))
    assert found.kept == [names[2]]
    assert found.log["why"].tolist() == [f"{names[2]} is preferred"] * 2
    by_name = mediation.correlation_filter(
        table, candidates(**dict.fromkeys(names, 0.1)), prefer=("ggo_glcm_JointEntropy",)
    )
    assert by_name.kept == [names[1]]


def test_largest_effect_of_several_exposures_counts():
    table = table_of({("a", "b"): 0.9})
    several = pd.concat([candidates(a=0.1, b=0.2), candidates(a=-0.5)])
    assert mediation.correlation_filter(table, several).kept == ["a"]


def test_nothing_to_filter():
    found = mediation.correlation_filter(table_of({("a", "b"): 0.5}), candidates().astype({"indirect_std": float}))
    assert found.kept == []
    assert list(found.log) == ["removed", "kept_instead", "r", "why"]


def test_pairs_without_a_correlation_are_told():
    table = table_of({("a", "b"): 0.9})
    table.loc[:99, "a"], table.loc[100:, "b"] = np.nan, np.nan
    found = mediation.correlation_filter(table, candidates(a=0.1, b=0.2))
    assert found.kept == ["a", "b"]
    assert found.log.attrs["undefined_pairs"] == [["a", "b"]]


def test_reference_cohort(golden):
    """Uniformity is Entropy once more (r = -0.97)."""
    table = golden("cohort.csv")
    mediators = [name for name in table if name.startswith("ggo_")]
    pairs = mediation.univariate(table, ["age", "underlying"], mediators)
    found = mediation.correlation_filter(table, pairs[pairs["is_mediator"]])
    assert found.log[["removed", "kept_instead"]].to_numpy().tolist() == [["ggo_Uniformity", "ggo_Entropy"]]


def test_errors():
    table = table_of({("a", "b"): 0.5})
    with pytest.raises(ValueError, match=r"threshold must be in \(0, 1\], got 80"):
        mediation.correlation_filter(table, candidates(a=1), threshold=80)
    with pytest.raises(ValueError, match=r"candidates lack the columns \['indirect_std'\]; pass rows of"):
        mediation.correlation_filter(table, candidates(a=1)[["mediator"]])
    with pytest.raises(ValueError, match=r"Columns not in the table: \['c'\]"):
        mediation.correlation_filter(table, candidates(c=1))
