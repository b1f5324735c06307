import json

import numpy as np
import pandas as pd
import pytest

from ssinfnet_jax.analysis import mediation
from ssinfnet_jax.analysis.mediation import Options, procedure


def test_whole_procedure(cohort, tmp_path):
    found = mediation.analyse(cohort, Options(exposures=["age", "diseases"], mediators="^ggo_", prefer=("A",)))
    assert found.selected == {"age": ["ggo_A"], "diseases": ["ggo_C"]}
    assert found.filter_log["removed"].tolist() == ["ggo_B"]
    assert found.reason == ""
    expected = mediation.multiple(cohort, found.selected, residual_covariances=True)
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
    words = ["flag", "note"]
    for name in ("univariate", "natural"):
        family = pd.read_csv(tmp_path / f"out/{name}.csv")["family"]
        assert family.eq(found.univariate.attrs["family"]).all()
        assert "Family of tests: fdr\\_bh over all pairs" in (tmp_path / f"out/{name}.tex").read_text()
    pd.testing.assert_frame_equal(again.drop(columns=[*words, "family"]), found.univariate.drop(columns=words))
    summary = json.loads((tmp_path / "out/summary.json").read_text())
    assert summary["selected"] == found.selected
    assert summary["family"].startswith("fdr_bh over all pairs together: 8 tests")
    assert summary["caveat"].startswith(mediation.CAVEAT + " The natural effects beside them come from a regression")
    assert summary["no_natural_effects_because"] == ""
    assert summary["options"]["num_mediators"] == 4
    assert summary["options"]["mediators"] == ["ggo_A", "ggo_B", "ggo_C", "ggo_Noise"]
    assert r"ggo\_A" in (tmp_path / "out/univariate.tex").read_text()
    assert json.loads((tmp_path / "out/multiple_fit.json").read_text()) == pytest.approx(found.multiple.fit)


def test_the_papers_model_of_the_reference_cohort(golden):
    found = mediation.analyse(
        golden("cohort.csv"),
        Options(
            exposures=["age", "gender", "underlying"],
            mediators="^(ggo|cons)_",
            prefer=("Entropy",),
        ),
    )
    assert found.selected == {
        "age": ["ggo_Area", "ggo_Entropy", "ggo_Kurtosis", "ggo_Mean", "ggo_Imc1"],
        "gender": [],
        "underlying": ["ggo_Area", "ggo_Entropy", "ggo_Kurtosis", "ggo_Skewness", "ggo_Mean", "ggo_Imc1"],
    }
    assert list(found.multiple.exposures) == ["age", "underlying"]


def test_saturated_model_has_no_p_value_in_json(cohort, tmp_path):
    mediation.analyse(cohort, Options(exposures=["age"], mediators=["ggo_A"])).write(tmp_path)
    assert json.loads((tmp_path / "multiple_fit.json").read_text())["pvalue"] is None


def test_no_mediator_is_a_result(cohort, tmp_path):
    found = mediation.analyse(cohort, Options(exposures=["age"], mediators=["ggo_Noise"]))
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
    found = mediation.analyse(table, Options(exposures=["age"], mediators=["ggo_A", "ggo_B"], alpha=0.2))
    assert found.multiple is None
    assert found.reason.startswith("0 complete rows for 4 variables")
    assert len(found.univariate) == 2


def test_what_stands_beside_the_linear_models(cohort):
    options = {"exposures": ["age"], "mediators": "^ggo_", "covariates": ["diseases"], "bootstrap_draws": 50}
    found = mediation.analyse(cohort, Options(**options, link="probit", residual_covariances=True))
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
    found = mediation.analyse(table, Options(exposures=["age"], mediators=["ggo_A"], bootstrap_draws=0))
    assert found.natural is None
    assert found.intervals is None
    assert found.multiple_intervals is None
    assert list(found.sensitivity) == ["exposure", "mediator", "rho", "rho_squared"]
    found.write(tmp_path)
    assert not (tmp_path / "natural.csv").exists()
    assert (tmp_path / "sensitivity.csv").exists()


def test_the_reason_against_natural_effects_is_told(cohort, tmp_path):
    table = cohort.assign(severity=cohort["severity"] + 1)
    found = mediation.analyse(table, Options(exposures=["age"], mediators=["ggo_A"], bootstrap_draws=0))
    reason = (
        "There are no natural effects and no E-values: they need an outcome of 0 and 1, both present, and 'severity' "
        "has 1, 2."
    )
    assert found.no_natural == reason
    assert found.caveat() == f"{mediation.CAVEAT} {reason}"
    found.write(tmp_path)
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert (summary["no_natural_effects_because"], summary["caveat"]) == (reason, found.caveat())


