"""Figures of several methods compared: means, differences, ROC and learning curves, cost."""

from collections.abc import Mapping, Sequence

import matplotlib
import numpy as np
import pandas as pd
from matplotlib import axes as mpl_axes
from matplotlib import figure as mpl_figure

from ssinfnet_jax.report import figures

METRICS = ("dice", "iou", "recall", "precision", "auc")
CLASSES = ("lesion", "ggo", "consolidation", "background", "overall")
_COLOURS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#6B7280", "#1B1F24"]
_MARKERS = "osD^vPX*"
_ROW = 0.27  # inches of a method in a panel
_COSTS = {
    "inference_s_per_slice": "Inference, s per slice",
    "training_s_per_slice": "Training, s per slice",
    "parameters": "Parameters",
    "training_peak_gib": "Peak memory, GiB",
}


@matplotlib.rc_context(figures.STYLE)
def dot_plot(summary: pd.DataFrame, methods: Mapping[str, str]) -> mpl_figure.Figure:
    """Mean ± 1.96 standard errors of every method: a column of panels per measure, a row per data set and class.

    Args:
      summary: data, method, class, metric, mean, error.
      methods: title of each by name, in the order to draw.
    """
    metrics = [name for name in METRICS if name in set(summary["metric"])]
    rows = _groups(summary)
    figure, grid = _panels(len(rows), len(metrics), len(methods))
    for index, (data, kind) in enumerate(rows):
        for axes, metric in zip(grid[index], metrics, strict=True):
            part = summary[(summary["data"] == data) & (summary["class"] == kind) & (summary["metric"] == metric)]
            _dots(axes, part.set_index("method"), methods, "mean", ["error", "error"])
            if index == 0:
                axes.set_title(figures.title(metric))
        _name_rows(grid[index][0], methods, _label(data, kind, rows))
    return figure


