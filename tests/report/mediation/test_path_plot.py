import numpy as np
import pandas as pd
import pytest

from ssinfnet_jax.analysis import mediation
from ssinfnet_jax.report.mediation import path_plot
from tests.report.mediation import drawings

MODELS = {
    "paper": {
        "age": [
            "ggo_firstorder_Entropy",
            "ggo_firstorder_Kurtosis",
            "ggo_firstorder_Skewness",
            "ggo_firstorder_Mean",
        ],
        "diseases": ["ggo_firstorder_Entropy", "ggo_firstorder_Skewness", "ggo_firstorder_Uniformity"],
    },
    "three exposures": {
        "age": ["ggo_firstorder_Entropy", "ggo_firstorder_Kurtosis"],
        "diseases": ["ggo_firstorder_Entropy"],
        "gender": ["ggo_firstorder_Entropy", "ggo_firstorder_Kurtosis", "ggo_glcm_Imc1"],
    },
    "one of each": {"age": ["ggo_firstorder_Entropy"]},
    "a covariate": {"age": ["ggo_firstorder_Entropy", "ggo_firstorder_Kurtosis"], "gender": []},
}


def notes_of(figure):
    return " ".join(text.get_text() for text in drawings.drawn_texts(figure) if text.get_fontsize() == 8)


@pytest.mark.parametrize("name", MODELS)
def test_path_plot_shows_every_estimate_apart(cohort, name):
    model = mediation.multiple(cohort, MODELS[name])
    figure = path_plot.path_plot(model)
    boxes = drawings.drawn_texts(figure)
    drawings.assert_apart(boxes)
    texts = [text.get_text() for text in boxes]
    paths = model.estimates[model.estimates["op"] == "~"]
    for row in paths.itertuples():
        stars = "***" if row.p < 0.001 else "**" if row.p < 0.01 else "*" if row.p < 0.05 else ""
        number = f"{row.std:.2f}".replace("-0.00", "0.00").replace("-", "\u2212")
        assert number + stars in texts
    assert "Entropy (first order)" in texts
    assert f"n = 300, $\\chi^2$({model.fit['df']})" in texts[-1] or any("n = 300" in text for text in texts)


def test_path_plot_leaves_out_covariates_and_residual_covariances(cohort):
    exposures = {"age": ["ggo_firstorder_Entropy", "ggo_firstorder_Kurtosis"]}
    model = mediation.multiple(cohort, exposures, covariates=["gender"], residual_covariances=True)
    texts = [text.get_text() for text in drawings.drawn_texts(path_plot.path_plot(model))]
    assert {"age", "severity", "Entropy (first order)", "Kurtosis (first order)"} <= set(texts)
    assert "gender" not in texts
    numbers = [text.rstrip("*") for text in texts if text.rstrip("*").lstrip("\u2212").replace(".", "").isdigit()]
    assert len(numbers) == 5 + 3  # paths, and residual variances of mediators and outcome


def test_path_plot_of_a_fit_read_from_json(cohort):
    model = mediation.multiple(cohort, {"age": ["ggo_firstorder_Entropy"]})
    model.fit["pvalue"] = None
    assert "p =" not in "".join(t.get_text() for t in drawings.drawn_texts(path_plot.path_plot(model)))


def test_path_plot_says_which_test_its_stars_are_and_whether_the_model_fits(cohort):
    names = ["ggo_firstorder_Entropy", "ggo_firstorder_Kurtosis"]
    table = cohort.assign(ggo_firstorder_Kurtosis=cohort[names].sum(axis=1))
    plain = path_plot.path_plot(mediation.multiple(table, {"age": names}))
    text = notes_of(plain)
    assert "p of each path's z test, not adjusted for the 5 paths" in text
    assert "The model fits poorly: CFI" in text
    assert "Let the residuals of the mediators correlate: residual_covariances=True" in text
    free = notes_of(path_plot.path_plot(mediation.multiple(table, {"age": names}, residual_covariances=True)))
    assert "The model is saturated" in free
    assert "CFI" not in free  # 1 by construction
    other = {"age": names[:1], "diseases": ["ggo_firstorder_Uniformity"]}
    assert "The model fits well by the usual cut-offs: CFI" in notes_of(
        path_plot.path_plot(mediation.multiple(cohort, other))
    )


def test_path_plot_draws_solid_what_its_own_test_calls_significant(cohort):
    model = mediation.multiple(cohort, {"age": list(MODELS["paper"]["age"])})
    arrows = [patch for patch in path_plot.path_plot(model).axes[0].patches if "Arrow" in type(patch).__name__]
    paths = model.estimates[model.estimates["op"] == "~"]
    assert len(arrows) == len(paths)
    solid = sum(arrow.get_linestyle() in ("-", "solid") for arrow in arrows)
    assert 0 < solid == (paths["p"] < 0.05).sum() < len(paths)


def test_path_plots_of_many_mediators_are_split():
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"age": rng.normal(size=300), "diseases": rng.normal(size=300)})
    names = [f"ggo_gldm_Feature{i:02d}" for i in range(45)]
    for name in names:
        table[name] = 0.5 * table["age"] + rng.normal(size=300)
    table["severity"] = table[names[:5]].sum(axis=1) + rng.normal(size=300)
    model = mediation.multiple(table, {"age": names, "diseases": names[40:]})
    figures = path_plot.path_plots(model)
    shown = []
    for figure, (first, last) in zip(figures, [(1, 20), (21, 40), (41, 45)], strict=True):
        assert max(figure.get_size_inches() * 150) < 4000
        boxes = drawings.drawn_texts(figure)
        drawings.assert_apart(boxes)
        texts = [text.get_text() for text in boxes]
        assert f"Phenotypes of GGO: mediators {first} to {last} of the 45 in one model" in texts
        shown += [text for text in texts if text.endswith("(GLDM)")]
    assert shown == [f"Feature{i:02d} (GLDM)" for i in range(45)]
    with pytest.raises(
        ValueError, match=r"max_mediators must be from 1 to 40, got 60: .* path_plots\(\) splits a model"
    ):
        path_plot.path_plot(model, max_mediators=60)
    with pytest.raises(ValueError, match="Page 3 of 3 does not exist"):
        path_plot.path_plot(model, page=3)