def test_where_nothing_can_be_fitted_the_flags_are_the_reason(cohort):
    table = cohort.assign(ggo_A=1.0, ggo_B=cohort["age"])
    found = mediation.analyse(table, Options(exposures=["age", "diseases"], mediators=["ggo_A"], bootstrap_draws=0))
    assert found.reason == "no pair could be fitted: constant mediator (2x)"
    found = mediation.analyse(table, Options(exposures=["age"], mediators=["ggo_A", "ggo_B"], bootstrap_draws=0))
    assert found.reason.startswith("no pair could be fitted: ")
    assert {"constant mediator (1x)", "exposure and mediator are collinear (1x)"} <= set(
        found.reason.removeprefix("no pair could be fitted: ").split(", ")
    )


def test_tables_of_an_earlier_analysis_do_not_stay(cohort, tmp_path):
    mediation.analyse(cohort, Options(exposures=["age"], mediators=["ggo_A"], bootstrap_draws=20)).write(tmp_path)
    (tmp_path / "notes.csv").write_text("mine")
    table = cohort.assign(severity=cohort["severity"] + 1)
    found = mediation.analyse(table, Options(exposures=["age"], mediators=["ggo_Noise"], bootstrap_draws=0))
    written = found.write(tmp_path)
    always = ("univariate", "sensitivity", "filter_log")
    assert {path.name for path in written} == {f"{n}.{e}" for n in always for e in ("csv", "tex")} | {"summary.json"}
    assert set(tmp_path.iterdir()) == {*written, tmp_path / "notes.csv"}


def test_counts_and_text_are_no_mediators(cohort):
    """What a table of slices or patients says beside the phenotypes."""
    others = {"ggo_num_slices": 3, "ggo_num_bins": 20, "ggo_wavelet-HL_num_bins": 9, "num_slices": 4, "num_failed": 0}
    table = cohort.assign(**others, ggo_reason=np.where(cohort.index < 3, "empty", None), ggo_ids=cohort["patient_id"])
    for expression in ("^ggo_", "^(ggo|num)_"):
        found = mediation.analyse(table, Options(exposures=["age"], mediators=expression, bootstrap_draws=0))
        assert found.options["mediators"] == ["ggo_A", "ggo_B", "ggo_C", "ggo_Noise"]


def test_a_cell_that_is_no_number_is_found(cohort):
    table = cohort.astype({"ggo_B": object, "ggo_C": object})
    table.loc[3, "ggo_B"], table.loc[7, "ggo_B"], table.loc[0, "ggo_C"] = "1,5", "?", "n.a."
    with pytest.raises(
        ValueError, match=r"not numbers: \['ggo_B', 'ggo_C'\]; the first one is '1,5' in 'ggo_B', row 5 \(the header"
    ):
        mediation.analyse(table, Options(exposures=["age"], mediators="^ggo_"))


def test_rule_of_the_paper(cohort):
    by_paper = mediation.analyse(cohort, Options(exposures=["age"], mediators="^ggo_", rule="paper", prefer=("A",)))
    assert by_paper.selected == {"age": ["ggo_A"]}


def test_errors(cohort):
    with pytest.raises(ValueError, match="Unknown rule 'three'; choose one of indirect, paper"):
        mediation.analyse(cohort, Options(exposures=["age"], mediators="^ggo_", rule="three"))
    with pytest.raises(ValueError, match=r"The mediators are not a regular expression: '\*ggo' \(nothing to repeat"):
        mediation.analyse(cohort, Options(exposures=["age"], mediators="*ggo"))
    with pytest.raises(ValueError, match=r"several columns of the same name: \['ggo_A'\]"):
        mediation.analyse(pd.concat([cohort, cohort[["ggo_A"]]], axis=1), Options(exposures=["age"], mediators="^ggo_"))
    with pytest.raises(ValueError, match=r"No numeric column matches the mediators '\^lesion_'; the first columns are"):
        mediation.analyse(cohort, Options(exposures=["age"], mediators="^lesion_"))


@pytest.mark.parametrize("cells", ["1,5", "3 HU", ".5 %", "<0.5", "\N{MINUS SIGN}1.5"])
def test_a_mediator_of_decimal_commas_or_units_is_not_left_out(cohort, cells):
    table = cohort.assign(ggo_B=cells, ggo_reader="Dr. A")
    with pytest.raises(ValueError, match=rf"not numbers: \['ggo_B'\]; the first one is '{cells}' in 'ggo_B', row 2"):
        mediation.analyse(table, Options(exposures=["age"], mediators="^ggo_"))


