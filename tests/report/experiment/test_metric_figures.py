import numpy as np
import pandas as pd
import pytest
from matplotlib.backends import backend_agg

from ssinfnet_jax.report.experiment import metric_figures
from ssinfnet_jax.report.kit import figure_style

METHODS = {"unet": "U-Net", "fcn8": "FCN8", "ours": "SSInfNet"}
EIGHT = {f"m{place}": f"Method number {place} with a title that goes on and $on" for place in range(8)}


def summary(methods=METHODS, data=("default",)):
    rows = [
        {"data": name, "method": method, "class": kind, "metric": metric, "mean": 0.5 + 0.05 * place}
        for name in data
        for place, method in enumerate(methods)
        for kind in ("ggo", "consolidation")
        for metric in ("auc", "dice")
    ]
    return pd.DataFrame(rows).assign(error=0.1, n=9)


def comparison(methods=METHODS, data=("default",)):
    rows = summary(methods, data).rename(columns={"mean": "difference"}).assign(reference="ours", p_adj=0.0004)
    rows = rows[rows["method"] != "ours"]
    return rows.assign(difference=rows["difference"] - 0.6, low=rows["difference"] - 0.65, high=0.25)


def dots(axes):
    """(x, y) of every marker."""
    return [(line.get_xdata()[0], line.get_ydata()[0]) for line in axes.lines if len(line.get_xdata()) == 1]


def written(figure):
    return [text.get_text() for axes in figure.axes for text in axes.texts]


def check_inside(figure):
    """All text lies on the figure."""
    canvas = backend_agg.FigureCanvasAgg(figure)
    canvas.draw()
    width, height = figure.get_size_inches() * figure.dpi
    for axes in figure.axes:
        for text in [*axes.texts, *axes.get_yticklabels(), axes.title, axes.xaxis.label]:
            box = text.get_window_extent(canvas.get_renderer())
            if text.get_text() and box.width:
                assert box.x0 >= -1 and box.x1 <= width + 1 and box.y0 >= -1 and box.y1 <= height + 1, text  # noqa: PT018


def test_dots_stand_at_the_means_with_their_errors():
    figure = metric_figures.dot_plot(summary(), METHODS)
    assert len(figure.axes) == 4
    first = figure.axes[0]
    assert first.get_title("left") == "Dice, n = 9"  # Dice comes first whatever the order of the table
    assert [label.get_text() for label in first.get_yticklabels()] == list(METHODS.values())
    np.testing.assert_allclose(dots(first), [(0.5, 0), (0.55, 1), (0.6, 2)])
    bars = [line.get_xdata() for line in first.lines if len(line.get_xdata()) == 2]
    np.testing.assert_allclose(bars, [(0.4, 0.6), (0.45, 0.65), (0.5, 0.7)])
    low, high = first.get_ylim()
    assert low > high  # the first method is on top


def test_undefined_means_and_missing_methods_are_named():
    table = summary()
    table.loc[table["method"] == "fcn8", ["mean", "error"]] = np.nan
    figure = metric_figures.dot_plot(table[table["method"] != "ours"], METHODS)
    assert len(dots(figure.axes[0])) == 1
    assert [text for text in written(figure) if text in ("undefined", "no result")] == ["undefined", "no result"] * 4


def test_a_mean_without_an_error_has_no_bar():
    figure = metric_figures.dot_plot(summary().assign(error=np.nan), METHODS)
    assert all(len(line.get_xdata()) == 1 for line in figure.axes[0].lines)


def test_two_data_sets_share_a_panel():
    table = summary(data=("near", "far"))
    table.loc[table["data"] == "far", "n"] = 4
    figure = metric_figures.dot_plot(table, METHODS)
    assert figure.axes[0].get_title("left") == "Dice, n = 4\N{EN DASH}9"
    fills = [line.get_fillstyle() for line in figure.axes[0].lines if len(line.get_xdata()) == 1]
    assert fills == ["full", "none"] * 3
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["near", "far"]


def test_a_narrow_interval_is_not_magnified():
    figure = metric_figures.dot_plot(summary({"unet": ""}).assign(error=1e-6), {"unet": "U-Net"})
    low, high = figure.axes[0].get_xlim()
    assert high - low == pytest.approx(0.1)


def test_forest_shows_differences_and_their_numbers():
    figure = metric_figures.forest(comparison(), METHODS)
    panel, numbers = figure.axes[:2]
    assert [label.get_text() for label in panel.get_yticklabels()] == ["U-Net", "FCN8"]  # the reference has no row
    np.testing.assert_allclose(dots(panel), [(-0.1, 0), (-0.05, 1)], atol=1e-12)
    texts = [text.get_text() for text in numbers.texts]
    assert texts[:3] == ["\N{MINUS SIGN}0.100 [\N{MINUS SIGN}0.150, +0.250]", "9", "< 0.001"]
    assert "Dice minus that of SSInfNet" in figure.axes[-2].get_xlabel()


def test_forest_without_intervals_and_with_seeds():
    table = comparison().assign(low=np.nan, high=np.nan, p_adj=np.nan, seed_p_adj=0.0421, difference=-1e-9)
    table.loc[table["method"] == "fcn8", "difference"] = np.nan
    figure = metric_figures.forest(table, METHODS)
    assert [text.get_text() for text in figure.axes[1].texts][:4] == ["+0.000", "9", "\N{EN DASH}", "0.042"]
    assert "undefined" in written(figure)


@pytest.mark.parametrize("data", [("default",), ("near", "far_$away^" * 8)])
def test_eight_methods_with_long_titles_stay_on_the_page(data):
    check_inside(metric_figures.dot_plot(summary(EIGHT, data), EIGHT))
    check_inside(metric_figures.forest(comparison(EIGHT, data).assign(seed_p_adj=0.5), EIGHT))


def cost():
    return pd.DataFrame(
        {
            "network": ["unet", "ours"], "parameters": [2e6, 30e6], "parameters_segmenting": [2e6, 20e6],
            "inference_s_per_slice": [0.1, 0.25], "training_s_per_slice": [np.nan, 1.5],
            "inference_peak_gib": [1.0, 2.0], "training_peak_gib": [np.nan, 6.5],
        }
    )  # fmt: skip


def test_cost_as_bars_with_their_numbers():
    figure = metric_figures.cost(cost(), METHODS)
    texts = [[text.get_text() for text in axes.texts] for axes in figure.axes]
    assert texts == [
        ["0.1", "not measured", "0.25"],
        ["not measured", "not measured", "1.5"],
        ["2 | 2", "not measured", "20 | 30"],
        ["1 | \N{EN DASH}", "not measured", "2 | 6.5"],
    ]
    assert [bar.get_width() for bar in figure.axes[2].patches if bar.get_y() > 1.5] == [30, 20]
    check_inside(figure)


def test_nothing_to_draw_says_so():
    with pytest.raises(ValueError, match="The methods unet, fcn8, ours have no mean; evaluate"):
        metric_figures.dot_plot(summary().assign(mean=np.nan), METHODS)
    with pytest.raises(ValueError, match="The methods unet, fcn8, ours have no difference in Dice; compare"):
        metric_figures.forest(comparison().assign(metric="iou"), METHODS)
    with pytest.raises(ValueError, match="The cost of the networks unet, fcn8, ours was not measured; measure"):
        metric_figures.cost(cost().iloc[:0], METHODS)


def test_eight_methods_look_different_in_colour_and_shape():
    looks = figure_style.looks(EIGHT)
    assert len({look.color for look in looks.values()}) == len({look.marker for look in looks.values()}) == 8
    assert len(set(figure_style.looks(map(str, range(30))).values())) == 30
