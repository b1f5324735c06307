import fractions

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from scipy import optimize
from statsmodels.stats import multitest

from ssinfnet_jax.analysis import mediation
from ssinfnet_jax.analysis.mediation.univariate import EFFECTS

LAVAAN = {"a": "a", "b": "b", "c": "direct", "ind": "indirect", "total": "total"}
EXPOSURES = ["age", "gender", "underlying"]


@pytest.fixture
def both(golden):
    """Our table and lavaan's, row by row."""
    table = golden("cohort.csv")
    expected = golden("lavaan_univariate.csv")
    mediators = [name for name in table if name.startswith(("ggo_", "cons_"))]
    found = mediation.univariate(table, EXPOSURES, mediators)
    assert found["exposure"].tolist() == expected["x"].tolist()
    assert found["mediator"].tolist() == expected["m"].tolist()
    return found, expected


@pytest.mark.parametrize(("theirs", "ours"), LAVAAN.items())
def test_lavaan(both, theirs, ours):
    """1e-6 relative, or 2e-6 standard errors for estimates near 0, where lavaan's optimiser stops: see below."""
    found, expected = both
    assert (found["n"] == 600).all()
    se = expected[f"{theirs}.se"].to_numpy()
    standard = (expected[f"{theirs}.std"] / expected[f"{theirs}.est"]).to_numpy()
    for number, slack in (("est", se), ("se", se), ("z", 1.0), ("std", np.abs(se * standard))):
        error = np.abs(found[f"{ours}_{number}"] - expected[f"{theirs}.{number}"])
        assert np.all(error < 1e-6 * np.abs(expected[f"{theirs}.{number}"]) + 2e-6 * slack), (ours, number)
    np.testing.assert_allclose(found[f"{ours}_p"], expected[f"{theirs}.p"], rtol=1e-6, atol=2e-6)


def test_lavaan_clear_effects(both):
    """Where the effect is not near 0 the plain 1e-6 holds, everywhere."""
    found, expected = both
    for theirs, ours in LAVAAN.items():
        clear = expected[f"{theirs}.z"].abs() > 1
        for number in ("est", "se", "z", "std"):
            ratio = found.loc[clear, f"{ours}_{number}"] / expected.loc[clear, f"{theirs}.{number}"]
            np.testing.assert_allclose(ratio, 1, rtol=1e-6)


def test_regression_and_adjusted_p(both):
    found, expected = both
    for number in ("est", "se", "p"):
        np.testing.assert_allclose(found[f"lm_total_{number}"], expected[f"lm.total.{number}"], rtol=1e-10)
    # R's 1 - pnorm(z) knows no p below 1e-16, hence atol.
    np.testing.assert_allclose(found["indirect_p_adj"], expected["ind.p.bh"], rtol=1e-5, atol=1e-13)


def test_estimates_near_zero_are_exact(golden):
    """Rational arithmetic: ours is right where lavaan's optimiser stopped 1.5e-6 short."""
    table = golden("cohort.csv")
    x = [fractions.Fraction(float(value)) for value in table["age"]]
    m = [fractions.Fraction(float(value)) for value in table["cons_NoiseB"]]
    mean_x, mean_m = sum(x) / len(x), sum(m) / len(m)
    pairs = list(zip(x, m, strict=True))
    slope = sum((u - mean_x) * (v - mean_m) for u, v in pairs) / sum((u - mean_x) ** 2 for u in x)
    found = mediation.univariate(table, ["age"], ["cons_NoiseB"])
    assert found.loc[0, "a_est"] == pytest.approx(float(slope), rel=1e-12)


def test_columns_of_the_contract(cohort):
    found = mediation.univariate(cohort, ["age", "diseases"], ["ggo_A", "ggo_C"])
    numbers = [f"{effect}_{number}" for effect in EFFECTS for number in ("est", "se", "z", "p", "std")]
    assert list(found)[:29] == ["exposure", "mediator", "n", *numbers, "indirect_p_adj"]
    assert found["exposure"].tolist() == ["age", "age", "diseases", "diseases"]


def ols(y, *regressors):
    return sm.OLS(y, sm.add_constant(np.column_stack(regressors))).fit()


