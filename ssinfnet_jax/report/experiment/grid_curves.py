"""ROC and learning curves of many runs in one figure; a method has one colour, its single runs are thin."""

from collections.abc import Mapping, Sequence

import matplotlib
import numpy as np
import pandas as pd
from matplotlib import axes as mpl_axes
from matplotlib import figure as mpl_figure
from matplotlib import lines

from ssinfnet_jax.report.kit import curve_figures, figure_style

_GREY = "#9CA3AF"
_RATES = np.linspace(0, 1, 1001)  # false positive rates at which curves are averaged
_COURSES = ("train_loss", "train_dice", "val_loss", "val_dice")
_NO_TERMS = ("step", "epoch", "loss", "grad_norm", "learning_rate", "slices_per_second", "time_waiting_for_data")


@matplotlib.rc_context(figure_style.STYLE)
def roc(curves: Mapping[str, Sequence[pd.DataFrame]], methods: Mapping[str, str]) -> mpl_figure.Figure:
    """Draws the mean ROC curve of each method, a panel per class, with its area and optimal threshold.

    Averages the true positive rates of all runs at the same false positive rate; the marker is the maximum of Youden's
    J = tpr - fpr. The threshold in the legend is the median of the optimal thresholds of the runs.

    Args:
      curves: method -> one table per run with columns class, fpr, tpr and, where known, threshold.
      methods: name -> title, in the order to draw; methods without a curve are left out.
    Raises: ValueError if no method has a curve.
    Source: Youden 1950, doi:10.1002/1097-0142(1950)3:1<32::AID-CNCR2820030106>3.0.CO;2-3.
    """
    tables = {name: [table for table in curves.get(name, ()) if len(table)] for name in methods}
    classes = list(dict.fromkeys(kind for runs in tables.values() for table in runs for kind in table["class"]))
    if not classes:
        raise ValueError(f"The methods {', '.join(methods)} have no ROC curve; evaluate a run first.")
    columns = 2 if len(classes) in (2, 4) else min(3, len(classes))
    rows = -(-len(classes) // columns)
    width = figure_style.WIDTH / max(columns, 2)
    shown = [name for name in methods if tables[name]]
    figure = mpl_figure.Figure(figsize=(columns * width, rows * (width + 0.15)), layout="constrained")
    grid = list(figure.subplots(rows, columns, squeeze=False).flat)
    looks = figure_style.looks(methods)
    for axes, kind in zip(grid, classes, strict=False):
        axes.plot([0, 1], [0, 1], color=_GREY, linewidth=0.9, linestyle=":")
        for name in shown:
            runs = [table[table["class"] == kind] for table in tables[name]]
            _mean_roc(axes, [table for table in runs if len(table)], looks[name])
        axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal")
        axes.set_title(figure_style.title(kind), loc="left", fontweight="bold")
        axes.set(xlabel="False positive rate", ylabel="True positive rate")
        small = {"fontsize": 7.5, "title_fontsize": 7.5, "handlelength": 2.2, "labelspacing": 0.3}
        box = {"frameon": True, "framealpha": 0.9, "edgecolor": "none", "alignment": "left"}
        axes.legend(loc="lower right", title="Area; best threshold (marked)", **small, **box)
    for axes in grid[len(classes) :]:
        axes.set_visible(False)
    handles = [lines.Line2D([], [], **_line(looks[name]), marker=looks[name].marker) for name in shown]
    _name_methods(figure, handles, [methods[name] for name in shown])
    return figure


def _name_methods(figure: mpl_figure.Figure, handles: Sequence[lines.Line2D], titles: Sequence[str]) -> None:
    """Adds a legend above the panels, and enlarges the figure by its height."""
    width, height = figure.get_size_inches()
    titles = [figure_style.shorten(title, int(6 * width)) for title in titles]
    columns = int(max(1, min(4, 14 * width // (9 + max(map(len, titles))))))
    figure.set_size_inches(width, height + 0.1 + 0.22 * -(-len(titles) // columns))
    legend = figure.legend(handles, titles, loc="outside upper left", ncols=columns)
    for text in legend.get_texts():
        text.set_parse_math(False)


def _mean_roc(axes: mpl_axes.Axes, runs: Sequence[pd.DataFrame], look: figure_style.Look) -> None:
    if not runs:
        return
    runs = [run.sort_values(["fpr", "tpr"]) for run in runs]
    mean = np.mean([np.interp(_RATES, *_ends(run)) for run in runs], axis=0)
    areas = [float(np.trapezoid(run["tpr"], run["fpr"])) for run in runs]
    for run in runs if len(runs) > 1 else ():
        axes.plot(run["fpr"], run["tpr"], color=look.color, linewidth=0.5, alpha=0.3)
    label = f"{np.mean(areas):.3f}"
    label += f" (SD {np.std(areas, ddof=1):.3f})" if len(areas) > 1 else ""
    thresholds = [value for value in map(_best_threshold, runs) if np.isfinite(value)]
    label += f"; p > {np.median(thresholds):.2f}" if thresholds else ""
    best = int(np.argmax(mean - _RATES))
    axes.plot(
        [0, *_RATES], [0, *mean], color=look.color, linestyle=look.linestyle, linewidth=1.6, label=label,
        marker=look.marker, markevery=[best + 1], markersize=6.5, markeredgecolor="#1B1F24", markeredgewidth=0.6,
    )  # fmt: skip


def _ends(run: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """The upper end of each vertical segment, since `np.interp` needs one value per rate."""
    upper = run.groupby("fpr")["tpr"].max()
    return upper.index.to_numpy(float), upper.to_numpy(float)


def _best_threshold(run: pd.DataFrame) -> float:
    """The threshold with the largest Youden's J; NaN without a finite threshold."""
    if "threshold" not in run:
        return np.nan
    known = run[np.isfinite(run["threshold"])]
    return np.nan if known.empty else float(known["threshold"].loc[(known["tpr"] - known["fpr"]).idxmax()])


@matplotlib.rc_context(figure_style.STYLE)
def learning_curves(metrics: Mapping[str, Sequence[pd.DataFrame]], methods: Mapping[str, str]) -> mpl_figure.Figure:
    """Draws loss and Dice during the training of several methods; the validation split is dotted, with markers.

    Training values are running means over a twentieth of the run. Several runs of a method are averaged, up to the end
    of the shortest.

    Args:
      metrics: method -> one table per run: rows of metrics.jsonl with step, phase ("train" | "val"), and any of epoch,
        loss, train_dice and, in validation rows, dice_*, whose mean is drawn.
      methods: name -> title, in the order to draw; methods without a table are left out.
    Raises: ValueError if there is neither loss nor Dice.
    """
    tables = {name: [_named(table) for table in metrics[name]] for name in methods if metrics.get(name)}
    everything = [table for runs in tables.values() for table in runs]
    drawn = {name for table in everything for name in _COURSES if name in table}
    panels = [panel for panel in ("loss", "dice") if drawn & {f"train_{panel}", f"val_{panel}"}]
    if not panels:
        raise ValueError(f"The methods {', '.join(methods)} have neither loss nor Dice; train a run first.")
    x = "epoch" if all("epoch" in table and table["epoch"].notna().all() for table in everything) else "step"
    figure = mpl_figure.Figure(figsize=(figure_style.WIDTH, 3.5), layout="constrained")
    looks = figure_style.looks(methods)
    for axes, panel in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        for name, runs in tables.items():
            _mean_course(axes, _courses(runs, x, f"train_{panel}"), looks[name])
            _mean_course(axes, _courses(runs, x, f"val_{panel}"), looks[name], marker=looks[name].marker)
        axes.set_xlabel(x.capitalize())
        axes.set_title(figure_style.title(panel), loc="left", fontweight="bold")
        if panel == "dice":
            axes.set_ylim(bottom=0)
            continue
        curve_figures.scale(axes, pd.Series(np.concatenate([line.get_ydata() for line in axes.lines])))
        if len({_terms(table) for table in everything}) > 1:
            axes.set_title("Loss (different terms: do not compare heights)", loc="left", fontweight="bold")
    handles = [lines.Line2D([], [], **_line(looks[name])) for name in tables]
    titles = [methods[name] for name in tables]
    if drawn & {"val_loss", "val_dice"}:
        handles.append(lines.Line2D([], [], color=_GREY, linestyle=":", marker="o"))
        titles.append("Validation")
    _name_methods(figure, handles, titles)
    return figure


def _named(table: pd.DataFrame) -> pd.DataFrame:
    """Renames the columns to draw as in `_COURSES`; columns without a value are left out."""
    validation = table["phase"] == "val"
    dice = table.filter(regex=r"^(val_)?dice_|^val_dice$")
    found = {
        "train_loss": table["loss"].where(~validation) if "loss" in table else None,
        "train_dice": table.get("train_dice"),
        "val_loss": table.get("val_loss", table["loss"].where(validation) if "loss" in table else None),
        "val_dice": dice.mean(axis=1) if dice.size else None,
    }
    rest = table.drop(columns=list(_COURSES), errors="ignore")
    return rest.assign(
        **{name: values for name, values in found.items() if values is not None and values.notna().any()}
    )


def _terms(table: pd.DataFrame) -> frozenset[str]:
    """Names of the terms of the loss."""
    return frozenset(table.select_dtypes("number").columns.difference([*_NO_TERMS, *_COURSES]))


def _courses(runs: Sequence[pd.DataFrame], x: str, name: str) -> list[pd.Series]:
    """Values over x of each run; training values as a running mean."""
    courses = [table.dropna(subset=name).set_index(x)[name] for table in runs if name in table]
    courses = [values[~values.index.duplicated(keep="last")].sort_index() for values in courses]
    if name.startswith("val"):
        return courses
    return [values.rolling(max(1, len(values) // 20), center=True, min_periods=1).mean() for values in courses]


def _mean_course(axes: mpl_axes.Axes, courses: Sequence[pd.Series], look: figure_style.Look, marker: str = "") -> None:
    if not courses:
        return
    look = _line(look) | ({"linestyle": ":", "linewidth": 1.3, "marker": marker, "markersize": 4} if marker else {})
    for values in courses if len(courses) > 1 else ():
        axes.plot(values.index, values, color=look["color"], linewidth=0.5, alpha=0.3)
    last = min(values.index.max() for values in courses)
    places = np.unique(np.concatenate([values.index.to_numpy(float) for values in courses]))
    places = places[(places >= max(values.index.min() for values in courses)) & (places <= last)]
    mean = np.mean([np.interp(places, values.index, values) for values in courses], axis=0)
    if len(places) == 1 and not marker:
        look["marker"] = "o"
    axes.plot(places, mean, **look)


def _line(look: figure_style.Look) -> dict[str, object]:
    return {"color": look.color, "linestyle": look.linestyle, "linewidth": 1.7}
