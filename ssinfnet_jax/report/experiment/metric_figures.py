"""Figures of many runs: means, differences from the reference, cost; each panel has a row per method."""

from collections.abc import Mapping, Sequence

import matplotlib
import numpy as np
import pandas as pd
from matplotlib import axes as mpl_axes
from matplotlib import figure as mpl_figure
from matplotlib import lines, ticker

from ssinfnet_jax.metrics import overlap
from ssinfnet_jax.report.kit import figure_style, tables

_FILLS = ("full", "none", "left", "top")  # of markers, one per dataset
_GREY = "#6B7280"
_ROW = 0.23  # inches
_TITLE = 30  # letters of a method's title


@matplotlib.rc_context(figure_style.STYLE)
def dot_plot(summary: pd.DataFrame, methods: Mapping[str, str]) -> mpl_figure.Figure:
    """Draws the mean over slices ± 1.96 standard errors: a row of panels per class, a column per metric.

    Each panel has its own limits. Datasets share the panels and differ by the fill of their markers.

    Args:
      summary: columns data, method, class, metric, mean, error, n; a NaN mean is labelled "undefined".
      methods: name -> title, in the order to draw.
    Raises: ValueError if no method has a mean.
    """
    shown = summary[summary["method"].isin(list(methods))]
    known = shown[shown["mean"].notna()]
    if known.empty:
        raise ValueError(f"The methods {', '.join(methods)} have no mean; evaluate a run first.")
    metrics = [name for name in overlap.METRICS if name in set(known["metric"])]
    metrics += [name for name in dict.fromkeys(known["metric"]) if name not in metrics]
    classes, data = list(dict.fromkeys(known["class"])), list(dict.fromkeys(shown["data"]))
    row = _ROW + 0.12 * (len(data) - 1)
    height = len(classes) * (0.85 + row * len(methods)) + 0.3 * (len(data) > 1)
    figure = mpl_figure.Figure(figsize=(figure_style.WIDTH, height), layout="constrained")
    if len(data) > 1:
        _data_key(figure, data)
    figure.get_layout_engine().set(w_pad=0.08)
    grid = figure.subplots(len(classes), len(metrics), squeeze=False)
    for cells, name in zip(grid, classes, strict=True):
        place = {"xy": (0, 1), "xycoords": "axes fraction", "xytext": (0, 22), "textcoords": "offset points"}
        cells[0].annotate(figure_style.title(name), **place, fontsize=10.5, fontweight="bold", annotation_clip=False)
        for axes, metric in zip(cells, metrics, strict=True):
            rows = shown[(shown["class"] == name) & (shown["metric"] == metric)]
            _dots(axes, rows, methods, data)
            axes.set_title(f"{figure_style.title(metric)}, {_slices(rows)}", fontsize=9, loc="left")
            _name_rows(axes, methods if axes is cells[0] else dict.fromkeys(methods, ""))
    return figure


def _dots(axes: mpl_axes.Axes, rows: pd.DataFrame, methods: Mapping[str, str], data: Sequence[str]) -> None:
    looks = figure_style.looks(methods)
    for place, method in enumerate(methods):
        found = rows[rows["method"] == method]
        if found["mean"].isna().all():
            _say(axes, place, "undefined" if len(found) else "no result")
        for one in found[found["mean"].notna()].itertuples():
            index = data.index(one.data)
            y = place + 0.5 * ((index + 0.5) / len(data) - 0.5)
            fill = _FILLS[index % len(_FILLS)]
            _interval(axes, y, one.mean, one.mean - one.error, one.mean + one.error, looks[method], fill=fill)
    low, high = axes.get_xlim()
    wider = max(0.0, 0.1 - (high - low)) / 2  # does not zoom in on a constant
    axes.set_xlim(low - wider, high + wider)
    axes.xaxis.set_major_locator(ticker.MaxNLocator(nbins=3, steps=[1, 2, 2.5, 5, 10]))


