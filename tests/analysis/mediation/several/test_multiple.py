import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from scipy import optimize, stats

from ssinfnet_jax.analysis import mediation
from ssinfnet_jax.analysis.mediation.estimation import sampling
from ssinfnet_jax.analysis.mediation.several import path_model

MODEL = {
    "age": ["ggo_Entropy", "ggo_Kurtosis", "ggo_Mean", "ggo_Area", "ggo_Imc1"],
    "underlying": ["ggo_Entropy", "ggo_Kurtosis", "ggo_Skewness"],
}
FIT = ["chisq", "df", "pvalue", "cfi", "tli", "rmsea", "srmr", "aic", "bic", "logl", "npar", "ntotal"]


def test_lavaan_estimates(golden):
    expected = golden("lavaan_multiple.csv")
    found = mediation.multiple(golden("cohort.csv"), MODEL).estimates
    assert list(found) == ["lhs", "op", "rhs", "label", "est", "se", "z", "p", "std"]
    shorter = {"ind_underlying": "ind_und", "tot_underlying": "tot_und"}
    for name in ("lhs", "op", "label"):
        ours = found[name].replace(shorter).replace("", None)
        assert ours.tolist() == expected[name].where(expected[name].notna(), None).tolist()
    for ours, theirs in {"est": "est", "z": "z", "std": "std.all"}.items():
        np.testing.assert_allclose(found[ours], expected[theirs], rtol=1e-9)
    np.testing.assert_allclose(found["se"], expected["se"], rtol=1e-9, atol=1e-15)
    np.testing.assert_allclose(found["p"], expected["pvalue"], rtol=1e-9, atol=1e-11)


def test_lavaan_fit(golden):
    expected = golden("lavaan_fit.csv").set_index("measure")["value"]
    found = mediation.multiple(golden("cohort.csv"), MODEL).fit
    assert [name for name in found if name not in ("rmsea_lower", "rmsea_upper")] == FIT
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, rel=1e-9), name


def test_one_mediator_is_the_univariate_model(cohort):
    one = mediation.multiple(cohort, {"age": ["ggo_A"]})
    row = mediation.univariate(cohort, ["age"], ["ggo_A"]).iloc[0]
    found = one.estimates.set_index("label")
    for label, effect in {
        "a11": "a",
        "b1": "b",
        "c1": "direct",
        "i11": "indirect",
        "tot_age": "total",
    }.items():
        for number in ("est", "se", "z", "p", "std"):
            assert found.loc[label, number] == pytest.approx(row[f"{effect}_{number}"], rel=1e-9), (
                label,
                number,
            )
    assert (one.fit["chisq"], one.fit["df"], one.fit["cfi"], one.fit["tli"]) == (0, 0, 1, 1)
    assert np.isnan(one.fit["pvalue"])
    assert one.fit["srmr"] == pytest.approx(0, abs=1e-12)


def negative_logl(parameters, data):
    """Two exposures, two mediators: log density of m1, m2, y given x1, x2; residuals independent."""
    x1, x2, m1, m2, y = data
    a11, a21, a22, c1, c2, b1, b2, *log_sd = parameters
    residuals = m1 - a11 * x1, m2 - a21 * x1 - a22 * x2, y - c1 * x1 - c2 * x2 - b1 * m1 - b2 * m2
    return -sum(stats.norm.logpdf(r, scale=np.exp(s)).sum() for r, s in zip(residuals, log_sd, strict=True))


def test_maximises_the_likelihood(cohort):
    """Written down as a density and maximised numerically."""
    found = mediation.multiple(cohort, {"age": ["ggo_A", "ggo_C"], "diseases": ["ggo_C"]})
    data = cohort[["age", "diseases", "ggo_A", "ggo_C", "severity"]]
    centred = (data - data.mean()).to_numpy().T
    start = np.zeros(10)
    best = optimize.minimize(negative_logl, start, args=(centred,), method="BFGS", options={"gtol": 1e-6})
    paths = found.estimates[found.estimates["op"] == "~"]
    np.testing.assert_allclose(paths["est"], best.x[:7], atol=1e-6)
    assert found.fit["logl"] == pytest.approx(-best.fun, rel=1e-9)
    assert found.fit["npar"] == 10
    assert found.fit["aic"] == pytest.approx(2 * best.fun + 20, rel=1e-9)


