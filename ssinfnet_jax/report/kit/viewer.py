"""Slice viewer: a stack of CT slices with overlaid label maps, as self-contained HTML.

Slices are stored as grey JPEGs, label maps as palette PNGs whose colour 0 is transparent, so that the page can draw one
over the other as they are. See also `templates/viewer.html.j2`, `viewer.js` and `viewer.css`.
"""

import base64
import dataclasses
import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import colors
from PIL import Image

from ssinfnet_jax.report.kit import figure_style, slice_drawing, tables

MAX_SIDE = 384  # pixels; larger slices are scaled down
MAX_FULL = 300  # slices of this size, about 12 MB; more slices are scaled down
QUALITY = 80  # of the JPEGs


@dataclasses.dataclass(frozen=True)
class Case:
    """What a viewer shows: the slices of a scan, of a patient, or of a test set.

    Attributes:
      name: title; may contain any character.
      images: uint8[N, H, W], N >= 1, windowed slices in the radiologist's view.
      classes: uint8[N, H, W], predicted label maps: 0 or a number of `colours`.
      truth: ground truth in the same form, or None.
      facts: further properties of the case, by name.
      labels: of the N slices; None: no labels.
      colours: colour of each class number from 1 on, of `figure_style.NAMED`.
      areas: pixels of each of the N slices, if some were padded to the size of the stack; None: H W.
    Raises: ValueError for shapes or dtypes that do not match, or classes without a colour.
    """

    name: str
    images: np.ndarray
    classes: np.ndarray
    truth: np.ndarray | None = None
    facts: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    labels: Sequence[str] | None = None
    colours: Mapping[int, str] = dataclasses.field(default_factory=lambda: figure_style.CLASSES)
    areas: Sequence[int] | None = None

    def __post_init__(self):
        stacks = {"images": self.images, "classes": self.classes}
        stacks |= {} if self.truth is None else {"truth": self.truth}
        for name, stack in stacks.items():
            if stack.dtype != np.uint8 or stack.ndim != 3 or stack.shape != self.images.shape or not stack.size:
                raise ValueError(
                    f"Case {self.name!r}: {name} is {stack.dtype}{list(stack.shape)}, images are "
                    f"{list(self.images.shape)}; pass uint8[N, H, W] of one shape, N >= 1."
                )
            if name != "images" and stack.max() > max(self.colours):
                raise ValueError(
                    f"Case {self.name!r}: {name} contains {stack.max()}, but only {sorted(self.colours)} have colours; "
                    "map the labels to these numbers or add a colour for each."
                )
        if self.labels is not None and len(self.labels) != len(self.images):
            raise ValueError(f"Case {self.name!r} has {len(self.images)} slices but {len(self.labels)} labels.")


def view(case: Case, *, anchor: str = "viewer") -> dict[str, Any]:
    """The variables of the template `viewer.html.j2`: encoded slices, captions, and the profile of lesion sizes.

    Args:
      case: to show.
      anchor: id of the viewer, unique on its page.
    """
    longest = MAX_SIDE * min(1.0, (MAX_FULL / len(case.images)) ** 0.5)
    factor = min(1.0, longest / max(case.images.shape[1:]))
    size = tuple(max(round(factor * side), 1) for side in case.images.shape[1:])
    areas = np.full(len(case.images), case.images[0].size) if case.areas is None else np.asarray(case.areas)
    shares = np.stack([(case.classes == number).sum(axis=(1, 2)) / areas for number in case.colours])  # [classes, N]
    titles = {figure_style.NAMED[name]: figure_style.TITLES[name] for name in figure_style.NAMED}
    names = [titles[colour] for colour in case.colours.values()]
    largest = int(shares.sum(axis=0).argmax())
    truth, num = case.truth, len(case.images)
    return {
        "id": anchor,
        "name": case.name,
        "facts": [(name, str(value)) for name, value in case.facts.items()],
        "num": num,
        "size": size,
        "first": largest,
        "key": list(zip(names, case.colours.values(), strict=True)),
        "profile": _profile(shares, list(case.colours.values())),
        "has_truth": truth is not None,
        "slices": {
            "images": [_jpeg(image, size) for image in case.images],
            "classes": [_label_png(classes, size, case.colours) for classes in case.classes],
            "truth": [None if truth is None else _label_png(truth[i], size, case.colours) for i in range(num)],
            "labels": [""] * num if case.labels is None else [str(label) for label in case.labels],
            "captions": [_caption(names, column) for column in shares.T],
        },
    }


def preview(case: Case, *, size: int = 96) -> str:
    """The slice with the largest predicted lesion, tinted, as a data URI; at most `size` pixels per side."""
    index = int((case.classes > 0).sum(axis=(1, 2)).argmax())
    picture = Image.fromarray(slice_drawing.blend(case.images[index], case.classes[index], colours=case.colours))
    picture.thumbnail((size, size), Image.Resampling.LANCZOS)
    return _uri(picture, "JPEG", quality=QUALITY)


def _jpeg(image: np.ndarray, size: tuple[int, int]) -> str:
    picture = Image.fromarray(image).resize(size[::-1], Image.Resampling.LANCZOS)
    return _uri(picture, "JPEG", quality=QUALITY)


def _label_png(classes: np.ndarray, size: tuple[int, int], colours: Mapping[int, str]) -> str | None:
    """Encodes a label map as a palette PNG with transparent background; None if it is empty."""
    if not classes.any():
        return None
    palette = np.zeros((max(colours) + 1, 3), np.uint8)
    for number, colour in colours.items():
        palette[number] = np.round(255 * np.array(colors.to_rgb(colour)))
    picture = Image.fromarray(classes)
    picture.putpalette(palette.tobytes())  # makes it a palette image
    picture = picture.resize(size[::-1], Image.Resampling.NEAREST)
    return _uri(picture, "PNG", transparency=bytes([0] + [255] * max(colours)))


def _uri(picture: Image.Image, kind: str, **options: Any) -> str:
    stream = io.BytesIO()
    picture.save(stream, format=kind, **options)
    return f"data:image/{kind.lower()};base64,{base64.b64encode(stream.getvalue()).decode()}"


def _caption(names: Sequence[str], shares: np.ndarray) -> str:
    """`GGO 2.1 %, consolidation 0.3 % of the slice`."""
    found = [
        f"{name if name.isupper() else name.lower()} {tables.number(100 * share, 2)} %"
        for name, share in zip(names, shares, strict=True)
        if share
    ]
    return f"{', '.join(found)} of the slice" if found else "no lesion predicted"


def _profile(shares: np.ndarray, colours: Sequence[str]) -> list[tuple[str, str]]:
    """Stacked bars as one SVG path per class: (colour, path); slice i is at x = i, the tallest bar has height 1."""
    if not shares.any():
        return []
    heights = shares / shares.sum(axis=0).max()
    base = np.zeros(shares.shape[1])
    paths = []
    for colour, row in zip(colours, heights, strict=True):
        bars = (f"M{i - 0.5} {1 - base[i]:.3f}h1v{-row[i]:.3f}h-1z" for i in np.flatnonzero(row))
        paths.append((colour, "".join(bars)))
        base += row
    return paths
