"""Variables that are linear combinations of others: all are named, one is left out, the analysis goes on."""

import itertools

import numpy as np
import pandas as pd
import pytest

from ssinfnet_jax.analysis import mediation
from ssinfnet_jax.analysis.mediation import Options
from ssinfnet_jax.analysis.mediation.several import dependence

# Built into the phenotypes: name -> what it is made of.
BUILT_IN = {
    "ggo_firstorder_Range": {"ggo_firstorder_Maximum": 1, "ggo_firstorder_Minimum": -1},
    "ggo_glcm_SumAverage": {"ggo_glcm_JointAverage": 2},
    "ggo_firstorder_TotalEnergy": {"ggo_firstorder_Energy": 0.49},
    "ggo_glcm_ClusterTendency": {"ggo_glcm_SumSquares": 4, "ggo_glcm_Contrast": -1},
}
PARTS = list(dict.fromkeys(itertools.chain.from_iterable(BUILT_IN.values())))


@pytest.fixture(scope="module")
def cohort():
    """300 patients; age acts on all phenotypes, and every phenotype that is none of BUILT_IN acts on severity."""
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"age": rng.normal(50, 15, 300), "gender": rng.integers(0, 2, 300).astype(float)})
    signs = {name: -1 if name.endswith(("Minimum", "Contrast")) else 1 for name in PARTS}
    for name in PARTS:
        table[name] = signs[name] * 0.05 * table["age"] + rng.normal(size=300) + 10
    for name, terms in BUILT_IN.items():
        table[name] = sum(slope * table[part] for part, slope in terms.items())
    score = sum(signs[name] * table[name] for name in PARTS)
    return table.assign(severity=(score + rng.normal(size=300) > score.median()).astype(float))


def relation_of(table, *names):
    return dependence.first_relation(table[list(names)])


@pytest.mark.parametrize("name", BUILT_IN)
def test_relations_that_are_built_into_phenotypes_are_named(cohort, name):
    """Among all others, which have nothing to do with it."""
    found = relation_of(cohort, "age", *PARTS, name)
    assert found.name == name
    assert dict(zip(found.others, found.slopes, strict=True)) == pytest.approx(BUILT_IN[name])
    assert found.unexplained < 1e-12
    assert found.why.startswith("exact linear combination, ")


def test_a_relation_is_written_as_an_equation(cohort):
    assert str(relation_of(cohort, *PARTS, "ggo_firstorder_Range")) == (
        "ggo_firstorder_Range = ggo_firstorder_Maximum - ggo_firstorder_Minimum"
    )
    assert str(relation_of(cohort, *PARTS, "ggo_glcm_SumAverage")) == "ggo_glcm_SumAverage = 2 ggo_glcm_JointAverage"


@pytest.mark.parametrize("decimals", [2, 3])
def test_a_relation_that_is_rounded_is_found_and_called_nearly_exact(cohort, decimals):
    table = cohort[[*PARTS, "ggo_firstorder_Range"]].round(decimals)
    table["ggo_firstorder_Range"] += np.random.default_rng(0).normal(size=300) * 10.0**-decimals / 2
    found = dependence.first_relation(table)
    assert found.others == ["ggo_firstorder_Maximum", "ggo_firstorder_Minimum"]
    assert found.why.startswith("nearly exact linear combination, ")
    assert " of its variance" in found.why


def test_close_is_not_dependent(cohort):
    """R^2 = 0.999 leaves something to estimate."""
    noise = np.random.default_rng(1).normal(size=300) * cohort["age"].std() / np.sqrt(1000)
    assert relation_of(cohort.assign(close=cohort["age"] + noise), "age", "close") is None


def test_more_columns_than_rows_are_no_relation():
    table = pd.DataFrame(np.random.default_rng(0).normal(size=(12, 30)))
    assert dependence.first_relation(table) is None
    table.insert(3, "sum", table[0] + table[1])
    assert dependence.first_relation(table).name == "sum"


