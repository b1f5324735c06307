import numpy as np
import pandas as pd
import pytest
from matplotlib.backends import backend_agg
from sklearn import metrics as sk_metrics

from ssinfnet_jax.report.experiment import grid_curves

METHODS = {"unet": "U-Net", "ours": "SSInfNet"}
EIGHT = {f"m{place}": f"Method number {place} with a title that goes on and $on" for place in range(8)}


def scores(seed):
    random = np.random.default_rng(seed)
    truth = random.random(400) < 0.3
    return truth, np.clip(0.3 * truth + random.random(400) * 0.7, 0, 1)


def curve(seed, kinds=("ggo",)):
    fpr, tpr, threshold = sk_metrics.roc_curve(*scores(seed))
    table = pd.DataFrame({"fpr": fpr, "tpr": tpr, "threshold": threshold})
    return pd.concat([table.assign(**{"class": kind}) for kind in kinds])


def numbers(axes):
    return [text.get_text() for text in axes.get_legend().get_texts()]


def check_inside(figure):
    canvas = backend_agg.FigureCanvasAgg(figure)
    canvas.draw()
    width, height = figure.get_size_inches() * figure.dpi
    parts = [*figure.legends, *(axes.xaxis.label for axes in figure.axes)]
    for part in parts:
        box = part.get_window_extent(canvas.get_renderer())
        assert box.x0 >= -1 and box.y0 >= -1 and box.x1 <= width + 1 and box.y1 <= height + 1, part  # noqa: PT018


def test_area_and_youden_threshold_are_those_of_the_run():
    truth, probs = scores(0)
    (axes,) = grid_curves.roc({"ours": [curve(0)]}, METHODS).axes
    cuts = np.unique(probs)
    youden = [(probs[truth] >= cut).mean() - (probs[~truth] >= cut).mean() for cut in cuts]
    assert numbers(axes) == [f"{sk_metrics.roc_auc_score(truth, probs):.3f}; p > {cuts[np.argmax(youden)]:.2f}"]
    (line,) = axes.lines[1:]
    (marked,) = line.get_markevery()
    assert line.get_ydata()[marked] - line.get_xdata()[marked] == pytest.approx(max(youden), abs=0.01)


def test_runs_are_averaged_at_the_same_false_positive_rate():
    flat = pd.DataFrame({"class": "ggo", "fpr": [0, 0.0, 1], "tpr": [0, 0.8, 1]})  # without a threshold
    straight = pd.DataFrame({"class": "ggo", "fpr": [0, 1], "tpr": [0, 1]})
    (axes,) = grid_curves.roc({"ours": [flat, straight]}, METHODS).axes
    *single, mean = axes.lines[1:]
    assert [line.get_alpha() for line in single] == [0.3, 0.3]
    np.testing.assert_allclose(np.interp([1e-9, 0.5, 1], mean.get_xdata(), mean.get_ydata()), [0.4, 0.7, 1], atol=1e-6)
    assert numbers(axes) == [f"0.700 (SD {np.std([0.9, 0.5], ddof=1):.3f})"]
    assert mean.get_xdata()[mean.get_markevery()[0]] == 0


def test_the_threshold_is_the_median_over_runs():
    tables = [pd.DataFrame({"class": "ggo", "fpr": [0, 0.1, 1], "tpr": [0, 0.9, 1], "threshold": [np.inf, cut, 0]})
              for cut in (0.2, 0.3, 0.7)]  # fmt: skip
    (axes,) = grid_curves.roc({"ours": tables}, METHODS).axes
    assert numbers(axes) == ["0.900 (SD 0.000); p > 0.30"]


def test_a_panel_per_class_and_a_look_per_method():
    curves = {"unet": [curve(0, ("ggo", "consolidation"))], "ours": [curve(1, ("ggo",)), curve(2, ("ggo",))]}
    figure = grid_curves.roc(curves, METHODS)
    assert [axes.get_title("left") for axes in figure.axes] == ["GGO", "Consolidation"]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == list(METHODS.values())
    colours = [{line.get_color() for line in axes.lines[1:]} for axes in figure.axes]
    assert (len(colours[0]), len(colours[1])) == (2, 1)


