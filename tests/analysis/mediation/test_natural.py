import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from scipy import integrate, special, stats
from statsmodels.stats.mediation import Mediation

from ssinfnet_jax.analysis import mediation

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
    row = mediation.natural_effects(table, ["gender"], ["ggo_M"], covariates=covariates).iloc[0]
    assert row["flag"] == ""
    assert 12 < row["b_std"] < 20
    outcome, mediator = (model.fit() for model in models(table, "logit", table["gender"], covariates))
    (*b_given, c, b), (*a_given, a), sd = outcome.params, mediator.params, np.sqrt(mediator.ssr / 400)
    given = np.column_stack([np.ones(400), table[covariates]]) if covariates else np.ones((1, 1))

    def probability(x, x_of_mediator):
        def curve(z, score):
            return special.expit(score + b * sd * z) * stats.norm.pdf(z)

        scores = given @ b_given + c * x + b * (given @ a_given + a * x_of_mediator)
        steps = np.clip(-scores / (b * sd), -8.9, 8.9)
        pieces = zip(scores, steps, strict=True)
        return np.mean([integrate.quad(curve, -9, 9, score, points=[step], epsabs=1e-10)[0] for score, step in pieces])

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
    numbers = [name for name in before.index if name not in ("exposure", "mediator", "flag", "b_est", "b_se")]
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


def test_errors(patients):
    with pytest.raises(ValueError, match=r"outcome 'age' must be 0 or 1 for natural effects, both present; it has the"):
        mediation.natural_effects(patients, ["gender"], ["ggo_M"], "age")
    with pytest.raises(ValueError, match=r"must be 0 or 1 .* it has the values \[1\.0\]"):
        mediation.natural_effects(patients.assign(severity=1), ["gender"], ["ggo_M"])
    with pytest.raises(ValueError, match="Unknown link 'log'; choose one of logit, probit"):
        mediation.natural_effects(patients, ["gender"], ["ggo_M"], link="log")