@pytest.fixture(scope="module")
def correlated():
    """300 rows; what two mediators of different exposures have besides them is shared."""
    rng = np.random.default_rng(3)
    x = rng.normal(size=(300, 2)) @ [[1.0, 0.3], [0.0, 1.0]]
    errors = rng.normal(size=(300, 2)) @ [[1.0, 0.7], [0.0, 0.7]]
    m = np.column_stack([0.5 * x[:, 0], 0.2 * x[:, 0] + 0.6 * x[:, 1]]) + errors
    y = m @ [0.5, -0.4] + 0.3 * x[:, 0] + rng.normal(size=300)
    return pd.DataFrame(np.column_stack([x, m, y]), columns=["x1", "x2", "m1", "m2", "severity"])


def joint_negative_logl(parameters, data):
    """As negative_logl, but m1 and m2 are bivariate normal given x."""
    x1, x2, m1, m2, y = data
    a11, a21, a22, c1, c2, b1, b2, log_s1, log_s2, z, log_sy = parameters
    s1, s2, rho = np.exp(log_s1), np.exp(log_s2), np.tanh(z)
    covariance = [[s1**2, rho * s1 * s2], [rho * s1 * s2, s2**2]]
    errors = np.column_stack([m1 - a11 * x1, m2 - a21 * x1 - a22 * x2])
    rest = stats.norm.logpdf(y - c1 * x1 - c2 * x2 - b1 * m1 - b2 * m2, scale=np.exp(log_sy))
    return -stats.multivariate_normal([0, 0], covariance).logpdf(errors).sum() - rest.sum()


def numerical_hessian(function, at, step=1e-3):
    """Central differences."""
    unit = step * np.eye(len(at))
    return np.array(
        [
            [
                (function(at + i + j) - function(at + i - j) - function(at - i + j) + function(at - i - j))
                / (4 * step**2)
                for j in unit
            ]
            for i in unit
        ]
    )


def test_residual_covariances_maximise_the_likelihood(correlated):
    """Written down as a density and maximised numerically; standard errors from its curvature."""
    exposures = {"x1": ["m1", "m2"], "x2": ["m2"]}
    found = mediation.multiple(correlated, exposures, residual_covariances=True)
    data = (correlated - correlated.mean()).to_numpy().T
    best = optimize.minimize(
        joint_negative_logl, np.zeros(11), args=(data,), method="BFGS", options={"gtol": 1e-5, "xrtol": 1e-10}
    )
    paths = found.estimates[found.estimates["op"] == "~"]
    assert paths["lhs"].tolist() == ["m1", "m2", "m2", *4 * ["severity"]]
    np.testing.assert_allclose(paths["est"], best.x[:7], atol=1e-5)
    plain = mediation.multiple(correlated, exposures)
    assert np.abs(plain.estimates["est"][:3] - best.x[:3]).max() > 1e-2  # which ordinary regression does not
    assert found.fit["logl"] == pytest.approx(-best.fun, rel=1e-9)
    assert (found.fit["npar"], found.fit["df"]) == (11, plain.fit["df"] - 1)

    s1, s2, rho = np.exp(best.x[7]), np.exp(best.x[8]), np.tanh(best.x[9])
    row = found.estimates[(found.estimates["lhs"] == "m1") & (found.estimates["rhs"] == "m2")].iloc[0]
    assert row["est"] == pytest.approx(rho * s1 * s2, abs=1e-5)
    assert row["std"] == pytest.approx(rho, abs=1e-5)
    curvature = np.linalg.inv(numerical_hessian(lambda at: joint_negative_logl(at, data), best.x))
    # Observed and expected information of the paths differ by sampling.
    np.testing.assert_allclose(paths["se"], np.sqrt(np.diag(curvature))[:7], rtol=0.03)
    slope = s1 * s2 * np.array([rho, rho, 1 - rho**2])  # of the covariance in log s1, log s2, atanh rho
    assert row["se"] == pytest.approx(np.sqrt(slope @ curvature[7:10, 7:10] @ slope), rel=1e-3)