@matplotlib.rc_context(figure_style.STYLE)
def forest(comparison: pd.DataFrame, methods: Mapping[str, str]) -> mpl_figure.Figure:
    """Draws differences of the Dice from the reference on the same slices, with 95 % intervals and p values.

    Args:
      comparison: columns data, method, reference, class, metric, n, difference, low, high, p_adj and, for methods that
        were trained several times, seed_p_adj; NaN where undefined.
      methods: name -> title, in the order to draw, including the reference, which has no row.
    Raises: ValueError if no method has a difference in Dice.
    """
    found = comparison[(comparison["metric"] == "dice") & comparison["method"].isin(list(methods))]
    if found["difference"].isna().all():
        raise ValueError(f"The methods {', '.join(methods)} have no difference in Dice; compare two first.")
    (reference,) = found["reference"].unique()
    shown = {name: title for name, title in methods.items() if name in set(found["method"])}
    panels = list(found.groupby(["data", "class"], sort=False))
    several = found["data"].nunique() > 1
    rows = len(panels) * len(shown)
    columns = {"difference": (0.0, "Difference [95 %]"), "n": (0.54, "n"), "p_adj": (0.66, "adj. p,\npatients")}
    if "seed_p_adj" in found and found["seed_p_adj"].notna().any():
        columns["seed_p_adj"] = (0.84, "adj. p,\nseeds")
    figure = mpl_figure.Figure(
        figsize=(figure_style.WIDTH, 1.2 + 0.35 * len(panels) + _ROW * rows), layout="constrained"
    )
    grid = figure.subplots(len(panels), 2, sharex="col", squeeze=False, width_ratios=[1.0, 0.85])
    for (axes, numbers), ((data, kind), part) in zip(grid, panels, strict=True):
        name = f"{figure_style.title(kind)}, {data}" if several else figure_style.title(kind)
        axes.set_title(figure_style.shorten(name, 60), loc="left", fontweight="bold", parse_math=False)
        axes.axvline(0, color=_GREY, linewidth=1)
        _name_rows(numbers, shown)
        numbers.set_axis_off()
        _differences(axes, numbers, part, shown, figure_style.looks(methods), columns)
        _name_rows(axes, shown)
    for x, heading in columns.values():
        grid[0, 1].text(x, -0.6, heading, fontsize=9, color=_GREY, va="bottom")
    title = figure_style.shorten(methods.get(reference, reference), 40)
    words = f"Dice minus that of {title}\n(mean over slices, 95 % interval; above 0 is better)"
    grid[-1, 0].set_xlabel(words, parse_math=False)
    return figure


def _differences(
    axes: mpl_axes.Axes, numbers: mpl_axes.Axes, part: pd.DataFrame, methods: Mapping[str, str],
    looks: Mapping[str, figure_style.Look], columns: Mapping[str, tuple[float, str]],
) -> None:  # fmt: skip
    for place, method in enumerate(methods):
        found = part[part["method"] == method]
        if found["difference"].isna().all():
            _say(axes, place, "undefined" if len(found) else "no result")
            continue
        one = found.iloc[0]
        _interval(axes, place, one["difference"], one["low"], one["high"], looks[method])
        for name, (x, _) in columns.items():
            text = {"difference": _with_interval(one), "n": f"{one['n']:.0f}"}.get(name) or tables.p_value(one[name])
            numbers.text(x, place, text, va="center", fontsize=8.5)


