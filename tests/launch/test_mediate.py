"""`launch.mediate` of a table, as a user runs it, and as a stage of a run."""

import json
import pathlib
import re

import jax
import numpy as np
import pandas as pd
import pytest

from configs import recommended
from ssinfnet_jax.analysis import mediation
from ssinfnet_jax.analysis.mediation import categories
from ssinfnet_jax.analysis.mediation.estimation import sampling
from tests import programs

pytestmark = pytest.mark.long

ROOT = pathlib.Path(__file__).parents[2]


def call(*arguments):
    """Standard flags of the tests, and these."""
    cache = f"--compilation_cache_dir={jax.config.jax_compilation_cache_dir}"
    return programs.run("launch.mediate", *arguments, cache)


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    """Path of a table of 200 patients: two phenotypes carry the effect of age, one none."""
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"patient_id": np.arange(200), "age": rng.normal(50, 12, 200).clip(0, 120)})
    table["gender"] = np.where(rng.random(200) < 0.5, "female", "male")
    for name, share in (("Entropy", 0.05), ("Kurtosis", 0.04), ("Mean", 0.0)):
        table[f"ggo_firstorder_{name}"] = share * table["age"] + rng.normal(size=200)
    score = table["ggo_firstorder_Entropy"] + table["ggo_firstorder_Kurtosis"] + rng.normal(size=200)
    table["severity"] = np.where(score > score.median(), "Severe", "Control (Healthy)")
    path = tmp_path_factory.mktemp("cohort") / "cohort.csv"
    table.to_csv(path, index=False)
    return path


@pytest.fixture(scope="module")
def written(cohort, tmp_path_factory):
    out = tmp_path_factory.mktemp("analysis")
    flags = [f"--cohort={cohort}", "--exposures=age,gender", "--outcome=severity", "--mediators=^ggo_", f"--out={out}"]
    result = call(*flags, "--bootstrap_draws=200", "--adjust=holm")
    assert result.returncode == 0, result.stderr
    return out, result.stdout


def test_a_table_alone_gives_tables_and_figures(written):
    out, text = written
    tables = {"univariate", "intervals", "natural", "sensitivity", "filter_log"}
    tables |= {"multiple_estimates", "multiple_total_effects", "multiple_intervals", "joint"}
    found = {path.name for path in out.iterdir()}
    assert found == {f"{name}.{end}" for name in tables for end in ("csv", "tex")} | {
        "summary.json",
        "multiple_fit.json",
        "figures",
    }
    figures = ("forest_1", "joint_1", "correlation_heatmap", "path_plot")
    assert {path.name for path in (out / "figures").iterdir()} == {f"{n}.{e}" for n in figures for e in ("png", "svg")}
    assert text.startswith("6 pairs, 2 significant; holm over all pairs together: 6 tests of 2 exposures x 3 mediators")
    assert mediation.CAVEAT in text
    assert "Path model: The model is saturated" in text
    assert "Several mediators: age by ggo_firstorder_Entropy, ggo_firstorder_Kurtosis; gender by none." in text


