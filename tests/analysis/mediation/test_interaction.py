"""Natural effects with an exposure-mediator interaction, categories, weights and clusters."""

import pathlib

import numpy as np
import pandas as pd
import pytest
import statsmodels.stats.tests
from scipy import special

from ssinfnet_jax.analysis import mediation
from ssinfnet_jax.analysis.mediation import categories, pairs
from ssinfnet_jax.analysis.mediation.estimation import sampling
from ssinfnet_jax.analysis.mediation.outcome import natural

EFFECTS = ["indirect", "direct", "total", "pure_indirect", "total_direct"]


@pytest.mark.parametrize("covariates", [False, True])
@pytest.mark.parametrize("interaction", [False, True])
@pytest.mark.parametrize("link", ["logit", "probit"])
def test_equals_r(r_golden, r_values, link, interaction, covariates):
    """glm() and lm(), the mediator integrated over numerically."""
    table, names = categories.expand(r_golden("birthwt"), ["age", "C(race)"] if covariates else [])
    options = {"covariates": names, "interaction": interaction, "link": link}
    row = mediation.natural_effects(table, ["smoke"], ["lwt"], "low", **options).iloc[0]
    model = link + "_interaction" * interaction + "_covariates" * covariates
    expected = r_values("natural_effects", model)
    for effect in EFFECTS:
        assert row[f"{effect}_est"] == pytest.approx(expected.loc[effect, "est"], rel=1e-6), effect
    if interaction:
        assert row["interaction_est"] == pytest.approx(expected.loc["interaction", "est"], rel=1e-6)
    name = "interaction" if interaction else "b"
    # R's information is the expected one, which differs from the observed one for the probit.
    assert row[f"{name}_se"] == pytest.approx(expected.loc[name, "se"], rel=1e-4 if link == "logit" else 0.05)
    if not interaction:
        of = sampling.read(table, cluster="group")
        row = mediation.natural_effects(table, ["smoke"], ["lwt"], "low", sampling=of, **options).iloc[0]
        if link == "logit":
            cluster = r_values("natural_effects", f"{model}_cluster").loc["b"]
            assert row["b_se"] == pytest.approx(cluster["se"], rel=1e-4)
        assert np.isnan(row["interaction_est"])


def test_framing():
    """R's mediation on its own data: 0.079 and 0.113; 0.091 without interaction, by simulation.

    That those figures are of this model, without covariates, is inferred from how near they are.
    """
    path = pathlib.Path(statsmodels.stats.tests.__file__).parent / "results" / "framing.csv"
    table = pd.read_csv(path)
    found = {
        interaction: mediation.natural_effects(
            table, ["treat"], ["emo"], "cong_mesg", interaction=interaction, link="logit"
        ).iloc[0]
        for interaction in (False, True)
    }
    assert found[True]["pure_indirect_est"] == pytest.approx(0.079, abs=0.004)
    assert found[True]["indirect_est"] == pytest.approx(0.113, abs=0.004)
    assert found[False]["indirect_est"] == pytest.approx(0.091, abs=0.001)
    for row in found.values():
        assert row["indirect_est"] + row["direct_est"] == pytest.approx(row["total_est"])
        assert row["pure_indirect_est"] + row["total_direct_est"] == pytest.approx(row["total_est"])


def simulate(rng, studies, patients, hospitals=None):
    """x, m, y with an interaction; y more probable in some hospitals; and the effects of x from 0 to 1."""
    shared = np.zeros((patients, studies))
    if hospitals is not None:
        shared = 0.8 * rng.normal(size=(hospitals.max() + 1, studies))[hospitals]
    x = rng.integers(0, 2, (patients, studies)).astype(float)
    m = 0.6 * x + shared + rng.normal(size=x.shape)
    y = (rng.uniform(size=x.shape) < special.expit(-0.5 + 0.3 * x + (0.5 + 0.4 * x) * m)).astype(float)
    z = np.linspace(-9, 9, 2001)
    weight = np.exp(-(z**2) / 2) / np.exp(-(z**2) / 2).sum()
    sd = np.sqrt(1.64 if hospitals is not None else 1.0)

    def p(x, of_m):
        return special.expit(-0.5 + 0.3 * x + (0.5 + 0.4 * x) * (0.6 * of_m + sd * z)) @ weight

    return x, m, y, (p(1, 1) - p(1, 0), p(1, 0) - p(0, 0), p(1, 1) - p(0, 0), p(0, 1) - p(0, 0), p(1, 1) - p(0, 1))


@pytest.mark.long
@pytest.mark.parametrize("clustered", [False, True])
def test_intervals_cover_the_effects(clustered):
    """1000 studies of 400 patients, of 80 hospitals where clustered: Monte Carlo error 0.7 %."""
    hospitals = np.repeat(np.arange(80), 5) if clustered else None
    x, m, y, truth = simulate(np.random.default_rng(1), 1000, 400, hospitals)
    of = sampling.Sampling(clusters=hospitals)
    found = natural.fit(pairs.standardise(x, m, y), (0.0, 1.0), "logit", 0.95, interaction=True, sampling=of)
    for effect, value in zip(EFFECTS, truth, strict=True):
        covered = ((found[f"{effect}_lower"] < value) & (value < found[f"{effect}_upper"])).mean()
        assert 0.93 <= covered <= 0.97, (effect, covered)
    interaction = (np.abs(found["interaction_est"] - 0.4) < 1.96 * found["interaction_se"]).mean()
    assert 0.93 <= interaction <= 0.97


def test_a_category_against_the_reference():
    """The other categories stay out: both are what two tables without the third one give."""
    rng = np.random.default_rng(2)
    stage = rng.integers(0, 3, 600)
    m = 0.5 * stage + rng.normal(size=600)
    y = (rng.uniform(size=600) < special.expit(m + 0.5 * (stage == 2) - 1)).astype(int)
    table, names = categories.expand(pd.DataFrame({"stage": stage, "m": m, "severity": y}), ["C(stage)"])
    found = mediation.natural_effects(table, names, ["m"]).set_index("exposure")
    reference = ({"0", "1", "2"} - {name[-2] for name in names}).pop()
    for name in names:
        x = table[name]
        a = m[x == 1].mean() - m[stage == int(reference)].mean()
        assert (found.loc[name, "from"], found.loc[name, "to"]) == (0, 1)
        linear = mediation.univariate(table, names, ["m"]).set_index("exposure")
        assert linear.loc[name, "a_est"] == pytest.approx(a)
        # P(0, 0) is the reference's own model: its mean over the mediator is near its share of severe patients.
        total = y[stage == int(name[-2])].mean() - y[stage == int(reference)].mean()
        assert found.loc[name, "total_est"] == pytest.approx(total, abs=0.03)


def test_weights_are_repeated_patients(r_golden):
    table = r_golden("birthwt").assign(times=lambda t: 1 + t.index % 3, patient=lambda t: t.index)
    repeated = table.loc[np.repeat(table.index, table["times"])]
    rows = [
        mediation.natural_effects(
            data, ["smoke"], ["lwt"], "low", covariates=["age"], interaction=True, sampling=sampling.read(data, **of)
        ).iloc[0]
        for data, of in ((table, {"cluster": "patient", "weights": "times"}), (repeated, {"cluster": "patient"}))
    ]
    for effect in EFFECTS:
        for number in ("est", "se", "p", "upper"):
            assert rows[0][f"{effect}_{number}"] == pytest.approx(rows[1][f"{effect}_{number}"], rel=1e-6), effect
