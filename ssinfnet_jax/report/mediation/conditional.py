"""Indirect effects at each level of the outcome, or at values of a moderator: one panel per pair."""

import math
from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from ssinfnet_jax.analysis.mediation import categories
from ssinfnet_jax.report.kit import fonts
from ssinfnet_jax.report.mediation import naming, style

MAX_PANELS = 12
_COLUMNS = 3
_PAIR = ["exposure", "mediator"]


class _Panel(NamedTuple):
    """Points of one pair: their labels, estimates, bounds, and which are significant."""

    title: str
    labels: list[str]
    est: np.ndarray
    lower: np.ndarray
    upper: np.ndarray
    filled: np.ndarray


def by_level(ordinal: pd.DataFrame, alpha: float = 0.05) -> Figure:
    """Indirect effects on the probability of each level alone, in percentage points, with 95 % intervals.

    Args:
      ordinal: of mediation.ordinal_effects(); the 12 fitted pairs with the smallest adjusted p.
      alpha: marks are filled where the adjusted p of the level is below it.
    Raises: ValueError for a table without estimates.
    """
    shown = ordinal[(ordinal["event"] == "alone") & (ordinal["flag"] == "")]
    labels = naming.of(shown["mediator"].unique())
    panels = []
    for (exposure, mediator), rows in _first_pairs(shown, "indirect_p_adj"):
        est, lower, upper = (100 * rows[f"indirect_{number}"].to_numpy() for number in ("est", "lower", "upper"))
        filled = (rows["indirect_p_adj"] < alpha).to_numpy()
        title = f"{naming.words(exposure)}: {labels[mediator]}"
        panels.append(_Panel(title, [_wrapped(level) for level in rows["level"]], est, lower, upper, filled))
    return _draw(panels, "indirect effect on the level's\nprobability (percentage points)", "level", labels)


def by_moderator(moderated: pd.DataFrame, alpha: float = 0.05) -> Figure:
    """Indirect effects at values of the moderator with 95 % intervals (percentile bootstrap if there is one).

    Args:
      moderated: of mediation.moderated_effects(); the 12 fitted pairs with the smallest adjusted p of the index.
      alpha: marks are filled where an adjusted p of an index is below it.
    Raises: ValueError for a table without estimates.
    """
    fitted = moderated[moderated["flag"] == ""]
    labels = naming.of(fitted["mediator"].unique())
    bounds = ["bootstrap_percentile_lower", "bootstrap_percentile_upper"]
    panels = []
    for (exposure, mediator), rows in _first_pairs(fitted, "p_adj"):
        points, p = rows[rows["effect"] == "indirect"], rows["p_adj"].min()
        lower, upper = (points[name] for name in (bounds if bounds[0] in points else ["lower", "upper"]))
        shown_p = f"= {p:.3f}" if p >= 0.001 else "< 0.001"
        title = f"{naming.words(exposure)}: {labels[mediator]}\nindex: adjusted p {shown_p}"
        filled = np.full(len(points), p < alpha)
        ends = (points["est"].to_numpy(), lower.to_numpy(), upper.to_numpy())
        panels.append(_Panel(title, [_wrapped(at) for at in points["at"]], *ends, filled))
    moderator = fitted["moderator"].iloc[0] if len(fitted) else ""
    return _draw(panels, "indirect effect", naming.words(categories.column(moderator)), labels)


def _first_pairs(table: pd.DataFrame, p: str) -> list[tuple]:
    """Rows of the pairs with the smallest p."""
    if table.empty:
        raise ValueError("No pair in the table has estimates; see its column flag.")
    smallest = table.groupby(_PAIR, sort=False)[p].min().nsmallest(MAX_PANELS, keep="first")
    groups = dict(tuple(table.groupby(_PAIR, sort=False)))
    return [(pair, groups[pair]) for pair in smallest.index]


def _wrapped(label: object) -> str:
    return naming.words(str(label)).replace("|", "|\n").replace(" ", "\n")


def _draw(panels: list[_Panel], ylabel: str, xlabel: str, labels: dict[str, str]) -> Figure:
    columns = min(_COLUMNS, len(panels))
    rows = math.ceil(len(panels) / columns)
    figure = Figure(figsize=(0.4 + 3.1 * columns, 0.5 + 2.5 * rows), dpi=style.DPI, layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes in grid.ravel()[len(panels) :]:
        axes.set_visible(False)
    for number, (axes, panel) in enumerate(zip(grid.ravel(), panels, strict=False)):
        places = np.arange(len(panel.est))
        reach = np.maximum(np.stack([panel.est - panel.lower, panel.upper - panel.est]), 0)
        for chosen, color, fill in (
            (panel.filled, style.POSITIVE, style.POSITIVE),
            (~panel.filled, style.NEUTRAL, "white"),
        ):
            look = {"color": color, "mfc": fill, "fmt": "o", "ms": 4, "lw": 1.1, "mew": 1.1}
            axes.errorbar(places[chosen], panel.est[chosen], yerr=reach[:, chosen], **look)
        axes.axhline(0, color="black", lw=0.7, zorder=0)
        axes.set_xticks(places, panel.labels, fontsize=7)
        axes.set_xlim(-0.5, len(places) - 0.5)
        axes.set_title(panel.title, fontsize=7.5, loc="left")
        axes.tick_params(axis="y", labelsize=7)
        axes.grid(axis="y", lw=0.4, color="#DDDDDD")
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
        if number % columns == 0:
            axes.set_ylabel(ylabel, fontsize=7.5)
        if number + columns >= len(panels):
            axes.set_xlabel(xlabel, fontsize=7.5)
    if title := naming.region_title(labels):
        figure.suptitle(title, fontsize=9, weight="bold", x=0.005, ha="left")
    fonts.use(figure)
    return figure
