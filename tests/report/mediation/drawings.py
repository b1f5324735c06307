"""Reads what a figure shows."""

import itertools

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text


def drawn_texts(figure):
    """Visible texts and their boxes in pixels, after checking that none is cut off."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    hidden = set(itertools.chain.from_iterable(map(_labels_outside, figure.axes)))
    texts = figure.findobj(match=Text, include_self=False)
    texts = [t for t in texts if t.get_visible() and t.get_text().strip() and t not in hidden]
    boxes = {text: text.get_window_extent(canvas.get_renderer()) for text in texts}
    width, height = canvas.get_width_height()
    for text, box in boxes.items():
        assert -1 <= box.x0 <= box.x1 <= width + 1, text
        assert -1 <= box.y0 <= box.y1 <= height + 1, text
    return boxes


def _labels_outside(axes):
    """Labels of ticks beyond the limits, which exist but are not drawn."""
    for axis in (axes.xaxis, axes.yaxis):
        low, high = sorted(axis.get_view_interval())
        for tick in axis.get_major_ticks():
            if not low <= tick.get_loc() <= high or not axes.axison:
                yield from (tick.label1, tick.label2)


def assert_apart(boxes):
    for (first, a), (second, b) in itertools.combinations(boxes.items(), 2):
        wide = min(a.x1, b.x1) - max(a.x0, b.x0)
        high = min(a.y1, b.y1) - max(a.y0, b.y0)
        assert wide <= 1 or high <= 1, f"{first.get_text()!r} and {second.get_text()!r} overlap"
