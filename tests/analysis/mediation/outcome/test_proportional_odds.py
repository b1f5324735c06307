import numpy as np
import pytest
from statsmodels.miscmodels.ordinal_model import OrderedModel

from ssinfnet_jax.analysis.mediation.estimation.sampling import Sampling
from ssinfnet_jax.analysis.mediation.outcome import proportional_odds as odds


def test_equals_r(r_golden, r_values):
    """ordinal::clm() on its data `wine`: coefficients, thresholds, their errors, likelihood."""
    table, expected = r_golden("wine"), r_values("ordinal", "clm")
    design = table[["warm", "contact"]].to_numpy(float)[:, None]
    found = odds.fit(design, table["rating"].to_numpy() - 1, np.ones((len(table), 1)), 5)
    names = ["t1", "t2", "t3", "t4", "warm", "contact"]
    values = np.concatenate([found.thresholds[0], found.coefficients[0]])
    np.testing.assert_allclose(values, expected.loc[names, "est"], rtol=1e-5)
    np.testing.assert_allclose(np.sqrt(np.diag(found.covariance[0])), expected.loc[names, "se"], rtol=1e-4)
    assert found.log_likelihood[0] == pytest.approx(expected.loc["logl", "est"], rel=1e-8)
    np.testing.assert_allclose(found.influence.sum(0), 0, atol=1e-8)
    assert found.flag.tolist() == [""]


def test_weights_are_repeated_rows_and_equal_statsmodels():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(150, 1, 2))
    level = np.digitize(x[:, 0] @ [1.0, -0.5] + rng.logistic(size=150), [-1, 0.5, 2])
    weights = rng.integers(1, 4, size=(150, 1)).astype(float)
    found = odds.fit(x, level, weights, 4)
    again = np.repeat(np.arange(150), weights[:, 0].astype(int))
    expected = OrderedModel(level[again], x[again, 0], distr="logit").fit(method="bfgs", gtol=1e-8, disp=0)
    np.testing.assert_allclose(found.coefficients[0], expected.params[:2], rtol=1e-5)
    np.testing.assert_allclose(np.sqrt(np.diag(found.covariance[0]))[3:], expected.bse[:2], rtol=1e-3)


def test_the_assumption_is_tested_at_its_level():
    """200 studies of 300 patients with four levels and two columns: 5 % where it holds; where it does not, most."""
    rng = np.random.default_rng(1)
    x = rng.normal(size=(300, 200, 2))
    for slopes, low, high in ((0.0, 0.03, 0.085), (0.8, 0.8, 1.0)):
        u = rng.logistic(size=(300, 200))
        score = x[..., 0] * 0.8
        # The scale of the error differs with x where the odds are not proportional.
        latent = score + u * np.exp(slopes * x[..., 1] / 2)
        level = (latent > -1).astype(int) + (latent > 0.5) + (latent > 2)
        rejected = []
        for k in range(200):
            _, p = odds.parallel_test(x[:, k : k + 1], level[:, k], np.ones((300, 1)), 4, Sampling())
            rejected.append(p[0] < 0.05)
        assert low <= np.mean(rejected) <= high, np.mean(rejected)


def test_two_levels_have_nothing_to_test():
    x = np.random.default_rng(2).normal(size=(50, 1, 1))
    chisq, p = odds.parallel_test(x, (x[:, 0, 0] > 0).astype(int), np.ones((50, 1)), 2, Sampling())
    assert (chisq[0], p[0]) == (0, 1)


def test_flags():
    x = np.random.default_rng(3).normal(size=(60, 2, 1))
    level = np.digitize(x[:, 0, 0], [-0.5, 0.5])  # the first column tells the level without error
    found = odds.fit(x, level, np.ones((60, 2)), 3)
    assert found.flag.tolist() == ["no convergence: the levels are separated, or nearly", ""]
    assert np.isnan(found.coefficients[0]).all()
    weights = np.ones((60, 2))
    weights[level == 2, 1] = 0
    assert odds.fit(x, level, weights, 3).flag[1] == "a level has no patient in the complete rows"
