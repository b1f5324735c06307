import numpy as np
import pandas as pd
import pytest
from scipy import stats

from ssinfnet_jax.analysis import mediation
from ssinfnet_jax.analysis.mediation import imputation
from ssinfnet_jax.analysis.mediation.estimation import sampling


def test_pool_equals_mice(r_values):
    expected = r_values("missing", "pool")["est"]
    estimates, errors = np.array([0.5, 0.62, 0.41, 0.55, 0.47]), np.sqrt([0.04, 0.05, 0.03, 0.045, 0.04])
    found = imputation.pool(estimates, errors, 60 - 3)
    assert found.est == pytest.approx(expected["qbar"])
    assert found.se**2 == pytest.approx(expected["t"])
    assert found.df == pytest.approx(expected["df"])
    assert found.fmi == pytest.approx(expected["fmi"])


def study(rng, n=300):
    """x -> m -> y, where 60 % of m is lost where y is large; the indirect effect is 0.3."""
    x = rng.normal(size=n)
    m = 0.5 * x + rng.normal(size=n)
    y = 0.2 * x + 0.6 * m + rng.normal(size=n)
    table = pd.DataFrame({"x": x, "m": m, "y": y})
    return table.assign(m=table["m"].where((y < 0.5) | (rng.random(n) < 0.4)))


@pytest.mark.long
def test_intervals_over_imputed_tables_cover_the_effect():
    """500 studies of 300 patients, 60 % of m lost where y is large; Monte Carlo error 1 %.

    The models of imputed_effects(), fitted by least squares, so that thousands of them take a minute.
    """
    rng, estimates, errors = np.random.default_rng(2), [], []
    for number in range(500):
        tables = imputation.impute(study(rng), ["x", "m", "y"], ["x", "y"], count=5, cycles=2, seed=number).tables
        found = np.array([indirect(table) for table in tables])
        estimates.append(found[:, 0])
        errors.append(found[:, 1])
    pooled = imputation.pool(np.array(estimates).T, np.array(errors).T, 300 - 3)
    reach = stats.t.ppf(0.975, pooled.df) * pooled.se
    assert 0.93 < (np.abs(pooled.est - 0.3) < reach).mean() < 0.97
    assert pooled.est.mean() == pytest.approx(0.3, abs=0.01)


def indirect(table):
    """ab of least squares, and its standard error with maximum-likelihood variances."""
    ones = np.ones(len(table))
    found = []
    for right, left in ((["x"], "m"), (["x", "m"], "y")):
        design, target = np.column_stack([ones, table[right]]), table[left].to_numpy()
        inverse = np.linalg.inv(design.T @ design)
        slopes = inverse @ design.T @ target
        found.append((slopes[-1], ((target - design @ slopes) ** 2).mean() * inverse[-1, -1]))
    (a, var_a), (b, var_b) = found
    return a * b, np.sqrt(b**2 * var_a + a**2 * var_b)


def test_least_squares_are_the_models_of_imputed_effects():
    table = study(np.random.default_rng(2))
    row = imputation.imputed_effects(table, ["x"], ["m"], "y", count=3, cycles=2).iloc[0]
    tables = imputation.impute(table, ["x", "m", "y"], ["x", "y"], count=3, cycles=2).tables
    found = np.array([indirect(one) for one in tables])
    pooled = imputation.pool(found[:, 0], found[:, 1], 300 - 3)
    assert row["indirect_est"] == pytest.approx(pooled.est)
    assert row["indirect_se"] == pytest.approx(pooled.se)
    assert row["indirect_df"] == pytest.approx(pooled.df)


def test_counts_and_skewed_columns_take_values_that_patients_have():
    rng = np.random.default_rng(8)
    table = study(rng).assign(skewed=lambda t: np.exp(2 * rng.normal(size=300)), count=rng.poisson(2.0, 300) * 1.0)
    lost = rng.random((300, 2)) < 0.3
    table[["skewed", "count"]] = table[["skewed", "count"]].mask(lost)
    filled = imputation.impute(table, list(table), ["x", "y"], count=2, cycles=2).tables[0]
    for name in ("skewed", "count"):
        assert set(filled[name]) <= set(table[name].dropna())
    assert len(set(filled["m"]) - set(table["m"].dropna())) == table["m"].isna().sum()


@pytest.mark.long
def test_effects_of_imputed_tables_are_not_biased():
    """30 studies: the mean is near 0.3, where complete rows give less."""
    rng = np.random.default_rng(1)
    found, listwise = [], []
    for number in range(30):
        table = study(rng)
        row = imputation.imputed_effects(table, ["x"], ["m"], "y", count=5, cycles=2, seed=number).iloc[0]
        found.append(row["indirect_est"])
        listwise.append(mediation.univariate(table, ["x"], ["m"], "y")["indirect_est"][0])
    error = np.std(found) / np.sqrt(30)
    assert abs(np.mean(found) - 0.3) < 3 * error
    assert abs(np.mean(found) - 0.3) < abs(np.mean(listwise) - 0.3) / 2


