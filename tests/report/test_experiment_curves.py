import numpy as np
import pandas as pd
import pytest

from ssinfnet_jax.metrics import roc
from ssinfnet_jax.report import experiment_curves

METHODS = {"unet": "U-Net", "ssinfnet": "SSInfNet $x_1$"}


def _curve(seed, shift=1.5):
    random = np.random.default_rng(seed)
    truth = random.random(4000) < 0.3
    probs = 1 / (1 + np.exp(-(random.normal(size=4000) + shift * truth - 1)))
    return roc.curve(probs, truth).assign(**{"class": "lesion"})


def test_roc_tells_area_and_the_threshold_of_youdens_j():
    curve = _curve(0)
    figure = experiment_curves.roc({"unet": [curve], "ssinfnet": [_curve(1, 3.0)]}, METHODS)
    axes = figure.axes[0]
    texts = [text.get_text() for text in axes.get_legend().get_texts()]
    best = curve.loc[(curve["tpr"] - curve["fpr"]).idxmax()]
    area = np.trapezoid(curve["tpr"], curve["fpr"])
    assert texts[0] == f"U-Net: {area:.3f}, {best['threshold']:.2f}"
    assert texts[1].startswith("SSInfNet $x_1$: ")
    marks = [line for line in axes.lines if len(line.get_xdata()) == 1]
    assert marks[0].get_xydata()[0] == pytest.approx([best["fpr"], best["tpr"]])
    figure.canvas.draw()  # no name is taken for mathematics


def test_of_several_runs_the_mean_and_each_alone_is_drawn():
    curves = [_curve(seed) for seed in range(3)]
    axes = experiment_curves.roc({"unet": curves}, {"unet": "U-Net"}).axes[0]
    lines = [line for line in axes.lines if len(line.get_xdata()) > 2]
    assert sum(line.get_linewidth() < 1 for line in lines) == 3
    (mean,) = [line for line in lines if line.get_linewidth() > 1]
    at = np.interp(0.2, *mean.get_data())
    assert at == pytest.approx(np.mean([np.interp(0.2, one["fpr"], one["tpr"]) for one in curves]), abs=1e-3)


def _metrics(level):
    rows = [{"step": step, "phase": "train", "epoch": step / 10, "loss": level / step, "train_dice": 1 - level / step}
            for step in range(10, 200, 10)]  # fmt: skip
    rows += [{"step": 100, "phase": "val", "epoch": 10.0, "dice_lesion": 0.5}]
    return pd.DataFrame(rows)


def test_learning_curves_have_a_panel_for_loss_training_and_validation():
    metrics = {"unet": [_metrics(2.0), _metrics(4.0)], "ssinfnet": [_metrics(1.0)]}
    figure = experiment_curves.learning_curves(metrics, METHODS)
    titles = [axes.get_title() for axes in figure.axes]
    assert titles == ["Loss, training", "Dice, training", "Dice, Lesion, validation"]
    loss = figure.axes[0].lines[0]
    assert loss.get_ydata()[-1] == pytest.approx(np.mean([2.0, 4.0]) / 190)
    assert len(figure.legends[0].get_texts()) == 2


def test_a_method_without_a_run_is_left_out():
    figure = experiment_curves.learning_curves({"unet": [_metrics(1.0)]}, METHODS)
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["U-Net"]
    assert experiment_curves.roc({"unet": [_curve(0)]}, METHODS).axes
