import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from scipy import integrate, linalg, optimize, special, stats
from statsmodels.stats.mediation import Mediation

from ssinfnet_jax.analysis import mediation
from ssinfnet_jax.analysis.mediation.outcome import natural

LINKS = {
    "logit": (sm.families.links.Logit(), lambda t: 1 / (1 + np.exp(-t))),
    "probit": (sm.families.links.Probit(), stats.norm.cdf),
}


@pytest.fixture(scope="module")
def patients():
    """400 patients: a binary and a continuous exposure, a mediator of both, a covariate of everything."""
    rng = np.random.default_rng(5)
    table = pd.DataFrame({"gender": rng.integers(0, 2, 400), "age": rng.normal(50, 15, 400)})
    table["smoking"] = rng.normal(size=400) + 0.02 * table["age"]
    table["ggo_M"] = 0.6 * table["gender"] + 0.03 * table["age"] + 0.4 * table["smoking"] + rng.normal(size=400)
    score = 0.8 * table["ggo_M"] + 0.4 * table["gender"] + 0.3 * table["smoking"] - 2.3
    table["severity"] = (score + rng.logistic(size=400) > 0).astype(int)
    return table


def models(table, link, x, covariates):
    """Outcome on [1, covariates, x, m] and mediator on [1, covariates, x], by statsmodels."""
    columns = [table[name].to_numpy(float) for name in covariates]
    design = np.column_stack([np.ones(len(table)), *columns, x, table["ggo_M"]])
    family = sm.families.Binomial(link=LINKS[link][0])
    return (
        sm.GLM(table["severity"].to_numpy(float), design, family=family),
        sm.OLS(table["ggo_M"].to_numpy(float), design[:, :-1]),
    )


@pytest.mark.long
@pytest.mark.parametrize(("link", "exposure"), [("logit", "gender"), ("probit", "age")])
def test_statsmodels_mediation(patients, link, exposure):
    """Its effects are means of simulated patients.

    1600 repetitions leave an error of 3.5 % of a standard error; the mean over drawn coefficients lies up to 7 % from
    the effect at the estimated ones (measured over 150 seeds).

    It draws each patient's mediator at random, which widens its interval of the indirect effect; that of the
    total effect hardly.
    """
    row = mediation.natural_effects(patients, [exposure], ["ggo_M"], covariates=["smoking"], link=link).iloc[0]
    x = (patients[exposure] - row["from"]) / (row["to"] - row["from"])
    summary = Mediation(*models(patients, link, x, ["smoking"]), [2, 2], 3).fit(n_rep=1600, rng=0).summary()
    for theirs, ours in (("ACME (treated)", "indirect"), ("ADE (control)", "direct"), ("Total effect", "total")):
        assert abs(row[f"{ours}_est"] - summary.loc[theirs, "Estimate"]) < 0.25 * row[f"{ours}_se"], ours
    for side in ("Lower", "Upper"):
        assert abs(row[f"total_{side.lower()}"] - summary.loc["Total effect", f"{side} CI bound"]) < row["total_se"] / 2
    assert summary.loc["ACME (treated)", "Lower CI bound"] < row["indirect_lower"]
    assert summary.loc["ACME (treated)", "Upper CI bound"] > row["indirect_upper"]


