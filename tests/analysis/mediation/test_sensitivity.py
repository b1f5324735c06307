import numpy as np
import pandas as pd
import pytest
from scipy import optimize, stats

from ssinfnet_jax.analysis import mediation


@pytest.mark.parametrize(("risk_ratio", "expected"), [(3.9, 7.26), (1.8, 3.0), (0.5, 3.41), (0.8, 1.81), (1.0, 1.0)])
def test_published_e_values(risk_ratio, expected):
    """VanderWeele and Ding 2017: breastfeeding and infant death 3.9 (from 1.8), and ovarian cancer 0.5 (to 0.8)."""
    assert mediation.e_value(risk_ratio) == pytest.approx(expected, abs=0.005)


def test_confounding_alone_gives_its_own_correlation():
    """m does not act on y; a hidden cause makes their errors correlate by 0.3. Monte Carlo error: 0.0064."""
    rng = np.random.default_rng(0)
    hidden, x = rng.normal(size=20_000), rng.normal(size=20_000)
    noise = rng.normal(size=(2, 20_000))
    m = 0.5 * x + np.sqrt(0.3) * hidden + np.sqrt(0.7) * noise[0]
    y = 0.4 * x + np.sqrt(0.3) * hidden + np.sqrt(0.7) * noise[1]
    table = pd.DataFrame({"x": x, "m": m, "y": y})
    found = mediation.sensitivity(mediation.univariate(table, ["x"], ["m"], "y")).iloc[0]
    assert found["rho"] == pytest.approx(0.3, abs=0.025)
    assert found["rho_squared"] == found["rho"] ** 2


def test_rho_by_maximum_likelihood(cohort):
    """With errors correlated by rho, the b that maximises the likelihood of both equations crosses 0 there."""
    x, m, y = (cohort[name] - cohort[name].mean() for name in ("age", "ggo_A", "severity"))
    x, m, y = x / x.std(), m / m.std(), y / y.std()

    def b_of(rho):
        def negative_logl(parameters):
            a, c, b, log_sm, log_sy = parameters
            u, v = (m - a * x) / np.exp(log_sm), (y - c * x - b * m) / np.exp(log_sy)
            density = (u**2 - 2 * rho * u * v + v**2) / (2 * (1 - rho**2))
            return density.sum() + len(x) * (log_sm + log_sy)

        return optimize.minimize(negative_logl, np.zeros(5), method="BFGS", options={"gtol": 1e-7}).x[2]

    root = optimize.brentq(b_of, 0.1, 0.9, xtol=1e-6)
    found = mediation.sensitivity(mediation.univariate(cohort, ["age"], ["ggo_A"]))
    assert found.loc[0, "rho"] == pytest.approx(root, abs=1e-4)


def test_partial_correlation_given_covariates(cohort):
    pairs = mediation.univariate(cohort, ["age"], ["ggo_A"], covariates=["diseases"])
    given = np.column_stack([np.ones(200), cohort[["age", "diseases"]]])
    m, y = (v - given @ np.linalg.lstsq(given, v, rcond=None)[0] for v in (cohort["ggo_A"], cohort["severity"]))
    assert mediation.sensitivity(pairs).loc[0, "rho"] == pytest.approx(stats.pearsonr(m, y).statistic, rel=1e-9)


def test_e_values_of_effects_and_limits(cohort):
    names = ["ggo_A", "ggo_B", "ggo_Noise"]
    table = cohort.assign(constant=1.0)
    pairs = mediation.univariate(table, ["age"], [*names, "constant"])
    natural = mediation.natural_effects(table, ["age"], [*names, "constant"])
    found = mediation.sensitivity(pairs, natural).set_index("mediator")
    natural = natural.set_index("mediator")
    assert natural.loc["ggo_A", "risk_ratio_lower"] > 1
    ratio, low = natural.loc["ggo_A", ["risk_ratio", "risk_ratio_lower"]]
    assert found.loc["ggo_A", "e_value"] == pytest.approx(ratio + np.sqrt(ratio * (ratio - 1)))
    assert found.loc["ggo_A", "e_value_limit"] == pytest.approx(low + np.sqrt(low * (low - 1)))
    assert found.loc["ggo_Noise", "e_value_limit"] == 1
    assert found.loc["ggo_Noise", "e_value"] > 1
    assert found.loc["constant"].drop("exposure").isna().all()
