import matplotlib.colors
import numpy as np
import pandas as pd
import pytest
from matplotlib.backends import backend_agg

from ssinfnet_jax.report import figures


def rgb255(colour):
    return np.round(255 * np.asarray(matplotlib.colors.to_rgb(colour)))


def picture(figure):
    """RGB pixels of a figure as it is saved."""
    figure.set_dpi(figures.DPI)
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


def test_blend_mixes_grey_and_class_colours():
    image = np.full((2, 3), 100, np.uint8)
    classes = np.array([[0, 1, 2], [0, 0, 0]])
    pixels = figures.blend(image, classes, alpha=0.4)
    assert pixels.dtype == np.uint8
    np.testing.assert_array_equal(pixels[1], np.full((3, 3), 100))
    np.testing.assert_allclose(pixels[0, 1], 0.6 * 100 + 0.4 * rgb255(figures.GGO), atol=0.51)
    np.testing.assert_allclose(pixels[0, 2], 0.6 * 100 + 0.4 * rgb255(figures.CONSOLIDATION), atol=0.51)
    np.testing.assert_array_equal(figures.blend(image / 255.0, classes, alpha=0.4), pixels)


def test_blend_keeps_the_ct_visible():
    image = np.arange(256, dtype=np.uint8)[None]
    tinted = figures.blend(image, np.ones_like(image), alpha=0.4).astype(int).sum(axis=-1)[0]
    assert (np.diff(tinted) > 0).mean() > 0.9  # brighter CT stays brighter under the tint


def test_blend_names_what_is_wrong():
    image = np.zeros((2, 2), np.uint8)
    with pytest.raises(ValueError, match=r"image is \(2, 2\) but its class map \(3, 2\).*nearest"):
        figures.blend(image, np.zeros((3, 2), int))
    with pytest.raises(ValueError, match=r"holds \[3\], but colours are given for \[1, 2\]"):
        figures.blend(image, np.full((2, 2), 3))


def test_class_colours_differ_for_colour_blind_readers():
    # Machado et al. 2009, severity 1: protanopia and deuteranopia, on linear RGB.
    protan = np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    )
    deutan = np.array([[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]])
    linear = {name: (rgb255(c) / 255) ** 2.2 for name, c in figures.NAMED.items()}
    for matrix in (np.eye(3), protan, deutan):
        seen = {name: np.clip(matrix @ colour, 0, 1) ** (1 / 2.2) for name, colour in linear.items()}
        assert np.linalg.norm(seen["ggo"] - seen["consolidation"]) > 0.4
        assert np.linalg.norm(seen["lesion"] - seen["ggo"]) > 0.15
        assert np.linalg.norm(seen["lesion"] - seen["consolidation"]) > 0.3


def test_overlays_show_truth_and_both_predictions(examples):
    pixels = picture(figures.overlays(examples))
    fills = {
        name: 0.62 * 100 + 0.38 * rgb255(colour)
        for name, colour in (
            ("ggo", figures.GGO),
            ("consolidation", figures.CONSOLIDATION),
            ("lesion", figures.LESION),
        )
    }
    found = {name: count(pixels, colour) for name, colour in fills.items()}
    # Three truths and two predictions hold GGO, as many consolidation; two lesion maps hold both places.
    assert found["ggo"] == pytest.approx(found["consolidation"], rel=0.1)
    assert found["lesion"] == pytest.approx(2 * 2 / 5 * found["ggo"], rel=0.15)
    assert count(pixels, rgb255(figures.GGO)) > 500  # contours and colour key


def test_overlays_without_multi_network(examples):
    del examples["pred"]
    pixels = picture(figures.overlays(examples))
    assert count(pixels, rgb255(figures.GGO)) == 0
    assert count(pixels, 0.62 * 100 + 0.38 * rgb255(figures.LESION)) > 1000


def test_overlays_need_a_dice(examples):
    examples["dice"] = np.full(3, np.nan)
    with pytest.raises(ValueError, match="No example has a defined Dice"):
        figures.overlays(examples)


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
    assert figures.choose(np.array(dice)) == chosen


def test_spread_gives_every_phase_its_share():
    assert figures.spread(["a"] * 5 + ["b"] * 2 + ["c"], 4) == [3, 4, 6, 7]
    assert figures.spread(["a", "b"], 6) == [0, 1]