@pytest.mark.long
@pytest.mark.parametrize("link", LINKS)
@pytest.mark.parametrize("covariates", [[], ["smoking"]])
def test_delta_method_by_simulation(patients, link, covariates):
    """Coefficients drawn from statsmodels' normal distributions, the mediator integrated over 200 quantiles."""
    row = mediation.natural_effects(patients, ["gender"], ["ggo_M"], covariates=covariates, link=link).iloc[0]
    outcome, mediator = (model.fit() for model in models(patients, link, patients["gender"], covariates))
    rng = np.random.default_rng(1)
    normal = stats.norm.ppf((np.arange(200) + 0.5) / 200)
    given = np.column_stack([np.ones(400), patients[covariates]])

    def effects(b, a, sd):
        def probability(x, x_of_mediator):
            m = given @ a[:-1] + a[-1] * x_of_mediator
            score = given @ b[:-2] + b[-2] * x
            return LINKS[link][1](score[:, None] + b[-1] * (m[:, None] + sd * normal)).mean()

        both, crossed, neither = probability(1, 1), probability(1, 0), probability(0, 0)
        return both - crossed, crossed - neither, both - neither, np.log(both / crossed)

    sd = np.sqrt(mediator.ssr / 400)
    found = row[["indirect_est", "direct_est", "total_est"]].to_numpy(float)
    np.testing.assert_allclose(found, effects(outcome.params, mediator.params, sd)[:3], rtol=2e-3)
    assert np.log(row["risk_ratio"]) == pytest.approx(effects(outcome.params, mediator.params, sd)[3], rel=2e-3)
    drawn_b = rng.multivariate_normal(outcome.params, outcome.cov_params(), 800)
    drawn_a = rng.multivariate_normal(mediator.params, mediator.cov_params(), 800)
    drawn_sd = sd * np.exp(rng.normal(size=800) / np.sqrt(800))
    spread = np.std([effects(*values) for values in zip(drawn_b, drawn_a, drawn_sd, strict=True)], axis=0)
    # 800 draws: 2.5 % each; four of them.
    np.testing.assert_allclose(row[["indirect_se", "direct_se", "total_se"]].to_numpy(float), spread[:3], rtol=0.1)
    reach = np.log(row["risk_ratio_upper"] / row["risk_ratio_lower"]) / 2
    assert reach == pytest.approx(1.96 * spread[3], rel=0.1)


@pytest.mark.parametrize("covariates", [[], ["smoking"]])
def test_a_mediator_that_nearly_tells_the_outcome(patients, covariates):
    """Its logistic curve is steep: SciPy's adaptive integral knows where the step is."""
    rng = np.random.default_rng(3)
    table = patients.assign(severity=(rng.random(400) < special.expit(9 * (patients["ggo_M"] - 1.9))).astype(int))
    table = table.round({"smoking": 0})
    row = mediation.natural_effects(table, ["gender"], ["ggo_M"], covariates=covariates).iloc[0]
    assert row["flag"] == ""
    assert 12 < row["b_std"] < 20
    outcome, mediator = (model.fit() for model in models(table, "logit", table["gender"], covariates))
    (*b_given, c, b), (*a_given, a), sd = outcome.params, mediator.params, np.sqrt(mediator.ssr / 400)
    # Patients with the same covariates have the same integral.
    given, counts = np.unique(np.column_stack([np.ones(400), table[covariates]]), axis=0, return_counts=True)

    def probability(x, x_of_mediator):
        def curve(z, score):
            return special.expit(score + b * sd * z) * stats.norm.pdf(z)

        scores = given @ b_given + c * x + b * (given @ a_given + a * x_of_mediator)
        steps = np.clip(-scores / (b * sd), -8.9, 8.9)
        pieces = zip(scores, steps, strict=True)
        found = [integrate.quad(curve, -9, 9, score, points=[step], epsabs=1e-10)[0] for score, step in pieces]
        return np.average(found, weights=counts)

    both, crossed, neither = probability(1, 1), probability(1, 0), probability(0, 0)
    found = row[["indirect_est", "direct_est", "total_est", "risk_ratio"]].to_numpy(float)
    expected = [both - crossed, crossed - neither, both - neither, both / crossed]
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-9)