def test_statsmodels(cohort):
    """Coefficients and t tests; the ML standard error is sqrt((n - k) / n) of theirs; gaps go pair by pair."""
    table = cohort.copy()
    table.loc[:19, "ggo_A"] = np.nan
    table.loc[190:, "age"] = np.nan
    row = mediation.univariate(table, ["age"], ["ggo_C", "ggo_A"]).iloc[1]
    used = table.dropna()
    n = len(used)
    assert row["n"] == n == 170
    total, a = ols(used["severity"], used["age"]), ols(used["ggo_A"], used["age"])
    y = ols(used["severity"], used["age"], used["ggo_A"])
    expected = {
        "lm_total_est": total.params.iloc[1],
        "lm_total_se": total.bse.iloc[1],
        "lm_total_p": total.pvalues.iloc[1],
        "a_est": a.params.iloc[1],
        "a_se": a.bse.iloc[1] * np.sqrt((n - 2) / n),
        "lm_a_se": a.bse.iloc[1],
        "lm_a_p": a.pvalues.iloc[1],
        "direct_est": y.params.iloc[1],
        "direct_se": y.bse.iloc[1] * np.sqrt((n - 3) / n),
        "b_est": y.params.iloc[2],
        "b_se": y.bse.iloc[2] * np.sqrt((n - 3) / n),
        "lm_b_p": y.pvalues.iloc[2],
        "total_est": total.params.iloc[1],
        "indirect_est": a.params.iloc[1] * y.params.iloc[2],
        "a_std": np.corrcoef(used["age"], used["ggo_A"])[0, 1],
    }
    for name, value in expected.items():
        assert row[name] == pytest.approx(value, rel=1e-9), name
    assert row["proportion_mediated"] == pytest.approx(row["indirect_est"] / total.params.iloc[1])


def test_covariates_by_statsmodels(cohort):
    """The same regressions with the covariates in them; rows without a covariate are left out."""
    table = cohort.assign(weight=cohort["ggo_Noise"] + 0.02 * cohort["age"] + 0.3 * cohort["ggo_A"])
    table.loc[:9, "weight"] = np.nan
    given = ["weight", "diseases"]
    row = mediation.univariate(table, ["age"], ["ggo_C", "ggo_A"], covariates=given).iloc[1]
    used = table.dropna()
    n = len(used)
    assert row["n"] == n == 190
    others = used[given].to_numpy().T
    total = ols(used["severity"], used["age"], *others)
    a = ols(used["ggo_A"], used["age"], *others)
    y = ols(used["severity"], used["age"], used["ggo_A"], *others)
    expected = {
        "lm_total_est": total.params.iloc[1],
        "lm_total_se": total.bse.iloc[1],
        "lm_total_p": total.pvalues.iloc[1],
        "a_est": a.params.iloc[1],
        "a_se": a.bse.iloc[1] * np.sqrt((n - 4) / n),
        "lm_a_p": a.pvalues.iloc[1],
        "direct_est": y.params.iloc[1],
        "direct_se": y.bse.iloc[1] * np.sqrt((n - 5) / n),
        "b_est": y.params.iloc[2],
        "b_se": y.bse.iloc[2] * np.sqrt((n - 5) / n),
        "lm_b_p": y.pvalues.iloc[2],
        "total_est": total.params.iloc[1],
        "indirect_est": a.params.iloc[1] * y.params.iloc[2],
        "indirect_std": a.params.iloc[1] * y.params.iloc[2] * used["age"].std() / used["severity"].std(),
    }
    for name, value in expected.items():
        assert row[name] == pytest.approx(value, rel=1e-9), name


def test_covariates_that_leave_nothing_are_flagged(cohort):
    table = cohort.assign(months=12 * cohort["age"], twin=cohort["diseases"] + 1, constant=1.0)
    for covariates, flag in (
        (["months"], "exposure is a combination of the covariates"),
        (["diseases", "twin"], "covariates are collinear"),
        (["constant"], "constant covariate"),
    ):
        assert mediation.univariate(table, ["age"], ["ggo_A"], covariates=covariates).loc[0, "flag"] == flag
    with pytest.raises(ValueError, match=r"one role .* named twice: \['age'\]"):
        mediation.univariate(cohort, ["age"], ["ggo_A"], covariates=["age"])


@pytest.mark.long
def test_delta_method_by_simulation(cohort):
    """Draws coefficients from their normal distributions, as statsmodels estimates them."""
    a = ols(cohort["ggo_A"], cohort["age"])
    y = ols(cohort["severity"], cohort["age"], cohort["ggo_A"])
    rng = np.random.default_rng(0)
    drawn_a = rng.normal(a.params.iloc[1], a.bse.iloc[1] * np.sqrt(198 / 200), 100_000)
    drawn_y = rng.multivariate_normal(y.params, y.cov_params() * 197 / 200, 100_000)
    row = mediation.univariate(cohort, ["age"], ["ggo_A"]).iloc[0]
    indirect = drawn_a * drawn_y[:, 2]
    assert row["indirect_se"] == pytest.approx(indirect.std(), rel=0.02)
    assert row["total_se"] == pytest.approx((indirect + drawn_y[:, 1]).std(), rel=0.02)


