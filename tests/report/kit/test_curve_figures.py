import numpy as np
import pandas as pd
import pytest

from ssinfnet_jax.report.kit import curve_figures


def test_training_curves_separate_losses_scores_and_rate():
    train = pd.DataFrame({"step": range(50), "phase": "train", "loss": np.linspace(2, 1, 50), "map_2": 0.5})
    train = train.assign(learning_rate=1e-4, grad_norm=300.0, slices_per_second=9.0, time_waiting_for_data=0.1)
    val = pd.DataFrame({"step": [10, 20], "phase": "val", "val_dice": [0.3, 0.6], "val_loss": [1.5, 1.2]})
    loss, score, rate = curve_figures.training_curves(pd.concat([train, val], ignore_index=True)).axes
    assert [line.get_label() for line in loss.lines] == ["Loss", "Loss (val)", "Map 2"]
    assert [line.get_linestyle() for line in loss.lines] == ["-", "--", "-"]
    assert [line.get_label() for line in score.lines] == ["Dice"]
    assert (loss.get_ylabel(), score.get_ylabel(), rate.get_ylabel()) == ("Loss", "Score", "Learning rate")


def test_a_loss_term_named_dice_is_a_loss():
    train = pd.DataFrame({"step": range(3), "phase": "train", "loss": 0.6, "dice": 0.4, "train_dice": 0.7})
    val = pd.DataFrame({"step": [2], "phase": "val", "dice_lesion": [0.5]})
    loss, score = curve_figures.training_curves(pd.concat([train, val], ignore_index=True)).axes
    assert [line.get_label() for line in loss.lines] == ["Loss", "Dice"]
    assert [line.get_label() for line in score.lines] == ["Train dice", "Dice lesion"]


def test_a_wide_legend_leaves_no_void_between_panels():
    terms = {f"map_{number}_weighted_iou_bce_of_a_term_with_a_long_name": 0.5 for number in range(6)}
    train = pd.DataFrame({"step": range(3), "phase": "train", "loss": 2.0, **terms, "train_dice": 0.7})
    figure = curve_figures.training_curves(train)
    figure.draw_without_rendering()
    loss, score = figure.axes
    assert score.get_position().x0 - loss.get_position().x1 < 0.1
    assert loss.get_position().height * figure.get_figheight() > 2  # inches
    assert loss.get_legend().get_window_extent().x1 < score.get_window_extent().x0


def test_pretraining_curves_do_not_join_a_phase_across_another():
    phases = ["coach"] * 3 + ["inpaint"] * 3 + ["coach"] * 3
    metrics = pd.DataFrame({"step": range(9), "phase": phases, "loss": np.arange(9.0), "own_number": 1.0})
    metrics = metrics.assign(slices_per_second=9.0, time_waiting_for_data=0.1)
    first, second = curve_figures.pretraining_curves(metrics).axes
    assert [len(line.get_xdata()) for line in first.lines] == [3, 3, 3]
    assert (first.get_title("left"), second.get_title("left")) == ("Loss", "Own number")


def test_curves_without_numbers_say_so():
    metrics = pd.DataFrame({"step": [1], "epoch": [0.1], "phase": ["train"]})
    with pytest.raises(ValueError, match="no numbers besides step and epoch"):
        curve_figures.training_curves(metrics)
    with pytest.raises(ValueError, match="no numbers besides step and epoch"):
        curve_figures.pretraining_curves(metrics)


def test_roc_area_and_threshold_point():
    curve = pd.DataFrame({"class": "ggo", "fpr": [0, 0.0, 1], "tpr": [0, 0.5, 1], "threshold": [np.inf, 0.6, 0]})
    (axes,) = curve_figures.roc({"Single": curve}).axes
    assert axes.get_legend().get_texts()[0].get_text() == "GGO: area 0.750"
    marker = axes.lines[-1]
    assert (list(marker.get_xdata()), list(marker.get_ydata())) == ([0.0], [0.5])