def test_the_filter_keeps_the_preferred_ones(cohort):
    """Of three that depend on each other, the one with the smallest effect goes."""
    names = ["ggo_firstorder_Range", "ggo_firstorder_Maximum", "ggo_firstorder_Minimum"]
    for last in names:
        effects = [0.1 if name == last else 0.2 for name in names]
        candidates = pd.DataFrame({"mediator": names, "indirect_std": effects})
        found = mediation.correlation_filter(cohort, candidates, threshold=1.0)
        assert found.kept == [name for name in names if name != last]
        row = found.log.iloc[0]
        assert row["removed"] == last
        assert set(row["kept_instead"].split(", ")) == set(names) - {last}
        assert row["r"] == pytest.approx(1.0)
        assert row["why"].startswith(f"exact linear combination, {last} = ")


@pytest.mark.parametrize("residual_covariances", [False, True])
def test_the_whole_procedure_goes_on(cohort, residual_covariances, caplog):
    """The path model is that of the phenotypes that are independent."""
    features = [name.rpartition("_")[2] for name in PARTS]
    options = {"max_correlation": 1.0, "prefer": features, "bootstrap_draws": 20}
    options["residual_covariances"] = residual_covariances
    found = mediation.analyse(cohort, Options(exposures=["age"], mediators="^ggo_", **options))
    assert found.reason == ""
    assert set(found.selected["age"]) == set(PARTS)
    assert set(found.filter_log["removed"]) == set(BUILT_IN)
    for row in found.filter_log.itertuples():
        assert set(row.kept_instead.split(", ")) == set(BUILT_IN[row.removed])
    expected = mediation.multiple(cohort, found.selected, residual_covariances=residual_covariances)
    assert expected.removed.empty
    pd.testing.assert_frame_equal(found.multiple.estimates, expected.estimates)
    assert (found.multiple_intervals["draws"] == 20).all()
    assert "ggo_glcm_SumAverage is left out: exact linear combination, ggo_glcm_SumAverage = 2" in caplog.text


def test_multiple_leaves_out_what_depends_on_earlier_ones(cohort):
    every = [*PARTS, *BUILT_IN]
    found = mediation.multiple(cohort, {"age": every}, residual_covariances=True)
    independent = mediation.multiple(cohort, {"age": PARTS}, residual_covariances=True)
    pd.testing.assert_frame_equal(found.estimates, independent.estimates)
    assert found.fit == pytest.approx(independent.fit, nan_ok=True)
    assert found.exposures == {"age": PARTS}
    assert found.removed["removed"].tolist() == list(BUILT_IN)


def test_a_mediator_that_depends_on_exposures_and_other_mediators(cohort):
    """No pair of them is close: only the path model sees it."""
    table = cohort.assign(ggo_mixed=cohort[PARTS[0]] + 0.1 * cohort["age"] + 2 * cohort["gender"])
    found = mediation.multiple(table, {"age": [PARTS[0], "ggo_mixed"], "gender": ["ggo_mixed"]})
    row = found.removed.iloc[0]
    assert (row["removed"], row["kept_instead"]) == ("ggo_mixed", f"age, gender, {PARTS[0]}")
    assert found.exposures == {"age": [PARTS[0]], "gender": []}


def test_a_constant_mediator_of_the_complete_rows_is_left_out(cohort):
    table = cohort.copy()
    table["ggo_late"] = np.where(table.index < 100, 1.0, table[PARTS[1]])
    table.loc[100:, PARTS[0]] = np.nan
    found = mediation.multiple(table, {"age": [PARTS[0], "ggo_late"]})
    assert found.removed[["removed", "why"]].to_numpy().tolist() == [["ggo_late", "constant in the complete rows"]]
    assert found.fit["ntotal"] == 100


def test_a_constant_covariate_is_left_out(cohort):
    table = cohort.assign(scanner=1.0)
    found = mediation.multiple(table, {"age": [PARTS[0]]}, covariates=["scanner"])
    assert (found.covariates, found.removed["removed"].tolist()) == ([], ["scanner"])
    options = {"exposures": ["age"], "mediators": PARTS[:2], "bootstrap_draws": 0}
    analysed = mediation.analyse(table, Options(**options, covariates=["scanner"]))
    pd.testing.assert_frame_equal(analysed.univariate, mediation.analyse(table, Options(**options)).univariate)
    assert analysed.filter_log.loc[0, "removed"] == "scanner"


