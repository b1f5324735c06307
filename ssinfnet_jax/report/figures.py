"""Figures of a run: training curves, inpainting strips, overlays, ROC curves, contact sheets.

Every function takes arrays or tables and gives a `matplotlib.figure.Figure`; `save` writes it. Nothing here
uses pyplot, so no window, no global figure and no display is needed. The colours of GGO, consolidation and
lesion are defined here once (Okabe & Ito: told apart with the common forms of colour blindness, and over CT).
"""

import collections
import itertools
import pathlib
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import matplotlib
import numpy as np
import pandas as pd
from matplotlib import axes as mpl_axes
from matplotlib import cm, colors, patches
from matplotlib import figure as mpl_figure

GGO = "#56B4E9"
CONSOLIDATION = "#E69F00"
LESION = "#CC79A7"
BACKGROUND = "#6B7280"
ERASED = "#009E73"  # flat colour of what the inpainter may not see
TRUTH_LINE = "#F0E442"  # outline of the ground truth where the fill is the prediction
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
    "iou": "IoU",
    "kl": "KL divergence",
}
WIDTH = 9.6  # inches; on a printed page (about 7 inches) a 10 point letter is then 7 points high
DPI = 150
LINES = ["#1B1F24", "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#6B7280"]
DASHES = ["-", "--", "-.", ":"]
_MARKERS = "osD^vP<X>"  # one more than the colours: a pair repeats after 72
_PHASES = {"inpaint_random": "#0072B2", "coach": "#D55E00", "inpaint_coach": "#009E73"}
_METRICS = ("dice", "iou", "recall", "precision", "auc", "accuracy")
_NOT_LOSS = ("second", "time", "norm", "epoch", "step", "count", "num_", "scale", "fraction", "memory")
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
    "svg.hashsalt": "ssinfnet_jax",  # the same run gives the same file
}


def title(name: str) -> str:
    """`val_dice_ggo` -> `Dice GGO`: how a column name is written for readers."""
    words = str(name).removeprefix("val_").replace(".", "_").split("_")
    words = [TITLES.get(word.lower(), word) for word in words if word]
    words = [word if word[1:] != word[1:].lower() else word.lower() for word in words]
    return " ".join([words[0][:1].upper() + words[0][1:], *words[1:]]) if words else str(name)


class Look(NamedTuple):
    """How one of several methods is drawn, the same in all figures."""

    color: str
    marker: str
    linestyle: str


