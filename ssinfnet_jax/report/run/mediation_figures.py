"""Figures of the mediation analysis: forest plot, correlations, path plot (the paper's figures 4, 5, 6).

Every function returns a new matplotlib Figure that belongs to nobody else: save it with `figure.savefig`,
which needs no display.
"""

import math
import re
import textwrap
from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch, PathPatch
from matplotlib.path import Path
from scipy.cluster import hierarchy
from scipy.spatial import distance

from ssinfnet_jax.analysis import mediation
from ssinfnet_jax.analysis.mediation.intervals import METHODS
from ssinfnet_jax.analysis.phenotypes import columns
from ssinfnet_jax.report.kit import fonts

# Okabe and Ito's colours, which colour-blind readers tell apart; shape and fill say the same once more.
POSITIVE, NEGATIVE, NEUTRAL = "#0072B2", "#D55E00", "#8A8A8A"
_DPI = 200
_CLASSES = {"firstorder": "first order", "shape2D": "shape"}  # others are abbreviations
_REGIONS = {"ggo": "GGO"}
_FILTERS = {"squareroot": "square root", "lbp-2D": "local binary pattern"}
MAX_MEDIATORS = 20  # of one path plot
_NORMAL_95 = 1.959964
_NOTE_STEP = 0.22  # height of a line below the path plot, in its units


def forest(
    univariate: pd.DataFrame,
    *,
    max_rows: int = 40,
    page: int = 0,
    intervals: pd.DataFrame | None = None,
    method: str = "bca",
) -> Figure:
    """Standardised indirect effects with 95 % intervals, one panel per exposure, sorted by effect.

    Args:
      univariate: as mediation.univariate() returns it; flagged pairs are left out and counted.
      max_rows: phenotypes per panel. With more, page 0 shows the largest effects (by size) of each exposure,
        page 1 the next, and so on; the panel says how many there are. forest_pages() makes all pages.
      page: see max_rows.
      intervals: of mediation.bootstrap() for the same pairs, drawn in place of est +- 1.96 se; a pair without one has
        a mark only.
      method: "percentile", "bc" or "bca", with `intervals`.
    Returns: Figure; blue circles are significant positive, orange squares significant negative effects
      (`is_mediator`), hollow grey ones are not significant. Effects and intervals are in units of standard
      deviations. Where the interval of a hollow mark leaves out 0, a line says that only the marks are adjusted for
      the number of tests.
    Raises: ValueError for a page that does not exist, a table without estimates, or an unknown method.
    """
    univariate = univariate.join(_bounds(univariate, intervals, method))
    pages = _num_pages(univariate, max_rows)
    if not 0 <= page < pages:
        raise ValueError(f"Page {page} of {pages} does not exist; pages count from 0.")
    panels = {}
    for exposure, rows in univariate.groupby("exposure", sort=False):
        fitted = rows[rows["flag"] == ""]
        ranked = fitted.reindex(fitted["indirect_std"].abs().sort_values(ascending=False, kind="stable").index)
        shown = ranked.iloc[page * max_rows : (page + 1) * max_rows].sort_values("indirect_std")
        panels[exposure] = (
            shown,
            _range_title(exposure, page * max_rows, len(shown), len(fitted), len(rows)),
        )
    labels = _labels(univariate["mediator"].unique())
    num_rows = max(len(shown) for shown, _ in panels.values())
    label_width = 0.075 * max(map(fonts.width, labels.values()))
    figure = Figure(
        figsize=(max((label_width + 2.6) * len(panels) + 0.2, 5.2), 1.8 + 0.185 * num_rows),
        dpi=_DPI,
        layout="constrained",
    )
    for axes, (shown, title) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels.values(), strict=True):
        _forest_panel(axes, shown, labels, num_rows)
        axes.set_title(title, fontsize=9, loc="left")
        axes.set_xlabel(f"standardised indirect effect ({_interval_title(intervals, method)})", fontsize=8)
    if title := _region_title(labels):
        figure.suptitle(title, fontsize=9, weight="bold", x=0.005, ha="left")
    shown = pd.concat([shown for shown, _ in panels.values()])
    note = _ADJUSTED if (~shown["is_mediator"] & (shown["lower"] * shown["upper"] > 0)).any() else None
    legend = {"loc": "outside lower center", "ncols": 3, "fontsize": 8, "frameon": False}
    figure.legend(handles=_forest_legend(), title=note, title_fontsize=7.5, **legend)
    fonts.use(figure)
    return figure