def course(epochs=50, offset=0.0, term="bce"):
    epoch = np.arange(1, epochs + 1)
    train = pd.DataFrame({"step": 10 * epoch, "epoch": epoch, "phase": "train", "loss": 2.0 - epoch / 50 + offset})
    train = train.assign(train_dice=epoch / 100 + offset, **{term: 1.0}, grad_norm=1.0)
    val = pd.DataFrame({"step": [100, 200], "epoch": [10, 20], "phase": "val", "dice_ggo": [0.2, 0.4]})
    return pd.concat([train, val.assign(dice_consolidation=[0.4, 0.8])]).sort_values("step", kind="stable")


def test_loss_and_dice_of_training_and_validation():
    loss, dice = grid_curves.learning_curves({"ours": [course()]}, METHODS).axes
    assert (loss.get_title("left"), dice.get_title("left")) == ("Loss", "Dice")
    assert loss.get_xlabel() == "Epoch"
    assert len(loss.lines) == 1
    training, validation = dice.lines
    np.testing.assert_allclose(training.get_ydata()[10], (0.10 + 0.11) / 2)  # the mean of two of fifty epochs
    np.testing.assert_allclose(validation.get_ydata(), [0.3, 0.6])
    assert (validation.get_linestyle(), validation.get_color()) == (":", training.get_color())


def test_runs_are_averaged_as_far_as_all_go():
    figure = grid_curves.learning_curves({"ours": [course(50), course(40, offset=0.2)]}, METHODS)
    *single, mean = figure.axes[0].lines
    assert [len(line.get_xdata()) for line in (*single, mean)] == [50, 40, 40]
    between = (single[0].get_ydata()[:40] + single[1].get_ydata()) / 2
    np.testing.assert_allclose(mean.get_ydata(), between)


def test_losses_of_different_terms_are_said_not_to_compare():
    figure = grid_curves.learning_curves({"unet": [course()], "ours": [course(term="focal")]}, METHODS)
    assert figure.axes[0].get_title("left") == "Loss (different terms: do not compare heights)"


def test_the_speed_of_a_training_is_no_term_of_its_loss():
    faster = course().assign(slices_per_second=9.0, time_waiting_for_data=0.1)
    figure = grid_curves.learning_curves({"unet": [course()], "ours": [faster]}, METHODS)
    assert figure.axes[0].get_title("left") == "Loss"


def test_without_epochs_or_validation_steps_are_drawn():
    table = course().drop(columns=["epoch", "dice_ggo", "dice_consolidation", "train_dice"])
    figure = grid_curves.learning_curves({"ours": [table], "unet": []}, METHODS)
    (axes,) = figure.axes
    assert axes.get_xlabel() == "Step"
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["SSInfNet"]


def test_eight_methods_of_five_folds_stay_on_the_page():
    kinds = ("background", "ggo", "consolidation")
    check_inside(grid_curves.roc({name: [curve(fold, kinds) for fold in range(5)] for name in EIGHT}, EIGHT))
    check_inside(grid_curves.learning_curves({name: [course() for _ in range(5)] for name in EIGHT}, EIGHT))


def test_nothing_to_draw_says_so():
    with pytest.raises(ValueError, match="The methods unet, ours have no ROC curve; evaluate"):
        grid_curves.roc({"ours": [curve(0).iloc[:0]]}, METHODS)
    with pytest.raises(ValueError, match="The methods unet, ours have neither loss nor Dice; train"):
        grid_curves.learning_curves({"ours": [course()[["step", "phase"]]]}, METHODS)
    with pytest.raises(ValueError, match="neither loss nor Dice"):
        grid_curves.learning_curves({}, METHODS)