def looks(methods: Iterable[str]) -> dict[str, Look]:
    """A look for each name in the order given; the first eight differ in colour, all in colour or marker and dash."""
    count = len(LINES)
    return {
        name: Look(LINES[place % count], _MARKERS[place % len(_MARKERS)], DASHES[place // count % len(DASHES)])
        for place, name in enumerate(methods)
    }


def shorten(text: str, limit: int) -> str:
    """Text of at most `limit` characters; the middle gives way, since ids differ at their ends."""
    text = " ".join(str(text).split())
    if len(text) <= limit:
        return text
    head = (limit - 1) // 2
    return f"{text[:head]}…{text[len(text) - (limit - 1 - head) :]}"


def save(figure: mpl_figure.Figure, figures_dir: pathlib.Path, name: str) -> pathlib.Path:
    """Writes `<figures_dir>/<name>.png` (150 dpi) and `.svg`.

    Args:
      figure: what one of the functions here returned.
      figures_dir: made where it does not exist.
      name: file name without ending.
    Returns: path of the PNG.
    """
    figures_dir.mkdir(parents=True, exist_ok=True)
    png = figures_dir / f"{name}.png"
    with matplotlib.rc_context(STYLE):
        figure.savefig(png, dpi=DPI)
        figure.set_layout_engine("none")  # it has its layout now; to find it takes longer than to draw
        figure.savefig(png.with_suffix(".svg"), dpi=DPI, metadata={"Date": None})
    return png


def blend(
    image: np.ndarray, classes: np.ndarray, *, colours: Mapping[int, str] = CLASSES, alpha: float = 0.4
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
            f"The image is {image.shape} but its class map {classes.shape}; resize the class map (nearest "
            "neighbour) to the image before it is drawn."
        )
    unknown = sorted(set(np.unique(classes)) - {0, *colours})
    if unknown:
        raise ValueError(
            f"Class map holds {[int(value) for value in unknown]}, but colours are given for "
            f"{sorted(colours)}; map the labels to these numbers or name a colour for each."
        )
    grey = _unit(image)
    rgb = np.repeat(grey[..., None], 3, axis=-1)
    for number, colour in colours.items():
        region = classes == number
        rgb[region] = (1 - alpha) * rgb[region] + alpha * np.asarray(colors.to_rgb(colour))
    return np.round(255 * rgb).astype(np.uint8)


@matplotlib.rc_context(STYLE)
def overlays(examples: Mapping[str, np.ndarray]) -> mpl_figure.Figure:
    """Best, median and worst slice by lesion Dice: image, ground truth, prediction of each network.

    Args:
      examples: `image` uint8[N, H, W], `truth` uint8[N, H, W] {0, 1, 2}, `lesion_prob` float[N, H, W],
        `slice_id` str[N], `dice` float[N] (NaN: neither lesion nor prediction, left out), and, where there is
        a multi network, `pred` uint8[N, H, W] {0, 1, 2}. Without it the ground truth is drawn as one lesion.
    Returns: one row per chosen slice, see `choose`.
    Raises: ValueError where no slice has a Dice.
    """
    chosen = choose(examples["dice"])
    if not chosen:
        raise ValueError("No example has a defined Dice, so there is no best or worst slice to draw.")
    multi = "pred" in examples
    names = ["CT slice", "Ground truth", "Single network, p > 0.5"] + (["Multi network"] if multi else [])
    height, width = examples["image"].shape[1:]
    figure, grid = image_grid(len(chosen), 4 if multi else 3, height / width, header=0.62, caption=0.32)
    entries = {"lesion": LESION} | ({"ggo": GGO, "consolidation": CONSOLIDATION} if multi else {})
    colour_key(figure, entries)
    for axes, name in zip(grid[0], names, strict=True):
        above(axes, name, inches=0.34, weight="bold")
    for row, (label, index) in zip(grid, chosen, strict=True):
        image, truth = examples["image"][index], examples["truth"][index]
        lesion = examples["lesion_prob"][index] > 0.5
        identity = shorten(examples["slice_id"][index], 60)
        empty = "" if (truth > 0).any() else "  (no lesion in the ground truth)"
        above(row[0], f"{label}: {identity}   lesion Dice {examples['dice'][index]:.3f}{empty}", inches=0.07)
        draw(row[0], image)
        draw(row[1], image, truth if multi else truth > 0, CLASSES if multi else LESIONS)
        draw(row[2], image, lesion, LESIONS)
        if multi:
            draw(row[3], image, examples["pred"][index], CLASSES)
    return figure


def choose(dice: np.ndarray) -> list[tuple[str, int]]:
    """Positions of the best, the (lower) median and the worst Dice; each slice once, NaN never.

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
    for label in ("Best", "Worst", "Median"):  # with two slices the median is one of them: best and worst win
        if wanted[label] not in seen:
            seen.add(wanted[label])
            chosen.append((label, wanted[label]))
    return sorted(chosen, key=lambda pair: -dice[pair[1]])


@matplotlib.rc_context(STYLE)
def contact_sheet(
    image: np.ndarray,
    labels: Sequence[str],
    *,
    fill: np.ndarray | None = None,
    outline: np.ndarray | None = None,
    colours: Mapping[int, str] = CLASSES,
    num_columns: int = 6,
) -> mpl_figure.Figure:
    """Many slices at a glance: fill = prediction, yellow line = ground truth.

    Args:
      image: uint8[N, H, W], N >= 1.
      labels: N lines of text, one under each slice.
      fill: integer [N, H, W], tinted by `colours`.
      outline: [N, H, W], its border where > 0 is drawn as a line.
      colours: colour of each number in `fill`.
      num_columns: slices in a row.
    """
    columns = min(num_columns, len(image))
    rows = -(-len(image) // columns)
    aspect = image.shape[1] / image.shape[2]
    key = {} if fill is None else {name: NAMED[name] for name in NAMED if NAMED[name] in colours.values()}
    if outline is not None:
        key["ground truth"] = TRUTH_LINE
    width = WIDTH * max(columns, 3) / num_columns if columns < num_columns else WIDTH
    figure, grid = image_grid(
        rows, columns, aspect, header=0.32 if key else 0.06, caption=0.06, footer=0.34, width=width
    )
    colour_key(figure, key, lines=("ground truth",))
    limit = int(13 * grid[0][0].get_position().width * width)  # about 13 letters of 7.5 points per inch
    for index, axes in enumerate(axes for row in grid for axes in row):
        if index >= len(image):
            axes.set_visible(False)
            continue
        draw(axes, image[index], None if fill is None else fill[index], colours, line=0.0)
        if outline is not None:
            _contour(axes, outline[index] > 0, TRUTH_LINE, 0.7)
        lines = [shorten(line, limit) for line in str(labels[index]).split("\n")]
        axes.text(0, -0.03, "\n".join(lines), transform=axes.transAxes, va="top", fontsize=7.5, parse_math=False)
    return figure


@matplotlib.rc_context(STYLE)
def inpainting_strips(examples: Mapping[str, np.ndarray], *, max_rows: int = 4) -> mpl_figure.Figure:
    """Image, erased image, restored image, the network's own output and its error, row by row, from every phase.

    The restored image is the kept part of the slice with the erased part filled in from the output.

    Args:
      examples: `image`, `inpainting` float[N, H, W] in [0, 1], `keep` float[N, H, W] (1 kept, 0 erased),
        `phase` str[N].
      max_rows: rows drawn; every phase gets its share.
    """
    chosen = spread(examples["phase"], max_rows)
    height, width = examples["image"].shape[1:]
    figure, grid = image_grid(len(chosen), 5, height / width, header=0.36, caption=0.3, right=0.75)
    difference = np.abs(examples["image"] - examples["inpainting"])
    # Clipped a little below the largest value: one bright pixel would leave the rest black.
    top = max(float(np.quantile(difference[chosen], 0.998)), 1e-3)
    names = ("Image", "Erased image", "Restored image", "Network output", "|Image \N{MINUS SIGN} output|")
    for axes, name in zip(grid[0], names, strict=True):
        above(axes, name, inches=0.32, weight="bold")
    for row, index in zip(grid, chosen, strict=True):
        image, keep = examples["image"][index], examples["keep"][index]
        erased, phase = keep < 0.5, shorten(examples["phase"][index], 40)
        erased_error, kept_error = (_mean(difference[index], region) for region in (erased, ~erased))
        error = f"mean error: erased {erased_error}, kept {kept_error}"
        above(row[0], f"Phase {phase}   erased {erased.mean():.1%}   {error}", inches=0.06)
        draw(row[0], image)
        rgb = keep[..., None] * _unit(image)[..., None] + (1 - keep[..., None]) * np.asarray(colors.to_rgb(ERASED))
        draw(row[1], rgb)
        output = np.clip(examples["inpainting"][index], 0, 1)
        draw(row[2], keep * image + (1 - keep) * output)
        draw(row[3], output)
        row[4].imshow(difference[index], cmap="magma", vmin=0, vmax=top)
        row[4].set_axis_off()
    box = grid[0][4].get_position()
    bar = figure.add_axes((box.x1 + 0.012, box.y0, 0.014, box.height))
    scale = cm.ScalarMappable(colors.Normalize(0, top), cmap="magma")
    figure.colorbar(scale, cax=bar, extend="max", extendfrac=0.04).outline.set_visible(False)
    bar.grid(False)
    return figure


def spread(groups: Sequence[str], limit: int) -> list[int]:
    """At most `limit` positions, in their order, shared evenly by the groups; the last of a group come first.

    Args:
      groups: name of each position's group (a pretraining phase).
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


@matplotlib.rc_context(STYLE)
def pretraining_curves(metrics: pd.DataFrame) -> mpl_figure.Figure:
    """One small panel per logged number over the steps, coloured by phase.

    Args:
      metrics: rows of metrics.jsonl: `step`, `phase` and any numbers; names that are not known here get a
        panel too (nine at most).
    Raises: ValueError where no number was logged.
    """
    first = ["loss", "reconstruction", "context", "coach_gain", "kl", "erased_fraction", "learning_rate"]
    names = _numbers(metrics, leave_out=("second", "time", "memory"))
    names = sorted(names, key=lambda name: first.index(name) if name in first else len(first))[:9]
    if not names:
        raise ValueError("metrics.jsonl of pretraining holds no numbers besides step and epoch.")
    phases = list(dict.fromkeys(metrics["phase"]))
    others = [phase for phase in phases if phase not in _PHASES]
    palette = _PHASES | dict(zip(others, itertools.cycle(LINES[4:])))
    columns = min(3, len(names))
    rows = -(-len(names) // columns)
    figure = mpl_figure.Figure(figsize=(WIDTH, 0.9 + 1.9 * rows), layout="constrained")
    grid = figure.subplots(rows, columns, sharex=True, squeeze=False)
    runs = (metrics["phase"] != metrics["phase"].shift()).cumsum()  # a phase comes back: do not join across
    for axes, name in itertools.zip_longest(grid.flat, names):
        if name is None:
            axes.set_visible(False)
            continue
        for _, part in metrics.groupby(runs, sort=True):
            _line(axes, part, name, palette[part["phase"].iloc[0]], dots=len(metrics) <= 40)
        axes.set_title(title(name), loc="left")
        axes.tick_params(labelbottom=True)
        axes.locator_params(axis="x", nbins=5)
        scale(axes, metrics[name])
    figure.supxlabel("Step", fontsize=10)
    figure.get_layout_engine().set(h_pad=0.07)
    handles = [patches.Patch(color=palette[phase], label=f"phase {phase}") for phase in phases]
    figure.legend(handles=handles, loc="outside upper left", ncols=4)
    return figure


@matplotlib.rc_context(STYLE)
def training_curves(metrics: pd.DataFrame) -> mpl_figure.Figure:
    """Loss and its terms, validation metrics, learning rate over the steps; dashed: the validation split.

    Args:
      metrics: rows of metrics.jsonl: `step`, `phase` ("train" | "val"), `loss`, loss terms under their own
        names, `learning_rate`, `val_*`. Numbers that are neither loss nor metric (seconds, norms) are left
        out.
    Raises: ValueError where no number was logged.
    """
    names = _numbers(metrics, leave_out=_NOT_LOSS)
    # "dice_lesion", "val_dice", "train_auc_ggo"; a loss term is never named so: "map_2_dice", "weighted_iou_bce".
    scores = [n for n in names if re.match(rf"(train_|val_)?({'|'.join(_METRICS)})(_|$)", n) and "loss" not in n]
    rates = [n for n in names if n.startswith("learning_rate")]
    losses = [n for n in names if n not in scores and n not in rates]
    losses = sorted(losses, key=lambda name: name.removeprefix("val_") != "loss")
    parts = {"Loss": losses, "Score": scores, "Learning rate": rates}
    parts = {label: part for label, part in parts.items() if part}
    if not parts:
        raise ValueError("metrics.jsonl of training holds no numbers besides step and epoch.")
    figure = mpl_figure.Figure(figsize=(WIDTH, 3.5), layout="constrained")
    ratios = [{"Loss": 1.4, "Score": 1.4, "Learning rate": 0.8}[label] for label in parts]
    grid = figure.subplots(1, len(parts), squeeze=False, width_ratios=ratios)[0]
    for axes, (label, part) in zip(grid, parts.items(), strict=True):
        bases = list(dict.fromkeys(name.removeprefix("val_") for name in part))
        for name in part:
            own = LINES[bases.index(name.removeprefix("val_")) % len(LINES)]
            colour = (_class_colour(name) if label == "Score" else None) or own
            for phase, rows in metrics.groupby("phase", sort=False):
                held = rows[["step", name]].dropna()
                validation = phase == "val" or name.startswith("val_")
                text = title(name) + (" (val)" if validation and label == "Loss" else "")
                dash = "--" if validation and label == "Loss" else "-"
                if len(held):
                    _line(axes, held, name, colour, dots=len(held) <= 40, label=text, dash=dash)
        axes.set_xlabel("Step")
        axes.set_ylabel(label)
        axes.set_xlim(right=metrics["step"].max() * 1.03)
        axes.locator_params(axis="x", nbins=5)
        if label == "Score":
            axes.set_ylim(0, 1)
        else:
            scale(axes, metrics[part])
        if label != "Learning rate":
            axes.legend(loc="lower left", bbox_to_anchor=(0, 1.0), ncols=2, handlelength=1.8, columnspacing=1.0)
    return figure


@matplotlib.rc_context(STYLE)
def roc(curves: Mapping[str, pd.DataFrame]) -> mpl_figure.Figure:
    """True against false positive rate of each class, one square panel per network.

    Args:
      curves: table of each network by its name, with columns `class, fpr, tpr` and, where known, `threshold`
        (the point nearest to 0.5 is marked).
    """
    size = 3.9
    figure = mpl_figure.Figure(figsize=(max(size * len(curves), 4.6), size + 0.35), layout="constrained")
    for axes, (name, table) in zip(figure.subplots(1, len(curves), squeeze=False)[0], curves.items(), strict=True):
        axes.plot([0, 1], [0, 1], color="#9CA3AF", linewidth=0.9, linestyle=":")
        for index, (kind, curve) in enumerate(table.groupby("class", sort=False)):
            curve = curve.sort_values(["fpr", "tpr"])
            area = float(np.trapezoid(curve["tpr"], curve["fpr"]))
            colour = NAMED.get(str(kind), LINES[index % len(LINES)])
            label = f"{title(kind)}: area {area:.3f}"
            axes.plot(curve["fpr"], curve["tpr"], color=colour, linestyle=DASHES[index % 4], lw=2, label=label)
            if "threshold" in curve and curve["threshold"].notna().any():
                half = curve.loc[(curve["threshold"] - 0.5).abs().idxmin()]
                axes.plot(half["fpr"], half["tpr"], "o", color=colour, markeredgecolor="#1B1F24", markersize=7)
        axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal", title=name)
        axes.set(xlabel="False positive rate", ylabel="True positive rate")
        axes.legend(loc="lower right", frameon=True, framealpha=0.9, edgecolor="none")
    return figure


@matplotlib.rc_context(STYLE)
def distributions(
    groups: Mapping[str, np.ndarray],
    *,
    xlabel: str,
    colours: Sequence[str],
    limits: tuple[float | None, float | None] = (None, None),
) -> mpl_figure.Figure:
    """Every value as a dot, quartiles as a box, below it mean and 1.96 standard errors; a line per group.

    Args:
      groups: float[n] by the name of the group; NaN are left out and not counted.
      xlabel: what the values are, with unit.
      colours: one per group.
      limits: of the x axis; None: from the values.
    """
    figure = mpl_figure.Figure(figsize=(WIDTH, 0.75 + 0.75 * len(groups)), layout="constrained")
    axes = figure.subplots()
    random = np.random.default_rng(0)
    labels = []
    for row, ((name, values), colour) in enumerate(zip(groups.items(), colours, strict=True)):
        values = np.asarray(values, float)
        values = values[~np.isnan(values)]
        labels.append(f"{name}\nn = {len(values)}")
        if not len(values):
            continue
        low, median, high = np.quantile(values, [0.25, 0.5, 0.75])
        axes.barh(row - 0.1, high - low, left=low, height=0.46, color=colour, alpha=0.25)
        axes.vlines(median, row - 0.33, row + 0.13, color=colour, linewidth=2.5)
        spot = row - 0.1 + random.uniform(-0.18, 0.18, len(values))
        axes.plot(values, spot, "o", color=colour, markersize=4.5, alpha=0.8, markeredgewidth=0, clip_on=False)
        error = 1.96 * values.std(ddof=1) / np.sqrt(len(values)) if len(values) > 1 else 0
        axes.errorbar(
            values.mean(),
            row + 0.27,
            xerr=error,
            fmt="D",
            color="#1B1F24",
            markersize=4.5,
            capsize=3.5,
            lw=1.4,
        )
    axes.set_yticks(range(len(labels)), labels)
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(len(labels) - 0.5, -0.5)
    axes.set_xlim(*limits)
    axes.set_xlabel(xlabel)
    axes.grid(axis="y", visible=False)
    return figure


def _unit(image: np.ndarray) -> np.ndarray:
    """uint8 or float image -> float64 in [0, 1]."""
    return image / 255.0 if image.dtype == np.uint8 else np.clip(image.astype(float), 0, 1)


def _mean(values: np.ndarray, where: np.ndarray) -> str:
    return f"{values[where].mean():.3f}" if where.any() else "-"


def image_grid(
    num_rows: int,
    num_columns: int,
    aspect: float,
    *,
    header: float,
    caption: float,
    footer: float = 0.0,
    right: float = 0.0,
    width: float = WIDTH,
) -> tuple[mpl_figure.Figure, list[list[mpl_axes.Axes]]]:
    """Image axes at exact places (all in inches): captions have room whatever the shape of the image."""
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
    """Text from the left edge of an image, some inches above it; ids may hold a dollar sign: no mathtext."""
    figure = axes.get_figure()
    box = axes.get_position()
    height = box.y1 + inches / figure.get_size_inches()[1]
    figure.text(box.x0, height, text, va="bottom", fontweight=weight, parse_math=False)


def colour_key(figure: mpl_figure.Figure, entries: Mapping[str, str], lines: Sequence[str] = ()) -> None:
    """Legend in the top left corner; names in `lines` are shown as a border, the others as a fill."""
    handles = []
    for name, colour in entries.items():
        look = {"facecolor": "#6B7280", "edgecolor": colour, "linewidth": 2} if name in lines else {"color": colour}
        handles.append(patches.Patch(label=TITLES.get(name, name.capitalize()), **look))
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
    colours: Mapping[int, str] = CLASSES,
    line: float = 1.2,
) -> None:
    """Image, tinted and outlined by a class map where there is one."""
    if classes is None:
        axes.imshow(image if image.ndim == 3 else _unit(image), cmap="gray", vmin=0, vmax=1)
    else:
        axes.imshow(blend(image, classes, colours=colours, alpha=0.38))
        for number, colour in colours.items():
            _contour(axes, np.asarray(classes).astype(int) == number, colour, line)
    axes.set_axis_off()


def _contour(axes: mpl_axes.Axes, region: np.ndarray, colour: str, line: float) -> None:
    if line and region.any():
        # One pixel of frame: a region that touches the border is closed there.
        level = np.pad(region.astype(float), 1)
        places = [np.arange(-1, size + 1) for size in (region.shape[1], region.shape[0])]
        axes.contour(*places, level, levels=[0.5], colors=[colour], linewidths=line)
        axes.set_xlim(-0.5, region.shape[1] - 0.5)
        axes.set_ylim(region.shape[0] - 0.5, -0.5)


def _numbers(metrics: pd.DataFrame, leave_out: Sequence[str]) -> list[str]:
    """Columns that hold numbers, without step, epoch and those whose name holds a left-out word."""
    columns = metrics.drop(columns=["step", "epoch"], errors="ignore").select_dtypes("number").dropna(axis=1, how="all")
    return [name for name in columns if not any(word in name.lower() for word in leave_out)]


def _class_colour(name: str) -> str | None:
    return next((colour for kind, colour in NAMED.items() if kind in name.lower()), None)


def _line(
    axes: mpl_axes.Axes,
    table: pd.DataFrame,
    name: str,
    colour: str,
    *,
    dots: bool,
    label: str = "",
    dash: str = "-",
) -> None:
    """One curve; long noisy ones thin and pale under their running mean."""
    held = table[["step", name]].dropna()
    if len(held) < 200:
        look = {"marker": "o", "markersize": 3.5} if dots or len(held) == 1 else {}
        axes.plot(held["step"], held[name], color=colour, linestyle=dash, linewidth=1.5, label=label, **look)
        return
    axes.plot(held["step"], held[name], color=colour, linewidth=0.6, alpha=0.3)
    mean = held[name].rolling(len(held) // 40, center=True, min_periods=1).mean()
    axes.plot(held["step"], mean, color=colour, linestyle=dash, linewidth=1.8, label=label)


def scale(axes: mpl_axes.Axes, values: pd.DataFrame | pd.Series) -> None:
    """Logarithmic where positive values span a factor of 20; the limits of a constant do not magnify it."""
    numbers = values.to_numpy(float)
    numbers = numbers[np.isfinite(numbers)]
    if not len(numbers):
        return
    low, high = numbers.min(), numbers.max()
    if low > 0 and high > 20 * low:
        axes.set_yscale("log")
        return
    if high - low <= 1e-3 * max(abs(low), abs(high)):
        axes.set_ylim(sorted((0, 2 * high)) if high else (-1, 1))
    axes.ticklabel_format(axis="y", scilimits=(-3, 4), useMathText=True)