def test_what_is_left_out_no_longer_costs_rows(cohort):
    table = cohort.copy()
    table.loc[:49, "ggo_glcm_SumAverage"] = np.nan
    found = mediation.multiple(table, {"age": ["ggo_glcm_JointAverage", "ggo_glcm_SumAverage"]})
    assert (found.fit["ntotal"], found.num_dropped) == (300, 0)


def test_the_age_in_months_is_the_age(cohort):
    table = cohort.assign(months=12 * cohort["age"])
    found = mediation.multiple(table, {"age": [PARTS[0]], "months": [PARTS[0], PARTS[3]]})
    assert found.exposures == {"age": [PARTS[0], PARTS[3]]}
    assert found.removed["why"].tolist() == ["exact linear combination, months = 12 age"]
    given = mediation.multiple(table, {"age": [PARTS[0]]}, covariates=["gender"])
    analysed = mediation.analyse(
        table,
        Options(exposures=["age", "months"], mediators=[PARTS[0]], covariates=["gender"], bootstrap_draws=0),
    )
    assert analysed.reason == ""
    np.testing.assert_allclose(
        analysed.multiple.estimates.query("op == ':='")["est"], given.estimates.query("op == ':='")["est"]
    )


def test_covariates_that_determine_the_exposure_are_named(cohort):
    table = cohort.assign(months=12 * cohort["age"])
    with pytest.raises(ValueError, match=r"The covariates determine the exposure 'age': age = 0\.08333 months\. Given"):
        mediation.multiple(table, {"age": [PARTS[0]]}, covariates=["months"])
    found = mediation.analyse(
        table,
        Options(exposures=["age", "gender"], mediators=[PARTS[0]], covariates=["months"], bootstrap_draws=0),
    )
    assert found.filter_log[["removed", "kept_instead"]].to_numpy().tolist() == [["age", "months"]]
    assert (found.univariate["flag"] == "exposure is a combination of the covariates").tolist() == [True, False]


def test_one_of_a_full_set_of_indicators_is_left_out(cohort):
    """Three hospitals, an indicator each, sum to 1: two of them hold the same fixed."""
    hospital = np.random.default_rng(2).integers(0, 3, 300)
    table = cohort.assign(**{f"hospital_{name}": (hospital == i).astype(float) for i, name in enumerate("ABC")})
    full, two = ([f"hospital_{name}" for name in names] for names in ("ABC", "AB"))
    options = {"exposures": ["age"], "mediators": PARTS, "bootstrap_draws": 20}
    found = mediation.analyse(table, Options(**options, covariates=full))
    expected = mediation.analyse(table, Options(**options, covariates=two))
    pd.testing.assert_frame_equal(found.univariate, expected.univariate)
    pd.testing.assert_frame_equal(found.natural, expected.natural)
    pd.testing.assert_frame_equal(found.multiple.estimates, expected.multiple.estimates)
    assert found.filter_log.loc[0, ["removed", "kept_instead"]].tolist() == ["hospital_C", "hospital_A, hospital_B"]
    model = mediation.multiple(table, {"age": PARTS[:2]}, covariates=full)
    assert model.covariates == two
    exposures = mediation.multiple(table, dict.fromkeys(full, PARTS[:2]))
    assert list(exposures.exposures) == two


def test_an_outcome_that_is_made_of_mediators_is_named_with_them(cohort):
    table = cohort.assign(severity=cohort[PARTS[0]] - 3 * cohort[PARTS[3]])
    with pytest.raises(ValueError, match=rf"The outcome .* severity = {PARTS[0]} - 3 {PARTS[3]}: nothing is left"):
        mediation.multiple(table, {"age": PARTS})


def test_without_an_independent_mediator_there_is_no_model(cohort):
    table = cohort.assign(ggo_age=2 * cohort["age"])
    with pytest.raises(ValueError, match=r"No mediator is left without 'ggo_age', .*: ggo_age = 2 age\. Leave one"):
        mediation.multiple(table, {"age": ["ggo_age"]})
