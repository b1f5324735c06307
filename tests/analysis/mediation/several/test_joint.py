import numpy as np
import pandas as pd
import pytest
from scipy import stats

from ssinfnet_jax.analysis.mediation.estimation import sampling
from ssinfnet_jax.analysis.mediation.several import joint


def effects(table, sets, **options):
    return joint.joint_effects(table, ["ses"], sets, "lang", covariates=["multi"], **options)


@pytest.mark.parametrize(("robust", "kind"), [(False, "standard"), (True, "robust.huber.white")])
@pytest.mark.parametrize(("mediators", "name"), [(["iq"], "one"), (["iq", "size"], "two")])
def test_equals_lavaan(r_golden, r_values, robust, kind, mediators, name):
    table = r_golden("school")
    found = effects(table, {"s": mediators}, draws=0, sampling=sampling.Sampling(robust=robust)).iloc[0]
    expected = r_values("joint_and_clusters", f"lavaan_{name}_{kind}")
    for effect, label in {"indirect": "indirect", "total": "total", "direct": "c"}.items():
        assert found[f"{effect}_est"] == pytest.approx(expected.loc[label, "est"], rel=1e-7), effect
        assert found[f"{effect}_se"] == pytest.approx(expected.loc[label, "se"], rel=1e-6), effect


def test_linear_combinations_change_nothing(r_golden):
    table = r_golden("school").assign(both=lambda t: t["iq"] + t["size"])
    found = effects(table, {"two": ["iq", "size"], "three": ["both", "iq", "size"]}, draws=50)
    assert found["num_mediators"].tolist() == [2, 3]
    assert found["num_independent"].tolist() == [2, 2]
    for name in ("indirect_est", "indirect_se", "bootstrap_percentile_lower", "bootstrap_bca_upper"):
        assert found[name][1] == pytest.approx(found[name][0], rel=1e-8), name


def test_bootstrap_of_clusters_is_a_regression_of_the_drawn_classes(r_golden):
    """The draws are those of drawing whole classes and fitting both regressions again."""
    table = r_golden("school")
    of = sampling.read(table, cluster="class")
    data = table[["multi", "ses", "iq", "size", "lang"]].to_numpy(float)
    fit = joint._estimate(data, 1, of)
    resamples = fit.resamples(3000, 0)
    rng = np.random.default_rng(0)
    rows = [np.flatnonzero(of.clusters == g) for g in range(of.clusters.max() + 1)]

    def effect(data):
        ones = np.ones((len(data), 1))
        total = np.linalg.lstsq(np.hstack([ones, data[:, :2]]), data[:, -1], rcond=None)[0][2]
        return total - np.linalg.lstsq(np.hstack([ones, data[:, :4]]), data[:, -1], rcond=None)[0][2]

    drawn = [effect(data[np.concatenate([rows[g] for g in rng.integers(0, 40, 40)])]) for _ in range(1500)]
    ours = resamples.draws[:, 0] * fit.scale
    assert resamples.estimate[0] * fit.scale == pytest.approx(effect(data), rel=1e-9)
    assert ours.std() == pytest.approx(np.std(drawn), rel=0.06)
    assert stats.ks_2samp(ours, drawn).pvalue > 0.001
    without = effect(data[of.clusters != 3])
    assert resamples.jackknife[3, 0] * fit.scale == pytest.approx(without, rel=1e-9)
    assert len(resamples.jackknife) == 40


def simulate(rng, n, studies, effect=1.0):
    """[studies, n, 6]: x, four mediators with residual correlation 0.7, y; joint effect 0.4 (0.4 + 0.2 + 0 - 0.2)."""
    x = rng.normal(size=(studies, n, 1))
    shared = rng.normal(size=(studies, n, 1))
    noise = np.sqrt(0.7) * shared + np.sqrt(0.3) * rng.normal(size=(studies, n, 4))
    m = x * np.array([0.4, 0.4, 0.4, 0.0]) + noise
    y = 0.2 * x[..., 0] + effect * m @ np.array([0.4, 0.2, -0.2, 0.3]) + rng.normal(size=(studies, n))
    return np.concatenate([x, m, y[..., None]], axis=2)


