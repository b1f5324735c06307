"""Figures of a run's slices: overlays, contact sheets, inpainting strips."""

import collections
from collections.abc import Mapping, Sequence

import matplotlib
import numpy as np
from matplotlib import cm, colors
from matplotlib import figure as mpl_figure

from ssinfnet_jax.report.kit import figure_style, slice_drawing

_COLUMNS = 6  # slices per row of a contact sheet


@matplotlib.rc_context(figure_style.STYLE)
def overlays(examples: Mapping[str, np.ndarray]) -> mpl_figure.Figure:
    """Draws image, ground truth and predictions of the best, median and worst slice by lesion Dice.

    Args:
      examples: `image` uint8[N, H, W], `truth` uint8[N, H, W] {0, 1, 2}, `lesion_prob` float[N, H, W],
        `slice_id` str[N], `dice` float[N] (NaN: neither lesion nor prediction; left out) and, if there is a multi
        network, `pred` uint8[N, H, W] {0, 1, 2}. Without it the ground truth is drawn as one lesion.
    Returns: a row per slice that `choose` selects.
    Raises: ValueError if no slice has a Dice.
    """
    chosen = choose(examples["dice"])
    if not chosen:
        raise ValueError("No example has a defined Dice, so there is no best or worst slice to draw.")
    multi = "pred" in examples
    names = ["CT slice", "Ground truth", "Single network, p > 0.5"] + (["Multi network"] if multi else [])
    height, width = examples["image"].shape[1:]
    figure, grid = slice_drawing.image_grid(len(chosen), 4 if multi else 3, height / width, header=0.62, caption=0.32)
    named = ("lesion", "ggo", "consolidation") if multi else ("lesion",)
    slice_drawing.colour_key(figure, {name: figure_style.NAMED[name] for name in named})
    for axes, name in zip(grid[0], names, strict=True):
        slice_drawing.above(axes, name, inches=0.34, weight="bold")
    for row, (label, index) in zip(grid, chosen, strict=True):
        image, truth = examples["image"][index], examples["truth"][index]
        lesion = examples["lesion_prob"][index] > 0.5
        identity = figure_style.shorten(examples["slice_id"][index], 60)
        empty = "" if (truth > 0).any() else "  (no lesion in the ground truth)"
        slice_drawing.above(
            row[0], f"{label}: {identity}   lesion Dice {examples['dice'][index]:.3f}{empty}", inches=0.07
        )
        slice_drawing.draw(row[0], image)
        slice_drawing.draw(
            row[1], image, truth if multi else truth > 0, figure_style.CLASSES if multi else figure_style.LESIONS
        )
        slice_drawing.draw(row[2], image, lesion, figure_style.LESIONS)
        if multi:
            slice_drawing.draw(row[3], image, examples["pred"][index], figure_style.CLASSES)
    return figure