def forest_pages(univariate: pd.DataFrame, *, max_rows: int = 40, **options) -> list[Figure]:
    """All pages of forest(); `options` are its `intervals` and `method`."""
    pages = range(_num_pages(univariate, max_rows))
    return [forest(univariate, max_rows=max_rows, page=page, **options) for page in pages]


def correlation_heatmap(table: pd.DataFrame, mediators: Sequence[str], *, threshold: float = 0.8) -> Figure:
    """Correlations of phenotypes over patients, ordered by hierarchical clustering.

    Args:
      table: one row per patient.
      mediators: at least two numeric columns; correlations use the patients that have both values.
      threshold: pairs with |r| above it, which the correlation filter thins out, have a dot (a bold number if
        r is written).
    Returns: Figure; correlations are written into the cells of up to 15 mediators; cells without a
      correlation are grey.
    Raises: ValueError for fewer than two mediators.
    """
    mediators = list(mediators)
    if len(mediators) < 2:
        raise ValueError(f"A heat map needs at least two mediators, got {mediators}.")
    r = table[mediators].astype(float).corr(min_periods=3)
    far = 1 - r.abs().fillna(0).to_numpy()
    np.fill_diagonal(far, 0)
    links = hierarchy.linkage(distance.squareform(far, checks=False), "average", optimal_ordering=True)
    order = hierarchy.leaves_list(links)
    r = r.iloc[order, order]
    labels = [_labels(mediators)[name] for name in r.index]

    size, font = _heatmap_size(len(mediators))
    side = 0.62 * font / 72 * max(map(fonts.width, labels)) + 0.15  # inches that the labels need
    title = _region_title(mediators)
    tree, bar, head = 0.7, 0.75, 0.15 if title else 0
    width, height = side + size + bar, side + size + tree + head
    figure = Figure(figsize=(width, height), dpi=_DPI)
    cells = figure.add_axes((side / width, side / height, size / width, size / height))
    above = figure.add_axes((side / width, (side + size) / height, size / width, 0.9 * tree / height))
    image = cells.imshow(np.ma.masked_invalid(r), cmap=_with_grey("RdBu_r"), vmin=-1, vmax=1, interpolation="nearest")
    cells.set_xticks(range(len(labels)), labels, rotation=90, fontsize=font)
    cells.set_yticks(range(len(labels)), labels, fontsize=font)
    cells.tick_params(length=0)
    _mark_cells(cells, r.to_numpy(), threshold, size / len(labels))
    hierarchy.dendrogram(links, ax=above, no_labels=True, color_threshold=0, above_threshold_color="#444444")
    above.set_xlim(0, 10 * len(labels))  # scipy draws leaf i at 10 i + 5
    for lines in above.collections:
        lines.set_linewidth(0.9)
    above.axis("off")
    legend = figure.add_axes(((side + size + 0.15) / width, side / height, 0.14 / width, min(size, 2.5) / height))
    figure.colorbar(image, cax=legend).ax.tick_params(labelsize=7)
    legend.set_title("r", fontsize=8)
    figure.text(0.005, 0.995, title, fontsize=8, weight="bold", va="top")
    fonts.use(figure)
    return figure


