import numpy as np
import pandas as pd
import pytest

from ssinfnet_jax.report.mediation import correlation_heatmap
from tests.report.mediation import drawings


def test_heatmap_is_clustered_and_marks_close_pairs(cohort, phenotypes):
    table = cohort.assign(ggo_glcm_Id=-cohort["ggo_glcm_MCC"] + 0.1 * cohort["ggo_firstorder_Mean"])
    names = [phenotypes[-1], *phenotypes[:-1], "ggo_glcm_Id"]
    figure = correlation_heatmap.correlation_heatmap(table, names)
    drawings.assert_apart({t: box for t, box in drawings.drawn_texts(figure).items() if t.axes is figure.axes[0]})
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
    figure = correlation_heatmap.correlation_heatmap(table, names)
    drawings.assert_apart({t: box for t, box in drawings.drawn_texts(figure).items() if t.axes is figure.axes[0]})
    assert len(figure.axes[0].collections[0].get_offsets()) == 2
    with pytest.raises(ValueError, match="at least two mediators, got"):
        correlation_heatmap.correlation_heatmap(table, names[:1])


def test_the_title_of_a_heat_map_stands_above_its_tree(cohort, phenotypes):
    short = ["consolidation_glcm_Id", "consolidation_glcm_MCC"]
    figure = correlation_heatmap.correlation_heatmap(cohort[phenotypes[:2]].set_axis(short, axis=1), short)
    title = next(
        box for text, box in drawings.drawn_texts(figure).items() if text.get_text() == "Phenotypes of consolidation"
    )
    assert title.y0 >= max(axes.get_window_extent().y1 for axes in figure.axes)
