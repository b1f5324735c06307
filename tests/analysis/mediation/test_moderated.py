import numpy as np
import pandas as pd
import pytest

from ssinfnet_jax.analysis.mediation import moderated
from ssinfnet_jax.analysis.mediation.estimation import sampling
from ssinfnet_jax.analysis.mediation.estimation.adjust import adjust
from ssinfnet_jax.analysis.mediation.moderated import PATHS, moderated_effects

OPTIONS = {"covariates": ["multi"], "draws": 0}


def fitted(table, moderator="size", **options):
    return moderated_effects(table, ["ses"], ["iq"], moderator, "lang", **OPTIONS | options)


@pytest.mark.parametrize("kind", ["plain", "cluster"])
@pytest.mark.parametrize("paths", PATHS)
def test_equals_regressions_in_r(r_golden, r_values, paths, kind):
    """PROCESS models 7, 14, 58, 59: indirect (and direct) effects at three values, and the index."""
    table = r_golden("school")
    of = sampling.read(table, cluster="class") if kind == "cluster" else sampling.INDEPENDENT
    found = fitted(table, moderated=paths, sampling=of)
    expected = r_values("moderated", f"{paths}_{kind}")
    effects = ["indirect"] * 3 + ["direct"] * 3 * (paths == "all") + ["index"]
    assert found["effect"].tolist() == effects
    names = [effect if effect == "index" else f"{effect}{i % 3 + 1}" for i, effect in enumerate(effects)]
    np.testing.assert_allclose(found["est"], expected.loc[names, "est"], rtol=1e-8, atol=1e-12)
    np.testing.assert_allclose(found["se"], expected.loc[names, "se"], rtol=1e-6)


def test_equals_lavaan(r_golden, r_values):
    found, expected = fitted(r_golden("school")), r_values("moderated", "lavaan_first")
    np.testing.assert_allclose(found["est"], np.roll(expected["est"], -1), rtol=1e-6)
    np.testing.assert_allclose(found["se"], np.roll(expected["se"], -1), rtol=1e-6)


def test_categories_are_compared_with_the_reference(r_golden, r_values):
    table = r_golden("school")
    table["third"] = pd.cut(table["size"], [-np.inf, 24, 28, np.inf], labels=["low", "mid", "top"]).astype(str)
    found = fitted(table, "C(third)", moderated="both").set_index(["effect", "at"])
    expected = r_values("moderated", "third_plain")
    assert len(found) == len(expected) == 5
    for name, row in expected.iterrows():
        assert found.loc[tuple(name.split("_")), "est"] == pytest.approx(row["est"], rel=1e-8), name
        assert found.loc[tuple(name.split("_")), "se"] == pytest.approx(row["se"], rel=1e-6), name


def test_values_of_the_moderator(r_golden):
    table = r_golden("school").assign(two=lambda t: 3 + 2 * (t["size"] > 26), few=lambda t: t["size"] // 10)
    for name, at in (("two", ["3", "5"]), ("few", [f"{v:g}" for v in sorted(table["few"].unique())])):
        assert fitted(table, name).query("effect == 'indirect'")["at"].tolist() == at
    two = fitted(table, "two", moderated="both").set_index("effect")["est"]
    assert two["index"] == pytest.approx((two["indirect"].iloc[1] - two["indirect"].iloc[0]) / 2)
    skewed = fitted(table.assign(w=lambda t: (t["size"] - t["size"].min()) ** 8), "w")
    assert float(skewed["at"][0]) == 0  # not below the smallest value


def test_bootstrap_is_a_regression_of_the_drawn_classes(r_golden, monkeypatch):
    """The jackknife leaves out one class at a time: regressions without it give the same effects."""
    table = r_golden("school")
    kept = []
    monkeypatch.setattr(moderated.intervals, "intervals", lambda found, level: kept.append(found) or pytest.skip())
    of = sampling.read(table, cluster="class", weights="weight")
    with pytest.raises(pytest.skip.Exception):
        fitted(table, moderated="all", sampling=of, draws=250)
    (found,) = kept
    assert found.draws.shape == (250, 7)
    np.testing.assert_allclose(found.estimate, fitted(table, moderated="all", sampling=of)["est"], rtol=1e-8)
    values = table["size"].mean() + np.array([-1, 0, 1]) * table["size"].std()
    for group in (0, 7):
        rows = table[of.clusters != group]
        root = np.sqrt(rows["weight"].to_numpy())[:, None]
        x, m, w = (rows[name].to_numpy() for name in ("ses", "iq", "size"))
        base = np.column_stack([np.ones(len(rows)), rows["multi"], x, w, x * w])
        a = np.linalg.lstsq(root * base, root[:, 0] * m, rcond=None)[0]
        full = np.column_stack([base, m, m * w])
        b = np.linalg.lstsq(root * full, root[:, 0] * rows["lang"].to_numpy(), rcond=None)[0]
        indirect, direct = (a[2] + a[4] * values) * (b[5] + b[6] * values), b[2] + b[4] * values
        index = (indirect[2] - indirect[0]) / (values[2] - values[0])
        np.testing.assert_allclose(found.jackknife[group], [*indirect, *direct, index], rtol=1e-7)


def test_many_pairs_are_those_alone_and_adjusted_together(r_golden):
    table = r_golden("school").assign(other=lambda t: t["iq"] + 3 * np.sin(t.index))
    table["gap"] = table["iq"].where(table.index % 3 > 0)
    found = moderated_effects(table, ["ses"], ["iq", "other", "gap"], "size", "lang", covariates=["multi"], draws=100)
    alone = moderated_effects(table, ["ses"], ["gap"], "size", "lang", covariates=["multi"], draws=100)
    rows = found[found["mediator"] == "gap"].reset_index(drop=True)
    pd.testing.assert_frame_equal(rows.drop(columns="p_adj"), alone.drop(columns="p_adj"), rtol=1e-8)
    index = found["effect"] == "index"
    assert found["p_adj"].notna().equals(index)
    np.testing.assert_allclose(found.loc[index, "p_adj"], adjust(found.loc[index, "p"]))
    assert found.attrs["family"] == "fdr_bh over 3 indices (0 flagged and not tested)"


def test_flags(r_golden):
    table = r_golden("school").assign(low=lambda t: (t["ses"] < 20) * 1.0)
    table["apart"] = np.where(table["low"] == 1, 0.0, table.index % 2)
    found = moderated_effects(table, ["low"], ["iq"], "apart", "lang", draws=0)
    assert set(found["flag"]) == {"the product with the moderator is collinear with other columns"}
    assert found[["est", "se", "p"]].isna().all(axis=None)
    options = {"min_n": 5, "covariates": [], "moderated": "all"}
    for every, flag in ((80, ""), (100, "too few complete rows for the products with the moderator")):
        few = fitted(table.assign(iq=table["iq"].where(table.index % every == 0)), **options)
        assert set(few["flag"]) == {flag}, few["n"][0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"moderator": "ses"}, "The moderator 'ses' is also the exposure"),
        ({"moderator": "multi"}, "is also the covariate"),
        ({"moderator": "C(multi)"}, "The moderator 'C\\(multi\\)' is also the covariate"),
        ({"moderator": "one"}, "The moderator 'one' has 1 values; it takes two or more"),
        ({"moderator": "ward"}, "not in the table"),
        ({"moderated": "third"}, "Unknown moderated 'third'; choose one of first, second, both, all"),
    ],
)
def test_errors(r_golden, change, message):
    with pytest.raises(ValueError, match=message):
        fitted(r_golden("school").assign(one=1.0), **{"moderator": "size"} | change)