def path_plot(multiple: mediation.Multiple, *, max_mediators: int = MAX_MEDIATORS, page: int = 0) -> Figure:
    """The path model with its standardised estimates: exposures, mediators, outcome from left to right.

    Arrows carry the standardised estimate and stars (* p < 0.05, ** p < 0.01, *** p < 0.001, each path's own
    z test, not adjusted); grey dashed ones are not significant by it. A dashed bow joins exposures with their
    correlation; the small number under a name is the standardised residual variance. The lines below give the
    fit, the tests, and whether the model fits, in words. Covariates and covariances of residuals are not drawn.

    Args:
      multiple: the model.
      max_mediators: of one figure. With more, page 0 shows the first ones, page 1 the next, and so on, each with all
        exposures and the estimates and fit of the whole model; a line says so. path_plots() makes all pages.
      page: see max_mediators.
    Raises: ValueError for a page that does not exist, or max_mediators outside 1 to 40, which is as much as a figure
      can show.
    """
    estimates = multiple.estimates
    estimates = estimates[~estimates[["lhs", "rhs"]].isin(list(multiple.covariates)).any(axis=1)]
    paths = estimates[estimates["op"] == "~"]
    all_mediators = _drawn_mediators(multiple)
    pages = _num_path_pages(multiple, max_mediators)
    if not 0 <= page < pages:
        raise ValueError(f"Page {page} of {pages} does not exist; pages count from 0.")
    first = page * max_mediators
    mediators = all_mediators[first : first + max_mediators]
    others = [name for name in all_mediators if name not in mediators]
    num_paths = len(paths)
    paths = paths[~paths[["lhs", "rhs"]].isin(others).any(axis=1)]
    exposures = list(multiple.exposures)
    labels = {name: label for name, label in _labels(all_mediators).items() if name in mediators}
    labels |= {name: _words(name) for name in (*exposures, multiple.outcome)}
    half = {}
    for column in (exposures, mediators, [multiple.outcome]):
        half |= dict.fromkeys(column, max(0.75, 0.0625 * max(fonts.width(labels[name]) for name in column) + 0.15))
    places = _places(exposures, mediators, multiple.outcome, half)
    over = math.ceil(len(exposures) / 2)
    top = max(y for _, y in places.values()) + 0.75 + 0.62 * over
    bottom = min(y for _, y in places.values()) - 0.75 - 0.62 * (len(exposures) - over)
    left = -half[exposures[0]] - 0.75 * _bow(len(exposures) - 1) - 0.5
    right = places[multiple.outcome][0] + half[multiple.outcome] + 0.3

    title = _region_title(all_mediators)
    if others:
        range_shown = f"mediators {first + 1} to {first + len(mediators)} of the {len(all_mediators)} in one model"
        title = f"{title}: {range_shown}" if title else range_shown.capitalize()
    head = top + (0.55 if title else 0.15)
    notes = _path_notes(multiple, num_paths, wrap_at=int(17 * (right - left) * 0.8))
    foot = bottom - 0.4 - _NOTE_STEP * (len(notes) + 0.5)
    figure = Figure(figsize=((right - left) * 0.8, (head - foot) * 0.8), dpi=_DPI)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(left, right), ylim=(foot, head), aspect="equal")
    axes.axis("off")
    axes.text(left + 0.1, head - 0.1, title, ha="left", va="top", fontsize=9, weight="bold")
    _draw_indirect(axes, paths, places, half, exposures, mediators, multiple.outcome)
    _draw_direct(axes, paths, places, half, exposures, multiple.outcome, (bottom, top), over)
    _draw_correlations(axes, estimates, places, half, exposures)
    residuals = estimates[(estimates["op"] == "~~") & (estimates["lhs"] == estimates["rhs"])].set_index("lhs")["std"]
    for name, (x, y) in places.items():
        box = FancyBboxPatch(
            (x - half[name], y - 0.3),
            2 * half[name],
            0.6,
            boxstyle="round,pad=0,rounding_size=0.12",
            fc="white",
            ec="black",
        )
        axes.add_patch(box).set_zorder(4)
        note = "" if name in exposures else f"{residuals[name]:.2f}"
        axes.text(x, y + (0.08 if note else 0), labels[name], ha="center", va="center", fontsize=9, zorder=5)
        axes.text(x, y - 0.17, note, ha="center", va="center", fontsize=6.5, color="#444444", zorder=5)
    for i, (note, color) in enumerate(notes):
        place = (left + 0.1, bottom - 0.4 - _NOTE_STEP * (i + 0.5))
        axes.text(*place, note, ha="left", va="center", fontsize=8, color=color)
    fonts.use(figure)
    return figure


