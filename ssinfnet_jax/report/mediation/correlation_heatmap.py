"""Correlations of mediators (the paper's figure 5)."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.figure import Figure
from scipy.cluster import hierarchy
from scipy.spatial import distance

from ssinfnet_jax.report.kit import fonts
from ssinfnet_jax.report.mediation import naming, style


def correlation_heatmap(table: pd.DataFrame, mediators: Sequence[str], *, threshold: float = 0.8) -> Figure:
    """Draws correlations of phenotypes over patients, ordered by hierarchical clustering.

    Up to 15 mediators have r written into their cells; cells without a correlation are grey.

    Args:
      table: one row per patient.
      mediators: at least two numeric columns; correlations use the patients with both values.
      threshold: of the correlation filter; pairs with a larger |r| have a dot, or a bold number.
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
    labels = [naming.of(mediators)[name] for name in r.index]

    size, font = _heatmap_size(len(mediators))
    side = 0.62 * font / 72 * max(map(fonts.width, labels)) + 0.15  # inches for the labels
    title = naming.region_title(mediators)
    tree, bar, head = 0.7, 0.75, 0.15 if title else 0
    width, height = side + size + bar, side + size + tree + head
    figure = Figure(figsize=(width, height), dpi=style.DPI)
    cells = figure.add_axes((side / width, side / height, size / width, size / height))
    above = figure.add_axes((side / width, (side + size) / height, size / width, 0.9 * tree / height))
    colours = colormaps["RdBu_r"].with_extremes(bad="#CCCCCC")
    image = cells.imshow(np.ma.masked_invalid(r), cmap=colours, vmin=-1, vmax=1, interpolation="nearest")
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


def _heatmap_size(num: int) -> tuple[float, float]:
    """Side of the cells' square in inches and font size of the labels in points."""
    size = min(max(2.2, 0.42 * num), 11.0)
    return size, float(np.clip(0.72 * 72 * size / num, 3.5, 8.0))


def _mark_cells(axes, r: np.ndarray, threshold: float, cell_inches: float) -> None:
    above = (np.abs(r) > threshold) & ~np.eye(len(r), dtype=bool)
    if len(r) > 15:
        rows, cols = np.nonzero(above)
        axes.scatter(cols, rows, s=(0.18 * 72 * cell_inches) ** 2, color="white", linewidths=0)
        return
    for row, col in np.argwhere(~np.isnan(r)):
        color = "white" if abs(r[row, col]) > 0.6 else "black"
        weight = "bold" if above[row, col] else "normal"
        axes.text(
            col, row, style.signed(r[row, col]), ha="center", va="center", color=color, weight=weight, fontsize=6.5
        )
