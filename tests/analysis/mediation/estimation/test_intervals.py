import numpy as np
import pytest
from scipy import stats

from ssinfnet_jax.analysis.mediation.estimation import intervals
from ssinfnet_jax.analysis.mediation.estimation.resample import Resamples


@pytest.fixture(scope="module")
def skewed():
    """60 lognormal values, and scipy's bootstrap of their variance."""
    values = np.random.default_rng(0).lognormal(size=60)
    options = {"n_resamples": 4000, "rng": np.random.default_rng(1), "vectorized": True}
    return values, {
        method: stats.bootstrap((values,), np.var, method=method, **options) for method in ("percentile", "BCa")
    }


def of(values, found):
    without = np.array([np.var(np.delete(values, i)) for i in range(len(values))])
    return Resamples(np.array([np.var(values)]), found.bootstrap_distribution[:, None], without[:, None])


@pytest.mark.parametrize(("ours", "theirs"), [("percentile", "percentile"), ("bca", "BCa")])
def test_scipy_from_the_same_draws(skewed, ours, theirs):
    values, found = skewed
    row = intervals.intervals(of(values, found[theirs])).iloc[0]
    expected = found[theirs].confidence_interval
    assert row[f"{ours}_lower"] == pytest.approx(expected.low, rel=1e-9)
    assert row[f"{ours}_upper"] == pytest.approx(expected.high, rel=1e-9)
    assert row["se"] == pytest.approx(found[theirs].standard_error)
    assert row["draws"] == 4000


def test_bias_correction_is_bca_without_acceleration(skewed):
    values, found = skewed
    resamples = of(values, found["BCa"])
    symmetric = resamples._replace(jackknife=np.array([[-1.0], [0.0], [1.0]]))
    row = intervals.intervals(symmetric).iloc[0]
    assert row["bc_lower"] == row["bca_lower"]
    below = (resamples.draws < resamples.estimate).mean()
    share = stats.norm.cdf(2 * stats.norm.ppf(below) + stats.norm.ppf(0.975))
    assert row["bc_upper"] == pytest.approx(np.quantile(resamples.draws, share), rel=1e-9)


def test_levels(skewed):
    values, found = skewed
    narrow, wide = (intervals.intervals(of(values, found["BCa"]), level).iloc[0] for level in (0.5, 0.99))
    for method in intervals.METHODS:
        assert wide[f"{method}_lower"] < narrow[f"{method}_lower"] < narrow[f"{method}_upper"] < wide[f"{method}_upper"]
    with pytest.raises(ValueError, match=r"level must be in \(0, 1\), got 95"):
        intervals.intervals(of(values, found["BCa"]), 95)


def test_unusable_draws_are_left_out_and_too_many_give_no_interval():
    draws = np.random.default_rng(0).normal(size=(1000, 2))
    held = draws[40:, 0].copy()
    draws[:40, 0], draws[:60, 1] = np.nan, np.nan
    jackknife = np.random.default_rng(1).normal(size=(50, 2))
    found = intervals.intervals(Resamples(np.zeros(2), draws, jackknife))
    assert found["draws"].tolist() == [960, 940]
    assert found.loc[0, "percentile_lower"] == pytest.approx(np.quantile(held, 0.025))
    assert found.loc[0, "se"] == pytest.approx(held.std(ddof=1))
    assert found.loc[1].drop("draws").isna().all()


def test_an_estimate_beyond_all_draws_has_finite_bounds():
    draws = np.random.default_rng(0).normal(size=(1000, 1))
    row = intervals.intervals(Resamples(np.array([9.0]), draws, draws[:50])).iloc[0]
    assert np.isfinite(row).all()
    assert row["bc_upper"] == pytest.approx(draws.max())