def path_plots(multiple: mediation.Multiple, *, max_mediators: int = MAX_MEDIATORS) -> list[Figure]:
    """All pages of path_plot()."""
    pages = range(_num_path_pages(multiple, max_mediators))
    return [path_plot(multiple, max_mediators=max_mediators, page=page) for page in pages]


def _drawn_mediators(multiple: mediation.Multiple) -> list[str]:
    """In the order of the model's equations."""
    paths = multiple.estimates[multiple.estimates["op"] == "~"]
    return list(dict.fromkeys(paths.loc[paths["lhs"] != multiple.outcome, "lhs"]))


def _num_path_pages(multiple: mediation.Multiple, max_mediators: int) -> int:
    if not 1 <= max_mediators <= 2 * MAX_MEDIATORS:
        raise ValueError(
            f"max_mediators must be in 1 to {2 * MAX_MEDIATORS}, got {max_mediators}: the arrows of more cannot be "
            "told apart. path_plots() splits a model into several figures; a lower correlation threshold thins it out."
        )
    return math.ceil(len(_drawn_mediators(multiple)) / max_mediators)


def _num_pages(univariate: pd.DataFrame, max_rows: int) -> int:
    if max_rows < 1:
        raise ValueError(f"max_rows must be >= 1, got {max_rows}.")
    fitted = univariate[univariate["flag"] == ""]
    if fitted.empty:
        raise ValueError("No pair in the table has estimates; see its column flag.")
    return math.ceil(fitted.groupby("exposure").size().max() / max_rows)


def _range_title(exposure: str, first: int, num_shown: int, num_fitted: int, num_rows: int) -> str:
    title = _words(exposure)
    if num_shown < num_fitted:
        title += f": {first + 1}-{first + num_shown} of {num_fitted}" if num_shown else ": no more"
    return title + (f" ({num_rows - num_fitted} not fitted)" if num_rows > num_fitted else "")


_ADJUSTED = (
    "Filled marks are significant after adjustment for the number of tests; intervals are\n"
    "not adjusted, so that the interval of a hollow mark may leave out 0."
)


def _bounds(univariate: pd.DataFrame, intervals: pd.DataFrame | None, method: str) -> pd.DataFrame:
    """Columns lower and upper: the interval of each standardised indirect effect."""
    if method not in METHODS:
        raise ValueError(f"Unknown interval {method!r}; choose one of {', '.join(METHODS)}.")
    with np.errstate(all="ignore"):
        scale = univariate["indirect_std"] / univariate["indirect_est"]
    if intervals is None:
        reach = _NORMAL_95 * (univariate["indirect_std"] / univariate["indirect_z"]).abs()
        return pd.DataFrame({"lower": univariate["indirect_std"] - reach, "upper": univariate["indirect_std"] + reach})
    keys = ["exposure", "mediator"]
    drawn = univariate[keys].merge(intervals, on=keys, how="left", validate="one_to_one")
    bounds = {side: drawn[f"{method}_{side}"].to_numpy() * scale for side in ("lower", "upper")}
    return pd.DataFrame(bounds, index=univariate.index)


def _interval_title(intervals: pd.DataFrame | None, method: str) -> str:
    names = {"percentile": "percentile", "bc": "bias-corrected", "bca": "BCa"}
    return "95 % interval" if intervals is None else f"95 % {names[method]} bootstrap interval"


