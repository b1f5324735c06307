"""Slice viewer: a stack of CT slices with overlaid label maps, as self-contained HTML.

Slices are stored as grey JPEGs, label maps and probabilities as palette PNGs whose colour 0 is transparent, so that the
page can draw one over the other as they are. See also `templates/viewer.html.j2`, `viewer.js` and `viewer.css`.
"""

import base64
import concurrent.futures
import dataclasses
import functools
import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import colormaps, colors
from PIL import Image

from ssinfnet_jax.report.kit import figure_style, slice_drawing, tables

MAX_SIDE = 384  # pixels; larger slices are scaled down
MAX_FULL = 300  # slices of this size, about 12 MB; more slices are scaled down
QUALITY = 80  # of the JPEGs
NUM_LEVELS = 10  # of the probability; the lowest is not drawn
_LEVELS = {level: colors.to_hex(colormaps["plasma"](level / NUM_LEVELS)) for level in range(1, NUM_LEVELS + 1)}
WINDOWS = {"images": "Lung", "soft": "Soft tissue"}


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
      soft: uint8[N, h, w], the slices in the window of soft tissue, of any size; None: one window.
      probability: uint8[N, h, w], 255 times the probability of a lesion, of any size; None: not shown.
      counted_from: number of the first slice, as in other files about the case.
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
    soft: np.ndarray | None = None
    probability: np.ndarray | None = None
    counted_from: int = 1

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
        for name in ("soft", "probability"):
            stack = getattr(self, name)
            if stack is not None and (stack.dtype != np.uint8 or stack.ndim != 3 or len(stack) != len(self.images)):
                raise ValueError(
                    f"Case {self.name!r}: {name} is {stack.dtype}{list(stack.shape)}; pass "
                    f"uint8[{len(self.images)}, h, w]."
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
    encoders = {
        "images": (case.images, functools.partial(_jpeg, size=size)),
        "soft": (case.soft, functools.partial(_jpeg, size=size)),
        "classes": (case.classes, functools.partial(_label_png, size=size, colours=case.colours)),
        "truth": (truth, functools.partial(_label_png, size=size, colours=case.colours)),
        "probability": (case.probability, functools.partial(_probability_png, size=size)),
    }
    with concurrent.futures.ThreadPoolExecutor() as pool:
        slices = {
            name: [None] * num if stack is None else list(pool.map(encode, stack))
            for name, (stack, encode) in encoders.items()
        }
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
        "levels": list(_LEVELS.values()) if case.probability is not None else [],
        "windows": list(WINDOWS.items()) if case.soft is not None else [],
        "layers": _layers(case),
        "slices": slices
        | {
            "labels": [""] * num if case.labels is None else [str(label) for label in case.labels],
            "captions": [_caption(names, column) for column in shares.T],
            "counted_from": case.counted_from,
        },
    }


def _layers(case: Case) -> list[tuple[str, str]]:
    """What can be drawn over a slice, (name in `viewer.js`, title); the first is drawn at the start."""
    both = [("both", "Prediction and border")] if case.truth is not None else []
    truth = [("truth", "Ground truth")] if case.truth is not None else []
    probability = [("probability", "Probability")] if case.probability is not None else []
    return [*both, ("classes", "Prediction"), *truth, *probability]


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


def _probability_png(probability: np.ndarray, size: tuple[int, int]) -> str | None:
    """Encodes 255 times a probability in steps of 1 / NUM_LEVELS; the lowest step is transparent."""
    picture = Image.fromarray(probability).resize(size[::-1], Image.Resampling.BILINEAR)
    levels = np.asarray(picture).astype(np.uint16) * NUM_LEVELS // 255
    return _label_png(levels.astype(np.uint8), size, _LEVELS)


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