def test_columns_of_words_are_left_out_by_name(cohort, caplog):
    table = cohort.assign(ggo_reader="Dr. A")
    with caplog.at_level("INFO", logger="absl"):
        mediation.analyse(table, Options(exposures=["age"], mediators="^ggo_", bootstrap_draws=0))
    assert "mediators '^ggo_', but hold words, are left out: ['ggo_reader'], as 'Dr. A'." in caplog.text
    with pytest.raises(ValueError, match=r"but hold words: \['ggo_reader'\], as 'Dr\. A'\. Choose an expression"):
        mediation.analyse(table, Options(exposures=["age"], mediators="_reader$"))


def test_columns_that_number_patients_are_no_mediators(cohort, caplog):
    """By their names, or since they count without a gap; a phenotype of whole numbers stays."""
    rng = np.random.default_rng(0)
    ids = {name: rng.choice(10**7, 200, replace=False) for name in ("PatientID", "mrn", "case_no", "Hospital number")}
    rows = {"Unnamed: 0": np.arange(200), "patient": rng.permutation(200) + 1001.0}
    phenotype = {"ggo_firstorder_Energy": rng.choice(10**7, 200, replace=False), "noise": rng.normal(size=200)}
    table = cohort.assign(**ids, **rows, **phenotype)
    with caplog.at_level("INFO", logger="absl"):
        found = mediation.analyse(table, Options(exposures=["age", "diseases"], mediators=".*", bootstrap_draws=0))
    assert found.options["mediators"] == ["ggo_A", "ggo_B", "ggo_C", "ggo_Noise", *phenotype]
    assert f"but number patients or rows, are left out: {[*ids, *rows]}. Rename one" in caplog.text
    with pytest.raises(ValueError, match=r"these match, but number patients or rows: \['mrn'\]\. Choose"):
        mediation.analyse(table, Options(exposures=["age"], mediators="^mrn$"))


@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_constant_infinite_and_empty_exposures_are_flagged_without_a_warning(cohort):
    table = cohort.assign(ward=1.0, weight=np.nan, dose=cohort["age"].where(cohort.index > 2, np.inf))
    options = {"mediators": ["ggo_A"], "bootstrap_draws": 20}
    found = mediation.analyse(table, Options(exposures=["age", "ward", "weight", "dose"], **options))
    flags = ["", "constant exposure", "too few complete rows (0 < 10)", "infinite exposure"]
    assert found.univariate["flag"].tolist() == found.natural["flag"].tolist() == flags
    assert found.intervals["flag"].tolist() == flags
    alone = mediation.analyse(table, Options(exposures=["ward"], **options))
    assert alone.reason == "no pair could be fitted: constant exposure (1x)"


def test_an_outcome_or_covariate_without_a_value_is_named(cohort):
    table = cohort.assign(severity=np.nan)
    with pytest.raises(ValueError, match=r"The outcome 'severity' has no value in any of the 200 rows; fill the"):
        mediation.analyse(table, Options(exposures=["age"], mediators="^ggo_"))
    with pytest.raises(ValueError, match="The outcome 'severity' has no value in any of the 200 rows"):
        mediation.bootstrap(table, ["age"], ["ggo_A"])
    with pytest.raises(ValueError, match="The covariate 'ward' has no value in any of the 200 rows"):
        mediation.univariate(cohort.assign(ward=np.nan), ["age"], ["ggo_A"], covariates=["ward"])


def test_latex_tables_compile_with_caption_and_notes(cohort, tmp_path, pdflatex):
    """Names in any script, an outcome of one's own, and more rows than a page holds."""
    others = {f"ggo_Other{i}": np.random.default_rng(i).normal(size=200) for i in range(45)}
    renamed = {"ggo_A": "ggo_体积_50%", "diseases": "Größe & Ödem", "severity": "β [x] ~^\\ {y}"}
    table = cohort.assign(**others).rename(columns=renamed)
    options = {"outcome": renamed["severity"], "mediators": "^ggo_", "bootstrap_draws": 20}
    found = mediation.analyse(table, Options(exposures=["age", renamed["diseases"]], **options))
    written = [path for path in found.write(tmp_path) if path.suffix == ".tex"]
    assert len(written) == 8
    texts = {path.stem: " ".join(path.read_text().split()) for path in written}
    for name, text in texts.items():
        assert text.isascii(), name
        assert "\\caption{" in text
        assert f"\\label{{tab:{name.replace('_', '-')}}}" in text
        assert "\\footnotesize" in text or name == "filter_log"
    assert "Family of tests: fdr\\_bh over all pairs together" in texts["univariate"]
    assert "90 \\% interval" in texts["multiple_estimates"]
    assert "not adjusted for the number of tests" in texts["multiple_estimates"]
    assert "longtable" in texts["univariate"]
    assert "ggo\\_$<$U+4F53$>$$<$U+79EF$>$\\_50\\%" in texts["multiple_estimates"]
    pdflatex([path.read_text() for path in written])