def _forest_panel(axes, shown: pd.DataFrame, labels: dict[str, str], num_rows: int) -> None:
    effect = shown["indirect_std"].to_numpy()
    reach = np.stack([effect - shown["lower"].to_numpy(), shown["upper"].to_numpy() - effect])
    places = np.arange(len(shown)) + num_rows - len(shown)
    significant = shown["is_mediator"].to_numpy()
    for chosen, color, marker, fill in (
        (significant & (effect > 0), POSITIVE, "o", POSITIVE),
        (significant & (effect <= 0), NEGATIVE, "s", NEGATIVE),
        (~significant, NEUTRAL, "o", "white"),
    ):
        axes.errorbar(
            effect[chosen],
            places[chosen],
            xerr=np.maximum(reach[:, chosen], 0),  # a bootstrap interval may leave out the estimate
            fmt=marker,
            color=color,
            mfc=fill,
            ms=4,
            lw=1.1,
            mew=1.1,
        )
    axes.axvline(0, color="black", lw=0.7, zorder=0)
    axes.set_yticks(places, [labels[name] for name in shown["mediator"]], fontsize=7.5)
    axes.set_ylim(-0.7, num_rows - 0.3)
    axes.tick_params(axis="x", labelsize=7.5)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", lw=0.4, color="#DDDDDD")
    axes.set_axisbelow(True)
    axes.locator_params(axis="x", nbins=5)
    axes.spines[["top", "right", "left"]].set_visible(False)


def _forest_legend() -> list[Line2D]:
    return [
        Line2D([], [], color=POSITIVE, marker="o", ms=4, label="significant, positive"),
        Line2D([], [], color=NEGATIVE, marker="s", ms=4, label="significant, negative"),
        Line2D([], [], color=NEUTRAL, marker="o", ms=4, mfc="white", label="not significant"),
    ]


def _common_region(names: Sequence[str]) -> str:
    """The region that all phenotypes are of, which their labels then leave out; else ""."""
    regions = {origin[0] for origin in map(columns.origin, names) if origin}
    return regions.pop() if len(regions) == 1 else ""


def _region_title(names: Sequence[str]) -> str:
    """What stands over a figure of phenotypes whose labels leave out their region; else ""."""
    region = _common_region(names)
    return f"Phenotypes of {_REGIONS.get(region, region)}" if region else ""


def _labels(names: Sequence[str]) -> dict[str, str]:
    """`ggo_glcm_Imc1` -> `Imc1 (GLCM)`; the region in front if there are several, the filter behind the class."""
    common = _common_region(names)
    labels = {name: _words(name) for name in names}
    for name in names:
        if origin := columns.origin(name):
            region, image, feature_class = origin
            feature = name.rpartition("_")[2]
            feature = "Area" if feature == "PixelSurface" else feature
            where = [_CLASSES.get(feature_class, feature_class.upper()), *([_filter(image)] if image else [])]
            labels[name] = f"{'' if common else _REGIONS.get(region, region) + ' '}{feature} ({', '.join(where)})"
    return labels


def _words(name: str) -> str:
    """A column's name as it is drawn: blanks for underscores, no formula between two dollars, letters of any script."""
    return fonts.drawable(str(name).replace("_", " ").replace("$", r"\$"))


def _filter(image: str) -> str:
    """`log-sigma-1-5-mm-2D` -> `LoG 1.5 mm`, `wavelet-HL` -> `wavelet HL`."""
    if found := re.fullmatch(r"log-sigma-(\d+)-(\d+)-mm.*", image):
        return f"LoG {float(f'{found[1]}.{found[2]}'):g} mm"
    return _FILTERS.get(image, image.replace("-", " "))


def _heatmap_size(num: int) -> tuple[float, float]:
    """Side of the cells' square in inches and font size of the labels in points."""
    size = min(max(2.2, 0.42 * num), 11.0)
    return size, float(np.clip(0.72 * 72 * size / num, 3.5, 8.0))


def _with_grey(name: str):
    return colormaps[name].with_extremes(bad="#CCCCCC")


