"""Colours, titles and style of all figures, and how to save one.

The colours of GGO, consolidation and lesion are defined here once (Okabe & Ito: distinct for colour-blind readers, and
visible over CT). Figures are made without pyplot, so they need no display and no global state.
"""

import pathlib
from collections.abc import Iterable
from typing import NamedTuple

import matplotlib
from matplotlib import figure as mpl_figure

from ssinfnet_jax.report.kit import fonts

GGO = "#56B4E9"
CONSOLIDATION = "#E69F00"
LESION = "#CC79A7"
BACKGROUND = "#6B7280"
ERASED = "#009E73"  # the erased part of a slice, which the inpainter does not see
TRUTH_LINE = "#F0E442"  # outline of the ground truth over a filled prediction
NAMED = {"lesion": LESION, "background": BACKGROUND, "ggo": GGO, "consolidation": CONSOLIDATION}
CLASSES = {1: GGO, 2: CONSOLIDATION}  # colours of a class map {0 background, 1 GGO, 2 consolidation}
LESIONS = {1: LESION}  # colours of a lesion map {0, 1}
TITLES = {
    "lesion": "Lesion",
    "background": "Background",
    "ggo": "GGO",
    "consolidation": "Consolidation",
    "overall": "Overall",
    "auc": "AUC",
    "bce": "BCE",
    "iou": "IoU",
    "kl": "KL divergence",
    "surface_dice": "Surface Dice",
    "hausdorff95_mm": "95 % Hausdorff distance, mm",
    "volume_error_ml": "Volume error, ml",
}
WIDTH = 9.6  # inches; printed about 7 inches wide, 10 point text is 7 points high
DPI = 150
LINES = ["#1B1F24", "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#6B7280"]
DASHES = ["-", "--", "-.", ":"]
_MARKERS = "osD^vP<X>"  # one more than the colours, so that pairs of colour and marker repeat after 72
STYLE = {
    "font.size": 10.0,
    "axes.titlesize": 10.5,
    "axes.labelsize": 10.0,
    "xtick.labelsize": 9.0,
    "ytick.labelsize": 9.0,
    "legend.fontsize": 9.0,
    "legend.frameon": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#E5E7EB",
    "grid.linewidth": 0.8,
    "axes.edgecolor": "#6B7280",
    "figure.facecolor": "white",
    "svg.hashsalt": "ssinfnet_jax",  # makes SVG files reproducible
}


def title(name: str) -> str:
    """A column's name as readers see it: `val_dice_ggo` -> `Dice GGO`."""
    words = str(name).removeprefix("val_").replace(".", "_").split("_")
    words = [TITLES.get(word.lower(), word) for word in words if word]
    words = [word if word[1:] != word[1:].lower() else word.lower() for word in words]
    return " ".join([words[0][:1].upper() + words[0][1:], *words[1:]]) if words else str(name)


class Look(NamedTuple):
    """How a method is drawn in all figures."""

    color: str
    marker: str
    linestyle: str


def looks(methods: Iterable[str]) -> dict[str, Look]:
    """Assigns a look to each name, in order; the first eight differ in colour, the others in marker and dash, too."""
    count = len(LINES)
    return {
        name: Look(LINES[place % count], _MARKERS[place % len(_MARKERS)], DASHES[place // count % len(DASHES)])
        for place, name in enumerate(methods)
    }


def shorten(text: str, limit: int) -> str:
    """Shortens text to `limit` characters by cutting out its middle, since ids differ at their ends."""
    text = " ".join(str(text).split())
    if len(text) <= limit:
        return text
    head = (limit - 1) // 2
    return f"{text[:head]}…{text[len(text) - (limit - 1 - head) :]}"


def save(figure: mpl_figure.Figure, figures_dir: pathlib.Path, name: str) -> pathlib.Path:
    """Writes `<figures_dir>/<name>.png` (150 dpi) and `.svg`.

    Args:
      figure: to save.
      figures_dir: created if missing.
      name: file name without extension.
    Returns: path of the PNG.
    """
    figures_dir.mkdir(parents=True, exist_ok=True)
    fonts.use(figure)
    png = figures_dir / f"{name}.png"
    with matplotlib.rc_context(STYLE):
        figure.savefig(png, dpi=DPI)
        figure.set_layout_engine("none")  # keeps the layout; computing it again takes longer than drawing
        figure.savefig(png.with_suffix(".svg"), dpi=DPI, metadata={"Date": None})
    return png