def test_columns_and_their_sums(patients):
    found = mediation.natural_effects(patients, ["gender", "age"], ["ggo_M", "smoking"])
    assert found[["exposure", "mediator"]].to_numpy().tolist() == [
        ["gender", "ggo_M"],
        ["gender", "smoking"],
        ["age", "ggo_M"],
        ["age", "smoking"],
    ]
    np.testing.assert_allclose(found["indirect_est"] + found["direct_est"], found["total_est"])
    np.testing.assert_allclose(found["proportion_mediated"], found["indirect_est"] / found["total_est"])
    np.testing.assert_allclose(
        found["indirect_upper"] - found["indirect_est"], 1.959964 * found["indirect_se"], rtol=1e-6
    )
    assert found.loc[0, ["from", "to"]].tolist() == [0, 1]
    assert found.loc[2, "to"] - found.loc[2, "from"] == pytest.approx(patients["age"].std(ddof=0))
    outcome, _ = models(patients, "logit", patients["gender"], [])
    fitted = outcome.fit()
    assert found.loc[0, "b_est"] == pytest.approx(fitted.params[-1], rel=1e-8)
    assert found.loc[0, "b_se"] == pytest.approx(fitted.bse[-1], rel=1e-6)
    np.testing.assert_allclose(
        found["indirect_p_adj"], stats.false_discovery_control(found["indirect_p"], method="bh"), rtol=1e-9
    )
    assert found.attrs["family"].startswith("fdr_bh over all pairs together: 4 tests of 2 exposures x 2 mediators")


@pytest.mark.parametrize("factor", [1000, 1e-6])
def test_units_do_not_matter(patients, factor):
    before, after = (
        mediation.natural_effects(table, ["gender"], ["ggo_M"]).iloc[0]
        for table in (patients, patients.assign(ggo_M=factor * patients["ggo_M"]))
    )
    assert after["b_est"] == pytest.approx(before["b_est"] / factor, rel=1e-7)
    others = ("exposure", "mediator", "flag", "mediator_model", "note", "b_est", "b_se")
    numbers = [name for name in before.index if name not in others]
    np.testing.assert_allclose(after[numbers].to_numpy(float), before[numbers].to_numpy(float), rtol=1e-7)


def test_separation_and_other_failures_are_flagged(patients):
    rng = np.random.default_rng(0)
    table = patients.assign(
        tells=patients["severity"] + 0.3 * rng.random(400),
        constant=1.0,
        copy=1 - patients["gender"],
        known_of_few=patients["ggo_M"].head(9),
    )
    table.loc[:99, "smoking"] = np.nan
    found = mediation.natural_effects(
        table, ["gender"], ["ggo_M", "tells", "constant", "copy", "known_of_few", "smoking"]
    ).set_index("mediator")
    assert found["flag"].to_dict() == {
        "ggo_M": "",
        "tells": "the outcome is separated (predicted without error)",
        "constant": "constant mediator",
        "copy": "exposure and mediator are collinear",
        "known_of_few": "too few complete rows (9 < 10)",
        "smoking": "",
    }
    assert found["n"].tolist() == [400, 400, 400, 400, 9, 300]
    failed = found[found["flag"] != ""]
    assert failed[["b_est", "indirect_est", "indirect_p_adj", "risk_ratio"]].isna().all(axis=None)
    assert found.loc[["ggo_M", "smoking"], ["indirect_est", "indirect_se"]].notna().all(axis=None)


def of_counts(counts):
    """One row per patient from {(x, m, y): number of patients}."""
    rows = [key for key, number in counts.items() for _ in range(number)]
    return pd.DataFrame(rows, columns=["x", "ggo_M", "severity"]).astype(float)


@pytest.mark.parametrize("levels", [(0, 1), (-3, 5)])
def test_a_rare_binary_mediator_has_its_true_effect(levels):
    """Prevalence 3 %, b = 6: a normal model of the mediator gives 0.055, and its interval leaves out the truth.

    Numbers of patients are those expected, so that the truth is a sum over the mediator's two values.
    """
    c0, b, share = -0.5, 6.0, {0: 0.00453, 1: 0.05547}
    counts = {}
    for x in (0, 1):
        for m in (0, 1):
            patients = 50_000 * (share[x] if m else 1 - share[x])
            ill = special.expit(c0 + b * m)
            counts |= {(x, m, 1): round(patients * ill), (x, m, 0): round(patients * (1 - ill))}
    truth = (share[1] - share[0]) * (special.expit(c0 + b) - special.expit(c0))
    assert truth == pytest.approx(0.0315, abs=5e-5)
    table = of_counts(counts)
    table["ggo_M"] = np.where(table["ggo_M"] == 1, levels[1], levels[0])
    row = mediation.natural_effects(table, ["x"], ["ggo_M"]).iloc[0]
    assert row["indirect_est"] == pytest.approx(truth, rel=2e-3)
    assert row["b_est"] * (levels[1] - levels[0]) == pytest.approx(b, rel=4e-3)
    assert (row["mediator_model"], row["note"]) == ("logit", "two values")


