import jax
import numpy as np
import pandas as pd
import pytest
from scipy import stats

from ssinfnet_jax.analysis import mediation
from ssinfnet_jax.analysis.mediation import pairs as pairing
from ssinfnet_jax.analysis.mediation.bootstrap import resample_pairs
from ssinfnet_jax.analysis.mediation.estimation import resample

BOUNDS = [f"{method}_{side}" for method in ("percentile", "bc", "bca") for side in ("lower", "upper")]


def slopes(y, *regressors):
    return np.linalg.lstsq(np.column_stack([np.ones(len(y)), *regressors]), y, rcond=None)[0][1:]


def indirect(table, x, m, covariates=()):
    """ab of the complete rows, by least squares."""
    used = table[[x, m, "severity", *covariates]].dropna().to_numpy(float).T
    x, m, y, *given = used
    return slopes(m, x, *given)[0] * slopes(y, x, m, *given)[1]


@pytest.fixture(scope="module")
def drawn():
    """Rows of each resample of 200 patients with seed 0, written down from the definition of the draws."""
    key = jax.random.fold_in(jax.random.key(0), 0)
    with jax.enable_x64(True):
        return np.asarray(jax.random.randint(key, (resample._CHUNK, 200), 0, 200))


@pytest.mark.parametrize("covariates", [(), ("diseases",)])
def test_draws_are_refits_of_resampled_patients(cohort, drawn, covariates):
    table = cohort.copy()
    table.loc[5:30, "ggo_C"] = np.nan
    data = table[["age", "ggo_A", "ggo_C", "severity", "diseases"]].astype(float)
    ((_, pairs),) = pairing.blocks(data, ["age"], ["ggo_A", "ggo_C"], "severity", covariates, 10)
    found = resample_pairs(pairs, 12, 0)
    scale = pairs.sd[:, -1] / pairs.sd[:, -3]
    for draw in range(12):
        again = data.iloc[drawn[draw]]
        expected = [indirect(again, "age", m, covariates) for m in ("ggo_A", "ggo_C")]
        np.testing.assert_allclose(found.draws[draw] * scale, expected, rtol=1e-8)
    for left_out in (0, 7, 199):
        again = data.drop(index=left_out)
        expected = [indirect(again, "age", m, covariates) for m in ("ggo_A", "ggo_C")]
        np.testing.assert_allclose(found.jackknife[left_out] * scale, expected, rtol=1e-8)


@pytest.mark.parametrize("residual_covariances", [False, True])
def test_path_model_sees_the_same_resamples(cohort, drawn, residual_covariances):
    """One draw: its quantiles are the refit of the resampled patients, once by multiple() itself."""
    options = {"residual_covariances": residual_covariances}
    exposures = {"age": ["ggo_A", "ggo_C"], "diseases": ["ggo_C"]}
    model = mediation.multiple(cohort, exposures, **options)
    found = mediation.bootstrap_multiple(cohort, model, draws=1)
    again = mediation.multiple(cohort.iloc[drawn[0]], exposures, **options).estimates
    np.testing.assert_allclose(found["percentile_lower"], again.loc[again["op"] == ":=", "est"], rtol=1e-8)
    defined = model.estimates[model.estimates["op"] == ":="].reset_index(drop=True)
    pd.testing.assert_frame_equal(found[["label", "rhs", "est", "std"]], defined[["label", "rhs", "est", "std"]])
    if not residual_covariances:
        pair = mediation.bootstrap(cohort, ["age"], ["ggo_A"], draws=1)
        alone = mediation.bootstrap_multiple(cohort, mediation.multiple(cohort, {"age": ["ggo_A"]}), draws=1)
        assert alone.loc[0, "percentile_lower"] == pytest.approx(pair.loc[0, "percentile_lower"], rel=1e-9)


def test_estimates_are_those_of_the_models(cohort):
    pairs = mediation.univariate(cohort, ["age", "diseases"], ["ggo_A", "ggo_C"], covariates=["ggo_Noise"])
    found = mediation.bootstrap(cohort, ["age", "diseases"], ["ggo_A", "ggo_C"], covariates=["ggo_Noise"], draws=100)
    np.testing.assert_allclose(found[["est", "std"]], pairs[["indirect_est", "indirect_std"]], rtol=1e-9)
    assert found[["exposure", "mediator"]].equals(pairs[["exposure", "mediator"]])


def test_lavaan(golden):
    """lavaan drew 2000: the Monte Carlo error of its bounds is 6 % of a standard error; four of them."""
    expected = golden("lavaan_boot.csv").set_index("label").loc["ind"]
    found = mediation.bootstrap(golden("cohort.csv"), ["age"], ["ggo_Entropy"], draws=20_000).iloc[0]
    assert found["est"] == pytest.approx(expected["est"], rel=1e-9)
    for side in ("lower", "upper"):
        assert abs(found[f"percentile_{side}"] - expected[f"ci.{side}"]) < 0.24 * found["se"]


