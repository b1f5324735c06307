"""Draws the distributions of several groups."""

from collections.abc import Mapping, Sequence

import matplotlib
import numpy as np
from matplotlib import figure as mpl_figure

from ssinfnet_jax.report.kit import figure_style


@matplotlib.rc_context(figure_style.STYLE)
def distributions(
    groups: Mapping[str, np.ndarray],
    *,
    xlabel: str,
    colours: Sequence[str],
    limits: tuple[float | None, float | None] = (None, None),
) -> mpl_figure.Figure:
    """Draws a row per group: values as dots, quartiles as a box, and below it the mean ± 1.96 standard errors.

    Args:
      groups: name -> float[n]; NaN is left out and not counted.
      xlabel: quantity and unit.
      colours: one per group.
      limits: of the x axis; None: fitted to the values.
    """
    figure = mpl_figure.Figure(figsize=(figure_style.WIDTH, 0.75 + 0.75 * len(groups)), layout="constrained")
    axes = figure.subplots()
    random = np.random.default_rng(0)
    labels = []
    for row, ((name, values), colour) in enumerate(zip(groups.items(), colours, strict=True)):
        values = np.asarray(values, float)
        values = values[~np.isnan(values)]
        labels.append(f"{name}\nn = {len(values)}")
        if not len(values):
            continue
        low, median, high = np.quantile(values, [0.25, 0.5, 0.75])
        axes.barh(row - 0.1, high - low, left=low, height=0.46, color=colour, alpha=0.25)
        axes.vlines(median, row - 0.33, row + 0.13, color=colour, linewidth=2.5)
        spot = row - 0.1 + random.uniform(-0.18, 0.18, len(values))
        axes.plot(values, spot, "o", color=colour, markersize=4.5, alpha=0.8, markeredgewidth=0, clip_on=False)
        error = 1.96 * values.std(ddof=1) / np.sqrt(len(values)) if len(values) > 1 else 0
        look = {"fmt": "D", "color": "#1B1F24", "markersize": 4.5, "capsize": 3.5, "lw": 1.4}
        axes.errorbar(values.mean(), row + 0.27, xerr=error, **look)
    axes.set_yticks(range(len(labels)), labels)
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(len(labels) - 0.5, -0.5)
    axes.set_xlim(*limits)
    axes.set_xlabel(xlabel)
    axes.grid(axis="y", visible=False)
    return figure
