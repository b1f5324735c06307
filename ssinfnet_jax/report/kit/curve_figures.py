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

from ssinfnet_jax.metrics import overlap
from ssinfnet_jax.report.kit import figure_style

_PHASES = {"inpaint_random": "#0072B2", "coach": "#D55E00", "inpaint_coach": "#009E73"}
_METRICS = (*overlap.METRICS, "accuracy")
_NOT_LOSS = ("second", "time", "norm", "epoch", "step", "count", "num_", "scale", "fraction", "memory")
_LABEL_LENGTH = 40  # letters of a legend's label that fit above one of three panels
_LEGEND_LINE = 0.2  # inches


@matplotlib.rc_context(figure_style.STYLE)
def pretraining_curves(metrics: pd.DataFrame) -> mpl_figure.Figure:
    """Draws one small panel per logged quantity over the steps, coloured by phase.

    Args:
      metrics: rows of metrics.jsonl: `step`, `phase` and any numbers. Known quantities come first; nine panels at most.
    Raises: ValueError if no number was logged.
    """
    first = ["loss", "reconstruction", "context", "coach_gain", "kl", "erased_fraction", "learning_rate"]
    names = _numbers(metrics, leave_out=("second", "time", "memory"))
    names = sorted(names, key=lambda name: first.index(name) if name in first else len(first))[:9]
    if not names:
        raise ValueError("metrics.jsonl of pretraining has no numbers besides step and epoch.")
    phases = list(dict.fromkeys(metrics["phase"]))
    others = [phase for phase in phases if phase not in _PHASES]
    palette = _PHASES | dict(zip(others, itertools.cycle(figure_style.LINES[4:])))
    columns = min(3, len(names))
    rows = -(-len(names) // columns)
    figure = mpl_figure.Figure(figsize=(figure_style.WIDTH, 0.9 + 1.9 * rows), layout="constrained")
    grid = figure.subplots(rows, columns, sharex=True, squeeze=False)
    runs = (metrics["phase"] != metrics["phase"].shift()).cumsum()  # phases alternate: do not join across another one
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
    """Draws losses, scores and the learning rate over the steps; losses of the validation split are dashed.

    Args:
      metrics: rows of metrics.jsonl: `step`, `phase` ("train" | "val"), `loss`, loss terms under their own
        names, `train_*` and `val_*` metrics, `learning_rate`. Other numbers (seconds, norms) are left out.
    Raises: ValueError if no number was logged.
    """
    parts = _training_panels(metrics)
    figure = mpl_figure.Figure(layout="constrained")
    ratios = [{"Loss": 1.4, "Score": 1.4, "Learning rate": 0.8}[label] for label in parts]
    grid = figure.subplots(1, len(parts), squeeze=False, width_ratios=ratios)[0]
    legend_lines = 0
    for axes, (label, part) in zip(grid, parts.items(), strict=True):
        bases = list(dict.fromkeys(name.removeprefix("val_") for name in part))
        for name in part:
            own = figure_style.LINES[bases.index(name.removeprefix("val_")) % len(figure_style.LINES)]
            colour = (_class_colour(name) if label == "Score" else None) or own
            for phase, rows in metrics.groupby("phase", sort=False):
                known = rows[["step", name]].dropna()
                dashed = label == "Loss" and (phase == "val" or name.startswith("val_"))
                text = figure_style.shorten(figure_style.title(name) + (" (val)" if dashed else ""), _LABEL_LENGTH)
                if len(known):
                    _line(axes, known, name, colour, dots=len(known) <= 40, label=text, dash="--" if dashed else "-")
        axes.set_xlabel("Step")
        axes.set_ylabel(label)
        axes.set_xlim(right=metrics["step"].max() * 1.03)
        axes.locator_params(axis="x", nbins=5)
        if label == "Score":
            axes.set_ylim(0, 1)
        else:
            scale(axes, metrics[part])
        if label != "Learning rate":
            legend_lines = max(legend_lines, _legend_above(axes))
    figure.set_size_inches(figure_style.WIDTH, 3.1 + _LEGEND_LINE * legend_lines)
    return figure


def _training_panels(metrics: pd.DataFrame) -> dict[str, list[str]]:
    """Columns to draw in each panel: "Loss", "Score", "Learning rate"; panels without a column are left out."""
    names = _numbers(metrics, leave_out=_NOT_LOSS)
    # Of training batches, metrics are "train_dice_ggo"; a bare "dice" there is a loss term.
    terms = {name for name in _numbers(metrics[metrics["phase"] == "train"], ()) if not name.startswith("train_")}
    metric = re.compile(rf"(train_|val_)?({'|'.join(_METRICS)})(_|$)")
    scores = [n for n in names if metric.match(n) and n not in terms and "loss" not in n]
    rates = [n for n in names if n.startswith("learning_rate")]
    losses = [n for n in names if n not in scores and n not in rates]
    losses = sorted(losses, key=lambda name: name.removeprefix("val_") != "loss")
    parts = {"Loss": losses, "Score": scores, "Learning rate": rates}
    parts = {label: part for label, part in parts.items() if part}
    if not parts:
        raise ValueError("metrics.jsonl of training has no numbers besides step and epoch.")
    return parts


def _legend_above(axes: mpl_axes.Axes) -> int:
    """Puts a legend no wider than the panel above it; returns its number of lines."""
    labels = axes.get_legend_handles_labels()[1]
    columns = 2 if max(map(len, labels), default=0) <= 15 else 1  # wider than its panel, it would push panels apart
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1.0), ncols=columns, handlelength=1.8, columnspacing=1.0)
    return -(-len(labels) // columns)


@matplotlib.rc_context(figure_style.STYLE)
def roc(curves: Mapping[str, pd.DataFrame]) -> mpl_figure.Figure:
    """Draws the true against the false positive rate of each class, one square panel per network.

    Args:
      curves: network's name -> table with columns `class`, `fpr`, `tpr` and, where known, `threshold`
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
    """Numeric columns with values, except step, epoch and those whose names contain a word of `leave_out`."""
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
    """Draws one curve; one of 200 points or more is pale, with its running mean on top."""
    known = table[["step", name]].dropna()
    if len(known) < 200:
        look = {"marker": "o", "markersize": 3.5} if dots or len(known) == 1 else {}
        axes.plot(known["step"], known[name], color=colour, linestyle=dash, linewidth=1.5, label=label, **look)
        return
    axes.plot(known["step"], known[name], color=colour, linewidth=0.6, alpha=0.3)
    mean = known[name].rolling(len(known) // 40, center=True, min_periods=1).mean()
    axes.plot(known["step"], mean, color=colour, linestyle=dash, linewidth=1.8, label=label)


def scale(axes: mpl_axes.Axes, values: pd.DataFrame | pd.Series) -> None:
    """Makes the y axis logarithmic if positive values span a factor of 20; does not zoom in on a constant."""
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
