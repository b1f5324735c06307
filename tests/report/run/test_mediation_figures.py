import itertools

import numpy as np
import pandas as pd
import pytest
from matplotlib import font_manager
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text
from scipy import stats

from ssinfnet_jax.analysis import mediation
from ssinfnet_jax.report.kit import fonts
from ssinfnet_jax.report.run import mediation_figures


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
    assert labels == {"GGO Imc1 (GLCM)", "lesion Imc1 (GLCM)"}


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


def notes_of(figure):
    return " ".join(text.get_text() for text in drawn_texts(figure) if text.get_fontsize() == 8)


def test_path_plot_says_which_test_its_stars_are_and_whether_the_model_fits(cohort):
    names = ["ggo_firstorder_Entropy", "ggo_firstorder_Kurtosis"]
    table = cohort.assign(ggo_firstorder_Kurtosis=cohort[names].sum(axis=1))
    plain = mediation_figures.path_plot(mediation.multiple(table, {"age": names}))
    text = notes_of(plain)
    assert "p of the path's own z test, not adjusted for the 5 paths" in text
    assert "The model fits poorly: CFI" in text
    assert "Let the residuals of the mediators correlate: residual_covariances=True" in text
    free = notes_of(mediation_figures.path_plot(mediation.multiple(table, {"age": names}, residual_covariances=True)))
    assert "The model is saturated" in free
    assert "CFI" not in free  # 1 by construction
    other = {"age": names[:1], "diseases": ["ggo_firstorder_Uniformity"]}
    assert "The model fits well by the usual cut-offs: CFI" in notes_of(
        mediation_figures.path_plot(mediation.multiple(cohort, other))
    )


def test_path_plot_draws_solid_what_its_own_test_calls_significant(cohort):
    model = mediation.multiple(cohort, {"age": list(MODELS["paper"]["age"])})
    arrows = [patch for patch in mediation_figures.path_plot(model).axes[0].patches if "Arrow" in type(patch).__name__]
    paths = model.estimates[model.estimates["op"] == "~"]
    assert len(arrows) == len(paths)
    solid = sum(arrow.get_linestyle() in ("-", "solid") for arrow in arrows)
    assert 0 < solid == (paths["p"] < 0.05).sum() < len(paths)


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
        assert "Phenotypes of GGO" in {text.get_text() for text in boxes}
        assert_apart(boxes)


def test_the_title_of_a_heat_map_stands_above_its_tree(cohort, phenotypes):
    short = ["consolidation_glcm_Id", "consolidation_glcm_MCC"]
    figure = mediation_figures.correlation_heatmap(cohort[phenotypes[:2]].set_axis(short, axis=1), short)
    title = next(box for text, box in drawn_texts(figure).items() if text.get_text() == "Phenotypes of consolidation")
    assert title.y0 >= max(axes.get_window_extent().y1 for axes in figure.axes)


def test_names_of_filters_classes_and_regions_are_readable(cohort, phenotypes):
    names = {
        "ggo_glrlm_RunEntropy": "GGO RunEntropy (GLRLM)",
        "ggo_glszm_ZoneEntropy": "GGO ZoneEntropy (GLSZM)",
        "consolidation_wavelet-HL_firstorder_Mean": "consolidation Mean (first order, wavelet HL)",
        "ggo_log-sigma-1-0-mm_glcm_Contrast": "GGO Contrast (GLCM, LoG 1 mm)",
        "ggo_log-sigma-2-5-mm_gldm_DependenceEntropy": "GGO DependenceEntropy (GLDM, LoG 2.5 mm)",
        "ggo_squareroot_ngtdm_Busyness": "GGO Busyness (NGTDM, square root)",
        "ggo_shape2D_PixelSurface": "GGO Area (shape)",
        "d_dimer": "d dimer",
        "cost_in_$_or_R$^": r"cost in \$ or R\$^",
    }
    rng = np.random.default_rng(0)
    table = cohort.assign(**{name: rng.normal(size=300) for name in names})
    figure = mediation_figures.forest(mediation.univariate(table, ["age"], list(names)))
    assert {label.get_text() for label in figure.axes[0].get_yticklabels()} == set(names.values())
    assert_apart(drawn_texts(figure))
    plot = mediation_figures.path_plot(mediation.multiple(table, {"age": list(names)}))
    boxes = drawn_texts(plot)
    assert_apart(boxes)
    assert set(names.values()) <= {text.get_text() for text in boxes}


def test_hollow_marks_with_an_interval_beside_0_have_a_line(cohort, phenotypes):
    """Raw p of 0.03, adjusted 0.06 of a family of two."""
    pairs = mediation.univariate(cohort, ["age"], phenotypes[:2])
    z = stats.norm.isf(0.015)
    weak = pairs.assign(is_mediator=False, indirect_z=z, indirect_se=pairs["indirect_est"].abs() / z)
    told = mediation_figures.forest(weak).legends[0].get_title().get_text()
    assert told.startswith("Filled marks are significant after adjustment for the number of tests; intervals are")
    assert_apart(drawn_texts(mediation_figures.forest(weak)))
    for other in (weak.assign(is_mediator=True), weak.assign(indirect_z=1.9)):
        assert mediation_figures.forest(other).legends[0].get_title().get_text() == ""