def test_inpainting_strips_colour_the_erased_part():
    image = np.full((2, 32, 32), 0.5, np.float32)
    keep = np.ones_like(image)
    keep[:, 8:16, 8:24] = 0
    inpainting = np.where(keep == 0, 0.7, 0.5).astype(np.float32)
    figure = figures.inpainting_strips({"image": image, "keep": keep, "inpainting": inpainting, "phase": ["p", "q"]})
    texts = [text.get_text() for text in figure.texts]
    assert "Phase p   erased 12.5%   mean error: erased 0.200, kept 0.000" in texts
    pixels = picture(figure)
    panel = figure.axes[1].get_window_extent()
    assert count(pixels, rgb255(figures.ERASED), 2) == pytest.approx(2 * 0.125 * panel.width * panel.height, rel=0.1)


def test_training_curves_separate_losses_scores_and_rate():
    train = pd.DataFrame({"step": range(50), "phase": "train", "loss": np.linspace(2, 1, 50), "map_2": 0.5})
    train = train.assign(learning_rate=1e-4, grad_norm=300.0, seconds=0.2)
    val = pd.DataFrame({"step": [10, 20], "phase": "val", "val_dice": [0.3, 0.6], "val_loss": [1.5, 1.2]})
    loss, score, rate = figures.training_curves(pd.concat([train, val], ignore_index=True)).axes
    assert [line.get_label() for line in loss.lines] == ["Loss", "Loss (val)", "Map 2"]
    assert [line.get_linestyle() for line in loss.lines] == ["-", "--", "-"]
    assert [line.get_label() for line in score.lines] == ["Dice"]
    assert (loss.get_ylabel(), score.get_ylabel(), rate.get_ylabel()) == ("Loss", "Score", "Learning rate")


def test_pretraining_curves_do_not_join_a_phase_across_another():
    phases = ["coach"] * 3 + ["inpaint"] * 3 + ["coach"] * 3
    metrics = pd.DataFrame({"step": range(9), "phase": phases, "loss": np.arange(9.0), "own_number": 1.0})
    first, second = figures.pretraining_curves(metrics).axes
    assert [len(line.get_xdata()) for line in first.lines] == [3, 3, 3]
    assert (first.get_title("left"), second.get_title("left")) == ("Loss", "Own number")


def test_curves_without_numbers_say_so():
    metrics = pd.DataFrame({"step": [1], "epoch": [0.1], "phase": ["train"]})
    with pytest.raises(ValueError, match="no numbers besides step and epoch"):
        figures.training_curves(metrics)
    with pytest.raises(ValueError, match="no numbers besides step and epoch"):
        figures.pretraining_curves(metrics)


def test_roc_area_and_threshold_point():
    curve = pd.DataFrame({"class": "ggo", "fpr": [0, 0.0, 1], "tpr": [0, 0.5, 1], "threshold": [np.inf, 0.6, 0]})
    (axes,) = figures.roc({"Single": curve}).axes
    assert axes.get_legend().get_texts()[0].get_text() == "GGO: area 0.750"
    marker = axes.lines[-1]
    assert (list(marker.get_xdata()), list(marker.get_ydata())) == ([0.0], [0.5])


def test_distributions_count_defined_values():
    figure = figures.distributions({"GGO": [0.1, np.nan, 0.3], "None": [np.nan]}, xlabel="Dice", colours=["r", "b"])
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert labels == ["GGO\nn = 2", "None\nn = 0"]


def test_contact_sheet_outline_and_fill(examples):
    figure = figures.contact_sheet(
        examples["image"], ["a\nDice 1", "b", "c"], fill=examples["pred"], outline=examples["truth"] > 0
    )
    pixels = picture(figure)
    assert count(pixels, rgb255(figures.TRUTH_LINE), 12) > 200
    assert count(pixels, 0.62 * 100 + 0.38 * rgb255(figures.GGO)) > 500


def test_save_writes_the_same_bytes_twice(tmp_path):
    curve = pd.DataFrame({"class": "lesion", "fpr": [0, 1], "tpr": [0, 1]})
    for name in ("one", "two"):
        figures.save(figures.roc({"Single": curve}), tmp_path, name)
    assert (tmp_path / "one.svg").read_bytes() == (tmp_path / "two.svg").read_bytes()
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()


@pytest.mark.parametrize(
    ("name", "text"),
    [("val_dice_ggo", "Dice GGO"), ("kl", "KL divergence"), ("map_2", "Map 2"), ("loss", "Loss")],
)
def test_titles(name, text):
    assert figures.title(name) == text


def test_shorten_keeps_both_ends():
    assert figures.shorten("patient_000123_slice_0456", 11) == "patie…_0456"
    assert figures.shorten("a\nb", 5) == "a b"