def test_residual_covariances_of_a_saturated_model_fit_exactly(correlated):
    """All mediators of all exposures: ordinary regression, and nothing left to fit."""
    exposures = {"x1": ["m1", "m2"], "x2": ["m1", "m2"]}
    free = mediation.multiple(correlated, exposures, residual_covariances=True)
    plain = mediation.multiple(correlated, exposures)
    assert (free.fit["df"], free.fit["chisq"], free.fit["cfi"], free.fit["rmsea"]) == (0, 0, 1, 0)
    assert plain.fit["df"] == 1
    assert plain.fit["chisq"] > 50
    first, second = (
        model.estimates.query("op != '~~'")[["lhs", "rhs", "est"]].reset_index(drop=True) for model in (free, plain)
    )
    pd.testing.assert_frame_equal(first, second)


def test_covariates_stand_in_every_equation(cohort):
    given = ["diseases"]
    one = mediation.multiple(cohort, {"age": ["ggo_A"]}, covariates=given)
    row = mediation.univariate(cohort, ["age"], ["ggo_A"], covariates=given).iloc[0]
    found = one.estimates.set_index("label")
    for label, effect in {"a11": "a", "b1": "b", "c1": "direct", "i11": "indirect", "tot_age": "total"}.items():
        for number in ("est", "se", "z", "p"):
            assert found.loc[label, number] == pytest.approx(row[f"{effect}_{number}"], rel=1e-9), (label, number)
    without_label = one.estimates.query("op == '~' and rhs == 'diseases'")
    assert without_label[["lhs", "label"]].to_numpy().tolist() == [["ggo_A", ""], ["severity", ""]]
    assert one.estimates.query("op == ':='")["label"].tolist() == ["i11", "ind_age", "tot_age"]
    expected = sm.OLS(cohort["severity"], sm.add_constant(cohort[["age", "diseases"]])).fit()
    assert one.total_effects["exposure"].tolist() == ["age"]
    assert one.total_effects.loc[0, "p"] == pytest.approx(expected.pvalues["age"])


def test_sums_of_effects(cohort):
    """Given one exposure, mediators with independent residuals have independent specific effects."""
    found = mediation.multiple(cohort, {"age": ["ggo_A", "ggo_C"]}).estimates.set_index("label")
    a1, a2, b1, b2 = (found.loc[label, "est"] for label in ("a11", "a21", "b1", "b2"))
    assert found.loc["ind_age", "est"] == pytest.approx(a1 * b1 + a2 * b2)
    assert found.loc["ind_age", "rhs"] == "a11*b1+a21*b2"
    assert found.loc["tot_age", "est"] == pytest.approx(found.loc["c1", "est"] + a1 * b1 + a2 * b2)
    assert found.loc["ind_age", "se"] == pytest.approx(np.hypot(found.loc["i11", "se"], found.loc["i21", "se"]))
    assert found.loc["ind_age", "std"] == pytest.approx(found.loc[["i11", "i21"], "std"].sum())


def test_total_effects_are_a_model_of_its_own(cohort):
    found = mediation.multiple(cohort, {"age": ["ggo_A"], "diseases": ["ggo_C"]}).total_effects
    expected = sm.OLS(cohort["severity"], sm.add_constant(cohort[["age", "diseases"]])).fit()
    assert found["exposure"].tolist() == ["age", "diseases"]
    np.testing.assert_allclose(found["est"], expected.params.iloc[1:])
    np.testing.assert_allclose(found["p"], expected.pvalues.iloc[1:])
    numbers = cohort.drop(columns="patient_id")
    standard = (numbers - numbers.mean()) / numbers.std()
    expected = sm.OLS(standard["severity"], standard[["age", "diseases"]]).fit()
    np.testing.assert_allclose(found["std"], expected.params)