def test_every_option_of_the_config_has_a_flag(cohort, tmp_path):
    text = call("--help").stdout
    missing = [key for key in recommended.get_config().mediation if f"--{key}:" not in text.replace("[no]", "")]
    assert not missing
    flags = {"rule": "paper", "alpha": 0.2, "adjust": "holm", "family": "exposure", "max_correlation": 0.95}
    flags |= {"prefer": "Kurtosis", "paths": "all", "link": "probit", "bootstrap_draws": 20, "seed": 3}
    given = [f"--{key}={value}" for key, value in flags.items()]
    out = tmp_path / "out"
    result = call(
        f"--cohort={cohort}", "--exposures=age,gender", "--mediators=^ggo_", f"--out={out}", "--noresidual_covariances",
        *given,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    options = json.loads((out / "summary.json").read_text())["options"]
    expected = flags | {"prefer": ["Kurtosis"], "threshold": flags["max_correlation"], "residual_covariances": False}
    del expected["max_correlation"]
    assert {key: options[key] for key in expected} == expected


def test_help_groups_every_flag():
    """Each own flag stands once in the groups, and nothing else does."""
    text = call("--help").stdout
    groups = re.findall(r"^ {2}[a-z, ]+: {2,}(.+)$", text.partition("Flags by what they are for")[2], re.MULTILINE)
    grouped = [name for line in groups for name in re.findall(r"[a-z_]+", line.partition(";")[0])]
    own = re.findall(r"^ {2}--(?:\[no\])?(\w+):.*(?:\n(?! {2}--).*)*?with\s+--cohort", text, re.MULTILINE)
    assert sorted(grouped) == sorted([*own, "cohort"])


@pytest.fixture(scope="module")
def hospitals(cohort, tmp_path_factory):
    """The cohort in ten hospitals, three scanners, with weights."""
    table = pd.read_csv(cohort)
    table["hospital"] = [f"H{i % 10}" for i in range(200)]
    table["scanner"] = np.array(["A", "B", "C"])[np.arange(200) // 10 % 3]
    table["weight"] = 1 + np.arange(200) % 2
    path = tmp_path_factory.mktemp("hospitals") / "cohort.csv"
    table.to_csv(path, index=False)
    return path


def test_hospitals_scanners_and_weights(hospitals, tmp_path):
    out = tmp_path / "out"
    flags = [f"--cohort={hospitals}", "--exposures=age,C(gender)", "--mediators=^ggo_", f"--out={out}"]
    flags += ["--covariates=C(scanner)", "--cluster=hospital", "--weights=weight", "--interaction", "--screening"]
    result = call(*flags, "--sets=all,shape=Entropy|Kurtosis", "--bootstrap_draws=50")
    assert "Error: The screening of mediators takes no weights of patients" in result.stderr
    flags.remove("--screening")
    result = call(*flags, "--sets=all,shape=Entropy|Kurtosis", "--bootstrap_draws=50")
    assert result.returncode == 0, result.stderr
    table = pd.read_csv(hospitals)
    table["severity"] = (table["severity"] == "Severe").astype(int)
    table, names = categories.expand(table, ["C(gender)", "C(scanner)"])
    of = sampling.read(table, "hospital", "weight")
    expected = mediation.univariate(
        table, ["age", names[0]], [name for name in table if name.startswith("ggo_")], covariates=names[1:], sampling=of
    )
    found = pd.read_csv(out / "univariate.csv")
    for name in ("exposure", "mediator"):
        assert found[name].tolist() == expected[name].tolist()
    np.testing.assert_allclose(found["indirect_se"], expected["indirect_se"])
    np.testing.assert_allclose(found["indirect_p"], expected["indirect_p"])
    joint = pd.read_csv(out / "joint.csv")
    assert joint["mediators"].tolist() == ["all", "shape", "all", "shape"]
    assert pd.read_csv(out / "natural.csv")["interaction_se"].notna().all()
    assert "Joint effects of 4 sets of mediators; significant: age by all" in result.stdout


def test_screening_of_a_table(cohort, tmp_path):
    out = tmp_path / "out"
    flags = [f"--cohort={cohort}", "--exposures=age", "--mediators=^ggo_", f"--out={out}", "--bootstrap_draws=0"]
    result = call(*flags, "--screening", "--sets=")
    assert result.returncode == 0, result.stderr
    found = pd.read_csv(out / "screening.csv").set_index("mediator")
    assert found["selected"].to_dict() == {
        "ggo_firstorder_Entropy": True,
        "ggo_firstorder_Kurtosis": True,
        "ggo_firstorder_Mean": False,
    }
    assert "Screening (stability in brackets): ggo_firstorder_Entropy of age (" in result.stdout
    assert not (out / "joint.csv").exists()


def test_missing_values_of_a_table(cohort, tmp_path):
    table = pd.read_csv(cohort)
    table["ggo_firstorder_Entropy"] = table["ggo_firstorder_Entropy"].where(table.index % 5 > 0)
    table.to_csv(tmp_path / "table.csv", index=False)
    out = tmp_path / "out"
    flags = [f"--cohort={tmp_path / 'table.csv'}", "--exposures=age", "--mediators=(Entropy|Kurtosis)$", f"--out={out}"]
    flags += ["--sets=", "--bootstrap_draws=20"]
    result = call(*flags, "--missing=fiml", "--imputations=2", "--imputation_cycles=2")
    assert result.returncode == 0, result.stderr
    assert "Columns with missing values: 1 (missing.csv)." in result.stdout
    assert re.search(r"Missing values imputed; \d of 2 pairs flagged; significant: age by ", result.stdout)
    assert pd.read_csv(out / "missing.csv")[["column", "num_missing", "num_other"]].to_numpy().tolist() == [
        ["ggo_firstorder_Entropy", 40, 40]
    ]
    assert pd.read_csv(out / "imputed.csv")["n"].tolist() == [200, 200]
    assert pd.read_csv(out / "univariate.csv")["n"].tolist() == [160, 200]
    assert json.loads((out / "multiple_fit.json").read_text())["ntotal"] == 200
    assert not (out / "multiple_intervals.csv").exists()


LEVELS = ["Suspected", "Mild", "Regular", "Severe", "Critically ill"]


@pytest.fixture(scope="module")
def graded(cohort, tmp_path_factory):
    """The cohort with severity in five levels, a moderator and the same levels in words of another hospital."""
    table = pd.read_csv(cohort)
    rng = np.random.default_rng(1)
    score = table["ggo_firstorder_Entropy"] + table["ggo_firstorder_Kurtosis"] + rng.normal(size=200)
    code = np.digitize(score, np.quantile(score, [0.2, 0.4, 0.6, 0.8]))
    table["severity"] = np.array(LEVELS)[code]
    table["stage"] = np.array(["i", "i", "II", "iii", "IV"])[code]
    table["dose"] = rng.normal(size=200)
    path = tmp_path_factory.mktemp("graded") / "cohort.csv"
    table.to_csv(path, index=False)
    return path


def test_levels_and_a_moderator_of_a_table(graded, tmp_path):
    out = tmp_path / "out"
    flags = [f"--cohort={graded}", "--exposures=age", "--mediators=^ggo_", f"--out={out}", "--bootstrap_draws=50"]
    result = call(
        *flags, "--levels=Suspected,Mild|Regular,Severe,Critically ill", "--moderator=dose", "--moderated=both"
    )
    assert result.returncode == 0, result.stderr
    table = pd.read_csv(graded)
    names = [name for name in table if name.startswith("ggo_")]
    levels = ["Suspected", "Mild|Regular", "Severe", "Critically ill"]
    expected = mediation.ordinal_effects(table, ["age"], names, levels=levels)
    found = mediation.Analysis.read(out)
    pd.testing.assert_frame_equal(found.ordinal, expected, check_dtype=False)
    assert found.ordinal.attrs == expected.attrs
    binary = table.assign(severity=table["severity"].ne("Suspected").astype(int))
    expected = mediation.moderated_effects(binary, ["age"], names, "dose", moderated="both", draws=50)
    pd.testing.assert_frame_equal(found.moderated, expected, check_dtype=False)
    np.testing.assert_allclose(
        found.univariate["indirect_p"], mediation.univariate(binary, ["age"], names)["indirect_p"]
    )
    assert {"ordinal.png", "moderated.svg"} <= {path.name for path in (out / "figures").iterdir()}
    assert "Severity in levels: indirect effects on some level of age by ggo_firstorder_" in result.stdout
    assert "Moderated mediation by dose; significant: none." in result.stdout


def test_own_levels_are_numbers_for_linear_models(graded, tmp_path):
    out = tmp_path / "out"
    flags = [f"--cohort={graded}", "--exposures=age", "--mediators=Entropy$", f"--out={out}", "--bootstrap_draws=0"]
    result = call(*flags, "--outcome=stage", "--levels=I,II,III,IV", "--sets=", "--moderator=C(gender)")
    assert result.returncode == 0, result.stderr
    table = pd.read_csv(graded)
    table["stage"] = table["stage"].str.upper().map({"I": 0, "II": 1, "III": 2, "IV": 3})
    expected = mediation.univariate(table, ["age"], ["ggo_firstorder_Entropy"], "stage")
    found = mediation.Analysis.read(out)
    np.testing.assert_allclose(found.univariate["indirect_est"], expected["indirect_est"])
    assert found.ordinal["level"].tolist() == ["II", "III", "IV", "I", "II", "III", "IV"]
    assert found.natural is None
    assert set(found.moderated["at"]) == {"female", "male"}


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        ("--levels=Severe,Mild|Regular,Suspected,Critically ill", "are out of order; give the lowest first, as in"),
        ("--levels=Suspected,Mild,Severe,Critically ill", "values that are no level: ['Regular']; the levels are"),
        ("--levels=Control,Suspected,Mild,Regular,Severe,Critically ill", "No patient has the levels ['Control']"),
        ("--levels=Severe", "Give two or more levels of 'severity', each once, the lowest first"),
        ("--moderator=height", "has no columns ['height']"),
        ("--moderator=age", "The moderator 'age' is also the exposure"),
    ],
)
def test_bad_levels_and_moderators(graded, tmp_path, flag, message):
    flags = [f"--cohort={graded}", "--exposures=age", "--mediators=^ggo_", f"--out={tmp_path / 'out'}", "--sets="]
    result = call(*flags, "--bootstrap_draws=0", flag)
    assert result.returncode == 1
    assert message in result.stderr.strip().splitlines()[-1]
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("change", "flag", "message"),
    [
        ({"hospital": "H1"}, "--cluster=hospital", "All patients have the same 'hospital' ('H1')"),
        ({"scanner": ["Z", *["A"] * 199]}, "--covariates=C(scanner)", "one patient alone is in the category 'Z'"),
        ({"weight": -1}, "--weights=weight", "Weights must be numbers above 0"),
        ({}, "--cluster=ward", "has no columns ['ward']"),
        ({}, "--sets=texture", "Unknown set of mediators 'texture'"),
        ({}, "--fdr=2", "fdr must be in (0, 1)"),
        ({}, "--imputations=1", "--imputations must be 0 or at least 2"),
        ({}, "--imputation_cycles=1", "--imputation_cycles must be at least 2, found 1"),
    ],
)
def test_bad_hospitals(hospitals, tmp_path, change, flag, message):
    pd.read_csv(hospitals).assign(**change).to_csv(tmp_path / "table.csv", index=False)
    flags = [f"--cohort={tmp_path / 'table.csv'}", "--exposures=age", "--mediators=^ggo_", f"--out={tmp_path / 'out'}"]
    result = call(*flags, "--bootstrap_draws=0", flag)
    assert result.returncode == 1
    assert message in result.stderr.strip().splitlines()[-1]