def test_interval_of_the_proportion_mediated_by_differentiation(golden):
    """The delta method once more: numerical derivatives of ab / (c + ab), statsmodels' covariances with divisor n."""
    table = golden("cohort.csv")
    row = mediation.univariate(table, ["age"], ["ggo_Entropy"]).iloc[0]
    a = ols(table["ggo_Entropy"], table["age"])
    y = ols(table["severity"], table["age"], table["ggo_Entropy"])
    theta = np.array([a.params.iloc[1], y.params.iloc[2], y.params.iloc[1]])
    covariance = np.zeros((3, 3))
    covariance[0, 0] = a.cov_params().iloc[1, 1] * 598 / 600
    covariance[1:, 1:] = y.cov_params().to_numpy()[[2, 1]][:, [2, 1]] * 597 / 600
    slopes = optimize.approx_fprime(theta, lambda t: t[0] * t[1] / (t[2] + t[0] * t[1]), 1e-7 * np.abs(theta))
    reach = 1.959964 * np.sqrt(slopes @ covariance @ slopes)
    share = theta[0] * theta[1] / (theta[2] + theta[0] * theta[1])
    found = row[[f"proportion_mediated{end}" for end in ("", "_lower", "_upper")]].to_numpy(float)
    np.testing.assert_allclose(found, [share, share - reach, share + reach], rtol=1e-5)


@pytest.mark.parametrize(("factor", "shift"), [(1000, 1e6), (1e-6, 0)])
def test_units_do_not_matter(cohort, factor, shift):
    changed = cohort.assign(ggo_A=factor * cohort["ggo_A"] + shift, age=cohort["age"] / 365.25)
    before, after = (mediation.univariate(table, ["age"], ["ggo_A"]).iloc[0] for table in (cohort, changed))
    for effect in EFFECTS:
        for number in ("z", "p", "std"):
            name = f"{effect}_{number}"
            assert after[name] == pytest.approx(before[name], rel=1e-8), name
    assert after["b_est"] == pytest.approx(before["b_est"] / factor, rel=1e-8)
    assert after["indirect_se"] == pytest.approx(before["indirect_se"] * 365.25, rel=1e-8)


def test_mediators_are_found_by_both_rules(cohort):
    found = mediation.univariate(cohort, ["age", "diseases"], ["ggo_A", "ggo_B", "ggo_C", "ggo_Noise"])
    pairs = found["exposure"] + found["mediator"]
    assert set(pairs[found["is_mediator"]]) == {"ageggo_A", "ageggo_B", "diseasesggo_C"}
    assert set(pairs[found["is_mediator_paper"]]) == {"ageggo_A", "ageggo_B", "diseasesggo_C"}
    # A suppressor: direct effect larger than the total, which the paper's rule leaves out.
    rng = np.random.default_rng(1)
    x = rng.normal(size=500)
    m = x + rng.normal(size=500)
    table = pd.DataFrame({"x": x, "m": m, "y": 2 * x - m + rng.normal(size=500)})
    row = mediation.univariate(table, ["x"], ["m"], "y").iloc[0]
    assert row["is_mediator"]
    assert not row["is_mediator_paper"]


def test_families_of_adjustment(cohort):
    names = ["ggo_A", "ggo_C", "ggo_Noise"]
    together = mediation.univariate(cohort, ["age", "diseases"], names)
    np.testing.assert_allclose(
        together["indirect_p_adj"], multitest.multipletests(together["indirect_p"], method="fdr_bh")[1]
    )
    assert together.attrs["family"].startswith("fdr_bh over all pairs together: 6 tests of 2 exposures x 3 mediators")
    apart = mediation.univariate(cohort, ["age", "diseases"], names, family="exposure", adjust="bonferroni")
    np.testing.assert_allclose(apart["indirect_p_adj"], np.minimum(3 * apart["indirect_p"], 1))
    assert "the pairs of each exposure by themselves" in apart.attrs["family"]
    plain = mediation.univariate(cohort, ["age"], names, adjust="none")
    np.testing.assert_array_equal(plain["indirect_p_adj"], plain["indirect_p"])


