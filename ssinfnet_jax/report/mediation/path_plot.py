"""The path model with its estimates (the paper's figure 6)."""

import dataclasses
import math
import textwrap
from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch, PathPatch
from matplotlib.path import Path

from ssinfnet_jax.analysis import mediation
from ssinfnet_jax.report.kit import fonts
from ssinfnet_jax.report.mediation import naming, style

MAX_MEDIATORS = 20  # of one path plot
_NOTE_STEP = 0.22  # height of a line below the path plot, in its units


def path_plot(multiple: mediation.Multiple, *, max_mediators: int = MAX_MEDIATORS, page: int = 0) -> Figure:
    """Draws the path model with its standardised estimates: exposures, mediators and outcome from left to right.

    Arrows carry the standardised estimate and stars (* p < 0.05, ** p < 0.01, *** p < 0.001, z test of the path, not
    adjusted); grey dashed arrows are not significant. A dashed arc between exposures shows their correlation; the small
    number under a name is the standardised residual variance. Notes below give the fit, the tests and the verdict.
    Covariates and covariances of residuals are not drawn.

    Args:
      multiple: the model.
      max_mediators: per figure. With more, page 0 shows the first ones, page 1 the next, and so on, each with all
        exposures and the estimates and fit of the whole model, as its title says. path_plots() makes all pages.
      page: see max_mediators.
    Raises: ValueError for a page that does not exist, or max_mediators outside 1 to 40.
    """
    estimates = multiple.estimates
    estimates = estimates[~estimates[["lhs", "rhs"]].isin(list(multiple.covariates)).any(axis=1)]
    paths = estimates[estimates["op"] == "~"]
    pages = _num_path_pages(multiple, max_mediators)
    if not 0 <= page < pages:
        raise ValueError(f"Page {page} of {pages} does not exist; pages count from 0.")
    every, first = list(multiple.mediators), page * max_mediators
    mediators = every[first : first + max_mediators]
    others = [name for name in every if name not in mediators]
    labels = {name: label for name, label in naming.of(every).items() if name in mediators}
    labels |= {name: naming.words(name) for name in (*multiple.exposures, multiple.outcome)}
    layout = _lay_out(list(multiple.exposures), mediators, multiple.outcome, labels)
    title = naming.region_title(every)
    if others:
        range_shown = f"mediators {first + 1} to {first + len(mediators)} of the {len(every)} in one model"
        title = f"{title}: {range_shown}" if title else range_shown.capitalize()
    figure, axes = _canvas(layout, title, _path_notes(multiple, len(paths), wrap_at=int(17 * layout.width * 0.8)))
    paths = paths[~paths[["lhs", "rhs"]].isin(others).any(axis=1)]
    _draw_indirect(axes, paths, layout)
    _draw_direct(axes, paths, layout)
    _draw_correlations(axes, estimates, layout)
    residuals = estimates[(estimates["op"] == "~~") & (estimates["lhs"] == estimates["rhs"])].set_index("lhs")["std"]
    _draw_boxes(axes, layout, labels, residuals)
    fonts.use(figure)
    return figure


def path_plots(multiple: mediation.Multiple, *, max_mediators: int = MAX_MEDIATORS) -> list[Figure]:
    """All pages of path_plot()."""
    pages = range(_num_path_pages(multiple, max_mediators))
    return [path_plot(multiple, max_mediators=max_mediators, page=page) for page in pages]


def named(multiple: mediation.Multiple) -> dict[str, Figure]:
    """path_plots() by file name."""
    plots = path_plots(multiple)
    return {"path_plot" if len(plots) == 1 else f"path_plot_{number}": plot for number, plot in enumerate(plots, 1)}


def _num_path_pages(multiple: mediation.Multiple, max_mediators: int) -> int:
    if not 1 <= max_mediators <= 2 * MAX_MEDIATORS:
        raise ValueError(
            f"max_mediators must be from 1 to {2 * MAX_MEDIATORS}, got {max_mediators}: arrows of more cannot be told "
            "apart. path_plots() splits a model into several figures; a lower correlation threshold makes it smaller."
        )
    return math.ceil(len(multiple.mediators) / max_mediators)


@dataclasses.dataclass(frozen=True)
class _Layout:
    """Positions in the figure, in units of 0.8 inches.

    Attributes:
      exposures, mediators, outcome: names, from left to right.
      places: centre (x, y) of each box.  half: half of its width.
      top, bottom, left, right: bounds of the drawing, without title and notes.
    """

    exposures: list[str]
    mediators: list[str]
    outcome: str
    places: dict[str, tuple[float, float]]
    half: dict[str, float]
    top: float
    bottom: float
    left: float
    right: float

    @property
    def width(self) -> float:
        return self.right - self.left

    @property
    def num_over(self) -> int:
        """Number of direct paths that pass above the mediators; the others pass below."""
        return math.ceil(len(self.exposures) / 2)

    def side(self, name: str, sign: int) -> tuple[float, float]:
        """Middle of a box's left (-1) or right (1) side."""
        x, y = self.places[name]
        return x + sign * self.half[name], y