@matplotlib.rc_context(figure_style.STYLE)
def cost(table: pd.DataFrame, methods: Mapping[str, str]) -> mpl_figure.Figure:
    """Draws time, parameters and memory of each network as bars.

    Args:
      table: as `evaluation.cost.collect` returns it: network, inference_s_per_slice, training_s_per_slice, parameters,
        parameters_segmenting, inference_peak_gib, training_peak_gib; NaN where not measured.
      methods: name -> title of each network, in the order to draw.
    Raises: ValueError if none of these networks was measured.
    """
    if not set(methods) & set(table["network"]):
        raise ValueError(f"The cost of the networks {', '.join(methods)} was not measured; measure one first.")
    table = table.set_index("network").reindex(list(methods))
    panels = {
        "Inference,\nseconds per slice": [table["inference_s_per_slice"]],
        "Training,\nseconds per slice": [table["training_s_per_slice"]],
        "Parameters, millions\n(pale: with inpainting)": [
            table["parameters_segmenting"] / 1e6,
            table["parameters"] / 1e6,
        ],
        "Peak memory, GiB\n(pale: training)": [table["inference_peak_gib"], table["training_peak_gib"]],
    }
    figure = mpl_figure.Figure(figsize=(figure_style.WIDTH, 0.9 + 1.3 * _ROW * len(methods)), layout="constrained")
    colours = [look.color for look in figure_style.looks(methods).values()]
    for axes, (name, parts) in zip(figure.subplots(1, len(panels)), panels.items(), strict=True):
        values = [part.astype(float).to_numpy() for part in parts]
        top = np.nanmax([0.0, *np.concatenate(values)]) or 1.0
        for place in range(len(methods)):
            numbers = [value[place] for value in values]
            for number, alpha in zip(numbers[::-1], (0.35, 1.0)[-len(numbers) :], strict=True):
                axes.barh(place, np.nan_to_num(number), height=0.62, color=colours[place], alpha=alpha)
            text = " | ".join(tables.MISSING if np.isnan(number) else f"{number:.3g}" for number in numbers)
            end = 0.0 if np.isnan(numbers).all() else np.nanmax(numbers)
            text = "not measured" if np.isnan(numbers).all() else text
            axes.text(end + 0.03 * top, place, text, va="center", fontsize=8.5)
        axes.set_xlim(0, top * (1.35 + 0.3 * (len(values) - 1)))
        axes.locator_params(axis="x", nbins=4)
        axes.set_title(name, fontsize=9.5, loc="left")
        _name_rows(axes, methods if axes is figure.axes[0] else dict.fromkeys(methods, ""))
    return figure


def _interval(
    axes: mpl_axes.Axes, y: float, mean: float, low: float, high: float, look: figure_style.Look, fill: str = "full"
) -> None:
    if np.isfinite([low, high]).all():
        axes.plot([low, high], [y, y], color=look.color, linewidth=1.6, solid_capstyle="butt")
    axes.plot(mean, y, look.marker, color=look.color, fillstyle=fill, markerfacecoloralt="white", markersize=6.5)


def _say(axes: mpl_axes.Axes, y: float, text: str) -> None:
    axes.text(0.02, y, text, transform=axes.get_yaxis_transform(), va="center", fontsize=8, color=_GREY, style="italic")


def _name_rows(axes: mpl_axes.Axes, methods: Mapping[str, str]) -> None:
    """Labels the rows with the methods' titles, the first on top."""
    labels = [figure_style.shorten(title, _TITLE) for title in methods.values()]
    axes.set_yticks(range(len(methods)), labels, parse_math=False)
    axes.set_ylim(len(methods) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="y", visible=False)


def _data_key(figure: mpl_figure.Figure, data: Sequence[str]) -> None:
    look = {"marker": "o", "color": _GREY, "markerfacecoloralt": "white", "linestyle": "", "markersize": 6.5}
    handles = [
        lines.Line2D([], [], **look, fillstyle=fill, label=figure_style.shorten(name, 40))
        for name, fill in zip(data, _FILLS * len(data), strict=False)
    ]
    legend = figure.legend(handles=handles, loc="outside upper right", ncols=len(handles))
    for text in legend.get_texts():
        text.set_parse_math(False)


def _slices(rows: pd.DataFrame) -> str:
    """`n = 10`, or `n = 8-10` if methods differ."""
    count = rows.loc[rows["mean"].notna(), "n"]
    if count.empty:
        return "n = 0"
    low, high = int(count.min()), int(count.max())
    return f"n = {low}" if low == high else f"n = {low}\N{EN DASH}{high}"


def _with_interval(one: pd.Series) -> str:
    text = tables.signed(one["difference"])
    if np.isfinite([one["low"], one["high"]]).all():
        text += f" [{tables.signed(one['low'])}, {tables.signed(one['high'])}]"
    return text
