import numpy as np
import pandas as pd
import pytest
from scipy import special, stats
from statsmodels.miscmodels.ordinal_model import OrderedModel

from ssinfnet_jax.analysis import mediation
from ssinfnet_jax.analysis.mediation.estimation import sampling
from ssinfnet_jax.analysis.mediation.outcome import ordinal

LEVELS = ["mild", "regular", "severe", "critical"]


@pytest.fixture(scope="module")
def patients():
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"age": rng.normal(60, 10, 400), "smoking": rng.integers(0, 2, 400)})
    table["m"] = 0.05 * table["age"] + 0.4 * table["smoking"] + rng.normal(size=400)
    score = 0.7 * table["m"] + 0.02 * table["age"] + 0.3 * table["smoking"] + rng.logistic(size=400)
    code = np.digitize(score, np.quantile(score, [0.3, 0.6, 0.85]))
    return table.assign(severity=np.array(LEVELS)[code], code=code)


def test_two_levels_are_the_binary_model(patients):
    table = patients.assign(severity=(patients["code"] > 1).astype(int))
    found = ordinal.ordinal_effects(table, ["age"], ["m"], levels=[0, 1], covariates=["smoking"]).iloc[0]
    expected = mediation.natural_effects(table, ["age"], ["m"], covariates=["smoking"]).iloc[0]
    for name in ("b_est", "b_se", "indirect_est", "indirect_se", "direct_est", "total_upper"):
        assert found[name] == pytest.approx(expected[name], rel=1e-6), name
    assert (found["level"], found["parallel_p"]) == (1, 1.0)


def test_equals_integration_of_statsmodels(patients):
    """OrderedModel's coefficients, the mediator integrated over its quantiles."""
    found = ordinal.ordinal_effects(patients, ["age"], ["m"], levels=LEVELS, covariates=["smoking"])
    assert found["level"].tolist() == LEVELS[1:] + LEVELS
    assert found["event"].tolist() == ["or higher"] * 3 + ["alone"] * 4
    design = patients[["smoking", "age", "m"]].to_numpy(float)
    fit = OrderedModel(patients["code"], design, distr="logit").fit(method="bfgs", maxiter=500, gtol=1e-8, disp=0)
    smoking, age, m = fit.params.iloc[:3]
    cuts = fit.model.transform_threshold_params(fit.params.to_numpy())[1:-1]
    with_one = np.column_stack([np.ones(400), design[:, :2]])
    a = np.linalg.lstsq(with_one, design[:, 2], rcond=None)[0]
    sd = np.sqrt(np.mean((design[:, 2] - with_one @ a) ** 2))
    z = np.linspace(-9, 9, 2001)
    weight = np.exp(-(z**2) / 2) / np.exp(-(z**2) / 2).sum()
    start, end = found["from"][0], found["to"][0]
    for row, cut in zip(found.head(3).itertuples(), cuts, strict=True):

        def p(x, of_m, cut=cut):
            center = a[0] + a[1] * design[:, 0] + a[2] * of_m
            score = smoking * design[:, 0] + age * x + m * center - cut
            return (special.expit(score[:, None] + m * sd * z) @ weight).mean()

        assert row.indirect_est == pytest.approx(p(end, end) - p(end, start), rel=1e-4)
        assert row.direct_est == pytest.approx(p(end, start) - p(start, start), rel=1e-4)
    assert found["b_est"].nunique() == 1
    assert found["parallel_p"].between(0.001, 1).all()


def test_effects_on_every_level_equal_r(r_golden, r_values):
    """clm(), integrate() and numDeriv: estimates and errors on a level or a higher one, and on it alone."""
    table = r_golden("school").assign(level=lambda t: np.digitize(t["lang"], [30, 40, 48], right=True) + 1)
    found = ordinal.ordinal_effects(table, ["ses"], ["iq"], "level", levels=[1, 2, 3, 4], covariates=["multi"])
    for event, rows in found.groupby("event"):
        expected = r_values("ordinal_effects", event)
        for effect in ("indirect", "direct", "total"):
            of_levels = expected.loc[[f"{effect}{level}" for level in rows["level"]]]
            np.testing.assert_allclose(rows[f"{effect}_est"], of_levels["est"], rtol=1e-5)
            np.testing.assert_allclose(rows[f"{effect}_se"], of_levels["se"], rtol=1e-4)


def test_probabilities_of_all_levels_add_up_to_one(patients):
    found = ordinal.ordinal_effects(patients, ["age"], ["m"], levels=LEVELS)
    alone = found[found["event"] == "alone"]
    for effect in ("indirect", "direct", "total"):
        assert alone[f"{effect}_est"].sum() == pytest.approx(0, abs=1e-12)
    higher = found[found["event"] == "or higher"]["indirect_est"].to_numpy()
    np.testing.assert_allclose(alone["indirect_est"].to_numpy()[::-1].cumsum()[:3][::-1], higher, rtol=1e-9)


def test_levels_may_be_joined_and_spelled_in_other_ways(patients):
    found = ordinal.level_codes(patients["severity"].str.upper() + " ", ["Mild|regular", "se-vere", "critical"])
    assert (found == np.maximum(patients["code"] - 1, 0)).all()
    assert ordinal.level_codes(pd.Series([1.0, 2.0, np.nan]), ["1", "2"]).tolist()[:2] == [0.0, 1.0]


def test_own_clusters_are_robust_errors(patients):
    options = {"levels": LEVELS, "covariates": ["smoking"]}
    plain = ordinal.ordinal_effects(patients, ["age"], ["m"], **options)
    own = sampling.read(patients.assign(own=range(400)), cluster="own")
    robust = ordinal.ordinal_effects(patients, ["age"], ["m"], sampling=own, **options)
    np.testing.assert_allclose(robust["indirect_est"], plain["indirect_est"])
    np.testing.assert_allclose(robust["indirect_se"], plain["indirect_se"], rtol=0.2)
    assert (robust["indirect_p"] == 2 * stats.t.sf(robust["indirect_z"].abs(), 399)).all()


@pytest.mark.parametrize(
    ("levels", "message"),
    [
        (["1|2", "0"], "out of order"),
        (["0|1", "1|2"], "each once"),
        ([2, 1, 0], "The levels of 'severity' are out of order: \\[2, 1, 0\\]"),
        ([0], "Give two or more levels of 'severity', each once"),
        ([0, 0, 1], "each once"),
        ([0, 1], "2 values that are no level: \\[2\\]"),
        ([0, 1, 2, 3], "No patient has the levels \\[3\\]"),
    ],
)
def test_bad_levels(levels, message):
    with pytest.raises(ValueError, match=message):
        ordinal.level_codes(pd.Series([0, 1, 2, 2, 1], name="severity"), levels)
