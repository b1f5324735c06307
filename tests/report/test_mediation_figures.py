import itertools

import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text

from ssinfnet_jax.analysis import mediation
from ssinfnet_jax.report import mediation_figures


@pytest.fixture(scope="module")
def cohort():
    """300 patients, 8 phenotypes of two classes: three mediate age, two diseases, the rest nothing."""
    rng = np.random.default_rng(3)
    table = pd.DataFrame({"age": rng.normal(50, 15, 300), "diseases": rng.poisson(1.0, 300).astype(float)})
    table["gender"] = rng.integers(0, 2, 300)
    names = ["Entropy", "Kurtosis", "Skewness", "Uniformity", "Mean", "Energy"]
    for i, name in enumerate([*(f"ggo_firstorder_{n}" for n in names), "ggo_glcm_Imc1", "ggo_glcm_MCC"]):
        table[name] = (i < 3) * 0.05 * table["age"] + (i in (2, 3)) * 0.8 * table["diseases"] + rng.normal(size=300)
    table["ggo_firstorder_Uniformity"] *= -1
    signs = [1, 1, 1, -1]
    score = sum(s * table[f"ggo_firstorder_{n}"] for s, n in zip(signs, names, strict=False))
    table["severity"] = (score + rng.normal(size=300) > score.median()).astype(int)
    return table


@pytest.fixture(scope="module")
def phenotypes(cohort):
    return [name for name in cohort if name.startswith("ggo_")]