def test_a_poor_fit_is_said_with_what_to_do(cohort, tmp_path):
    table = pd.read_csv(cohort)
    table["ggo_firstorder_Kurtosis"] += 2 * table["ggo_firstorder_Entropy"]
    table["ggo_firstorder_Entropy"] += table["age"] / 50
    table.to_csv(tmp_path / "table.csv", index=False)
    flags = [f"--cohort={tmp_path / 'table.csv'}", "--exposures=age", "--mediators=(Entropy|Kurtosis)$"]
    flags += [f"--out={tmp_path / 'out'}", "--bootstrap_draws=0", "--max_correlation=1"]
    poor = call(*flags, "--noresidual_covariances")
    assert "Path model: The model fits poorly: CFI" in poor.stdout
    assert "launch.mediate --residual_covariances" in poor.stdout
    assert "The model is saturated" in call(*flags).stdout


def test_a_spreadsheet_as_people_have_it(cohort, tmp_path):
    table = pd.read_csv(cohort).rename(columns={"patient_id": "Patient No.", "age": " Age", "gender": "Sex"})
    table["Underlying diseases"] = np.resize(
        ["none", "高血压 糖尿病", "?", "asthma. gout", "gout, unknown"], len(table)
    )
    table["severity"] = table["severity"].map({"Severe": "yes"}).fillna("no")
    table.loc[0, "severity"] = "unknown"
    table.loc[1, "ggo_firstorder_Mean"] = -9999
    with pd.ExcelWriter(tmp_path / "cohort.xlsx") as writer:
        table.to_excel(writer, index=False, startrow=1)
        writer.sheets["Sheet1"].cell(1, 1, "Table 1. Patients")
    out = tmp_path / "out"
    flags = [f"--cohort={tmp_path / 'cohort.xlsx'}", "--mediators=^ggo_", f"--out={out}", "--bootstrap_draws=0"]
    asked = call(*flags)
    assert asked.returncode == 1
    remedy = re.search(r"pass (--missing_codes=ggo_firstorder_Mean=-9999), or empty", asked.stderr)[1]
    result = call(*flags, remedy)
    assert result.returncode == 0, result.stderr
    assert "skipping the rows above it: row 1 ('Table 1. Patients')" in result.stderr
    doubts = pd.read_csv(out / "doubtful_words.csv")
    assert doubts[["text", "count", "patients"]].to_numpy().tolist() == [["gout, unknown", 1.0, 40]]
    found = pd.read_csv(out / "univariate.csv").set_index(["exposure", "mediator"])["n"]
    assert found["age", "ggo_firstorder_Entropy"] == 199
    assert found["age", "ggo_firstorder_Mean"] == 198
    assert found["underlying", "ggo_firstorder_Entropy"] == 159