def test_nothing_missing_changes_nothing():
    rng = np.random.default_rng(2)
    table = study(rng).dropna()
    row = imputation.imputed_effects(table, ["x"], ["m"], "y", count=2, cycles=2).iloc[0]
    expected = mediation.univariate(table, ["x"], ["m"], "y").iloc[0]
    for name in ("a_est", "b_se", "indirect_est", "indirect_se"):
        assert row[name] == pytest.approx(expected[name])
    assert row["r_hat"] == 1.0


def test_clusters_are_the_degrees_of_freedom():
    """Ten clusters, nothing missing: v = 9 of complete data, (v + 1) / (v + 3) v by Barnard and Rubin."""
    table = study(np.random.default_rng(2)).dropna()
    of = sampling.Sampling(clusters=np.arange(len(table)) % 10)
    row = imputation.imputed_effects(table, ["x"], ["m"], "y", sampling=of, count=2, cycles=2).iloc[0]
    assert row["indirect_df"] == pytest.approx(10 / 12 * 9)


def test_draws_are_values_that_patients_have_and_the_seed_decides():
    table = study(np.random.default_rng(3)).assign(x=lambda t: t["x"].round().where(t.index % 9 > 0))
    found = [imputation.impute(table, ["x", "m", "y"], ["x", "y"], count=2, cycles=3, seed=seed) for seed in (0, 0, 1)]
    assert set(found[0].tables[0]["x"]) <= set(table["x"].dropna())
    pd.testing.assert_frame_equal(found[0].tables[1], found[1].tables[1])
    assert not found[0].tables[0].equals(found[2].tables[0])
    assert not found[0].tables[0].equals(found[0].tables[1])
    known = table["m"].notna()
    pd.testing.assert_series_equal(found[0].tables[0]["m"][known], table["m"][known])
    assert found[0].r_hat.index.tolist() == ["x", "m"]


def test_an_empty_region_is_not_filled():
    table = study(np.random.default_rng(4))
    never = pd.DataFrame({"m": table["m"].isna() & (table.index % 2 == 0)})
    row = imputation.imputed_effects(table, ["x"], ["m"], "y", never=never, count=2, cycles=2).iloc[0]
    assert row["n"] == len(table) - never["m"].sum()


def test_chains_that_stay_apart_are_flagged(monkeypatch):
    chains = np.random.default_rng(5).normal(size=(4, 10, 2)) + np.array([[[0.0, 0]], [[9, 0]], [[-9, 0]], [[4, 0]]])
    assert imputation._r_hat(chains)[0] > 3
    assert imputation._r_hat(chains)[1] < 1.5
    monkeypatch.setattr(imputation, "_r_hat", lambda chains: np.array([1.7]))
    row = imputation.imputed_effects(study(np.random.default_rng(6)), ["x"], ["m"], "y", count=2, cycles=2).iloc[0]
    assert row["flag"] == "the imputation did not converge; use more cycles"
    assert row["r_hat"] == 1.7


def test_errors():
    table = study(np.random.default_rng(7), 60)
    with pytest.raises(ValueError, match="needs 2 or more imputations and cycles; found 1 and 10"):
        imputation.impute(table, ["x", "m", "y"], count=1)
    with pytest.raises(ValueError, match="fewer than 20 values, from which none can be drawn: \\['m'\\]"):
        imputation.impute(table.assign(m=table["m"].where(table.index < 5)), ["x", "m", "y"])


def test_a_mediator_with_few_values_is_flagged_and_the_others_are_imputed():
    table = study(np.random.default_rng(8)).assign(rare=lambda t: t["m"].where(t["m"].notna().cumsum() <= 19))
    found = imputation.imputed_effects(table, ["x"], ["m", "rare"], "y", count=2, cycles=2).set_index("mediator")
    assert found["flag"].tolist() == ["", "fewer than 20 values of the mediator to draw from"]
    assert found.loc["rare", ["indirect_est", "indirect_se", "indirect_p", "indirect_p_adj"]].isna().all()
    alone = imputation.imputed_effects(table, ["x"], ["m"], "y", count=2, cycles=2).set_index("mediator")
    pd.testing.assert_frame_equal(found.loc[["m"]], alone)
    with pytest.raises(ValueError, match="from which none can be drawn: \\['x'\\]; leave them out"):
        imputation.imputed_effects(table.assign(x=table["x"].head(19)), ["x"], ["m"], "y", count=2, cycles=2)
