import numpy as np
import pandas as pd
import pytest

from ssinfnet_jax.analysis.mediation.estimation import sampling
from ssinfnet_jax.analysis.mediation.several import screening

ALPHA = BETA = [0.2, 0.25, 0.15, 0.3, 0.35]


def published(rng, patients=400, num=1000, rho=0.25):
    """A study of Perera et al. 2022 (HIMA2): five of 1000 mediators act, one has only a, one only b.

    Columns: two covariates, exposure, mediators whose residuals correlate by rho^|i - j|, outcome.
    """
    x, given = rng.normal(size=(patients, 1)), rng.normal(size=(patients, 2))
    e = rng.normal(size=(patients, num))
    for j in range(1, num):
        e[:, j] = rho * e[:, j - 1] + np.sqrt(1 - rho**2) * e[:, j]
    a, b = np.zeros(num), np.zeros(num)
    a[:6], b[:5], b[6] = [*ALPHA, 0.1], BETA, 0.1
    m = x * a + given @ np.full((2, num), 0.5) + e
    y = 0.5 * x[:, 0] + m @ b + 0.5 * given.sum(1) + rng.normal(size=patients)
    return np.column_stack([given, x, m, y])


@pytest.mark.long
@pytest.mark.parametrize(("rho", "strong", "all_five"), [(0.25, 0.85, 0.65), (0.75, 0.7, 0.5)])
def test_published_simulation(rho, strong, all_five):
    """In 15 studies of 400 patients the five are found, and hardly anything else; fewer where neighbours correlate."""
    rng = np.random.default_rng(3)
    chosen = np.array([screening._test(published(rng, rho=rho), 2, sampling.Sampling()).q <= 0.05 for _ in range(15)])
    false = chosen[:, 5:].sum(1) / np.maximum(chosen.sum(1), 1)
    assert false.mean() <= 0.05
    power = chosen[:, :5].mean(0)
    assert (power[3:] >= strong).all(), power
    assert power.mean() >= all_five, power


@pytest.mark.parametrize(("a", "b"), [(0.0, 0.0), (0.5, 0.0), (0.0, 0.4)])
def test_mediators_with_one_path_or_none_are_rarely_selected(a, b):
    """200 studies of 200 patients and 60 mediators, 30 of which have one path: Monte Carlo error 1.5 %."""
    rng = np.random.default_rng(4)
    found = []
    for _ in range(200):
        x = rng.normal(size=(200, 1))
        m = rng.normal(size=(200, 60)) + 0.8 * rng.normal(size=(200, 1)) + a * x * (np.arange(60) < 30)
        y = 0.3 * x[:, 0] + b * m[:, :30].mean(1) * 3 + rng.normal(size=200)
        found.append((screening._test(np.column_stack([x, m, y]), 0, sampling.Sampling()).q <= 0.05).any())
    assert np.mean(found) <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / 200)


@pytest.mark.long
@pytest.mark.parametrize("binary", [False, True])
def test_de_biased_coefficients_are_covered(binary):
    """40 mediators with correlation 0.5, three effects; 100 studies of 300 patients: Monte Carlo error 0.4 %."""
    rng = np.random.default_rng(5)
    b = np.zeros(40)
    b[:3] = 0.1 if binary else [0.5, 0.3, 0.2]
    covered = []
    for _ in range(100):
        z = np.sqrt(0.5) * (rng.normal(size=(300, 40)) + rng.normal(size=(300, 1)))
        y = (
            (rng.uniform(size=300) < np.clip(0.5 + z @ b, 0, 1)).astype(float)
            if binary
            else z @ b + rng.normal(size=300)
        )
        sd = z.std(0)
        estimate, se = screening.debiased((z - z.mean(0)) / sd, y - y.mean(), sampling.Sampling())
        covered.append(np.abs(estimate / sd - b) < 1.96 * se / sd)
    covered = np.array(covered)
    assert 0.93 <= covered[:, 3:].mean() <= 0.97, covered[:, 3:].mean()
    if not binary:  # a probability of 0 or 1 is not linear
        assert 0.9 <= covered[:, :3].mean() <= 0.98, covered[:, :3].mean()


