import json

import pandas as pd
import pytest

from ssinfnet_jax.analysis import mediation


def test_whole_procedure(cohort, tmp_path):
    found = mediation.analyse(cohort, exposures=["age", "diseases"], mediators="^ggo_", prefer=("A",))
    assert found.selected == {"age": ["ggo_A"], "diseases": ["ggo_C"]}
    assert found.filter_log["removed"].tolist() == ["ggo_B"]
    assert found.reason == ""
    expected = mediation.multiple(cohort, found.selected)
    pd.testing.assert_frame_equal(found.multiple.estimates, expected.estimates)

    written = found.write(tmp_path / "out")
    names = {"univariate", "filter_log", "multiple_estimates", "multiple_total_effects"}
    names |= {"intervals", "natural", "sensitivity", "multiple_intervals"}
    assert {p.name for p in written} == {f"{n}.{e}" for n in names for e in ("csv", "tex")} | {
        "summary.json",
        "multiple_fit.json",
    }
    assert all(path.exists() for path in written)
    again = pd.read_csv(tmp_path / "out/univariate.csv", keep_default_na=False, na_values=[""], dtype={"flag": str})
    pd.testing.assert_frame_equal(again.drop(columns="flag"), found.univariate.drop(columns="flag"))
    summary = json.loads((tmp_path / "out/summary.json").read_text())
    assert summary["selected"] == found.selected
    assert summary["family"].startswith("fdr_bh over all pairs together: 8 tests")
    assert summary["caveat"] == mediation.CAVEAT
    assert summary["options"]["num_mediators"] == 4
    assert r"ggo\_A" in (tmp_path / "out/univariate.tex").read_text()
    assert json.loads((tmp_path / "out/multiple_fit.json").read_text()) == pytest.approx(found.multiple.fit)


def test_the_papers_model_of_the_reference_cohort(golden):
    found = mediation.analyse(
        golden("cohort.csv"),
        exposures=["age", "gender", "underlying"],
        mediators="^(ggo|cons)_",
        prefer=("Entropy",),
    )
    assert found.selected == {
        "age": ["ggo_Area", "ggo_Entropy", "ggo_Kurtosis", "ggo_Mean", "ggo_Imc1"],
        "gender": [],
        "underlying": ["ggo_Area", "ggo_Entropy", "ggo_Kurtosis", "ggo_Skewness", "ggo_Mean", "ggo_Imc1"],
    }
    assert list(found.multiple.exposures) == ["age", "underlying"]


def test_saturated_model_has_no_p_value_in_json(cohort, tmp_path):
    mediation.analyse(cohort, exposures=["age"], mediators=["ggo_A"]).write(tmp_path)
    assert json.loads((tmp_path / "multiple_fit.json").read_text())["pvalue"] is None


def test_no_mediator_is_a_result(cohort, tmp_path):
    found = mediation.analyse(cohort, exposures=["age"], mediators=["ggo_Noise"])
    assert found.multiple is None
    assert found.reason == "no significant mediator of any exposure"
    assert found.selected == {"age": []}
    found.write(tmp_path)
    assert json.loads((tmp_path / "summary.json").read_text())["no_path_model_because"] == found.reason
    assert not (tmp_path / "multiple_estimates.csv").exists()


def test_an_impossible_path_model_has_a_reason(cohort):
    """Each mediator is known of one half of the patients: no complete rows."""
    half = cohort.index < 100
    table = cohort.assign(ggo_A=cohort["ggo_A"].where(half), ggo_B=cohort["ggo_B"].where(~half))
    found = mediation.analyse(table, exposures=["age"], mediators=["ggo_A", "ggo_B"], alpha=0.2)
    assert found.multiple is None
    assert found.reason.startswith("0 complete rows for 4 variables")
    assert len(found.univariate) == 2


def test_what_stands_beside_the_linear_models(cohort):
    options = {"exposures": ["age"], "mediators": "^ggo_", "covariates": ["diseases"], "bootstrap_draws": 50}
    found = mediation.analyse(cohort, **options, link="probit", residual_covariances=True)
    names = ["ggo_A", "ggo_B", "ggo_C", "ggo_Noise"]
    given = {"covariates": ["diseases"]}
    pairs = mediation.univariate(cohort, ["age"], names, **given)
    natural = mediation.natural_effects(cohort, ["age"], names, link="probit", **given)
    pd.testing.assert_frame_equal(found.univariate, pairs)
    pd.testing.assert_frame_equal(found.natural, natural)
    pd.testing.assert_frame_equal(found.intervals, mediation.bootstrap(cohort, ["age"], names, draws=50, **given))
    pd.testing.assert_frame_equal(found.sensitivity, mediation.sensitivity(pairs, natural))
    model = mediation.multiple(cohort, found.selected, residual_covariances=True, **given)
    pd.testing.assert_frame_equal(found.multiple.estimates, model.estimates)
    pd.testing.assert_frame_equal(found.multiple_intervals, mediation.bootstrap_multiple(cohort, model, draws=50))


def test_other_outcomes_have_no_natural_effects_and_no_draws_no_intervals(cohort, tmp_path):
    table = cohort.assign(severity=cohort["severity"] + 0.1 * cohort["ggo_A"])
    found = mediation.analyse(table, exposures=["age"], mediators=["ggo_A"], bootstrap_draws=0)
    assert found.natural is None
    assert found.intervals is None
    assert found.multiple_intervals is None
    assert list(found.sensitivity) == ["exposure", "mediator", "rho", "rho_squared"]
    found.write(tmp_path)
    assert not (tmp_path / "natural.csv").exists()
    assert (tmp_path / "sensitivity.csv").exists()


def test_rule_of_the_paper(cohort):
    by_paper = mediation.analyse(cohort, exposures=["age"], mediators="^ggo_", rule="paper", prefer=("A",))
    assert by_paper.selected == {"age": ["ggo_A"]}


def test_errors(cohort):
    with pytest.raises(ValueError, match="Unknown rule 'three'; choose one of indirect, paper"):
        mediation.analyse(cohort, exposures=["age"], mediators="^ggo_", rule="three")
    with pytest.raises(ValueError, match=r"No numeric column matches the mediators '\^lesion_'; the first columns are"):
        mediation.analyse(cohort, exposures=["age"], mediators="^lesion_")
