import numpy as np
import pandas as pd
import pytest

from ssinfnet_jax.analysis import mediation
from ssinfnet_jax.analysis.mediation.estimation import sampling
from ssinfnet_jax.analysis.mediation.several import full_information


def fitted(table, *, correlated=True, **options):
    return mediation.multiple(
        table, {"ses": ["iq", "size"]}, "lang", covariates=["multi"], residual_covariances=correlated, **options
    )


@pytest.fixture(scope="module")
def holes(r_golden):
    return r_golden("holes")


@pytest.mark.parametrize(("correlated", "name"), [(True, "free"), (False, "none")])
def test_equals_lavaan(holes, r_values, correlated, name):
    """Estimates, errors of the observed information, likelihood and chi-square of missing = "fiml"."""
    model = fitted(holes, correlated=correlated, missing="fiml")
    expected = r_values("missing", name)
    found = model.estimates.assign(
        key=lambda t: np.where(t["op"] == "~~", t["lhs"] + "~~" + t["rhs"], t["label"])
    ).set_index("key")
    same = {"a1": "a11", "a2": "a21", "b1": "b1", "b2": "b2", "c": "c1", "i1": "i11", "i2": "i21"}
    same |= {"ind": "ind_ses", "tot": "tot_ses", "iq~~iq": "iq~~iq", "iq~~size": "iq~~size"}
    for theirs, row in expected.drop(["logl", "chisq", "df"]).iterrows():
        assert found.loc[same[theirs], "est"] == pytest.approx(row["est"], rel=2e-4, abs=1e-5), theirs
        assert found.loc[same[theirs], "se"] == pytest.approx(row["se"], rel=1e-3), theirs
    assert model.fit["logl"] == pytest.approx(expected.loc["logl", "est"], abs=1e-4)
    assert model.fit["chisq"] == pytest.approx(expected.loc["chisq", "est"], abs=1e-3)
    assert model.fit["df"] == expected.loc["df", "est"]
    assert (model.fit["ntotal"], model.num_dropped) == (300, 0)


@pytest.mark.parametrize("correlated", [True, False])
def test_without_gaps_it_is_the_ordinary_model(r_golden, correlated):
    """Point estimates are equal; errors too where the model is saturated, so that both informations agree."""
    table = r_golden("school").head(200)
    found, expected = fitted(table, correlated=correlated, missing="fiml"), fitted(table, correlated=correlated)
    of_both = found.estimates.merge(expected.estimates, on=["lhs", "op", "rhs", "label"])
    np.testing.assert_allclose(of_both["est_x"], of_both["est_y"], rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(of_both["std_x"], of_both["std_y"], rtol=1e-6, atol=1e-9)
    if correlated:
        paths = of_both[of_both["op"] != "~~"]
        np.testing.assert_allclose(paths["se_x"], paths["se_y"], rtol=1e-6)
    for name in ("chisq", "cfi", "rmsea"):
        assert found.fit[name] == pytest.approx(expected.fit[name], abs=1e-5), name


@pytest.mark.long
def test_intervals_cover_the_effect_where_severe_patients_lack_the_mediator():
    """200 studies of 200 patients, nine of ten mediators missing where y is large; listwise deletion is wrong."""
    rng = np.random.default_rng(1)
    covered, estimates = [], {"fiml": [], "listwise": []}
    for number in range(200):
        x = rng.normal(size=200)
        m = 0.5 * x + rng.normal(size=200)
        y = 0.2 * x + 0.6 * m + rng.normal(size=200)
        table = pd.DataFrame({"x": x, "m": m, "y": y})
        table["m"] = table["m"].where((y < 0.5) | (rng.random(200) < 0.1))
        for method in ("fiml",) if number % 4 else ("listwise", "fiml"):
            row = mediation.multiple(table, {"x": ["m"]}, "y", missing=method).estimates.set_index("label").loc["ind_x"]
            estimates[method].append(row["est"])
        covered.append(abs(row["est"] - 0.3) < 1.96 * row["se"])
    off = {name: (np.mean(found) - 0.3) / (np.std(found) / np.sqrt(len(found))) for name, found in estimates.items()}
    assert abs(off["fiml"]) < 3
    assert off["listwise"] < -6
    assert 0.93 < np.mean(covered) < 0.97  # Monte Carlo error 1.5 %


def test_errors(holes):
    with pytest.raises(ValueError, match="Unknown missing 'mean'; choose one of listwise, fiml"):
        fitted(holes, missing="mean")
    with pytest.raises(ValueError, match="take neither clusters nor weights"):
        fitted(holes, missing="fiml", sampling=sampling.Sampling(robust=True))
    apart = holes.assign(size=holes["size"].where(holes["iq"].isna()))
    with pytest.raises(ValueError, match="Fewer than three patients have both 'iq' and 'size'"):
        fitted(apart, missing="fiml")
    known = holes["lang"].notna() & holes["multi"].notna()
    with pytest.raises(ValueError, match=rf"In the {known.sum()} rows with outcome, .* ses is constant. Leave"):
        fitted(holes.assign(ses=holes["ses"].mask(known, 1.0)), missing="fiml")


def test_a_saddle_has_no_standard_errors(holes, monkeypatch):
    """Seen with 80 % of three skewed mediators missing; here the curvature has the wrong sign."""
    hessian = full_information._hessian
    monkeypatch.setattr(full_information, "_hessian", lambda *args: -hessian(*args))
    with pytest.raises(ValueError, match="has no standard errors: too few patients have the same variables"):
        fitted(holes, missing="fiml")