def test_lasso_optimality():
    """The conditions of Karush, Kuhn and Tucker, for the outcome's Lasso and the nodewise ones."""
    rng = np.random.default_rng(6)
    z = rng.normal(size=(200, 30)) + rng.normal(size=(200, 1))
    z = (z - z.mean(0)) / z.std(0)
    y = z[:, 0] - z[:, 1] + rng.normal(size=200)
    y = y - y.mean()
    bound = np.sqrt(2 * np.log(30) / 200)
    coefficients = screening.scaled_lasso(z, y)
    residual = y - z @ coefficients
    slope = z.T @ residual / 200 / residual.std() / bound
    assert (np.abs(slope) <= 1.01).all()
    np.testing.assert_allclose(slope[coefficients != 0], np.sign(coefficients[coefficients != 0]), atol=0.01)
    scores = z - z @ screening.nodewise(z.T @ z / 200, 200)
    slopes = scores.T @ z / 200 / scores.std(0)[:, None] / (bound / 2)
    np.fill_diagonal(slopes, 0.0)
    assert np.abs(slopes).max() <= 1.05


def test_q_values_by_hand():
    """p of ten mediators: without a 0.8, without b 0.8, without both 0.8, so that FDR(t) = 0.8 t^2 / share."""
    p_a = np.array([0.001, 0.001, 0.04, 0.2, 0.3, 0.4, 0.6, 0.7, 0.8, 0.9])
    p_b = np.array([0.002, 0.010, 0.02, 0.1, 0.4, 0.3, 0.9, 0.6, 0.7, 0.8])
    expected = [0.8 * t**2 / share for t, share in ((0.002, 0.1), (0.01, 0.2), (0.04, 0.3), (0.2, 0.4))]
    np.testing.assert_allclose(screening.joint_fdr(p_a, p_b)[:4], expected)
    assert screening.joint_fdr(np.full(5, 0.001), np.array([0.001, 0.001, 0.9, 0.9, 0.9])).tolist()[2] >= 0.9


@pytest.fixture
def patients():
    """300 patients of 12 hospitals; m0 mediates, m1 correlates with it, m2 is their sum."""
    rng = np.random.default_rng(7)
    table = pd.DataFrame({"age": rng.normal(60, 10, 300), "hospital": np.arange(300) % 12})
    m = rng.normal(size=(300, 20)) + rng.normal(size=(300, 1))
    table = table.join(pd.DataFrame(m, columns=[f"m{i}" for i in range(20)]))
    table["m0"] += 0.15 * table["age"]
    table["m2"] = table["m0"] + table["m1"]
    table["m3"] = table["m3"].where(np.arange(300) % 3 > 0)
    table["m4"] = 1.0
    table["y"] = 0.8 * table["m0"] + rng.normal(size=300)
    return table


@pytest.mark.parametrize("clustered", [False, True])
def test_a_mediator_is_selected_and_stable(patients, clustered):
    of = sampling.read(patients, cluster="hospital" if clustered else "")
    names = [f"m{i}" for i in range(20)]
    found = screening.screen(patients, ["age"], names, "y", sampling=of, resamples=10).set_index("mediator")
    assert found.index.tolist() == names
    assert found["selected"][found["selected"]].index.tolist() == ["m0"]
    assert found.loc["m0", "stability"] >= 0.8
    assert found["stability"].drop("m0").max() <= 0.3
    assert found.loc["m0", "a_est"] == pytest.approx(np.polyfit(patients["age"], patients["m0"], 1)[0])
    assert found.loc["m0", "b_est"] == pytest.approx(0.8, abs=0.25)
    assert found.loc["m3", "flag"] == "missing in 33% of the patients (limit 20%)"
    assert found.loc["m4", "flag"] == "constant mediator"
    assert not found.loc[["m2", "m3", "m4"], "screened"].any()
    assert found.attrs["family"].endswith("18 mediators of each exposure (2 flagged and not tested)")


def test_errors(patients):
    with pytest.raises(ValueError, match="fdr must be in"):
        screening.screen(patients, ["age"], ["m0"], "y", fdr=1.0)
    weights = sampling.Sampling(weights=np.ones(300))
    with pytest.raises(ValueError, match="takes no weights"):
        screening.screen(patients, ["age"], ["m0"], "y", sampling=weights)
    with pytest.raises(ValueError, match="No mediator can be screened: constant mediator"):
        screening.screen(patients, ["age"], ["m4"], "y")
    with pytest.raises(ValueError, match="20 patients have all of 'age', 'y'"):
        screening.screen(patients.head(20), ["age"], ["m0"], "y")