@pytest.mark.parametrize("method", ["bonferroni", "holm", "fdr_bh", "fdr_by"])
@pytest.mark.parametrize("gaps", [False, True])
def test_each_test_counts_once(cohort, method, gaps):
    """y~x is one test per exposure (per set of complete rows), though every mediator's row has it."""
    table = cohort.assign(
        ggo_Twice=-2 * cohort["ggo_C"], weak=cohort["severity"] + np.random.default_rng(3).normal(size=200) * 4
    )
    names = ["ggo_A", "ggo_C", "ggo_Twice", "ggo_Noise"]
    if gaps:
        table.loc[:9, "ggo_Noise"] = np.nan
    found = mediation.univariate(table, ["weak", "diseases"], names, adjust=method)
    p = []
    for used in (table, table[10:]) if gaps else (table,):
        p += [ols(used["severity"], used[x]).pvalues.iloc[1] for x in ("weak", "diseases")]
    expected = multitest.multipletests(p, method=method)[1]
    for place, x in enumerate(("weak", "diseases")):
        rows = found[found["exposure"] == x].set_index("mediator")["lm_total_p_adj"]
        assert rows[["ggo_A", "ggo_C", "ggo_Twice"]].to_numpy() == pytest.approx(expected[place])
        assert rows["ggo_Noise"] == pytest.approx(expected[2 * gaps + place])
    without = found["mediator"] != "ggo_Twice"
    for name in ("indirect", "lm_a", "lm_b"):
        once = multitest.multipletests(found.loc[without, f"{name}_p"], method=method)[1]
        np.testing.assert_allclose(found.loc[without, f"{name}_p_adj"], once)
        by_pair = found.set_index(["mediator", "exposure"])[f"{name}_p_adj"]
        np.testing.assert_allclose(by_pair["ggo_Twice"], by_pair["ggo_C"])
    assert "6 tests of 2 exposures x 4 mediators (0 flagged and not tested, 2 of them the same" in found.attrs["family"]


def test_what_cannot_be_fitted_is_flagged_and_not_counted(cohort):
    table = cohort.assign(
        constant=3.0,
        almost_constant=1e6 + 1e-9 * cohort["age"],
        copy=2 * cohort["age"] + 1,
        infinite=cohort["ggo_A"].where(cohort.index > 3, np.inf),
        rare=cohort["ggo_A"].where(cohort.index < 7),
        constant_where_known=cohort["ggo_A"].where(cohort["severity"] == 1),
        perfect=cohort["severity"] - 0.01 * cohort["age"],
        missing=np.nan,
    )
    names = ["ggo_A", *list(table)[len(cohort.columns) :]]
    found = mediation.univariate(table, ["age"], names).set_index("mediator")
    assert found["flag"].to_dict() == {
        "ggo_A": "",
        "constant": "constant mediator",
        "almost_constant": "constant mediator",
        "copy": "exposure and mediator are collinear",
        "infinite": "infinite mediator",
        "rare": "too few complete rows (7 < 10)",
        "constant_where_known": "constant outcome",
        "perfect": "outcome is fitted exactly",
        "missing": "too few complete rows (0 < 10)",
    }
    flagged = found[found["flag"] != ""]
    numbers = [name for name in found.select_dtypes("number") if name != "n"]
    assert flagged[numbers].isna().all(axis=None)
    assert not flagged[["is_mediator", "is_mediator_paper"]].any(axis=None)
    assert found.loc["ggo_A", "indirect_p_adj"] == found.loc["ggo_A", "indirect_p"]  # a family of one
    assert found.attrs["family"].endswith("1 tests of 1 exposures x 9 mediators (8 flagged and not tested)")


def test_integers_booleans_and_pandas_missing_values(cohort):
    table = cohort.assign(gender=cohort["age"] > 50, severity=cohort["severity"].astype("Int64"))
    table.loc[0, "severity"] = pd.NA
    assert mediation.univariate(table, ["gender"], ["ggo_A"]).loc[0, "n"] == 199


def test_errors(cohort):
    with pytest.raises(ValueError, match=r"Columns not in the table: \['weight', 'ggo_X'\]; it has \['patient_id'"):
        mediation.univariate(cohort, ["age", "weight"], ["ggo_A", "ggo_X"])
    with pytest.raises(ValueError, match=r"Columns that are not numbers: \{'patient_id': 'str'\}; code them"):
        mediation.univariate(cohort, ["patient_id"], ["ggo_A"])
    with pytest.raises(ValueError, match=r"named twice: \['age'\]"):
        mediation.univariate(cohort, ["age"], ["ggo_A", "age"])
    with pytest.raises(ValueError, match=r"several columns of the same name: \['ggo_A'\]"):
        mediation.univariate(pd.concat([cohort, cohort[["ggo_A"]]], axis=1), ["age"], ["ggo_A"])
    with pytest.raises(ValueError, match="Name at least one exposure and one mediator"):
        mediation.univariate(cohort, ["age"], [])
    with pytest.raises(ValueError, match="Unknown adjustment 'bh'; choose one of fdr_bh, fdr_by, holm"):
        mediation.univariate(cohort, ["age"], ["ggo_A"], adjust="bh")
    with pytest.raises(ValueError, match="Unknown family 'region'; choose one of all, exposure"):
        mediation.univariate(cohort, ["age"], ["ggo_A"], family="region")
    with pytest.raises(ValueError, match=r"alpha must be in \(0, 1\), got 5"):
        mediation.univariate(cohort, ["age"], ["ggo_A"], alpha=5)
