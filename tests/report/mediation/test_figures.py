import numpy as np
import pytest

from ssinfnet_jax.analysis import mediation
from ssinfnet_jax.report.kit import fonts
from ssinfnet_jax.report.mediation import correlation_heatmap, forest, naming, path_plot
from tests.report.mediation import drawings


def test_a_region_that_labels_leave_out_stands_over_every_figure(cohort, phenotypes):
    univariate = mediation.univariate(cohort, ["age"], phenotypes)
    model = mediation.multiple(cohort, {"age": phenotypes[:2]})
    figures = (
        forest.forest(univariate),
        correlation_heatmap.correlation_heatmap(cohort, phenotypes),
        path_plot.path_plot(model),
    )
    for figure in figures:
        boxes = drawings.drawn_texts(figure)
        assert "Phenotypes of GGO" in {text.get_text() for text in boxes}
        drawings.assert_apart(boxes)


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
    figure = forest.forest(mediation.univariate(table, ["age"], list(names)))
    assert {label.get_text() for label in figure.axes[0].get_yticklabels()} == set(names.values())
    drawings.assert_apart(drawings.drawn_texts(figure))
    plot = path_plot.path_plot(mediation.multiple(table, {"age": list(names)}))
    boxes = drawings.drawn_texts(plot)
    drawings.assert_apart(boxes)
    assert set(names.values()) <= {text.get_text() for text in boxes}


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("ggo", "GGO (3)"),
        ("lesion", "lesion (3)"),
        ("firstorder", "first order (3)"),
        ("glcm", "GLCM (3)"),
        ("all", "all (3)"),
        ("d_dimer", "d_dimer (3)"),
    ],
)
def test_names_of_sets_are_readable(name, label):
    assert naming.of_set(name, 3) == label


def test_names_in_scripts_without_a_font_are_escaped_and_told(cohort, phenotypes, monkeypatch, caplog):
    monkeypatch.setattr(fonts, "_font_with", lambda letter: "")
    fonts._warn.cache_clear()
    table = cohort.rename(columns={"age": "年龄", phenotypes[0]: "体积", phenotypes[1]: "возраст"})
    figures = [
        forest.forest(mediation.univariate(table, ["年龄"], ["体积", "возраст"])),
        path_plot.path_plot(mediation.multiple(table, {"年龄": ["体积", "возраст"]})),
    ]
    for figure in figures:
        boxes = drawings.drawn_texts(figure)
        drawings.assert_apart(boxes)
        texts = {text.get_text() for text in boxes}
        assert {"<U+5E74><U+9F84>", "<U+4F53><U+79EF>", "возраст"} <= texts
    assert "No font on this machine has the letters 年龄: figures show them as <U+5E74>. Install a font" in caplog.text