def _mark_cells(axes, r: np.ndarray, threshold: float, cell_inches: float) -> None:
    above = (np.abs(r) > threshold) & ~np.eye(len(r), dtype=bool)
    if len(r) > 15:
        rows, cols = np.nonzero(above)
        axes.scatter(cols, rows, s=(0.18 * 72 * cell_inches) ** 2, color="white", linewidths=0)
        return
    for row, col in np.argwhere(~np.isnan(r)):
        color = "white" if abs(r[row, col]) > 0.6 else "black"
        weight = "bold" if above[row, col] else "normal"
        axes.text(col, row, _signed(r[row, col]), ha="center", va="center", color=color, weight=weight, fontsize=6.5)


def _places(exposures, mediators, outcome: str, half: dict[str, float]) -> dict[str, tuple[float, float]]:
    """Centres of the boxes: three columns around y = 0. Exposures stay close, or labels would meet."""
    step = 1.25
    apart = step if len(exposures) > 3 else min(2 * step, max(step, step * (len(mediators) - 1) / len(exposures)))
    gap = max(3.4, 0.5 * len(mediators))  # many mediators need flatter arrows
    places = {name: (0.0, apart * ((len(exposures) - 1) / 2 - i)) for i, name in enumerate(exposures)}
    middle = half[exposures[0]] + gap + half[mediators[0]]
    places |= {name: (middle, step * ((len(mediators) - 1) / 2 - i)) for i, name in enumerate(mediators)}
    return places | {outcome: (middle + half[mediators[0]] + 0.85 * gap + half[outcome], 0.0)}


def _draw_indirect(axes, paths, places, half, exposures, mediators, outcome) -> None:
    ports = _ports(len(mediators), 0.5)
    for row in paths.itertuples():
        if row.lhs != outcome:
            its = [x for x in exposures if ((paths["lhs"] == row.lhs) & (paths["rhs"] == x)).any()]
            end = (
                places[row.lhs][0] - half[row.lhs],
                places[row.lhs][1] + _ports(len(its), 0.4)[its.index(row.rhs)],
            )
            start = (places[row.rhs][0] + half[row.rhs], places[row.rhs][1])
            _arrow(axes, start, end, row, label_x=end[0] - 0.55)
        elif row.rhs in mediators:
            start = (places[row.rhs][0] + half[row.rhs], places[row.rhs][1])
            end = (places[outcome][0] - half[outcome], places[outcome][1] + ports[mediators.index(row.rhs)])
            _arrow(axes, start, end, row, label_x=start[0] + 0.6)


def _ports(num: int, reach: float) -> np.ndarray:
    """Places on a box where arrows end, from top to bottom."""
    return np.linspace(reach / 2, -reach / 2, num) if num > 1 else np.zeros(1)


def _arrow(axes, start, end, row, label_x: float) -> None:
    color, style = _look(row)
    where = (label_x - start[0]) / (end[0] - start[0])
    axes.add_patch(
        FancyArrowPatch(start, end, arrowstyle="-|>", mutation_scale=9, shrinkA=0, shrinkB=0, color=color, ls=style)
    )
    _number(axes, (label_x, start[1] + where * (end[1] - start[1])), row, color)


def _draw_direct(axes, paths, places, half, exposures, outcome, limits, over) -> None:
    """Direct paths bow over (upper half of the exposures) or under the mediators."""
    for i, exposure in enumerate(exposures):
        row = next(paths[(paths["lhs"] == outcome) & (paths["rhs"] == exposure)].itertuples())
        up = i < over
        level = limits[1] - 0.62 * i if up else limits[0] + 0.62 * (len(exposures) - 1 - i)
        side = 1 if up else -1
        start = (places[exposure][0] + 0.6 * half[exposure], places[exposure][1] + 0.3 * side)
        end = (
            places[outcome][0] - (0.25 - 0.25 * (i if up else len(exposures) - 1 - i)),
            places[outcome][1] + 0.3 * side,
        )
        control = (8 * level - start[1] - end[1]) / 6  # so that the middle of the curve is at `level`
        points = [start, (start[0] + 1.2, control), (end[0] - 1.2, control), end]
        color, style = _look(row)
        curve = Path(points, [Path.MOVETO, Path.CURVE4, Path.CURVE4, Path.CURVE4])
        axes.add_patch(FancyArrowPatch(path=curve, arrowstyle="-|>", mutation_scale=9, color=color, ls=style))
        _number(axes, ((start[0] + end[0]) / 2, level), row, color)