@pytest.mark.parametrize("method", ["percentile", "bca"])
def test_forest_of_bootstrap_intervals(cohort, phenotypes, method):
    table = cohort.assign(rare=(cohort.index < 2).astype(float))
    names = [*phenotypes[:3], "rare"]  # constant in some resamples: no interval, but a mark
    pairs = mediation.univariate(table, ["age"], names)
    drawn = mediation.bootstrap(table, ["age"], names, draws=200)
    assert drawn.set_index("mediator")["se"].isna().to_dict() == {name: name == "rare" for name in names}
    order = np.random.default_rng(0).permutation(len(drawn))
    figure = mediation_figures.forest(pairs, intervals=drawn.iloc[order], method=method)
    lines = [line for bars in figure.axes[0].containers for line in bars[2][0].get_segments() if len(line) == 2]
    expected = drawn.dropna(subset="se")
    scale = (expected["std"] / expected["est"]).to_numpy()
    found = {tuple(np.round(line[:, 0], 9)) for line in lines if np.isfinite(line).all()}
    bounds = zip(expected[f"{method}_lower"] * scale, expected[f"{method}_upper"] * scale, strict=True)
    assert found == {tuple(np.round(pair, 9)) for pair in bounds}
    assert sum(len(bars[0].get_xdata()) for bars in figure.axes[0].containers) == 4
    assert "bootstrap interval" in figure.axes[0].get_xlabel()
    with pytest.raises(ValueError, match="Unknown interval 'hpd'; choose one of percentile, bc, bca"):
        mediation_figures.forest(pairs, intervals=drawn, method="hpd")


def test_path_plots_of_many_mediators_are_split():
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"age": rng.normal(size=300), "diseases": rng.normal(size=300)})
    names = [f"ggo_gldm_Feature{i:02d}" for i in range(45)]
    for name in names:
        table[name] = 0.5 * table["age"] + rng.normal(size=300)
    table["severity"] = table[names[:5]].sum(axis=1) + rng.normal(size=300)
    model = mediation.multiple(table, {"age": names, "diseases": names[40:]})
    figures = mediation_figures.path_plots(model)
    shown = []
    for figure, (first, last) in zip(figures, [(1, 20), (21, 40), (41, 45)], strict=True):
        assert max(figure.get_size_inches() * 150) < 4000
        boxes = drawn_texts(figure)
        assert_apart(boxes)
        texts = [text.get_text() for text in boxes]
        assert f"Phenotypes of GGO: mediators {first} to {last} of the 45 in one model" in texts
        shown += [text for text in texts if text.endswith("(GLDM)")]
    assert shown == [f"Feature{i:02d} (GLDM)" for i in range(45)]
    with pytest.raises(ValueError, match=r"max_mediators must be in 1 to 40, got 60: .* path_plots\(\) splits a model"):
        mediation_figures.path_plot(model, max_mediators=60)
    with pytest.raises(ValueError, match="Page 3 of 3 does not exist"):
        mediation_figures.path_plot(model, page=3)


def test_names_in_scripts_without_a_font_are_escaped_and_told(cohort, phenotypes, monkeypatch, caplog):
    monkeypatch.setattr(fonts, "_font_with", lambda letter: "")
    fonts._warn.cache_clear()
    table = cohort.rename(columns={"age": "年龄", phenotypes[0]: "体积", phenotypes[1]: "возраст"})
    figures = [
        mediation_figures.forest(mediation.univariate(table, ["年龄"], ["体积", "возраст"])),
        mediation_figures.path_plot(mediation.multiple(table, {"年龄": ["体积", "возраст"]})),
    ]
    for figure in figures:
        boxes = drawn_texts(figure)
        assert_apart(boxes)
        texts = {text.get_text() for text in boxes}
        assert {"<U+5E74><U+9F84>", "<U+4F53><U+79EF>", "возраст"} <= texts
    assert "No font on this machine has the letters 年龄: figures show them as <U+5E74>. Install a font" in caplog.text


@pytest.mark.filterwarnings("error:Glyph:UserWarning")
def test_names_in_any_script_use_a_font_that_has_them(cohort, phenotypes):
    """STIX, which comes with matplotlib, has this letter and DejaVu Sans has not; no glyph may be missing."""
    letter = next(
        chr(code)
        for code in sorted(fonts._letters(font_manager.findfont("STIXGeneral")))
        if not fonts._is_plain(chr(code))
    )
    table = cohort.rename(columns={"age": f"age {letter}"})
    figure = mediation_figures.forest(mediation.univariate(table, [f"age {letter}"], phenotypes[:2]))
    title = figure.axes[0].title if figure.axes[0].title.get_text() else figure.axes[0]._left_title
    assert title.get_text() == f"age {letter}"
    assert len(title.get_fontfamily()) == 2
    used = font_manager.findfont(title.get_fontfamily()[1])
    assert ord(letter) in fonts._letters(used)
    drawn_texts(figure)
