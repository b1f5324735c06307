import matplotlib.colors
import numpy as np
import pytest
from matplotlib.backends import backend_agg

from ssinfnet_jax.report.kit import figure_style, slice_figures


def rgb255(colour):
    return np.round(255 * np.asarray(matplotlib.colors.to_rgb(colour)))


def picture(figure):
    """RGB pixels of a figure as it is saved."""
    figure.set_dpi(figure_style.DPI)
    canvas = backend_agg.FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].astype(int)


def count(pixels, colour, within=6):
    return int((np.abs(pixels - np.asarray(colour)).max(axis=-1) <= within).sum())


@pytest.fixture
def examples():
    """Three slices of grey 100; GGO left, consolidation right; predictions get worse."""
    image = np.full((3, 40, 60), 100, np.uint8)
    truth = np.zeros((3, 40, 60), np.uint8)
    truth[:, 10:30, 5:25] = 1
    truth[:, 10:30, 35:55] = 2
    pred = truth.copy()
    pred[2] = 0
    prob = (pred > 0).astype(np.float32)
    ids = np.array(["first", "$second_{x}$", "third" * 40])
    return {
        "image": image,
        "truth": truth,
        "pred": pred,
        "lesion_prob": prob,
        "slice_id": ids,
        "dice": [1.0, 0.5, 0.0],
    }


def test_overlays_show_truth_and_both_predictions(examples):
    pixels = picture(slice_figures.overlays(examples))
    fills = {
        name: 0.62 * 100 + 0.38 * rgb255(colour)
        for name, colour in (
            ("ggo", figure_style.GGO),
            ("consolidation", figure_style.CONSOLIDATION),
            ("lesion", figure_style.LESION),
        )
    }
    found = {name: count(pixels, colour) for name, colour in fills.items()}
    # Three truths and two predictions contain GGO, as many consolidation; two lesion maps contain both regions.
    assert found["ggo"] == pytest.approx(found["consolidation"], rel=0.1)
    assert found["lesion"] == pytest.approx(2 * 2 / 5 * found["ggo"], rel=0.15)
    assert count(pixels, rgb255(figure_style.GGO)) > 500  # contours and colour key


def test_overlays_without_multi_network(examples):
    del examples["pred"]
    pixels = picture(slice_figures.overlays(examples))
    assert count(pixels, rgb255(figure_style.GGO)) == 0
    assert count(pixels, 0.62 * 100 + 0.38 * rgb255(figure_style.LESION)) > 1000


def test_overlays_need_a_dice(examples):
    examples["dice"] = np.full(3, np.nan)
    with pytest.raises(ValueError, match="No example has a defined Dice"):
        slice_figures.overlays(examples)


@pytest.mark.parametrize(
    ("dice", "chosen"),
    [
        ([0.2, 0.9, np.nan, 0.5, 0.4], [("Best", 1), ("Median", 4), ("Worst", 0)]),
        ([0.2, 0.9], [("Best", 1), ("Worst", 0)]),
        ([np.nan, 0.3], [("Best", 1)]),
        ([np.nan], []),
    ],
)
def test_choose(dice, chosen):
    assert slice_figures.choose(np.array(dice)) == chosen


def test_spread_gives_every_phase_its_share():
    assert slice_figures.spread(["a"] * 5 + ["b"] * 2 + ["c"], 4) == [3, 4, 6, 7]
    assert slice_figures.spread(["a", "b"], 6) == [0, 1]


def test_inpainting_strips_colour_the_erased_part():
    image = np.full((2, 32, 32), 0.5, np.float32)
    keep = np.ones_like(image)
    keep[:, 8:16, 8:24] = 0
    inpainting = np.where(keep == 0, 0.7, 0.5).astype(np.float32)
    figure = slice_figures.inpainting_strips(
        {"image": image, "keep": keep, "inpainting": inpainting, "phase": ["p", "q"]}
    )
    texts = [text.get_text() for text in figure.texts]
    assert "Phase p   erased 12.5%   mean error: erased 0.200, kept 0.000" in texts
    pixels = picture(figure)
    panel = figure.axes[1].get_window_extent()
    assert count(pixels, rgb255(figure_style.ERASED), 2) == pytest.approx(
        2 * 0.125 * panel.width * panel.height, rel=0.1
    )


def test_contact_sheet_outline_and_fill(examples):
    figure = slice_figures.contact_sheet(
        examples["image"], ["a\nDice 1", "b", "c"], fill=examples["pred"], outline=examples["truth"] > 0
    )
    pixels = picture(figure)
    assert count(pixels, rgb255(figure_style.TRUTH_LINE), 12) > 200
    assert count(pixels, 0.62 * 100 + 0.38 * rgb255(figure_style.GGO)) > 500