def _draw_correlations(axes, estimates, places, half, exposures) -> None:
    covariances = estimates[(estimates["op"] == "~~") & (estimates["lhs"] != estimates["rhs"])]
    covariances = covariances[covariances["lhs"].isin(exposures)]
    for row in covariances.itertuples():
        distance_apart = exposures.index(row.rhs) - exposures.index(row.lhs)
        bow = _bow(distance_apart)
        inward = 0.12 if distance_apart == 1 else -0.05  # bows of neighbours lie inside the others
        x = places[row.lhs][0] - half[row.lhs]
        top, bottom = places[row.lhs][1] - inward, places[row.rhs][1] + inward
        points = [(x, top), (x - bow, top), (x - bow, bottom), (x, bottom)]
        curve = Path(points, [Path.MOVETO, Path.CURVE4, Path.CURVE4, Path.CURVE4])
        axes.add_patch(PathPatch(curve, fill=False, ec=NEUTRAL, ls="--"))
        _text(axes, (x - 0.75 * bow, (top + bottom) / 2), _signed(row.std), "#444444")


def _bow(distance_apart: int) -> float:
    """How far a correlation's control points stand out to the left; the bow itself reaches 3/4 of it."""
    return 0.6 + 0.9 * (distance_apart - 1) if distance_apart > 0 else 0.0


def _look(row) -> tuple[str, str]:
    if not row.p < 0.05:
        return NEUTRAL, "--"
    return (POSITIVE if row.std > 0 else NEGATIVE), "-"


def _number(axes, place, row, color) -> None:
    stars = "*" * sum(row.p < level for level in (0.05, 0.01, 0.001))
    _text(axes, place, f"{_signed(row.std)}{stars}", "#444444" if color == NEUTRAL else color)


def _signed(value: float) -> str:
    return f"{value:.2f}".replace("-0.00", "0.00").replace("-", "\u2212")


def _text(axes, place, text: str, color: str) -> None:
    box = {"boxstyle": "round,pad=0.12", "fc": "white", "ec": "none"}
    axes.text(*place, text, ha="center", va="center", fontsize=8, color=color, bbox=box, zorder=3)


def _path_notes(multiple: mediation.Multiple, num_paths: int, wrap_at: int) -> list[tuple[str, str]]:
    """Lines below the path plot with their colours: size and fit of the model, its tests, the verdict on its fit."""
    verdict = multiple.verdict
    tests = (
        f"Solid arrows and stars: p of the path's own z test, not adjusted for the {num_paths} paths; dashed: "
        "p \u2265 0.05; * p < 0.05, ** p < 0.01, *** p < 0.001."
    )
    colored = [(tests, "black"), (verdict.text, NEGATIVE if verdict.word == "poor" else "black")]
    lines = [(line, color) for text, color in colored for line in textwrap.wrap(text, wrap_at)]
    return [(_fit_line(multiple.fit), "black"), *lines]


def _fit_line(fit: dict[str, float]) -> str:
    if not fit["df"]:  # its CFI of 1 and RMSEA of 0 would look like a fit
        return f"n = {fit['ntotal']}, $\\chi^2$(0) = 0"
    p = f"= {fit['pvalue']:.3f}" if fit["pvalue"] >= 0.001 else "< 0.001"
    return (
        f"n = {fit['ntotal']}, $\\chi^2$({fit['df']}) = {fit['chisq']:.1f}, p {p}, CFI = {fit['cfi']:.3f}, "
        f"RMSEA = {fit['rmsea']:.3f}, SRMR = {fit['srmr']:.3f}"
    )