def drawn_texts(figure):
    """Visible texts and their boxes in pixels, after checking that none is cut off."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    hidden = set(itertools.chain.from_iterable(map(labels_outside, figure.axes)))
    texts = figure.findobj(match=Text, include_self=False)
    texts = [t for t in texts if t.get_visible() and t.get_text().strip() and t not in hidden]
    boxes = {text: text.get_window_extent(canvas.get_renderer()) for text in texts}
    width, height = canvas.get_width_height()
    for text, box in boxes.items():
        assert -1 <= box.x0 <= box.x1 <= width + 1, text
        assert -1 <= box.y0 <= box.y1 <= height + 1, text
    return boxes


def labels_outside(axes):
    """Labels of ticks beyond the limits, which exist but are not drawn."""
    for axis in (axes.xaxis, axes.yaxis):
        low, high = sorted(axis.get_view_interval())
        for tick in axis.get_major_ticks():
            if not low <= tick.get_loc() <= high or not axes.axison:
                yield from (tick.label1, tick.label2)


def assert_apart(boxes):
    for (first, a), (second, b) in itertools.combinations(boxes.items(), 2):
        wide = min(a.x1, b.x1) - max(a.x0, b.x0)
        high = min(a.y1, b.y1) - max(a.y0, b.y0)
        assert wide <= 1 or high <= 1, f"{first.get_text()!r} and {second.get_text()!r} overlap"


def test_forest_shows_effects_sorted_with_intervals(cohort, phenotypes):
    pairs = mediation.univariate(cohort, ["age", "diseases"], phenotypes)
    figure = mediation_figures.forest(pairs)
    assert_apart(drawn_texts(figure))
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["age", "diseases"]
    rows = pairs[pairs["exposure"] == "age"].sort_values("indirect_std")
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert labels[-1].endswith("(first order)")
    assert labels == [f"{n.split('_')[2]} ({'GLCM' if 'glcm' in n else 'first order'})" for n in rows["mediator"]]
    drawn = np.sort(np.concatenate([bars[0].get_xdata() for bars in figure.axes[0].containers]))
    np.testing.assert_allclose(drawn, rows["indirect_std"])
    segments = np.concatenate(
        [bars[2][0].get_segments() for bars in figure.axes[0].containers if len(bars[2][0].get_segments())]
    )
    reach = np.sort((segments[:, 1, 0] - segments[:, 0, 0]) / 2)
    np.testing.assert_allclose(
        reach, np.sort(1.959964 * rows["indirect_std"].abs() / rows["indirect_z"].abs()), rtol=1e-6
    )


def test_forest_colours_are_the_verdict(cohort, phenotypes):
    pairs = mediation.univariate(cohort, ["age"], phenotypes)
    figure = mediation_figures.forest(pairs)
    counts = {bars[0].get_color(): len(bars[0].get_xdata()) for bars in figure.axes[0].containers}
    assert counts[mediation_figures.POSITIVE] == (pairs["is_mediator"] & (pairs["indirect_std"] > 0)).sum() > 0
    assert counts[mediation_figures.NEUTRAL] == (~pairs["is_mediator"]).sum() > 0


def test_forest_pages_cover_everything_once(cohort):
    rng = np.random.default_rng(0)
    names = [f"ggo_gldm_LargeDependenceHighGrayLevelEmphasis{i:02d}" for i in range(68)]
    table = pd.concat([cohort, pd.DataFrame(rng.normal(size=(300, 68)), columns=names)], axis=1)
    table[names[0]] = 1.0
    pairs = mediation.univariate(table, ["age", "diseases"], names)
    pages = mediation_figures.forest_pages(pairs, max_rows=40)
    assert [page.axes[0].get_title(loc="left") for page in pages] == [
        "age: 1-40 of 67 (1 not fitted)",
        "age: 41-67 of 67 (1 not fitted)",
    ]
    shown = [label.get_text() for page in pages for label in page.axes[1].get_yticklabels()]
    assert len(shown) == len(set(shown)) == 67
    assert_apart(drawn_texts(pages[0]))
    largest = pairs[pairs["exposure"] == "age"]["indirect_std"].abs().max()
    drawn = np.concatenate([bars[0].get_xdata() for bars in pages[0].axes[0].containers])
    assert np.abs(drawn).max() == pytest.approx(largest)


def test_forest_names_the_regions_if_there_are_several(cohort, phenotypes):
    table = cohort.assign(lesion_glcm_Imc1=cohort["ggo_glcm_Imc1"] ** 2)
    figure = mediation_figures.forest(mediation.univariate(table, ["age"], ["ggo_glcm_Imc1", "lesion_glcm_Imc1"]))
    labels = {label.get_text() for label in figure.axes[0].get_yticklabels()}
    assert labels == {"ggo Imc1 (GLCM)", "lesion Imc1 (GLCM)"}


def test_forest_errors(cohort, phenotypes):
    pairs = mediation.univariate(cohort, ["age"], phenotypes)
    with pytest.raises(ValueError, match="Page 1 of 1 does not exist"):
        mediation_figures.forest(pairs, page=1)
    with pytest.raises(ValueError, match="max_rows must be >= 1, got 0"):
        mediation_figures.forest(pairs, max_rows=0)
    with pytest.raises(ValueError, match="No pair in the table has estimates"):
        mediation_figures.forest(pairs.assign(flag="constant mediator"))


def test_heatmap_is_clustered_and_marks_close_pairs(cohort, phenotypes):
    table = cohort.assign(ggo_glcm_Id=-cohort["ggo_glcm_MCC"] + 0.1 * cohort["ggo_firstorder_Mean"])
    names = [phenotypes[-1], *phenotypes[:-1], "ggo_glcm_Id"]
    figure = mediation_figures.correlation_heatmap(table, names)
    assert_apart({t: box for t, box in drawn_texts(figure).items() if t.axes is figure.axes[0]})
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert abs(labels.index("MCC (GLCM)") - labels.index("Id (GLCM)")) == 1
    r = table[names].corr()
    image = figure.axes[0].images[0].get_array()
    np.testing.assert_allclose(sorted(image.ravel()), sorted(r.to_numpy().ravel()))
    bold = [t.get_text() for t in figure.axes[0].texts if t.get_weight() == "bold"]
    assert bold == 2 * [f"{r.loc['ggo_glcm_Id', 'ggo_glcm_MCC']:.2f}".replace("-", "\u2212")]


def test_heatmap_of_many_and_of_missing(cohort, phenotypes):
    rng = np.random.default_rng(0)
    names = [f"ggo_gldm_LargeDependenceHighGrayLevelEmphasis{i:02d}" for i in range(68)]
    table = pd.DataFrame(rng.normal(size=(300, 68)), columns=names)
    table[names[1]] = table[names[0]]
    table[names[2]] = np.nan
    figure = mediation_figures.correlation_heatmap(table, names)
    assert_apart({t: box for t, box in drawn_texts(figure).items() if t.axes is figure.axes[0]})
    assert len(figure.axes[0].collections[0].get_offsets()) == 2
    with pytest.raises(ValueError, match="at least two mediators, got"):
        mediation_figures.correlation_heatmap(table, names[:1])


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


@pytest.mark.parametrize("name", MODELS)
def test_path_plot_shows_every_estimate_apart(cohort, name):
    model = mediation.multiple(cohort, MODELS[name])
    figure = mediation_figures.path_plot(model)
    boxes = drawn_texts(figure)
    assert_apart(boxes)
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
    texts = [text.get_text() for text in drawn_texts(mediation_figures.path_plot(model))]
    assert {"age", "severity", "Entropy (first order)", "Kurtosis (first order)"} <= set(texts)
    assert "gender" not in texts
    numbers = [text.rstrip("*") for text in texts if text.rstrip("*").lstrip("\u2212").replace(".", "").isdigit()]
    assert len(numbers) == 5 + 3  # paths, and residual variances of mediators and outcome


def test_path_plot_of_a_fit_read_from_json(cohort):
    model = mediation.multiple(cohort, {"age": ["ggo_firstorder_Entropy"]})
    model.fit["pvalue"] = None
    assert "p =" not in "".join(t.get_text() for t in drawn_texts(mediation_figures.path_plot(model)))


def test_a_region_that_labels_leave_out_stands_over_every_figure(cohort, phenotypes):
    univariate = mediation.univariate(cohort, ["age"], phenotypes)
    model = mediation.multiple(cohort, {"age": phenotypes[:2]})
    figures = (
        mediation_figures.forest(univariate),
        mediation_figures.correlation_heatmap(cohort, phenotypes),
        mediation_figures.path_plot(model),
    )
    for figure in figures:
        boxes = drawn_texts(figure)
        assert "Phenotypes of ggo" in {text.get_text() for text in boxes}
        assert_apart(boxes)


def test_the_title_of_a_heat_map_stands_above_its_tree(cohort, phenotypes):
    short = ["consolidation_glcm_Id", "consolidation_glcm_MCC"]
    figure = mediation_figures.correlation_heatmap(cohort[phenotypes[:2]].set_axis(short, axis=1), short)
    title = next(box for text, box in drawn_texts(figure).items() if text.get_text() == "Phenotypes of consolidation")
    assert title.y0 >= max(axes.get_window_extent().y1 for axes in figure.axes)
