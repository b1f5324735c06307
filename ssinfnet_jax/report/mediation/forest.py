"""Forest plot of indirect effects (the paper's figure 4)."""

import math

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ssinfnet_jax.analysis.mediation.estimation.intervals import METHODS
from ssinfnet_jax.report.kit import fonts
from ssinfnet_jax.report.mediation import naming, style

_NORMAL_95 = 1.959964
_ADJUSTED = (
    "Filled marks are significant after adjustment for the number of tests; intervals are\n"
    "not adjusted, so the interval of a hollow mark may exclude 0."
)


def forest(
    univariate: pd.DataFrame,
    *,
    max_rows: int = 40,
    page: int = 0,
    intervals: pd.DataFrame | None = None,
    method: str = "bca",
) -> Figure:
    """Draws standardised indirect effects with 95 % intervals, one panel per exposure, sorted by effect.

    Blue circles are significant positive, orange squares significant negative effects (`is_mediator`); hollow grey
    marks are not significant. Effects and intervals are in units of standard deviations. If the interval of a hollow
    mark excludes 0, a note says that only the marks are adjusted for the number of tests.

    Args:
      univariate: as mediation.univariate() returns it; flagged pairs are left out and counted.
      max_rows: phenotypes per panel. With more, page 0 shows the largest absolute effects of each exposure,
        page 1 the next, and so on; the title of a panel says which. forest_pages() makes all pages.
      page: see max_rows.
      intervals: of mediation.bootstrap() for the same pairs, instead of est ± 1.96 se; a pair without one has only a
        mark.
      method: of `intervals`: "percentile", "bc" or "bca".
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
        panels[exposure] = shown, _range_title(exposure, page * max_rows, len(shown), len(fitted), len(rows))
    labels = naming.of(univariate["mediator"].unique())
    num_rows = max(len(shown) for shown, _ in panels.values())
    label_width = 0.075 * max(map(fonts.width, labels.values()))
    figure = Figure(
        figsize=(max((label_width + 2.6) * len(panels) + 0.2, 5.2), 1.8 + 0.185 * num_rows),
        dpi=style.DPI,
        layout="constrained",
    )
    for axes, (shown, title) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels.values(), strict=True):
        _forest_panel(axes, shown, labels, num_rows)
        axes.set_title(title, fontsize=9, loc="left")
        axes.set_xlabel(f"standardised indirect effect ({_interval_title(intervals, method)})", fontsize=8)
    if title := naming.region_title(labels):
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


def sets(joint: pd.DataFrame, alpha: float) -> pd.DataFrame:
    """Joint effects of mediation.joint_effects() as rows for forest(), with sets in place of mediators."""
    names = [naming.of_set(*row) for row in joint[["mediators", "num_mediators"]].itertuples(index=False)]
    return joint.assign(is_mediator=joint["indirect_p_adj"] < alpha, mediator=names)


def _num_pages(univariate: pd.DataFrame, max_rows: int) -> int:
    if max_rows < 1:
        raise ValueError(f"max_rows must be >= 1, got {max_rows}.")
    fitted = univariate[univariate["flag"] == ""]
    if fitted.empty:
        raise ValueError("No pair in the table has estimates; see its column flag.")
    return math.ceil(fitted.groupby("exposure").size().max() / max_rows)


def _range_title(exposure: str, first: int, num_shown: int, num_fitted: int, num_rows: int) -> str:
    title = naming.words(exposure)
    if num_shown < num_fitted:
        title += f": {first + 1}-{first + num_shown} of {num_fitted}" if num_shown else ": no more"
    return title + (f" ({num_rows - num_fitted} not fitted)" if num_rows > num_fitted else "")


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
        (significant & (effect > 0), style.POSITIVE, "o", style.POSITIVE),
        (significant & (effect <= 0), style.NEGATIVE, "s", style.NEGATIVE),
        (~significant, style.NEUTRAL, "o", "white"),
    ):
        bars = np.maximum(reach[:, chosen], 0)  # a bootstrap interval may exclude the estimate
        look = {"fmt": marker, "color": color, "mfc": fill, "ms": 4, "lw": 1.1, "mew": 1.1}
        axes.errorbar(effect[chosen], places[chosen], xerr=bars, **look)
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
        Line2D([], [], color=style.POSITIVE, marker="o", ms=4, label="significant, positive"),
        Line2D([], [], color=style.NEGATIVE, marker="s", ms=4, label="significant, negative"),
        Line2D([], [], color=style.NEUTRAL, marker="o", ms=4, mfc="white", label="not significant"),
    ]