def assert_equal(found, expected):
    """Two analyses, value by value."""
    assert (found.selected, found.reason, found.options, found.no_natural) == (
        (expected.selected, expected.reason, expected.options, expected.no_natural)
    )
    assert found.tables().keys() == expected.tables().keys()
    for name, table in expected.tables().items():
        pd.testing.assert_frame_equal(found.tables()[name], table, check_exact=True, check_dtype=False)
        assert found.tables()[name].attrs.get("family") == table.attrs.get("family")
    assert (found.multiple is None) == (expected.multiple is None)
    if expected.multiple:
        assert found.multiple.description() == expected.multiple.description()
        assert found.multiple.num_dropped == expected.multiple.num_dropped
        assert found.multiple.verdict == expected.multiple.verdict
        np.testing.assert_equal(found.multiple.fit, expected.multiple.fit)
        pd.testing.assert_frame_equal(found.multiple.removed, expected.multiple.removed, check_dtype=False)
    assert found.summary() == expected.summary()
    assert found.significant.equals(expected.significant)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"rule": "paper", "paths": "all", "residual_covariances": False, "prefer": ["A"]},
        {"bootstrap_draws": 0, "alpha": 1e-9},  # nothing significant: no path model, an empty log
        {"covariates": ["sex", "same"], "max_correlation": 1.0, "family": "exposure"},
        {"outcome": "days"},  # no natural effects
    ],
)
def test_what_is_written_is_read_again(cohort, tmp_path, options):
    """Also names that look like numbers or missing values, flags, notes, and a model without some variables."""
    table = cohort.rename(columns={"ggo_A": "NA", "ggo_C": "007"}).assign(constant=1.0, sex=cohort.index % 2)
    table = table.assign(same=1 - table["sex"], double=table["NA"] + table["ggo_B"], days=table["severity"] * 3 + 1.5)
    table["skewed"] = np.exp(2 * table["NA"])
    mediators = ["NA", "ggo_B", "007", "ggo_Noise", "constant", "double", "skewed"]
    given = {"exposures": ["age", "diseases"], "mediators": mediators, "bootstrap_draws": 20} | options
    found = mediation.analyse(table, Options(**given))
    assert (found.multiple is None) == ("alpha" in options)
    found.write(tmp_path)
    assert_equal(mediation.Analysis.read(tmp_path), found)


def test_what_cannot_be_read_is_named(cohort, tmp_path):
    found = mediation.analyse(cohort, Options(exposures=["age"], mediators=["ggo_A"], bootstrap_draws=0))
    found.write(tmp_path)
    summary = json.loads((tmp_path / "summary.json").read_text())
    del summary["path_model"]
    (tmp_path / "summary.json").write_text(json.dumps(summary))
    earlier = mediation.Analysis.read(tmp_path)
    assert earlier.multiple is None
    assert earlier.reason == (
        f"{tmp_path / 'summary.json'} comes from an earlier version, which did not describe the model"
    )
    del summary["options"]["rule"], summary["selected"]
    (tmp_path / "summary.json").write_text(json.dumps(summary))
    with pytest.raises(ValueError, match=r"summary\.json lacks selected, options\.rule: an earlier version wrote it\."):
        mediation.Analysis.read(tmp_path)
    found.write(tmp_path)
    (tmp_path / "univariate.csv").unlink()
    with pytest.raises(FileNotFoundError, match=r"univariate\.csv is missing; run the analysis again\."):
        mediation.Analysis.read(tmp_path)
    (tmp_path / "summary.json").write_text("{")
    with pytest.raises(ValueError, match=r"summary\.json is not JSON .*; delete it and run the analysis again\."):
        mediation.Analysis.read(tmp_path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sets": ("texture",)}, "Unknown set of mediators 'texture'"),
        ({"moderator": "age"}, "The moderator 'age' is also the exposure"),
        ({"moderator": "C(age)"}, "is also the exposure"),
        ({"moderator": "one"}, "The moderator 'one' has 1 values"),
        ({"levels": ("1", "0")}, "are out of order"),
        ({"imputations": 2, "covariates": ("rare",)}, "from which none can be drawn: \\['rare'\\]"),
        ({"screening": True, "covariates": ("rare",)}, "the screening needs 30"),
    ],
)
def test_what_no_step_can_do_is_said_before_the_first_one(cohort, monkeypatch, options, message):
    def computed(*arguments, **more):
        raise AssertionError("something was computed")

    monkeypatch.setattr(procedure, "univariate", computed)
    table = cohort.assign(one=1.0, rare=cohort["diseases"].where(np.arange(len(cohort)) < 19))
    with pytest.raises(ValueError, match=message):
        mediation.analyse(table, Options(**{"exposures": ["age"], "mediators": "^ggo_"} | options))