def _lay_out(exposures: list[str], mediators: list[str], outcome: str, labels: dict[str, str]) -> _Layout:
    half = {}
    for column in (exposures, mediators, [outcome]):
        half |= dict.fromkeys(column, max(0.75, 0.0625 * max(fonts.width(labels[name]) for name in column) + 0.15))
    places = _places(exposures, mediators, outcome, half)
    over = math.ceil(len(exposures) / 2)
    return _Layout(
        exposures, mediators, outcome, places, half,
        top=max(y for _, y in places.values()) + 0.75 + 0.62 * over,
        bottom=min(y for _, y in places.values()) - 0.75 - 0.62 * (len(exposures) - over),
        left=-half[exposures[0]] - 0.75 * _bow(len(exposures) - 1) - 0.5,
        right=places[outcome][0] + half[outcome] + 0.3,
    )  # fmt: skip


def _places(exposures, mediators, outcome: str, half: dict[str, float]) -> dict[str, tuple[float, float]]:
    """Centres of the boxes, in three columns around y = 0; exposures are close, so that labels do not overlap."""
    step = 1.25
    apart = step if len(exposures) > 3 else min(2 * step, max(step, step * (len(mediators) - 1) / len(exposures)))
    gap = max(3.4, 0.5 * len(mediators))  # many mediators need flatter arrows
    places = {name: (0.0, apart * ((len(exposures) - 1) / 2 - i)) for i, name in enumerate(exposures)}
    middle = half[exposures[0]] + gap + half[mediators[0]]
    places |= {name: (middle, step * ((len(mediators) - 1) / 2 - i)) for i, name in enumerate(mediators)}
    return places | {outcome: (middle + half[mediators[0]] + 0.85 * gap + half[outcome], 0.0)}


def _canvas(layout: _Layout, title: str, notes: Sequence[tuple[str, str]]) -> tuple[Figure, Axes]:
    """An empty figure with a title and notes (text, colour) below."""
    head = layout.top + (0.55 if title else 0.15)
    below = layout.bottom - 0.4
    foot = below - _NOTE_STEP * (len(notes) + 0.5)
    figure = Figure(figsize=(layout.width * 0.8, (head - foot) * 0.8), dpi=style.DPI)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(layout.left, layout.right), ylim=(foot, head), aspect="equal")
    axes.axis("off")
    left = layout.left + 0.1
    axes.text(left, head - 0.1, title, ha="left", va="top", fontsize=9, weight="bold")
    for i, (note, color) in enumerate(notes):
        axes.text(left, below - _NOTE_STEP * (i + 0.5), note, ha="left", va="center", fontsize=8, color=color)
    return figure, axes


def _draw_boxes(axes: Axes, layout: _Layout, labels: dict[str, str], residuals: pd.Series) -> None:
    for name, (x, y) in layout.places.items():
        corner, width = (x - layout.half[name], y - 0.3), 2 * layout.half[name]
        box = FancyBboxPatch(corner, width, 0.6, boxstyle="round,pad=0,rounding_size=0.12", fc="white", ec="black")
        axes.add_patch(box).set_zorder(4)
        note = "" if name in layout.exposures else f"{residuals[name]:.2f}"
        axes.text(x, y + (0.08 if note else 0), labels[name], ha="center", va="center", fontsize=9, zorder=5)
        axes.text(x, y - 0.17, note, ha="center", va="center", fontsize=6.5, color="#444444", zorder=5)


def _draw_indirect(axes: Axes, paths: pd.DataFrame, layout: _Layout) -> None:
    ports = _ports(len(layout.mediators), 0.5)
    for row in paths.itertuples():
        start, end = layout.side(row.rhs, 1), layout.side(row.lhs, -1)
        if row.lhs != layout.outcome:
            its = [x for x in layout.exposures if ((paths["lhs"] == row.lhs) & (paths["rhs"] == x)).any()]
            end = (end[0], end[1] + _ports(len(its), 0.4)[its.index(row.rhs)])
            _arrow(axes, start, end, row, label_x=end[0] - 0.55)
        elif row.rhs in layout.mediators:
            end = (end[0], end[1] + ports[layout.mediators.index(row.rhs)])
            _arrow(axes, start, end, row, label_x=start[0] + 0.6)


def _ports(num: int, reach: float) -> np.ndarray:
    """Heights on a box's side where arrows end, from top to bottom."""
    return np.linspace(reach / 2, -reach / 2, num) if num > 1 else np.zeros(1)


def _arrow(axes, start, end, row, label_x: float) -> None:
    color, style = _look(row)
    where = (label_x - start[0]) / (end[0] - start[0])
    axes.add_patch(
        FancyArrowPatch(start, end, arrowstyle="-|>", mutation_scale=9, shrinkA=0, shrinkB=0, color=color, ls=style)
    )
    _number(axes, (label_x, start[1] + where * (end[1] - start[1])), row, color)