@matplotlib.rc_context(figures.STYLE)
def forest(comparison: pd.DataFrame, methods: Mapping[str, str], *, metric: str = "dice") -> mpl_figure.Figure:
    """Difference of every method from the reference with its 95 % interval, a panel per data set and class.

    Filled: p, adjusted, below 0.05.

    Args:
      comparison: data, method, reference, class, metric, difference, low, high, p_adj.
      methods: title of each by name, in the order to draw.
      metric: the measure.
    """
    held = comparison[comparison["metric"] == metric]
    shown = {name: title for name, title in methods.items() if name in set(held["method"])}
    rows = _groups(held)
    figure, grid = _panels(len(rows), 1, len(shown))
    for index, (data, kind) in enumerate(rows):
        axes = grid[index][0]
        part = held[(held["data"] == data) & (held["class"] == kind)].set_index("method")
        axes.axvline(0, color=figures.BACKGROUND, linewidth=1)
        part = part.assign(below=part["difference"] - part["low"], above=part["high"] - part["difference"])
        _dots(axes, part, shown, "difference", ["below", "above"], filled=part["p_adj"] < 0.05)
        _name_rows(axes, shown, _label(data, kind, rows))
    references = " and ".join(methods.get(name, name) for name in dict.fromkeys(held["reference"]))
    last = grid[-1][0]
    last.set_xlabel(f"{figures.title(metric)}: method minus {references}; filled: adjusted p < 0.05", parse_math=False)
    limit = 1.05 * np.nanmax(np.abs(held[["low", "high", "difference"]].to_numpy(float)), initial=0.01)
    for (axes,) in grid:
        axes.set_xlim(-limit, limit)
    return figure


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
        for index, (method, title) in enumerate(methods.items()):
            single = [table[table["class"] == kind].sort_values(["fpr", "tpr"]) for table in curves.get(method, ())]
            _roc_of(axes, [one for one in single if len(one)], title, index)
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
        for index, method in enumerate(methods):
            held = [table[table["phase"] == phase] for table in metrics.get(method, ()) if name in table]
            rows = pd.concat(held) if held else pd.DataFrame(columns=["epoch", name])
            mean = rows.dropna(subset=[name]).groupby("epoch")[name].mean()
            if len(mean):
                smooth = mean.rolling(max(1, len(mean) // 25), min_periods=1, center=True).mean()
                axes.plot(smooth.index, smooth, **_line(index), marker="." if len(mean) < 30 else None)
        title = (
            "Loss" if name == "loss" else f"Dice {name.removeprefix('train_').removeprefix('dice').strip('_')}".strip()
        )
        axes.set(title=f"{title}, {'training' if phase == 'train' else 'validation'}", xlabel="Epoch")
        if name != "loss":
            axes.set_ylim(0, 1)
    for axes in grid[len(panels) :]:
        axes.set_axis_off()
    shown = [(index, title) for index, (method, title) in enumerate(methods.items()) if metrics.get(method)]
    handles = [matplotlib.lines.Line2D([], [], label=title, **_line(index)) for index, title in shown]
    legend = figure.legend(handles=handles, loc="outside lower center", ncols=min(4, len(handles)))
    _plain(legend)
    return figure


@matplotlib.rc_context(figures.STYLE)
def cost(table: pd.DataFrame, methods: Mapping[str, str]) -> mpl_figure.Figure:
    """Time of inference and training, parameters and peak memory of each network.

    Args:
      table: network and the columns of `evaluation.cost.measure`.
      methods: title of each network by name, in the order to draw.
    """
    names = [name for name in _COSTS if name in table and table[name].notna().any()]
    figure = mpl_figure.Figure(figsize=(figures.WIDTH, 1.0 + 0.32 * len(methods)), layout="constrained")
    grid = figure.subplots(1, len(names), squeeze=False, sharey=True)[0]
    held = table.set_index("network").reindex(list(methods))
    for axes, name in zip(grid, names, strict=True):
        axes.barh(range(len(held)), held[name].astype(float).fillna(0), color="#0072B2", height=0.6)
        axes.set(title=_COSTS[name])
        axes.locator_params(axis="x", nbins=4)
        axes.grid(axis="y", visible=False)
    grid[0].set_ylim(len(methods) - 0.5, -0.5)
    _name_rows(grid[0], methods, "")
    return figure


def _groups(table: pd.DataFrame) -> list[tuple[str, str]]:
    """(data, class) in the order to draw."""
    pairs = dict.fromkeys(zip(table["data"], table["class"], strict=True))
    data = list(dict.fromkeys(pair[0] for pair in pairs))
    rank = {kind: place for place, kind in enumerate(CLASSES)}
    return sorted(pairs, key=lambda pair: (data.index(pair[0]), rank.get(pair[1], len(rank))))


def _panels(rows: int, columns: int, methods: int) -> tuple[mpl_figure.Figure, np.ndarray]:
    size = figures.WIDTH, 0.7 + rows * (0.25 + _ROW * methods)
    figure = mpl_figure.Figure(figsize=size, layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False, sharey="row", sharex="col")


def _dots(
    axes: mpl_axes.Axes, part: pd.DataFrame, methods: Mapping[str, str], value: str, errors: Sequence[str], filled=None
) -> None:
    """A dot with its error per method, from top to bottom."""
    for row, method in enumerate(methods):
        if method not in part.index or pd.isna(part.loc[method, value]):
            continue
        colour = _COLOURS[row % len(_COLOURS)]
        solid = filled is None or bool(filled[method])
        spread = np.nan_to_num([[part.loc[method, errors[0]]], [part.loc[method, errors[1]]]]).clip(0)
        axes.errorbar(
            part.loc[method, value], row, xerr=spread, color=colour, fmt=_MARKERS[row % len(_MARKERS)], markersize=6,
            markerfacecolor=colour if solid else "white", capsize=3, linewidth=1.4,
        )  # fmt: skip
    axes.set_ylim(len(methods) - 0.5, -0.5)
    axes.locator_params(axis="x", nbins=4)
    axes.grid(axis="y", visible=False)


def _name_rows(axes: mpl_axes.Axes, methods: Mapping[str, str], label: str) -> None:
    axes.set_yticks(range(len(methods)), [figures.shorten(title, 34) for title in methods.values()])
    axes.tick_params(axis="y", length=0)
    for tick in axes.get_yticklabels():
        tick.set_parse_math(False)
    axes.set_ylabel(label, fontweight="bold", parse_math=False)


def _label(data: str, kind: str, rows: Sequence[tuple[str, str]]) -> str:
    several = len({pair[0] for pair in rows}) > 1
    return f"{figures.shorten(data, 20)}\n{figures.title(kind)}" if several else figures.title(kind)


def _roc_of(axes: mpl_axes.Axes, single: Sequence[pd.DataFrame], title: str, index: int) -> None:
    if not single:
        return
    at = np.linspace(0, 1, 501)
    colour = _line(index)["color"]
    mean = np.mean([np.interp(at, one["fpr"], one["tpr"]) for one in single], axis=0)
    if len(single) > 1:
        for one in single:
            axes.plot(one["fpr"], one["tpr"], color=colour, linewidth=0.6, alpha=0.5)
    best = [one.loc[(one["tpr"] - one["fpr"]).idxmax()] for one in single]
    area = np.mean([np.trapezoid(one["tpr"], one["fpr"]) for one in single])
    threshold = np.mean([point["threshold"] for point in best])
    curve = (single[0]["fpr"], single[0]["tpr"]) if len(single) == 1 else (at, mean)
    label = f"{figures.shorten(title, 26)}: {area:.3f}, {threshold:.2f}"
    axes.plot(*curve, **_line(index), label=label)
    axes.plot(
        np.mean([point["fpr"] for point in best]), np.mean([point["tpr"] for point in best]),
        _MARKERS[index % len(_MARKERS)], color=colour, markeredgecolor="#1B1F24", markersize=6,
    )  # fmt: skip


def _line(index: int) -> dict:
    """Colour and dash of a method; eight colours, then the same again, dashed."""
    dashes = ("-", "--", "-.", ":")
    return {"color": _COLOURS[index % len(_COLOURS)], "linestyle": dashes[index // len(_COLOURS) % 4], "linewidth": 1.6}


def _plain(legend: matplotlib.legend.Legend) -> None:
    for text in legend.get_texts():
        text.set_parse_math(False)
