"""Predictions of several methods side by side: chooses slices and draws them."""

import dataclasses
import math
import textwrap
from collections.abc import Mapping, Sequence

import matplotlib
import numpy as np
import pandas as pd
from matplotlib import axes as mpl_axes
from matplotlib import figure as mpl_figure

from ssinfnet_jax.report.kit import figure_style, slice_drawing, slice_figures

MAX_COLUMNS = 7  # of images, each then about an inch wide in print
_CELL = 2.3  # inches, the largest width of an image
_LETTERS = 10.5  # per inch, at 9.5 points


@dataclasses.dataclass(frozen=True)
class ExampleSlice:
    """A slice and the prediction of each method.

    Attributes:
      slice_id: as in the tables.
      image: uint8[H, W], or float[H, W] in [0, 1].
      truth: integer [H, W], {0 background, 1 GGO, 2 consolidation}, or {0, 1} for a lesion.
      pred: method -> prediction, in the form of `truth`; a method without one has no result for the slice.
      dice: method -> Dice, NaN if undefined.
      label: why the slice is shown, such as "Median".
    """

    slice_id: str
    image: np.ndarray
    truth: np.ndarray
    pred: Mapping[str, np.ndarray]
    dice: Mapping[str, float]
    label: str = ""


def choose_examples(dice: pd.DataFrame, reference: str, count: int) -> dict[str, str]:
    """Chooses best, median and worst slice of the reference, then those with the largest range of Dice over methods.

    Args:
      dice: float, a row per slice_id, a column per method; NaN is left out.
      reference: column for best, median and worst.
      count: number of slices, >= 3.
    Returns: slice_id -> reason, in the order to draw; fewer than `count` if there are no more.
    Raises: ValueError for an unknown reference, a repeated slice or a smaller count.
    """
    if reference not in dice:
        raise ValueError(f"Unknown reference {reference!r}; the table has the methods {', '.join(map(str, dice))}.")
    if dice.index.has_duplicates:
        name = dice.index[dice.index.duplicated()][0]
        raise ValueError(f"Slice {name} is in the table twice; take the mean over seeds first.")
    if count < 3:
        raise ValueError(f"count must be >= 3 for best, median and worst, got {count}.")
    places = slice_figures.choose(dice[reference].to_numpy(float))
    chosen = {str(dice.index[place]): label for label, place in places}
    spread = dice.max(axis=1) - dice.min(axis=1)
    for name in spread[spread > 0].sort_values(ascending=False, kind="stable").index:
        if len(chosen) < count:
            chosen.setdefault(str(name), "Methods differ")
    return chosen


@matplotlib.rc_context(figure_style.STYLE)
def examples(
    slices: Sequence[ExampleSlice], methods: Mapping[str, str], *, lesion_only: bool = False
) -> mpl_figure.Figure:
    """Draws per slice: image, prediction of each method with its Dice, ground truth.

    More than five methods take several lines of images per slice.

    Args:
      slices: at least one, all of the same shape.
      methods: name -> title, in the order to draw.
      lesion_only: draws all classes as one lesion.
    Raises: ValueError without slices or for unequal shapes.
    """
    shapes = {part.image.shape for part in slices}
    if len(shapes) != 1:
        raise ValueError(f"All example slices need the same shape, found {sorted(shapes)}; resize them.")
    ((height, width),) = shapes
    lines = math.ceil((len(methods) + 2) / MAX_COLUMNS)
    columns = math.ceil((len(methods) + 2) / lines)
    inches = min(figure_style.WIDTH, columns * _CELL)
    wrap = textwrap.TextWrapper(int(_LETTERS * inches / columns), max_lines=3, placeholder=" …")
    titles = [wrap.fill(title) for title in ("CT slice", *methods.values(), "Ground truth")]
    tall = 0.08 + 0.17 * max(title.count("\n") + 1 for title in titles)  # inches
    header, caption = (0.3 + tall, 0.05) if lines == 1 else (0.32, tall)
    figure, grid = slice_drawing.image_grid(
        len(slices) * lines, columns, height / width, header=header, caption=caption, footer=0.4, width=inches
    )
    kinds = ("lesion",) if lesion_only else ("ggo", "consolidation")
    slice_drawing.colour_key(figure, {name: figure_style.NAMED[name] for name in kinds})
    for index, part in enumerate(slices):
        cells = [axes for row in grid[index * lines : (index + 1) * lines] for axes in row]
        if index == 0 or lines > 1:
            for axes, title in zip(cells, titles, strict=False):
                slice_drawing.above(axes, title, inches=0.05, weight="bold")
        _draw_slice(cells, part, methods, lesion_only)
    return figure


def _draw_slice(cells: Sequence[mpl_axes.Axes], part: ExampleSlice, methods: Mapping[str, str], lesion: bool) -> None:
    colours = figure_style.LESIONS if lesion else figure_style.CLASSES
    truth = part.truth > 0 if lesion else part.truth
    slice_drawing.draw(cells[0], part.image)
    _below(cells[0], "\n".join(filter(None, (part.label, figure_style.shorten(part.slice_id, 60)))))
    for axes, method in zip(cells[1:], methods, strict=False):
        if method not in part.pred:
            _below(axes, "no result")
            continue
        pred = part.pred[method] > 0 if lesion else part.pred[method]
        slice_drawing.draw(axes, part.image, pred, colours, line=0.9)
        dice = part.dice.get(method, math.nan)
        _below(axes, "Dice undefined" if math.isnan(dice) else f"Dice {dice:.3f}")
    axes = cells[len(methods) + 1]
    slice_drawing.draw(axes, part.image, truth, colours, line=0.9)
    _below(axes, "" if truth.any() else "no lesion")


def _below(axes: mpl_axes.Axes, text: str) -> None:
    axes.text(0, -0.03, text, transform=axes.transAxes, va="top", fontsize=9, parse_math=False)
