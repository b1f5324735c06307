import numpy as np
import pandas as pd
import pytest
from matplotlib import font_manager
from scipy import stats

from ssinfnet_jax.analysis import mediation
from ssinfnet_jax.report.kit import fonts
from ssinfnet_jax.report.mediation import forest, style
from tests.report.mediation import drawings


def test_forest_shows_effects_sorted_with_intervals(cohort, phenotypes):
    pairs = mediation.univariate(cohort, ["age", "diseases"], phenotypes)
    figure = forest.forest(pairs)
    drawings.assert_apart(drawings.drawn_texts(figure))
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
    figure = forest.forest(pairs)
    counts = {bars[0].get_color(): len(bars[0].get_xdata()) for bars in figure.axes[0].containers}
    assert counts[style.POSITIVE] == (pairs["is_mediator"] & (pairs["indirect_std"] > 0)).sum() > 0
    assert counts[style.NEUTRAL] == (~pairs["is_mediator"]).sum() > 0


def test_forest_pages_cover_everything_once(cohort):
    rng = np.random.default_rng(0)
    names = [f"ggo_gldm_LargeDependenceHighGrayLevelEmphasis{i:02d}" for i in range(68)]
    table = pd.concat([cohort, pd.DataFrame(rng.normal(size=(300, 68)), columns=names)], axis=1)
    table[names[0]] = 1.0
    pairs = mediation.univariate(table, ["age", "diseases"], names)
    pages = forest.forest_pages(pairs, max_rows=40)
    assert [page.axes[0].get_title(loc="left") for page in pages] == [
        "age: 1-40 of 67 (1 not fitted)",
        "age: 41-67 of 67 (1 not fitted)",
    ]
    shown = [label.get_text() for page in pages for label in page.axes[1].get_yticklabels()]
    assert len(shown) == len(set(shown)) == 67
    drawings.assert_apart(drawings.drawn_texts(pages[0]))
    largest = pairs[pairs["exposure"] == "age"]["indirect_std"].abs().max()
    drawn = np.concatenate([bars[0].get_xdata() for bars in pages[0].axes[0].containers])
    assert np.abs(drawn).max() == pytest.approx(largest)


def test_forest_names_the_regions_if_there_are_several(cohort, phenotypes):
    table = cohort.assign(lesion_glcm_Imc1=cohort["ggo_glcm_Imc1"] ** 2)
    figure = forest.forest(mediation.univariate(table, ["age"], ["ggo_glcm_Imc1", "lesion_glcm_Imc1"]))
    labels = {label.get_text() for label in figure.axes[0].get_yticklabels()}
    assert labels == {"GGO Imc1 (GLCM)", "lesion Imc1 (GLCM)"}


def test_forest_errors(cohort, phenotypes):
    pairs = mediation.univariate(cohort, ["age"], phenotypes)
    with pytest.raises(ValueError, match="Page 1 of 1 does not exist"):
        forest.forest(pairs, page=1)
    with pytest.raises(ValueError, match="max_rows must be >= 1, got 0"):
        forest.forest(pairs, max_rows=0)
    with pytest.raises(ValueError, match="No pair in the table has estimates"):
        forest.forest(pairs.assign(flag="constant mediator"))


def test_hollow_marks_with_an_interval_beside_0_have_a_line(cohort, phenotypes):
    """Raw p = 0.03, adjusted to 0.06 in a family of two."""
    pairs = mediation.univariate(cohort, ["age"], phenotypes[:2])
    z = stats.norm.isf(0.015)
    weak = pairs.assign(is_mediator=False, indirect_z=z, indirect_se=pairs["indirect_est"].abs() / z)
    told = forest.forest(weak).legends[0].get_title().get_text()
    assert told.startswith("Filled marks are significant after adjustment for the number of tests; intervals are")
    drawings.assert_apart(drawings.drawn_texts(forest.forest(weak)))
    for other in (weak.assign(is_mediator=True), weak.assign(indirect_z=1.9)):
        assert forest.forest(other).legends[0].get_title().get_text() == ""


@pytest.mark.parametrize("method", ["percentile", "bca"])
def test_forest_of_bootstrap_intervals(cohort, phenotypes, method):
    table = cohort.assign(rare=(cohort.index < 2).astype(float))
    names = [*phenotypes[:3], "rare"]  # constant in some resamples: no interval, but a mark
    pairs = mediation.univariate(table, ["age"], names)
    drawn = mediation.bootstrap(table, ["age"], names, draws=200)
    assert drawn.set_index("mediator")["se"].isna().to_dict() == {name: name == "rare" for name in names}
    order = np.random.default_rng(0).permutation(len(drawn))
    figure = forest.forest(pairs, intervals=drawn.iloc[order], method=method)
    lines = [line for bars in figure.axes[0].containers for line in bars[2][0].get_segments() if len(line) == 2]
    expected = drawn.dropna(subset="se")
    scale = (expected["std"] / expected["est"]).to_numpy()
    found = {tuple(np.round(line[:, 0], 9)) for line in lines if np.isfinite(line).all()}
    bounds = zip(expected[f"{method}_lower"] * scale, expected[f"{method}_upper"] * scale, strict=True)
    assert found == {tuple(np.round(pair, 9)) for pair in bounds}
    assert sum(len(bars[0].get_xdata()) for bars in figure.axes[0].containers) == 4
    assert "bootstrap interval" in figure.axes[0].get_xlabel()
    with pytest.raises(ValueError, match="Unknown interval 'hpd'; choose one of percentile, bc, bca"):
        forest.forest(pairs, intervals=drawn, method="hpd")


@pytest.mark.filterwarnings("error:Glyph:UserWarning")
def test_names_in_any_script_use_a_font_that_has_them(cohort, phenotypes):
    """STIX, which comes with matplotlib, has this letter, DejaVu Sans does not; no glyph may be missing."""
    letter = next(
        chr(code)
        for code in sorted(fonts._letters(font_manager.findfont("STIXGeneral")))
        if not fonts._is_plain(chr(code))
    )
    table = cohort.rename(columns={"age": f"age {letter}"})
    figure = forest.forest(mediation.univariate(table, [f"age {letter}"], phenotypes[:2]))
    title = figure.axes[0].title if figure.axes[0].title.get_text() else figure.axes[0]._left_title
    assert title.get_text() == f"age {letter}"
    assert len(title.get_fontfamily()) == 2
    used = font_manager.findfont(title.get_fontfamily()[1])
    assert ord(letter) in fonts._letters(used)
    drawings.drawn_texts(figure)
