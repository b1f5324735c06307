"""ROC and learning curves of several methods."""

from collections.abc import Mapping, Sequence

import matplotlib
import numpy as np
import pandas as pd
from matplotlib import axes as mpl_axes
from matplotlib import figure as mpl_figure

from ssinfnet_jax.report import figures

CLASSES = ("lesion", "ggo", "consolidation", "background")


@matplotlib.rc_context(figures.STYLE)
def roc(curves: Mapping[str, Sequence[pd.DataFrame]], methods: Mapping[str, str]) -> mpl_figure.Figure:
    """ROC curves of several methods, a panel per class, with the threshold of the largest Youden's J.

    Of several runs of a method the mean curve is drawn, true positive rate at equal false positive rate, and each alone
    in a thin line.

    Args:
      curves: tables of class, fpr, tpr, threshold by method, one per run.
      methods: title of each by name, in the order to draw.
    """
    kinds = [kind for kind in CLASSES if any(kind in set(table["class"]) for held in curves.values() for table in held)]
    height = 0.8 * figures.WIDTH / max(len(kinds), 2) + 1.3 + 0.22 * len(curves)
    figure = mpl_figure.Figure(figsize=(figures.WIDTH, height), layout="constrained")
    for axes, kind in zip(figure.subplots(1, max(len(kinds), 2), squeeze=False)[0], [*kinds, None], strict=False):
        if kind is None:
            axes.set_axis_off()
            continue
        axes.plot([0, 1], [0, 1], color="#9CA3AF", linewidth=0.9, linestyle=":")
        for method, title in methods.items():
            single = [table[table["class"] == kind].sort_values(["fpr", "tpr"]) for table in curves.get(method, ())]
            _roc_of(axes, [one for one in single if len(one)], title, figures.looks(methods)[method])
        axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal", title=figures.title(kind))
        axes.set(xlabel="False positive rate", ylabel="True positive rate")
        legend = axes.legend(
            loc="upper left", bbox_to_anchor=(-0.2, -0.2), handlelength=1.4, title="area, threshold", fontsize=8.5
        )
        _plain(legend)
    return figure


@matplotlib.rc_context(figures.STYLE)
def learning_curves(metrics: Mapping[str, Sequence[pd.DataFrame]], methods: Mapping[str, str]) -> mpl_figure.Figure:
    """Loss, Dice of training and of validation slices over the epochs; of several runs their mean.

    Args:
      metrics: rows of metrics.jsonl by method, a table per run.
      methods: title of each by name, in the order to draw.
    """
    every = [table for held in metrics.values() for table in held]
    phases = {"train": ("loss", *sorted({name for t in every for name in t if name.startswith("train_dice")})),
              "val": tuple(sorted({name for t in every for name in t if name.startswith("dice_")}))}  # fmt: skip
    panels = [(phase, name) for phase, names in phases.items() for name in names]
    columns = min(len(panels), 3)
    lines = -(-len(panels) // columns)
    figure = mpl_figure.Figure(figsize=(figures.WIDTH, 2.7 * lines + 0.5), layout="constrained")
    grid = figure.subplots(lines, columns, squeeze=False).ravel()
    for axes, (phase, name) in zip(grid, panels, strict=False):
        for method, look in figures.looks(methods).items():
            held = [table[table["phase"] == phase] for table in metrics.get(method, ()) if name in table]
            rows = pd.concat(held) if held else pd.DataFrame(columns=["epoch", name])
            mean = rows.dropna(subset=[name]).groupby("epoch")[name].mean()
            if len(mean):
                smooth = mean.rolling(max(1, len(mean) // 25), min_periods=1, center=True).mean()
                axes.plot(smooth.index, smooth, **_line(look), marker="." if len(mean) < 30 else None)
        kind = name.removeprefix("train_").removeprefix("dice").strip("_")
        title = "Loss" if name == "loss" else f"Dice, {figures.title(kind)}" if kind else "Dice"
        axes.set(title=f"{title}, {'training' if phase == 'train' else 'validation'}", xlabel="Epoch")
        if name != "loss":
            axes.set_ylim(0, 1)
    for axes in grid[len(panels) :]:
        axes.set_axis_off()
    shown = [(look, methods[method]) for method, look in figures.looks(methods).items() if metrics.get(method)]
    handles = [matplotlib.lines.Line2D([], [], label=title, **_line(look)) for look, title in shown]
    legend = figure.legend(handles=handles, loc="outside lower center", ncols=min(4, len(handles)))
    _plain(legend)
    return figure


def _roc_of(axes: mpl_axes.Axes, single: Sequence[pd.DataFrame], title: str, look: figures.Look) -> None:
    if not single:
        return
    at = np.linspace(0, 1, 501)
    mean = np.mean([np.interp(at, one["fpr"], one["tpr"]) for one in single], axis=0)
    if len(single) > 1:
        for one in single:
            axes.plot(one["fpr"], one["tpr"], color=look.color, linewidth=0.6, alpha=0.5)
    best = [one.loc[(one["tpr"] - one["fpr"]).idxmax()] for one in single]
    area = np.mean([np.trapezoid(one["tpr"], one["fpr"]) for one in single])
    threshold = np.mean([point["threshold"] for point in best])
    curve = (single[0]["fpr"], single[0]["tpr"]) if len(single) == 1 else (at, mean)
    label = f"{figures.shorten(title, 26)}: {area:.3f}, {threshold:.2f}"
    axes.plot(*curve, **_line(look), label=label)
    axes.plot(
        np.mean([point["fpr"] for point in best]), np.mean([point["tpr"] for point in best]),
        look.marker, color=look.color, markeredgecolor="#1B1F24", markersize=6,
    )  # fmt: skip


def _line(look: figures.Look) -> dict:
    return {"color": look.color, "linestyle": look.linestyle, "linewidth": 1.6}


def _plain(legend: matplotlib.legend.Legend) -> None:
    for text in legend.get_texts():
        text.set_parse_math(False)
