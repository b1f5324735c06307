"""Curves of a run: pretraining, training, ROC."""

import itertools
import re
from collections.abc import Mapping, Sequence

import matplotlib
import numpy as np
import pandas as pd
from matplotlib import axes as mpl_axes
from matplotlib import figure as mpl_figure
from matplotlib import patches

from ssinfnet_jax.report.kit import figure_style

_PHASES = {"inpaint_random": "#0072B2", "coach": "#D55E00", "inpaint_coach": "#009E73"}
_METRICS = ("dice", "iou", "recall", "precision", "auc", "accuracy")
_NOT_LOSS = ("second", "time", "norm", "epoch", "step", "count", "num_", "scale", "fraction", "memory")


@matplotlib.rc_context(figure_style.STYLE)
def pretraining_curves(metrics: pd.DataFrame) -> mpl_figure.Figure:
    """One small panel per logged number over the steps, coloured by phase.

    Args:
      metrics: rows of metrics.jsonl: `step`, `phase` and any numbers; names that are not known here get a
        panel too (nine at most).
    Raises: ValueError where no number was logged.
    """
    first = ["loss", "reconstruction", "context", "coach_gain", "kl", "erased_fraction", "learning_rate"]
    names = _numbers(metrics, leave_out=("second", "time", "memory"))
    names = sorted(names, key=lambda name: first.index(name) if name in first else len(first))[:9]
    if not names:
        raise ValueError("metrics.jsonl of pretraining holds no numbers besides step and epoch.")
    phases = list(dict.fromkeys(metrics["phase"]))
    others = [phase for phase in phases if phase not in _PHASES]
    palette = _PHASES | dict(zip(others, itertools.cycle(figure_style.LINES[4:])))
    columns = min(3, len(names))
    rows = -(-len(names) // columns)
    figure = mpl_figure.Figure(figsize=(figure_style.WIDTH, 0.9 + 1.9 * rows), layout="constrained")
    grid = figure.subplots(rows, columns, sharex=True, squeeze=False)
    runs = (metrics["phase"] != metrics["phase"].shift()).cumsum()  # a phase comes back: do not join across
    for axes, name in itertools.zip_longest(grid.flat, names):
        if name is None:
            axes.set_visible(False)
            continue
        for _, part in metrics.groupby(runs, sort=True):
            _line(axes, part, name, palette[part["phase"].iloc[0]], dots=len(metrics) <= 40)
        axes.set_title(figure_style.title(name), loc="left")
        axes.tick_params(labelbottom=True)
        axes.locator_params(axis="x", nbins=5)
        scale(axes, metrics[name])
    figure.supxlabel("Step", fontsize=10)
    figure.get_layout_engine().set(h_pad=0.07)
    handles = [patches.Patch(color=palette[phase], label=f"phase {phase}") for phase in phases]
    figure.legend(handles=handles, loc="outside upper left", ncols=4)
    return figure


@matplotlib.rc_context(figure_style.STYLE)
def training_curves(metrics: pd.DataFrame) -> mpl_figure.Figure:
    """Loss and its terms, validation metrics, learning rate over the steps; dashed: the validation split.

    Args:
      metrics: rows of metrics.jsonl: `step`, `phase` ("train" | "val"), `loss`, loss terms under their own
        names, `learning_rate`, `val_*`. Numbers that are neither loss nor metric (seconds, norms) are left
        out.
    Raises: ValueError where no number was logged.
    """
    names = _numbers(metrics, leave_out=_NOT_LOSS)
    # "dice_lesion", "val_dice", "train_auc_ggo"; a loss term is never named so: "map_2_dice", "weighted_iou_bce".
    scores = [n for n in names if re.match(rf"(train_|val_)?({'|'.join(_METRICS)})(_|$)", n) and "loss" not in n]
    rates = [n for n in names if n.startswith("learning_rate")]
    losses = [n for n in names if n not in scores and n not in rates]
    losses = sorted(losses, key=lambda name: name.removeprefix("val_") != "loss")
    parts = {"Loss": losses, "Score": scores, "Learning rate": rates}
    parts = {label: part for label, part in parts.items() if part}
    if not parts:
        raise ValueError("metrics.jsonl of training holds no numbers besides step and epoch.")
    figure = mpl_figure.Figure(figsize=(figure_style.WIDTH, 3.5), layout="constrained")
    ratios = [{"Loss": 1.4, "Score": 1.4, "Learning rate": 0.8}[label] for label in parts]
    grid = figure.subplots(1, len(parts), squeeze=False, width_ratios=ratios)[0]
    for axes, (label, part) in zip(grid, parts.items(), strict=True):
        bases = list(dict.fromkeys(name.removeprefix("val_") for name in part))
        for name in part:
            own = figure_style.LINES[bases.index(name.removeprefix("val_")) % len(figure_style.LINES)]
            colour = (_class_colour(name) if label == "Score" else None) or own
            for phase, rows in metrics.groupby("phase", sort=False):
                held = rows[["step", name]].dropna()
                validation = phase == "val" or name.startswith("val_")
                text = figure_style.title(name) + (" (val)" if validation and label == "Loss" else "")
                dash = "--" if validation and label == "Loss" else "-"
                if len(held):
                    _line(axes, held, name, colour, dots=len(held) <= 40, label=text, dash=dash)
        axes.set_xlabel("Step")
        axes.set_ylabel(label)
        axes.set_xlim(right=metrics["step"].max() * 1.03)
        axes.locator_params(axis="x", nbins=5)
        if label == "Score":
            axes.set_ylim(0, 1)
        else:
            scale(axes, metrics[part])
        if label != "Learning rate":
            axes.legend(loc="lower left", bbox_to_anchor=(0, 1.0), ncols=2, handlelength=1.8, columnspacing=1.0)
    return figure


@matplotlib.rc_context(figure_style.STYLE)
def roc(curves: Mapping[str, pd.DataFrame]) -> mpl_figure.Figure:
    """True against false positive rate of each class, one square panel per network.

    Args:
      curves: table of each network by its name, with columns `class, fpr, tpr` and, where known, `threshold`
        (the point nearest to 0.5 is marked).
    """
    size = 3.9
    figure = mpl_figure.Figure(figsize=(max(size * len(curves), 4.6), size + 0.35), layout="constrained")
    for axes, (name, table) in zip(figure.subplots(1, len(curves), squeeze=False)[0], curves.items(), strict=True):
        axes.plot([0, 1], [0, 1], color="#9CA3AF", linewidth=0.9, linestyle=":")
        for index, (kind, curve) in enumerate(table.groupby("class", sort=False)):
            curve = curve.sort_values(["fpr", "tpr"])
            area = float(np.trapezoid(curve["tpr"], curve["fpr"]))
            colour = figure_style.NAMED.get(str(kind), figure_style.LINES[index % len(figure_style.LINES)])
            label = f"{figure_style.title(kind)}: area {area:.3f}"
            axes.plot(
                curve["fpr"], curve["tpr"], color=colour, linestyle=figure_style.DASHES[index % 4], lw=2, label=label
            )
            if "threshold" in curve and curve["threshold"].notna().any():
                half = curve.loc[(curve["threshold"] - 0.5).abs().idxmin()]
                axes.plot(half["fpr"], half["tpr"], "o", color=colour, markeredgecolor="#1B1F24", markersize=7)
        axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal", title=name)
        axes.set(xlabel="False positive rate", ylabel="True positive rate")
        axes.legend(loc="lower right", frameon=True, framealpha=0.9, edgecolor="none")
    return figure


def _numbers(metrics: pd.DataFrame, leave_out: Sequence[str]) -> list[str]:
    """Columns that hold numbers, without step, epoch and those whose name holds a left-out word."""
    columns = metrics.drop(columns=["step", "epoch"], errors="ignore").select_dtypes("number").dropna(axis=1, how="all")
    return [name for name in columns if not any(word in name.lower() for word in leave_out)]


def _class_colour(name: str) -> str | None:
    return next((colour for kind, colour in figure_style.NAMED.items() if kind in name.lower()), None)


def _line(
    axes: mpl_axes.Axes,
    table: pd.DataFrame,
    name: str,
    colour: str,
    *,
    dots: bool,
    label: str = "",
    dash: str = "-",
) -> None:
    """One curve; long noisy ones thin and pale under their running mean."""
    held = table[["step", name]].dropna()
    if len(held) < 200:
        look = {"marker": "o", "markersize": 3.5} if dots or len(held) == 1 else {}
        axes.plot(held["step"], held[name], color=colour, linestyle=dash, linewidth=1.5, label=label, **look)
        return
    axes.plot(held["step"], held[name], color=colour, linewidth=0.6, alpha=0.3)
    mean = held[name].rolling(len(held) // 40, center=True, min_periods=1).mean()
    axes.plot(held["step"], mean, color=colour, linestyle=dash, linewidth=1.8, label=label)


def scale(axes: mpl_axes.Axes, values: pd.DataFrame | pd.Series) -> None:
    """Logarithmic where positive values span a factor of 20; the limits of a constant do not magnify it."""
    numbers = values.to_numpy(float)
    numbers = numbers[np.isfinite(numbers)]
    if not len(numbers):
        return
    low, high = numbers.min(), numbers.max()
    if low > 0 and high > 20 * low:
        axes.set_yscale("log")
        return
    if high - low <= 1e-3 * max(abs(low), abs(high)):
        axes.set_ylim(sorted((0, 2 * high)) if high else (-1, 1))
    axes.ticklabel_format(axis="y", scilimits=(-3, 4), useMathText=True)