@pytest.mark.long
def test_intervals_cover_the_joint_effect():
    """A thousand studies of 150 patients: delta, and the bootstrap in the first 300. Monte Carlo error 0.7 %, 1.3 %."""
    data = simulate(np.random.default_rng(1), 150, 1000)
    covered = {"delta": [], "percentile": [], "bca": []}
    for number, study in enumerate(data):
        fit = joint._estimate(study, 0, sampling.Sampling())
        reach = 1.96 * fit.se[0]
        covered["delta"].append(abs(fit.effects[0] * fit.scale - 0.16) < reach * fit.scale)
        if number < 300:
            bounds = joint.intervals.intervals(fit.resamples(500, number)).iloc[0] * fit.scale
            for method in ("percentile", "bca"):
                covered[method].append(bounds[f"{method}_lower"] < 0.16 < bounds[f"{method}_upper"])
    for method, found in covered.items():
        assert 0.93 <= np.mean(found) <= 0.97, (method, np.mean(found))


def test_no_effect_is_rarely_called_one():
    data = simulate(np.random.default_rng(2), 150, 1000, effect=0.0)
    p = [
        2 * stats.norm.sf(abs(f.effects[0] / f.se[0]))
        for f in (joint._estimate(s, 0, sampling.Sampling()) for s in data)
    ]
    assert np.mean(np.array(p) < 0.05) < 0.07


def test_sets_by_name():
    names = ["ggo_firstorder_Mean", "ggo_glcm_Contrast", "lesion_glcm_Contrast", "lesion_shape2D_PixelSurface", "crp"]
    found = joint.sets_by_name(names, ["all", "region", "class", "size=Surface|crp"])
    assert found == {
        "all": names,
        "ggo": names[:2],
        "lesion": names[2:4],
        "firstorder": [names[0]],
        "glcm": names[1:3],
        "shape2D": [names[3]],
        "size": names[3:],
    }
    assert list(joint.sets_by_name(names[:2], ["all", "region"])) == ["all"]  # the region has the same mediators


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ("texture", "Unknown set of mediators 'texture'"),
        ("a=(", "not a regular expression"),
        ("a=nothing", "matches none of the 1 mediators, such as ggo_glcm_Contrast"),
    ],
)
def test_sets_that_are_none(wanted, message):
    with pytest.raises(ValueError, match=message):
        joint.sets_by_name(["ggo_glcm_Contrast"], [wanted])


def test_sets_that_cannot_be_fitted_are_flagged(r_golden):
    table = r_golden("school").head(60).assign(ones=1.0, twice=lambda t: 2 * t["ses"])
    table["few"] = table["iq"].where(table.index < 4)
    table["infinite"] = table["iq"].where(table.index > 0, np.inf)
    sets = {"ones": ["ones"], "twice": ["twice"], "few": ["few"], "infinite": ["infinite"], "good": ["iq"]}
    found = effects(table, sets, draws=50).set_index("mediators")
    assert found["flag"].str.partition(" (")[0].to_dict() == {
        "ones": "mediators are constant or combinations of the exposure and the covariates",
        "twice": "mediators are constant or combinations of the exposure and the covariates",
        "few": "too few complete rows",
        "infinite": "infinite value",
        "good": "",
    }
    assert found.loc["ones", "indirect_p_adj"] != found.loc["ones", "indirect_p_adj"]
    assert found.loc["good", "indirect_p_adj"] == found.loc["good", "indirect_p"]
    assert found.attrs["family"] == "fdr_bh over 1 sets of mediators (4 flagged and not tested)"
    one_class = sampling.read(table.assign(group=[0] * 59 + [1]), cluster="group")
    table["iq"] = table["iq"].where(table.index < 59)
    assert effects(table, {"s": ["iq"]}, sampling=one_class, draws=50)["flag"][0] == (
        "complete rows come from one cluster only"
    )


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("options", [{"weights": "weight"}, {"cluster": "class"}])
def test_a_set_that_no_patient_has(r_golden, options):
    table = r_golden("school").assign(iq=np.nan)
    found = effects(table, {"s": ["iq", "size"]}, sampling=sampling.read(table, **options), draws=50)
    assert found["flag"][0] == "too few complete rows (0) for 5 variables"


def test_a_set_without_mediators():
    with pytest.raises(ValueError, match="without a mediator"):
        joint.joint_effects(pd.DataFrame({"x": [1.0], "y": [1.0]}), ["x"], {"s": []}, "y")