def _draw_direct(axes: Axes, paths: pd.DataFrame, layout: _Layout) -> None:
    """Draws direct paths above (upper half of the exposures) or below the mediators."""
    exposures, outcome, places = layout.exposures, layout.outcome, layout.places
    for i, exposure in enumerate(exposures):
        row = next(paths[(paths["lhs"] == outcome) & (paths["rhs"] == exposure)].itertuples())
        up = i < layout.num_over
        level = layout.top - 0.62 * i if up else layout.bottom + 0.62 * (len(exposures) - 1 - i)
        side = 1 if up else -1
        start = (places[exposure][0] + 0.6 * layout.half[exposure], places[exposure][1] + 0.3 * side)
        end = (
            places[outcome][0] - (0.25 - 0.25 * (i if up else len(exposures) - 1 - i)),
            places[outcome][1] + 0.3 * side,
        )
        control = (8 * level - start[1] - end[1]) / 6  # puts the middle of the curve at `level`
        points = [start, (start[0] + 1.2, control), (end[0] - 1.2, control), end]
        color, style = _look(row)
        curve = Path(points, [Path.MOVETO, Path.CURVE4, Path.CURVE4, Path.CURVE4])
        axes.add_patch(FancyArrowPatch(path=curve, arrowstyle="-|>", mutation_scale=9, color=color, ls=style))
        _number(axes, ((start[0] + end[0]) / 2, level), row, color)


def _draw_correlations(axes: Axes, estimates: pd.DataFrame, layout: _Layout) -> None:
    exposures, places = layout.exposures, layout.places
    covariances = estimates[(estimates["op"] == "~~") & (estimates["lhs"] != estimates["rhs"])]
    covariances = covariances[covariances["lhs"].isin(exposures)]
    for row in covariances.itertuples():
        distance_apart = exposures.index(row.rhs) - exposures.index(row.lhs)
        bow = _bow(distance_apart)
        inward = 0.12 if distance_apart == 1 else -0.05  # arcs of neighbours are inside the others
        x = layout.side(row.lhs, -1)[0]
        top, bottom = places[row.lhs][1] - inward, places[row.rhs][1] + inward
        points = [(x, top), (x - bow, top), (x - bow, bottom), (x, bottom)]
        curve = Path(points, [Path.MOVETO, Path.CURVE4, Path.CURVE4, Path.CURVE4])
        axes.add_patch(PathPatch(curve, fill=False, ec=style.NEUTRAL, ls="--"))
        _text(axes, (x - 0.75 * bow, (top + bottom) / 2), style.signed(row.std), "#444444")


def _bow(distance_apart: int) -> float:
    """Distance of a correlation's control points to the left; the arc itself reaches 3/4 of it."""
    return 0.6 + 0.9 * (distance_apart - 1) if distance_apart > 0 else 0.0


def _look(row) -> tuple[str, str]:
    if not row.p < 0.05:
        return style.NEUTRAL, "--"
    return (style.POSITIVE if row.std > 0 else style.NEGATIVE), "-"


def _number(axes, place, row, color) -> None:
    stars = "*" * sum(row.p < level for level in (0.05, 0.01, 0.001))
    _text(axes, place, f"{style.signed(row.std)}{stars}", "#444444" if color == style.NEUTRAL else color)


def _text(axes, place, text: str, color: str) -> None:
    box = {"boxstyle": "round,pad=0.12", "fc": "white", "ec": "none"}
    axes.text(*place, text, ha="center", va="center", fontsize=8, color=color, bbox=box, zorder=3)


def _path_notes(multiple: mediation.Multiple, num_paths: int, wrap_at: int) -> list[tuple[str, str]]:
    """Lines below the path plot and their colours: size and fit of the model, its tests, the verdict on its fit."""
    verdict = multiple.verdict
    tests = (
        f"Solid arrows and stars: p of each path's z test, not adjusted for the {num_paths} paths; dashed: "
        "p \u2265 0.05; * p < 0.05, ** p < 0.01, *** p < 0.001."
    )
    colored = [(tests, "black"), (verdict.text, style.NEGATIVE if verdict.word == "poor" else "black")]
    lines = [(line, color) for text, color in colored for line in textwrap.wrap(text, wrap_at)]
    return [(_fit_line(multiple.fit), "black"), *lines]


def _fit_line(fit: dict[str, float]) -> str:
    if not fit["df"]:  # a CFI of 1 and an RMSEA of 0 would mean nothing
        return f"n = {fit['ntotal']}, $\\chi^2$(0) = 0"
    p = f"= {fit['pvalue']:.3f}" if fit["pvalue"] >= 0.001 else "< 0.001"
    return (
        f"n = {fit['ntotal']}, $\\chi^2$({fit['df']}) = {fit['chisq']:.1f}, p {p}, CFI = {fit['cfi']:.3f}, "
        f"RMSEA = {fit['rmsea']:.3f}, SRMR = {fit['srmr']:.3f}"
    )