def test_units_do_not_matter(cohort):
    model = {"age": ["ggo_A", "ggo_C"], "diseases": ["ggo_C"]}
    changed = cohort.assign(ggo_A=1000 * cohort["ggo_A"] + 5)
    before, after = mediation.multiple(cohort, model), mediation.multiple(changed, model)
    pd.testing.assert_frame_equal(
        before.estimates[["label", "z", "p", "std"]], after.estimates[["label", "z", "p", "std"]], rtol=1e-8
    )
    for name in ("chisq", "cfi", "tli", "rmsea", "srmr"):
        assert after.fit[name] == pytest.approx(before.fit[name], rel=1e-8)
    assert after.fit["logl"] == pytest.approx(before.fit["logl"] - 200 * np.log(1000), rel=1e-10)


def test_gaps_are_left_out_and_counted(cohort):
    table = cohort.copy()
    table.loc[:9, "ggo_C"] = np.nan
    found = mediation.multiple(table, {"age": ["ggo_A", "ggo_C"]})
    assert (found.fit["ntotal"], found.num_dropped) == (190, 10)
    whole = mediation.multiple(cohort.iloc[10:], {"age": ["ggo_A", "ggo_C"]})
    pd.testing.assert_frame_equal(found.estimates, whole.estimates)


def test_an_exposure_without_mediators_is_a_covariate(cohort):
    found = mediation.multiple(cohort, {"age": ["ggo_A"], "diseases": []}).estimates
    assert found["label"].tolist() == [
        "a11",
        "c1",
        "c2",
        "b1",
        *5 * [""],
        "i11",
        "ind_age",
        "tot_age",
        "tot_diseases",
    ]


def test_labels_stay_unique_with_many_mediators():
    rng = np.random.default_rng(0)
    names = [f"m{i}" for i in range(11)]
    table = pd.DataFrame(rng.normal(size=(100, 13)), columns=["x", "severity", *names])
    labels = mediation.multiple(table, {"x": names}).estimates["label"]
    assert labels[labels != ""].is_unique
    assert {"a1_1", "a11_1", "i11_1", "b11"} < set(labels)


def test_errors(cohort):
    with pytest.raises(ValueError, match="No exposure has a mediator"):
        mediation.multiple(cohort, {"age": []})
    with pytest.raises(ValueError, match=r"A mediator of 'age' is named twice: \['ggo_A', 'ggo_A'\]"):
        mediation.multiple(cohort, {"age": ["ggo_A", "ggo_A"]})
    with pytest.raises(ValueError, match=r"one role .* named twice: \['diseases'\]"):
        mediation.multiple(cohort, {"age": ["diseases"], "diseases": ["ggo_A"]})
    with pytest.raises(ValueError, match=r"Columns not in the table: \['ggo_X'\]"):
        mediation.multiple(cohort, {"age": ["ggo_X"]})
    with pytest.raises(ValueError, match=r"Constant in the complete rows: \['ggo_A'\]"):
        mediation.multiple(cohort.assign(ggo_A=1.0), {"age": ["ggo_A"]})
    with pytest.raises(ValueError, match=r"Infinite values in \['ggo_A'\]"):
        mediation.multiple(cohort.replace({"ggo_A": {cohort.loc[0, "ggo_A"]: np.inf}}), {"age": ["ggo_A"]})
    with pytest.raises(ValueError, match="3 complete rows for 3 variables; use fewer mediators"):
        mediation.multiple(cohort.head(3), {"age": ["ggo_A"]})


def test_interval_of_rmsea(golden):
    """Draws of noncentral chi-squares at both bounds reach the fitted one in 5 % and 95 % (1e6 draws: 0.02 %)."""
    fit = mediation.multiple(golden("cohort.csv"), MODEL).fit
    expected = golden("lavaan_fit.csv").set_index("measure")["value"]
    assert fit["rmsea_lower"] < expected["rmsea"] < fit["rmsea_upper"]
    rng = np.random.default_rng(0)
    for name, share in (("rmsea_lower", 0.05), ("rmsea_upper", 0.95)):
        noncentrality = 600 * expected["df"] * fit[name] ** 2
        drawn = rng.noncentral_chisquare(expected["df"], noncentrality, 1_000_000)
        assert (drawn > expected["chisq"]).mean() == pytest.approx(share, abs=0.001)