def binary_patients(covariates):
    """600 patients with a binary mediator of both exposures, and a table of [1, covariates, gender]."""
    rng = np.random.default_rng(8)
    table = pd.DataFrame({"gender": rng.integers(0, 2, 600), "smoking": rng.normal(size=600)})
    table["ggo_M"] = (0.9 * table["gender"] + 0.5 * table["smoking"] + rng.logistic(size=600) > 1.5).astype(int)
    score = 1.5 * table["ggo_M"] + 0.3 * table["gender"] + 0.4 * table["smoking"] - 1
    table["severity"] = (score + rng.logistic(size=600) > 0).astype(int)
    return table, np.column_stack([np.ones(600), table[covariates], table["gender"]])


@pytest.mark.parametrize("link", LINKS)
@pytest.mark.parametrize("covariates", [[], ["smoking"]])
def test_a_binary_mediator_by_statsmodels_and_sums(link, covariates):
    """Effects are sums over m in {0, 1}; standard errors follow from statsmodels' covariances and
    numerical derivatives."""
    table, design = binary_patients(covariates)
    row = mediation.natural_effects(table, ["gender"], ["ggo_M"], covariates=covariates, link=link).iloc[0]
    model = {"logit": sm.Logit, "probit": sm.Probit}[link]
    mediator = model(table["ggo_M"], design).fit(disp=0, tol=1e-12)
    outcome = model(table["severity"], np.column_stack([design, table["ggo_M"]])).fit(disp=0, tol=1e-12)
    given, cdf = design[:, :-1], LINKS[link][1]

    def effects(a, b):
        def probability(x, x_of_mediator):
            high = cdf(given @ a[:-1] + a[-1] * x_of_mediator)
            score = given @ b[:-2] + b[-2] * x
            return ((1 - high) * cdf(score) + high * cdf(score + b[-1])).mean()

        both, crossed, neither = probability(1, 1), probability(1, 0), probability(0, 0)
        total = both - neither
        return both - crossed, crossed - neither, total, np.log(both / crossed), (both - crossed) / total

    expected = effects(np.asarray(mediator.params), np.asarray(outcome.params))
    names = ["indirect_est", "direct_est", "total_est", "risk_ratio", "proportion_mediated"]
    found = row[names].to_numpy(float)
    np.testing.assert_allclose(found, [*expected[:3], np.exp(expected[3]), expected[4]], rtol=1e-6)
    theta, num = np.concatenate([mediator.params, outcome.params]), len(mediator.params)
    slopes = optimize.approx_fprime(theta, lambda t: np.array(effects(t[:num], t[num:])), 1e-6)
    covariance = linalg.block_diag(mediator.cov_params(), outcome.cov_params())
    spread = np.sqrt(np.diag(slopes @ covariance @ slopes.T))
    np.testing.assert_allclose(row[["indirect_se", "direct_se", "total_se"]].to_numpy(float), spread[:3], rtol=1e-4)
    for name, value, scale in (("risk_ratio", spread[3], np.log), ("proportion_mediated", spread[4], np.positive)):
        reach = (scale(row[f"{name}_upper"]) - scale(row[f"{name}_lower"])) / 2
        assert reach == pytest.approx(1.959964 * value, rel=1e-4)