def test_a_second_analysis_leaves_nothing_of_the_first(cohort, tmp_path):
    table = pd.read_csv(cohort)
    table["severity"] = np.where(table["severity"] == "Severe", 2, 1)
    table.to_csv(tmp_path / "coded.csv", index=False)
    out = tmp_path / "out"
    (out / "figures").mkdir(parents=True)
    stale = ["multiple_fit.json", "intervals.csv", "natural.tex", "figures/forest_2.png", "figures/path_plot.svg"]
    kept = ["notes.csv", "figures/forest_mine.png"]
    for name in stale + kept:
        (out / name).write_text("earlier")
    flags = [f"--cohort={tmp_path / 'coded.csv'}", "--exposures=gender", "--mediators=Mean$", f"--out={out}"]
    result = call(*flags, "--bootstrap_draws=0")
    assert result.returncode == 0, result.stderr
    assert "There are no natural effects and no E-values: they need an outcome of 0 and 1" in result.stdout
    assert "regression for binary outcomes" not in result.stdout
    assert not [name for name in stale if (out / name).exists()]
    assert {name: (out / name).read_text() for name in kept} == dict.fromkeys(kept, "earlier")
    assert (out / "figures/forest_1.png").exists()


def test_its_numbers_are_the_librarys(written, cohort):
    out, _ = written
    table = pd.read_csv(cohort)
    table["gender"] = (table["gender"] == "male").astype(int)
    table["severity"] = (table["severity"] == "Severe").astype(int)
    names = [name for name in table if name.startswith("ggo_")]
    expected = mediation.univariate(table, ["age", "gender"], names, adjust="holm")
    found = pd.read_csv(out / "univariate.csv")
    np.testing.assert_allclose(found["indirect_p_adj"], expected["indirect_p_adj"])
    assert pd.read_csv(out / "intervals.csv")["draws"].eq(200).all()
    options = json.loads((out / "summary.json").read_text())["options"]
    assert (options["adjust"], options["bootstrap_draws"]) == ("holm", 200)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--mediators=^ggo_"], "give either --config and --workdir, or --cohort"),
        (["--cohort=COHORT", "--out=OUT"], "Error: With --cohort, give --mediators (a regular expression of column"),
        (
            [
                "--cohort=COHORT",
                "--mediators=^ggo_",
                "--out=OUT",
                "--exposures=age",
                "--forest_interval=bca",
                "--bootstrap_draws=0",
            ],
            "Error: --forest_interval=bca needs resamples; set --bootstrap_draws above 0",
        ),
        (["--cohort=COHORT", "--mediators=^ct_", "--out=OUT", "--exposures=age"], "No numeric column matches the"),
        (
            ["--cohort=COHORT", "--mediators=*ggo", "--out=OUT", "--exposures=age"],
            "Error: The mediators are not a regu",
        ),
        (
            ["--cohort=COHORT", "--mediators=^ggo_", "--out=OUT", "--alpha=5"],
            "Error: --alpha must be in (0, 1), found 5.0; give a number, such as 0.05.",
        ),
        (
            ["--cohort=COHORT", "--mediators=^ggo_", "--out=OUT", "--max_correlation=0"],
            "--max_correlation must be in (0, 1], found 0.0; give a num",
        ),
        (
            ["--cohort=COHORT", "--mediators=^ggo_", "--out=OUT", "--seed=-1"],
            "--seed must be in [0, 2147483647], found -1; give a whole number",
        ),
        (
            ["--cohort=COHORT", "--mediators=^ggo_", "--out=OUT", "--link=cloglog"],
            "--link=cloglog: value should be one",
        ),
        (
            ["--config=configs/ct_phantom.py:tiny", "--workdir=OUT", "--alpha=0.1", "--seed=2"],
            "--alpha, --seed without --cohort: with --config a run follows its config; leave out these flags",
        ),
        (["--cohort=COHORT", "--mediators=^ggo_", "--out=OUT", "--exposures=weight"], "has no columns ['weight']"),
    ],
)
def test_mistakes_end_with_one_clear_line(cohort, tmp_path, arguments, message):
    out = tmp_path / "out"
    result = call(*(a.replace("COHORT", str(cohort)).replace("OUT", str(out)) for a in arguments))
    assert result.returncode != 0
    assert message in result.stderr
    assert "Traceback (most recent call last)" not in result.stderr
    assert not out.exists()


def test_a_file_is_no_folder_for_results(cohort, tmp_path):
    (tmp_path / "out").write_text("mine")
    result = call(f"--cohort={cohort}", "--mediators=^ggo_", f"--out={tmp_path / 'out'}", "--exposures=age")
    assert result.returncode == 1
    assert "out must be a folder, new or from an earlier call, but" in result.stderr
    assert (tmp_path / "out").read_text() == "mine"


def test_as_a_stage_it_wants_the_stage_before(tmp_path):
    result = call("--config=configs/ct_phantom.py:tiny", f"--workdir={tmp_path / 'run'}")
    assert result.returncode == 1
    assert "Stage 'mediate' needs prepare, " in result.stderr
