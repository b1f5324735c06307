"""A sheet for drawing networks: boxes with the names of modules, arrows, small pictures."""

import collections

from matplotlib import colors, patches
from matplotlib import figure as mpl_figure

FILL = {  # kind of module: fill, outline
    "encoder": ("#DCE9F5", "#3B6FA0"),
    "decoder": ("#DDF0E3", "#2E7D4F"),
    "attention": ("#FBE8D3", "#B8651B"),
    "edge": ("#EADFF2", "#76529A"),
    "head": ("#FFFFFF", "#30363D"),
    "coach": ("#FBDDE0", "#A8323E"),
    "data": ("#F2F3F5", "#8A929C"),
}
INK, GREY, ARROW = "#1B1F24", "#5B6470", "#3A424C"
MONO, SANS = "DejaVu Sans Mono", "DejaVu Sans"


class Sheet:
    """Boxes and arrows on one pair of axes, in tenths of an inch; records the attributes drawn of each network."""

    def __init__(self, width: float, height: float):
        self.figure = mpl_figure.Figure(figsize=(width / 10, height / 10), facecolor="white")
        self.axes = self.figure.add_axes((0, 0, 1, 1))
        self.axes.set_axis_off()
        self.names: dict[str, set[str]] = collections.defaultdict(set)

    def box(self, centre, size, kind, model=None, name="", note="", *, label=None, twin=False):
        """Draws a rounded box; `name` is an attribute path of network `model`; `twin`: only in the inpainting form."""
        if model:
            self.names[model].add(name)
        x, y = centre
        self._outline((x - size[0] / 2, y - size[1] / 2), size, kind, 0.8, 3, twin, FILL[kind][0])
        lines = note.split("\n") if note else []
        self.text((x, y + 1.05 * len(lines)), label or name.rsplit("/", 1)[-1], size=9.4, mono=True)
        for number, line in enumerate(lines):
            self.text((x, y + 1.05 * len(lines) - 2.15 * (number + 1)), line, size=7.6, colour=GREY)

    def frame(self, corner, size, kind, name, model=None, *, twin=False, zorder=1.0):
        """Draws the outline of a module that contains others, with its name in the upper left corner."""
        if model:
            self.names[model].add(name)
        fill = [0.45 * value + 0.55 for value in colors.to_rgb(FILL[kind][0])]
        self._outline(corner, size, kind, 1.4, zorder, twin, fill)
        at = corner[0] + 1.2, corner[1] + size[1] - 1.6
        self.text(at, name, size=9.8, mono=True, colour=FILL[kind][1], ha="left", weight="bold")

    def _outline(self, corner, size, kind, rounding, zorder, twin, fill):
        style = (0, (3, 2)) if twin else "-"
        shape = patches.FancyBboxPatch(
            corner, *size, boxstyle=f"round,pad=0,rounding_size={rounding}", facecolor="white" if twin else fill,
            edgecolor=FILL[kind][1], linewidth=1.0, linestyle=style, zorder=zorder,
        )  # fmt: skip
        self.axes.add_patch(shape)

    def text(self, at, text, *, size=8.0, colour=INK, mono=False, ha="center", weight="normal"):
        """Writes text of a size in points, centred vertically."""
        self.axes.text(
            *at, text, fontsize=size, color=colour, ha=ha, va="center", weight=weight, zorder=5,
            fontfamily=MONO if mono else SANS, linespacing=1.35,
        )  # fmt: skip

    def arrow(self, *points, colour=ARROW, dashed=False, head=True, over=False):
        """Draws an arrow through points; `over` adds a white rim where it crosses others."""
        xs, ys = zip(*points, strict=True)
        if over:
            self.axes.plot(xs, ys, color="white", linewidth=4, zorder=2.2, solid_capstyle="butt")
        style = (0, (3, 2)) if dashed else "-"
        self.axes.plot(xs, ys, color=colour, linewidth=1.1, linestyle=style, zorder=2.3, solid_joinstyle="round")
        if head:
            tip = patches.FancyArrowPatch(
                points[-2], points[-1], arrowstyle="-|>,head_length=4.5,head_width=2.4", color=colour, linewidth=0,
                shrinkA=0, shrinkB=0, zorder=4, mutation_scale=1.0,
            )  # fmt: skip
            self.axes.add_patch(tip)

    def node(self, at, sign, colour=ARROW):
        """Draws a small circle with the sign of an operation."""
        self.axes.add_patch(patches.Circle(at, 1.25, facecolor="white", edgecolor=colour, linewidth=1.0, zorder=4))
        self.text((at[0], at[1] - 0.05), sign, size=9.0, colour=colour)

    def picture(self, centre, side, pixels, caption=""):
        """Draws a square picture, uint8[H,W] or [H,W,3], with a caption below."""
        x, y = centre
        extent = (x - side / 2, x + side / 2, y - side / 2, y + side / 2)
        self.axes.imshow(pixels, extent=extent, cmap="gray", vmin=0, vmax=255, zorder=3, interpolation="antialiased")
        corner = extent[0], extent[2]
        self.axes.add_patch(patches.Rectangle(corner, side, side, fill=False, edgecolor=INK, linewidth=0.8, zorder=4))
        self.text((x, y - side / 2 - 1.4), caption)

    def title(self, at, letter, name, text):
        """Writes the heading of a panel."""
        self.text(at, letter, size=16, weight="bold", ha="left")
        self.text((at[0] + 3, at[1]), name, size=12.5, weight="bold", ha="left", mono=True)
        self.text((at[0] + 3, at[1] - 2.8), text, size=9, colour=GREY, ha="left")
