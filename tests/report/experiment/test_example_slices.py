import dataclasses

import numpy as np
import pandas as pd
import pytest
from matplotlib import colors
from matplotlib.backends import backend_agg

from ssinfnet_jax.report.experiment import example_slices
from ssinfnet_jax.report.kit import figure_style

METHODS = {"unet": "U-Net", "ours": "SSInfNet"}
TRUTH = np.zeros((40, 60), np.uint8)
TRUTH[10:30, 5:25] = 1
TRUTH[10:30, 35:55] = 2


def example(**changes):
    """Grey 100; the first method finds everything, the second nothing."""
    part = example_slices.ExampleSlice(
        "patient_$1", np.full(TRUTH.shape, 100, np.uint8), TRUTH,
        {"unet": TRUTH, "ours": np.zeros_like(TRUTH)}, {"unet": 1.0, "ours": np.nan}, "Worst",
    )  # fmt: skip
    return dataclasses.replace(part, **changes)


def tinted(figure, colour):
    """Pixels of the fill of a class."""
    figure.set_dpi(figure_style.DPI)
    canvas = backend_agg.FigureCanvasAgg(figure)
    canvas.draw()
    pixels = np.asarray(canvas.buffer_rgba())[..., :3].astype(int)
    wanted = 0.62 * 100 + 0.38 * 255 * np.asarray(colors.to_rgb(colour))
    return int((np.abs(pixels - wanted).max(axis=-1) <= 6).sum())


def written(figure):
    return [text.get_text() for axes in figure.axes for text in axes.texts]


def test_best_median_worst_then_the_widest_range():
    dice = pd.DataFrame(
        {"unet": [0.9, 0.1, 0.5, 0.2, 0.6], "ours": [0.8, 0.7, 0.6, np.nan, 0.5]}, index=["a", "b", "c", "d", "e"]
    )
    chosen = example_slices.choose_examples(dice, "ours", 5)
    assert chosen == {"a": "Best", "c": "Median", "e": "Worst", "b": "Methods differ"}  # d: one Dice has no range
    assert list(chosen) == ["a", "c", "e", "b"]
    assert list(example_slices.choose_examples(dice, "unet", 3).values()) == ["Best", "Median", "Worst"]


def test_choosing_names_what_is_wrong():
    dice = pd.DataFrame({"ours": [0.1, 0.2]}, index=["a", "a"])
    with pytest.raises(ValueError, match=r"Unknown reference 'unet'; the table has the methods ours"):
        example_slices.choose_examples(dice, "unet", 3)
    with pytest.raises(ValueError, match=r"Slice a is in the table twice; take the mean"):
        example_slices.choose_examples(dice, "ours", 3)
    with pytest.raises(ValueError, match=r"count must be >= 3 for best, median and worst, got 2"):
        example_slices.choose_examples(dice.iloc[:1], "ours", 2)


def test_prediction_and_truth_in_the_colours_of_the_classes():
    figure = example_slices.examples([example()], METHODS)
    assert len(figure.axes) == 4
    assert [text.get_text() for text in figure.texts] == ["CT slice", "U-Net", "SSInfNet", "Ground truth"]
    assert written(figure) == ["Worst\npatient_$1", "Dice 1.000", "Dice undefined", ""]
    box = figure.axes[1].get_window_extent()
    area = (figure_style.DPI / figure.dpi) ** 2 * box.width * box.height
    for colour in (
        figure_style.GGO,
        figure_style.CONSOLIDATION,
    ):  # 1/6 of a slice, without its outline, in two of four images
        assert tinted(figure, colour) == pytest.approx(2 * area / 6, rel=0.1)


def test_one_lesion_has_one_colour():
    figure = example_slices.examples([example()], METHODS, lesion_only=True)
    assert tinted(figure, figure_style.LESION) > 1000
    assert tinted(figure, figure_style.GGO) == 0


def test_a_slice_that_a_method_has_not_seen():
    figure = example_slices.examples([example(pred={}, truth=np.zeros_like(TRUTH))], METHODS)
    assert written(figure)[1:] == ["no result", "no result", "no lesion"]


def test_eight_methods_take_two_lines_of_images():
    methods = {f"m{number}": f"A title that is much longer than an image {number}" for number in range(8)}
    figure = example_slices.examples([example(pred={}), example(pred={})], methods)
    places = [axes.get_position() for axes in figure.axes]
    assert len({round(place.y0, 4) for place in places}) == 4
    assert len({round(place.x0, 4) for place in places}) == 5
    assert len(figure.texts) == 2 * 10  # titles are repeated
    width, height = figure.get_size_inches() * figure.dpi
    canvas = backend_agg.FigureCanvasAgg(figure)
    for text in figure.texts:
        box = text.get_window_extent(canvas.get_renderer())
        assert 0 <= box.x0 <= box.x1 <= width
        assert 0 <= box.y0 <= box.y1 <= height


def test_slices_must_be_of_one_shape():
    other = example(image=np.zeros((8, 8), np.uint8))
    with pytest.raises(ValueError, match=r"same shape, found \[\(8, 8\), \(40, 60\)\]; resize"):
        example_slices.examples([example(), other], METHODS)
    with pytest.raises(ValueError, match=r"same shape, found \[\]"):
        example_slices.examples([], METHODS)