@pytest.mark.parametrize(
    ("chisq", "df", "zeros"),
    [(0.0, 0, (True, True)), (2.0, 10, (True, True)), (10.0, 10, (True, False)), (1e5, 3, (False, False))],
)
def test_bounds_of_rmsea_at_their_ends(chisq, df, zeros):
    """MacCallum, Browne and Sugawara 1996: the bounds are 0 where a model fits better than by chance."""
    lower, upper = path_model.rmsea_interval(chisq, df, 200)
    assert (lower == 0, upper == 0) == zeros
    assert lower <= upper
    for bound, share in ((lower, 0.95), (upper, 0.05)):
        if bound:
            assert stats.ncx2.cdf(chisq, df, 200 * df * bound**2) == pytest.approx(share, abs=1e-6)


@pytest.mark.parametrize("kind", ["robust", "cluster"])
@pytest.mark.parametrize("weights", ["", "weight"])
def test_sandwich_errors_equal_r(r_golden, r_values, kind, weights):
    """Of every path with one mediator; the indirect effect of two by lavaan; total effects by lm()."""
    table = r_golden("school")
    of = sampling.read(table, cluster="class" * (kind == "cluster"), weights=weights, robust=kind == "robust")
    model = mediation.multiple(table, {"ses": ["iq"]}, "lang", covariates=["multi"], sampling=of)
    ending = "_weighted" if weights else ""
    found = model.estimates.assign(name=lambda t: t["lhs"] + t["op"] + t["rhs"]).set_index("name")
    for name, row in r_values("joint_and_clusters", kind + ending).iterrows():
        assert found.loc[name, "est"] == pytest.approx(row["est"], rel=1e-9), name
        assert found.loc[name, "se"] == pytest.approx(row["se"], rel=1e-9), name
    total = r_values("joint_and_clusters", f"{kind}_total{ending}").loc["lang~ses"]
    assert model.total_effects["est"][0] == pytest.approx(total["est"], rel=1e-9)
    assert model.total_effects["se"][0] == pytest.approx(total["se"], rel=1e-9)
    if kind == "robust" and not weights:
        two = mediation.multiple(
            table, {"ses": ["iq", "size"]}, "lang", covariates=["multi"], residual_covariances=True, sampling=of
        )
        expected = r_values("joint_and_clusters", "lavaan_two_robust.huber.white").loc["indirect"]
        row = two.estimates.set_index("label").loc["ind_ses"]
        assert row["se"] == pytest.approx(expected["se"], rel=1e-6)


@pytest.mark.parametrize("residual_covariances", [False, True])
def test_weights_with_gaps_are_those_of_the_complete_rows(r_golden, residual_covariances):
    """Patients without a value change nothing, however heavy they are."""
    table = r_golden("school").assign(iq=lambda t: t["iq"].where(t["weight"] < 2.2))
    found, expected = (
        mediation.multiple(
            data, {"ses": ["iq", "size"]}, "lang", residual_covariances=residual_covariances,
            sampling=sampling.read(data, weights="weight"),
        )
        for data in (table, table.dropna())
    )  # fmt: skip
    pd.testing.assert_frame_equal(found.estimates, expected.estimates, rtol=1e-9)
    assert found.fit == pytest.approx(expected.fit, nan_ok=True)


@pytest.mark.parametrize("options", [{"weights": "weight"}, {"cluster": "class"}, {}])
def test_a_model_that_no_patient_has(r_golden, options):
    table = r_golden("school").assign(iq=np.nan)
    of = sampling.read(table, **options)
    with pytest.raises(ValueError, match=r"^0 complete rows for 4 variables; use fewer mediators"):
        mediation.multiple(table, {"ses": ["iq", "size"]}, "lang", sampling=of)


def test_bootstrap_of_clusters_is_that_of_the_pair(r_golden):
    table = r_golden("school")
    of = sampling.read(table, cluster="class", weights="weight")
    options = {"draws": 200, "sampling": of}
    model = mediation.multiple(table, {"ses": ["iq"]}, "lang", covariates=["multi"], sampling=of)
    found = mediation.bootstrap_multiple(table, model, **options).iloc[0]
    expected = mediation.bootstrap(table, ["ses"], ["iq"], "lang", covariates=["multi"], **options).iloc[0]
    for name in ("est", "std", "se", "percentile_lower", "bca_upper"):
        assert found[name] == pytest.approx(expected[name], rel=1e-8), name
