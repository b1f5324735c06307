import numpy as np
import pytest
import statsmodels.api as sm

from ssinfnet_jax.analysis.mediation.outcome import binomial


@pytest.fixture(scope="module")
def data():
    """150 rows, 3 problems with 2 columns; the second misses 50 rows, the third is nearly separated."""
    rng = np.random.default_rng(0)
    design = np.concatenate([np.ones((150, 3, 1)), rng.normal(size=(150, 3, 2))], axis=-1)
    score = design @ [0.3, 1.0, -0.5]
    positive = score * [1, 1, 8] + rng.logistic(size=(150, 3)) > 0
    valid = np.ones((150, 3), bool)
    valid[:50, 1] = False
    return design, positive, valid


@pytest.mark.parametrize(("link", "model"), [("logit", sm.Logit), ("probit", sm.Probit)])
def test_statsmodels(data, link, model):
    found = binomial.fit(*data, link)
    assert found.flag.tolist() == ["", "", ""]
    for k in range(3):
        design, positive, valid = (array[:, k] for array in data)
        expected = model(positive[valid].astype(float), design[valid]).fit(disp=0, method="newton", tol=1e-12)
        np.testing.assert_allclose(found.coefficients[k], expected.params, rtol=1e-8)
        np.testing.assert_allclose(found.covariance[k], expected.cov_params(), rtol=1e-6)


@pytest.mark.parametrize("link", ["logit", "probit"])
def test_separation_is_flagged_and_its_neighbours_are_fitted(data, link):
    """The last column tells the outcome in the second problem; in the third, patients have 1, controls 0 or 1."""
    design, positive, valid = (array.copy() for array in data)
    valid[:] = True
    before = binomial.fit(design, positive, valid, link)
    positive[:, 1] = design[:, 1, 2] > 0
    design[:, 2, 2] = np.where(positive[:, 2], 1.0, 0.0)
    design[:3, 2, 2] = 1.0
    positive[:3, 2] = False
    found = binomial.fit(design, positive, valid, link)
    assert found.flag.tolist() == ["", *2 * ["the outcome is separated (predicted without error)"]]
    assert np.isnan(found.coefficients[1:]).all()
    assert np.isnan(found.covariance[1:]).all()
    np.testing.assert_array_equal(found.coefficients[0], before.coefficients[0])


@pytest.mark.parametrize("variance", [1e9, np.nan])
def test_a_huge_standard_error_is_examined_though_the_steps_have_ended(data, monkeypatch, variance):
    """As if Newton's steps had become small on the way to infinity; what is not separated keeps its numbers."""
    design, positive, valid = (array.copy() for array in data)
    valid[:] = True
    positive[:, 1] = design[:, 1, 2] > 0
    real = binomial._newton

    def stopped(*arguments):
        coefficients, covariance, step, influence = (np.array(array) for array in real(*arguments))
        covariance[1], covariance[2] = variance * np.eye(3), 150.0**2 * np.eye(3)
        return coefficients, covariance, np.full_like(step, 1e-12), influence

    monkeypatch.setattr(binomial, "_newton", stopped)
    found = binomial.fit(design, positive, valid, "logit")
    assert found.flag.tolist() == ["", "the outcome is separated (predicted without error)", ""]
    assert np.isfinite(found.coefficients[2]).all()


def test_without_a_covariance_there_is_no_fit(data, monkeypatch):
    real = binomial._newton

    def singular(*arguments):
        coefficients, covariance, step, influence = (np.array(array) for array in real(*arguments))
        covariance[0] = np.inf
        return coefficients, covariance, step, influence

    monkeypatch.setattr(binomial, "_newton", singular)
    assert binomial.fit(*data, "logit").flag.tolist() == ["no convergence", "", ""]


def test_unknown_link(data):
    with pytest.raises(ValueError, match="Unknown link 'cloglog'; choose one of logit, probit"):
        binomial.fit(*data, "cloglog")
