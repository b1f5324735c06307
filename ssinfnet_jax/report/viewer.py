"""Slice viewer: a stack of CT slices with label maps over it, as one piece of HTML that needs nothing else.

Slices travel as grey JPEG, label maps as palette PNG whose colour 0 is transparent, so that the page draws one over the
other without looking at a pixel. `templates/viewer.html.j2`, `viewer.js` and `viewer.css` are the rest of it.
"""

import base64
import dataclasses
import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import colors
from PIL import Image

from ssinfnet_jax.report import figures, tables

MAX_SIDE = 384  # pixels; a larger slice is shown smaller, so that 300 of them stay below 15 MB
QUALITY = 85  # of the JPEGs


@dataclasses.dataclass(frozen=True)
class Case:
    """What one viewer shows: the slices of a scan, of a patient, or of a test set.

    Attributes:
      name: shown as it is; may hold any character.
      images: uint8[N, H, W], N >= 1, windowed slices in the radiologist's view.
      classes: uint8[N, H, W], the predicted label maps, numbers of `colours` or 0.
      truth: the same from a reader, or None.
      facts: what else to say of the case, by name.
      labels: of each slice, N of them; none if None.
      colours: colour of each class number, with the names that `figures` has for them.
    Raises: ValueError for shapes or types that do not fit, or classes without a colour.
    """

    name: str
    images: np.ndarray
    classes: np.ndarray
    truth: np.ndarray | None = None
    facts: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    labels: Sequence[str] | None = None
    colours: Mapping[int, str] = dataclasses.field(default_factory=lambda: figures.CLASSES)

    def __post_init__(self):
        stacks = {"images": self.images, "classes": self.classes}
        stacks |= {} if self.truth is None else {"truth": self.truth}
        for name, stack in stacks.items():
            if stack.dtype != np.uint8 or stack.ndim != 3 or stack.shape != self.images.shape or not stack.size:
                raise ValueError(
                    f"Case {self.name!r}: {name} is {stack.dtype}{list(stack.shape)} beside images of "
                    f"{list(self.images.shape)}; give uint8[N, H, W] of one shape, N >= 1."
                )
            unknown = set() if name == "images" else set(np.unique(stack).tolist()) - {0, *self.colours}
            if unknown:
                raise ValueError(
                    f"Case {self.name!r}: {name} hold {sorted(unknown)}, but colours are given for "
                    f"{sorted(self.colours)}; map the labels to these numbers or name a colour for each."
                )
        if self.labels is not None and len(self.labels) != len(self.images):
            raise ValueError(f"Case {self.name!r} has {len(self.images)} slices but {len(self.labels)} labels.")


def view(case: Case, *, anchor: str = "viewer") -> dict[str, Any]:
    """What the template `viewer.html.j2` asks for: the slices encoded, captions, and where the lesions are.

    Args:
      case: to show.
      anchor: its place on the page, another one for every viewer there.
    """
    shares = np.stack([(case.classes == number).mean(axis=(1, 2)) for number in case.colours])  # [classes, N]
    titles = {figures.NAMED[name]: figures.TITLES[name] for name in figures.NAMED}
    names = [titles[colour] for colour in case.colours.values()]
    largest = int(shares.sum(axis=0).argmax())
    truth = case.truth
    return {
        "id": anchor,
        "name": case.name,
        "facts": [(name, str(value)) for name, value in case.facts.items()],
        "num": len(case.images),
        "size": case.images.shape[1:],
        "first": largest,
        "key": list(zip(names, case.colours.values(), strict=True)),
        "profile": _profile(shares, list(case.colours.values())),
        "has_truth": truth is not None,
        "slices": {
            "images": [_jpeg(image) for image in case.images],
            "classes": [label_png(classes, case.colours) for classes in case.classes],
            "truth": [None] * len(case.images) if truth is None else [label_png(t, case.colours) for t in truth],
            "labels": ["" for _ in case.images] if case.labels is None else [str(label) for label in case.labels],
            "captions": [_caption(names, column) for column in shares.T],
        },
    }


def preview(case: Case, *, size: int = 96) -> str:
    """The slice with the largest predicted lesion, tinted, as a data URI of at most `size` pixels per side."""
    index = int((case.classes > 0).sum(axis=(1, 2)).argmax())
    picture = Image.fromarray(figures.blend(case.images[index], case.classes[index], colours=case.colours))
    picture.thumbnail((size, size), Image.Resampling.LANCZOS)
    return _uri(picture, "JPEG", quality=QUALITY)


def label_png(classes: np.ndarray, colours: Mapping[int, str]) -> str | None:
    """A label map uint8[H, W] as a data URI of a palette PNG with transparent background; None where all is 0."""
    if not classes.any():
        return None
    palette = np.zeros((max(colours) + 1, 3), np.uint8)
    for number, colour in colours.items():
        palette[number] = np.round(255 * np.array(colors.to_rgb(colour)))
    picture = Image.fromarray(classes)
    picture.putpalette(palette.tobytes())  # makes it a palette image
    picture = picture.resize(_shown_size(picture), Image.Resampling.NEAREST)
    return _uri(picture, "PNG", transparency=bytes([0] + [255] * max(colours)), optimize=False)


def _jpeg(image: np.ndarray) -> str:
    picture = Image.fromarray(image)
    return _uri(picture.resize(_shown_size(picture), Image.Resampling.LANCZOS), "JPEG", quality=QUALITY)


def _shown_size(picture: Image.Image) -> tuple[int, int]:
    """(width, height) of at most `MAX_SIDE`, the proportions kept."""
    factor = min(1.0, MAX_SIDE / max(picture.size))
    return tuple(max(round(factor * side), 1) for side in picture.size)


def _uri(picture: Image.Image, kind: str, **options: Any) -> str:
    stream = io.BytesIO()
    picture.save(stream, format=kind, **options)
    return f"data:image/{kind.lower()};base64,{base64.b64encode(stream.getvalue()).decode()}"


def _caption(names: Sequence[str], shares: np.ndarray) -> str:
    """`GGO 2.1 %, Consolidation 0.3 % of the slice`."""
    held = [f"{name} {tables.number(100 * share, 2)} %" for name, share in zip(names, shares, strict=True) if share]
    return f"{', '.join(held)} of the slice" if held else "no lesion predicted"


def _profile(shares: np.ndarray, colours: Sequence[str]) -> list[tuple[str, str]]:
    """Stacked bars over the slices, one SVG path per class: (colour, path) in a box of N by 1, largest bar 1."""
    if not shares.any():
        return []
    heights = shares / shares.sum(axis=0).max()
    base = np.zeros(shares.shape[1])
    paths = []
    for colour, row in zip(colours, heights, strict=True):
        bars = (f"M{i} {1 - base[i]:.3f}h1v{-row[i]:.3f}h-1z" for i in np.flatnonzero(row))
        paths.append((colour, "".join(bars)))
        base += row
    return paths