def test_scipy(cohort):
    """Both draw 4000: bounds differ by Monte Carlo errors of sqrt(2) 4.3 % of a standard error; four of them."""
    found = mediation.bootstrap(cohort, ["age"], ["ggo_A"], draws=4000).iloc[0]
    samples = tuple(cohort[name].to_numpy(float) for name in ("age", "ggo_A", "severity"))

    def statistic(x, m, y):
        return slopes(m, x)[0] * slopes(y, x, m)[1]

    options = {"paired": True, "vectorized": False, "n_resamples": 4000, "rng": np.random.default_rng(0)}
    for ours, theirs in (("percentile", "percentile"), ("bca", "BCa")):
        expected = stats.bootstrap(samples, statistic, method=theirs, **options)
        assert abs(found[f"{ours}_lower"] - expected.confidence_interval.low) < 0.25 * found["se"]
        assert abs(found[f"{ours}_upper"] - expected.confidence_interval.high) < 0.25 * found["se"]
        assert found["se"] == pytest.approx(expected.standard_error, rel=0.06)


@pytest.mark.parametrize("factor", [1000, 1e-6])
def test_units_do_not_matter(cohort, factor):
    before, after = (
        mediation.bootstrap(table, ["age"], ["ggo_A"], draws=500)
        for table in (cohort, cohort.assign(ggo_A=factor * cohort["ggo_A"]))
    )
    np.testing.assert_allclose(after[["std", "est", "se", *BOUNDS]], before[["std", "est", "se", *BOUNDS]], rtol=1e-8)


def test_blocks_change_nothing(cohort, monkeypatch):
    names = ["ggo_A", "ggo_C", "ggo_Noise"]
    whole = mediation.bootstrap(cohort, ["age", "diseases"], names, draws=300)
    monkeypatch.setattr(pairing, "_MAX_PAIRS", 2)
    pd.testing.assert_frame_equal(mediation.bootstrap(cohort, ["age", "diseases"], names, draws=300), whole, rtol=1e-9)


def test_the_seed_decides(cohort):
    first, again, other = (mediation.bootstrap(cohort, ["age"], ["ggo_A"], draws=50, seed=s) for s in (1, 1, 2))
    pd.testing.assert_frame_equal(first, again)
    assert first.loc[0, "se"] != other.loc[0, "se"]


def test_what_cannot_be_fitted_is_flagged(cohort):
    """A mediator with two values, one of them held by two patients, is constant in one resample of seven."""
    table = cohort.assign(
        constant=3.0, copy=2 * cohort["age"], rare=(cohort.index < 2).astype(float), short=cohort["ggo_A"].head(8)
    )
    names = ["ggo_A", "constant", "copy", "rare", "short"]
    found = mediation.bootstrap(table, ["age"], names, draws=500).set_index("mediator")
    assert found.loc["ggo_A", "flag"] == ""
    assert found.loc["constant", "flag"] == "constant mediator"
    assert found.loc["copy", "flag"] == "exposure and mediator are collinear"
    assert found.loc["short", "flag"] == "too few complete rows (8 < 10)"
    assert found.loc["rare", "flag"] == f"only {found.loc['rare', 'draws']} of 500 resamples can be fitted"
    assert 0.8 < found.loc["rare", "draws"] / 500 < 0.93
    assert found.loc[names[1:], ["se", *BOUNDS]].isna().all(axis=None)
    assert found.loc["ggo_A", BOUNDS].notna().all()


def test_patients_without_an_outcome_do_not_count(cohort):
    table = cohort.assign(severity=cohort["severity"].where(cohort.index < 150))
    found = mediation.bootstrap(table, ["age"], ["ggo_A"], draws=200)
    pd.testing.assert_frame_equal(found, mediation.bootstrap(cohort.head(150), ["age"], ["ggo_A"], draws=200))


def test_errors(cohort):
    with pytest.raises(ValueError, match="draws must be at least 1, got 0"):
        mediation.bootstrap(cohort, ["age"], ["ggo_A"], draws=0)
    with pytest.raises(ValueError, match=r"Columns that are not numbers: \{'patient_id'"):
        mediation.bootstrap(cohort, ["age"], ["patient_id"])
    with pytest.raises(ValueError, match="draws must be at least 1, got -5"):
        mediation.bootstrap_multiple(cohort, mediation.multiple(cohort, {"age": ["ggo_A"]}), draws=-5)