def choose(dice: np.ndarray) -> list[tuple[str, int]]:
    """Positions of the best, the (lower) median and the worst Dice; each position once, NaN left out.

    Args:
      dice: float[N].
    Returns: up to three (label, position).
    """
    dice = np.asarray(dice, float)
    order = [int(index) for index in np.argsort(-dice, kind="stable") if not np.isnan(dice[index])]
    if not order:
        return []
    wanted = {"Best": order[0], "Median": order[len(order) // 2], "Worst": order[-1]}
    seen: set[int] = set()
    chosen = []
    for label in ("Best", "Worst", "Median"):  # the median comes last: of two slices it is one of the others
        if wanted[label] not in seen:
            seen.add(wanted[label])
            chosen.append((label, wanted[label]))
    return sorted(chosen, key=lambda pair: -dice[pair[1]])


@matplotlib.rc_context(figure_style.STYLE)
def contact_sheet(
    image: np.ndarray,
    labels: Sequence[str],
    *,
    fill: np.ndarray | None = None,
    outline: np.ndarray | None = None,
    colours: Mapping[int, str] = figure_style.CLASSES,
) -> mpl_figure.Figure:
    """Draws many slices at a glance: predictions filled, the ground truth as a yellow outline.

    Args:
      image: uint8[N, H, W], N >= 1.
      labels: N texts, one below each slice.
      fill: integer [N, H, W], tinted by `colours`.
      outline: [N, H, W]; the border of what is > 0 is drawn.
      colours: colour of each number in `fill`.
    """
    columns = min(_COLUMNS, len(image))
    rows = -(-len(image) // columns)
    aspect = image.shape[1] / image.shape[2]
    filled = () if fill is None else colours.values()
    key = {name: colour for name, colour in figure_style.NAMED.items() if colour in filled}
    if outline is not None:
        key["ground truth"] = figure_style.TRUTH_LINE
    width = figure_style.WIDTH * max(columns, 3) / _COLUMNS
    figure, grid = slice_drawing.image_grid(
        rows, columns, aspect, header=0.32 if key else 0.06, caption=0.06, footer=0.34, width=width
    )
    slice_drawing.colour_key(figure, key, lines=("ground truth",))
    limit = int(13 * grid[0][0].get_position().width * width)  # about 13 letters of 7.5 points per inch
    for index, axes in enumerate(axes for row in grid for axes in row):
        if index >= len(image):
            axes.set_visible(False)
            continue
        slice_drawing.draw(axes, image[index], None if fill is None else fill[index], colours, line=0.0)
        if outline is not None:
            slice_drawing.contour(axes, outline[index] > 0, figure_style.TRUTH_LINE, 0.7)
        lines = [figure_style.shorten(line, limit) for line in str(labels[index]).split("\n")]
        axes.text(0, -0.03, "\n".join(lines), transform=axes.transAxes, va="top", fontsize=7.5, parse_math=False)
    return figure


@matplotlib.rc_context(figure_style.STYLE)
def inpainting_strips(examples: Mapping[str, np.ndarray], *, max_rows: int = 4) -> mpl_figure.Figure:
    """Draws a row per slice: image, erased image, restored image, the network's output and its error.

    The restored image is the slice with its erased part filled in from the output.

    Args:
      examples: `image`, `inpainting` float[N, H, W] in [0, 1], `keep` float[N, H, W] (1 kept, 0 erased),
        `phase` str[N].
      max_rows: number of rows, shared evenly by the phases.
    """
    chosen = spread(examples["phase"], max_rows)
    height, width = examples["image"].shape[1:]
    figure, grid = slice_drawing.image_grid(len(chosen), 5, height / width, header=0.36, caption=0.3, right=0.75)
    difference = np.abs(examples["image"] - examples["inpainting"])
    # A quantile instead of the maximum: a single bright pixel would turn the rest black.
    top = max(float(np.quantile(difference[chosen], 0.998)), 1e-3)
    names = ("Image", "Erased image", "Restored image", "Network output", "|Image \N{MINUS SIGN} output|")
    for axes, name in zip(grid[0], names, strict=True):
        slice_drawing.above(axes, name, inches=0.32, weight="bold")
    for row, index in zip(grid, chosen, strict=True):
        image, keep = examples["image"][index], examples["keep"][index]
        erased, phase = keep < 0.5, figure_style.shorten(examples["phase"][index], 40)
        erased_error, kept_error = (_mean(difference[index], region) for region in (erased, ~erased))
        error = f"mean error: erased {erased_error}, kept {kept_error}"
        slice_drawing.above(row[0], f"Phase {phase}   erased {erased.mean():.1%}   {error}", inches=0.06)
        slice_drawing.draw(row[0], image)
        rgb = keep[..., None] * slice_drawing.unit(image)[..., None] + (1 - keep[..., None]) * np.asarray(
            colors.to_rgb(figure_style.ERASED)
        )
        slice_drawing.draw(row[1], rgb)
        output = np.clip(examples["inpainting"][index], 0, 1)
        slice_drawing.draw(row[2], keep * image + (1 - keep) * output)
        slice_drawing.draw(row[3], output)
        row[4].imshow(difference[index], cmap="magma", vmin=0, vmax=top)
        row[4].set_axis_off()
    box = grid[0][4].get_position()
    bar = figure.add_axes((box.x1 + 0.012, box.y0, 0.014, box.height))
    scale = cm.ScalarMappable(colors.Normalize(0, top), cmap="magma")
    figure.colorbar(scale, cax=bar, extend="max", extendfrac=0.04).outline.set_visible(False)
    bar.grid(False)
    return figure


def spread(groups: Sequence[str], limit: int) -> list[int]:
    """Chooses up to `limit` positions, in order and shared evenly by the groups; prefers the last ones of a group.

    Args:
      groups: group of each position, such as its pretraining phase.
      limit: >= 1.
    """
    places: dict[str, list[int]] = collections.defaultdict(list)
    for index, group in enumerate(groups):
        places[str(group)].append(index)
    chosen: list[int] = []
    while len(chosen) < limit and any(places.values()):
        for group in list(places):
            if places[group] and len(chosen) < limit:
                chosen.append(places[group].pop())
    return sorted(chosen)


def _mean(values: np.ndarray, where: np.ndarray) -> str:
    return f"{values[where].mean():.3f}" if where.any() else "-"
