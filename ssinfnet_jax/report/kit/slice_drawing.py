"""Draws slices, tinted and outlined by their class maps, in a grid of axes."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib import axes as mpl_axes
from matplotlib import colors, patches
from matplotlib import figure as mpl_figure

from ssinfnet_jax.report.kit import figure_style


def blend(
    image: np.ndarray, classes: np.ndarray, *, colours: Mapping[int, str] = figure_style.CLASSES, alpha: float = 0.4
) -> np.ndarray:
    """Tints an image where a class map is not 0: (1 - alpha) image + alpha colour.

    Args:
      image: uint8[H, W], or float[H, W] in [0, 1].
      classes: integer or bool [H, W]; 0 stays grey.
      colours: colour of each class number.
      alpha: weight of the colour in [0, 1]; the CT stays visible below 1.
    Returns: uint8[H, W, 3].
    Raises: ValueError for unequal shapes or a class without colour.
    """
    classes = np.asarray(classes).astype(int)
    if image.shape != classes.shape:
        raise ValueError(
            f"The image has shape {image.shape}, its class map {classes.shape}; resize the class map to the image "
            "(nearest neighbour) first."
        )
    unknown = sorted(set(np.unique(classes)) - {0, *colours})
    if unknown:
        raise ValueError(
            f"The class map contains {[int(value) for value in unknown]}, but only {sorted(colours)} have colours; map "
            "the labels to these numbers or add a colour for each."
        )
    grey = unit(image)
    rgb = np.repeat(grey[..., None], 3, axis=-1)
    for number, colour in colours.items():
        region = classes == number
        rgb[region] = (1 - alpha) * rgb[region] + alpha * np.asarray(colors.to_rgb(colour))
    return np.round(255 * rgb).astype(np.uint8)


def image_grid(
    num_rows: int,
    num_columns: int,
    aspect: float,
    *,
    header: float,
    caption: float,
    footer: float = 0.0,
    right: float = 0.0,
    width: float = figure_style.WIDTH,
) -> tuple[mpl_figure.Figure, list[list[mpl_axes.Axes]]]:
    """Makes a grid of axes for images; all sizes are in inches, so captions fit whatever the shape of the image."""
    margin, gap = 0.06, 0.07
    cell = (width - 2 * margin - right - gap * (num_columns - 1)) / num_columns
    step = caption + cell * aspect + footer
    height = header + num_rows * step + margin
    figure = mpl_figure.Figure(figsize=(width, height))
    grid = []
    for row in range(num_rows):
        bottom = height - header - row * step - caption - cell * aspect
        lefts = [margin + column * (cell + gap) for column in range(num_columns)]
        boxes = [(left / width, bottom / height, cell / width, cell * aspect / height) for left in lefts]
        grid.append([figure.add_axes(box) for box in boxes])
    for axes in (axes for row in grid for axes in row):
        axes.set_axis_off()
    return figure, grid


def above(axes: mpl_axes.Axes, text: str, *, inches: float, weight: str = "normal") -> None:
    """Writes text some inches above an image, from its left edge; no mathtext, since ids may contain dollar signs."""
    figure = axes.get_figure()
    box = axes.get_position()
    height = box.y1 + inches / figure.get_size_inches()[1]
    figure.text(box.x0, height, text, va="bottom", fontweight=weight, parse_math=False)


def colour_key(figure: mpl_figure.Figure, entries: Mapping[str, str], lines: Sequence[str] = ()) -> None:
    """Puts a legend into the top left corner; names in `lines` appear as a border, others as a fill."""
    handles = []
    for name, colour in entries.items():
        look = {"facecolor": "#6B7280", "edgecolor": colour, "linewidth": 2} if name in lines else {"color": colour}
        handles.append(patches.Patch(label=figure_style.TITLES.get(name, name.capitalize()), **look))
    if handles:
        corner = (0.0, 1 - 0.02 / figure.get_size_inches()[1])
        figure.legend(
            handles=handles, loc="upper left", bbox_to_anchor=corner, ncols=len(handles), borderpad=0.2,
            handlelength=1.4,
        )  # fmt: skip


def draw(
    axes: mpl_axes.Axes,
    image: np.ndarray,
    classes: np.ndarray | None = None,
    colours: Mapping[int, str] = figure_style.CLASSES,
    line: float = 1.2,
) -> None:
    """Draws an image, tinted and outlined by its class map if there is one."""
    if classes is None:
        axes.imshow(image if image.ndim == 3 else unit(image), cmap="gray", vmin=0, vmax=1)
    else:
        axes.imshow(blend(image, classes, colours=colours, alpha=0.38))
        for number, colour in colours.items():
            contour(axes, np.asarray(classes).astype(int) == number, colour, line)
    axes.set_axis_off()


def unit(image: np.ndarray) -> np.ndarray:
    """Converts a uint8 or float image to float64 in [0, 1]."""
    return image / 255.0 if image.dtype == np.uint8 else np.clip(image.astype(float), 0, 1)


def contour(axes: mpl_axes.Axes, region: np.ndarray, colour: str, line: float) -> None:
    """Outlines a region bool[H, W]; width 0 draws nothing."""
    if line and region.any():
        # Padded by one pixel, so that a region at the border is closed there.
        level = np.pad(region.astype(float), 1)
        places = [np.arange(-1, size + 1) for size in (region.shape[1], region.shape[0])]
        axes.contour(*places, level, levels=[0.5], colors=[colour], linewidths=line)
        axes.set_xlim(-0.5, region.shape[1] - 0.5)
        axes.set_ylim(region.shape[0] - 0.5, -0.5)