def test_a_binary_mediator_that_the_exposure_tells_is_flagged():
    table, _ = binary_patients([])
    table["ggo_M"] = table["ggo_M"] * table["gender"]  # no woman has it
    found = mediation.natural_effects(table, ["gender", "smoking"], ["ggo_M"])
    assert found["flag"].tolist() == ["the mediator is separated (predicted without error)", ""]
    assert found.loc[0, ["indirect_est", "risk_ratio", "proportion_mediated_lower"]].isna().all()


def test_mediators_far_from_normal_are_noted(patients):
    """By scipy's skewness of the residual, not of the mediator: a rare exposure skews one that is normal given it."""
    rng = np.random.default_rng(2)
    table = patients.assign(rare=(np.arange(400) % 33 == 0).astype(float))
    table["ggo_Skewed"] = np.exp(1.3 * rng.normal(size=400)) + table["gender"]
    table["ggo_Mostly"] = np.where(rng.random(400) < 0.6, 0.0, rng.normal(3, 1, 400))
    table["ggo_Shifted"] = 15 * table["rare"] + rng.normal(size=400)
    table["ggo_Gap"] = table["ggo_Skewed"].where(table.index > 50)
    names = ["ggo_M", "ggo_Skewed", "ggo_Mostly", "ggo_Shifted", "ggo_Gap"]
    found = mediation.natural_effects(table, ["rare"], names).set_index("mediator")["note"]
    assert stats.skew(table["ggo_Shifted"]) > 3
    share = (table["ggo_Mostly"] == 0).mean()
    assert found["ggo_Mostly"] == f"one value in {share:.0%} of the patients (cut-off 50%)"
    assert (found["ggo_M"], found["ggo_Shifted"]) == ("", "")
    for name, known in (("ggo_Skewed", table.index >= 0), ("ggo_Gap", table.index > 50)):
        m, x = table.loc[known, "ggo_Skewed"], table.loc[known, "rare"]
        skewness = stats.skew(m - m.groupby(x).transform("mean"))
        assert found[name] == f"strongly skewed ({skewness:.1f}; cut-off 2)"
    linear = mediation.univariate(table, ["rare"], names).set_index("mediator")["note"]
    assert linear.to_dict() == found.to_dict()


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0, 0, 0, 1, 2, 6], (1, 2)),
        ([0] * 8 + [1, 3], (0, 1)),  # mean 0.4, SD 0.92: mean - SD / 2 is below 0
        ([0] * 8 + [2, 3], (0, 2)),  # nobody has 1
        ([2, 2, 3, 3, 3, 4], (2, 3)),
        ([3, 5, 5], (3, 5)),
        ([0, np.nan, 1, 1], (0, 1)),
        ([4, 4, 4], (4, 4)),
    ],
)
def test_counts_are_contrasted_at_observed_values(values, expected):
    assert natural.contrast(pd.Series(values, dtype=float)) == expected


def test_a_skewed_exposure_is_not_contrasted_from_below_its_smallest_value():
    x = pd.Series([0.1] * 30 + [0.4, 90.5])
    start, end = natural.contrast(x)
    assert (start, end - start) == (0.1, pytest.approx(x.std(ddof=0)))
    age = pd.Series(np.arange(20.0, 81))
    assert natural.contrast(age) == pytest.approx((50 - age.std(ddof=0) / 2, 50 + age.std(ddof=0) / 2))
    assert np.isnan(natural.contrast(pd.Series([np.nan, np.nan]))).all()


def test_errors(patients):
    with pytest.raises(ValueError, match=r"outcome 'age' must be 0 or 1 for natural effects, both present; it has the"):
        mediation.natural_effects(patients, ["gender"], ["ggo_M"], "age")
    with pytest.raises(ValueError, match=r"must be 0 or 1 .* it has the values \[1\.0\]"):
        mediation.natural_effects(patients.assign(severity=1), ["gender"], ["ggo_M"])
    with pytest.raises(ValueError, match="Unknown link 'log'; choose one of logit, probit"):
        mediation.natural_effects(patients, ["gender"], ["ggo_M"], link="log")
