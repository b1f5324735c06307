"""Writes label maps as PNG, and overlays with tinted lesions."""

import pathlib
from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image, ImageDraw

from ssinfnet_jax import rundir

# Indices 0 background, 1 GGO, 2 consolidation; the colours are distinguishable with every kind of colour vision.
PALETTE = [0, 0, 0, 86, 180, 233, 230, 159, 0]
_ALPHA = 0.4
_TILE = 240  # pixels per side
_COLUMNS = 4
NUM_TILES = 12


def write_labels(path: pathlib.Path, pred: np.ndarray) -> None:
    """Writes uint8[H,W] of {0, 1, 2} as a palette PNG, complete or not at all."""
    image = Image.fromarray(pred).convert("P")
    image.putpalette(PALETTE)
    with rundir.writing(path) as partial:
        image.save(partial, format="PNG")


def write_grey(path: pathlib.Path, grey: np.ndarray) -> None:
    """Writes uint8[H,W] as PNG, complete or not at all."""
    with rundir.writing(path) as partial:
        Image.fromarray(grey).save(partial, format="PNG")


def overlay(grey: np.ndarray, pred: np.ndarray) -> Image.Image:
    """Tints the lesions of a slice: uint8[H,W], uint8[H,W] of {0, 1, 2} -> RGB."""
    lesion = pred > 0
    colours = np.asarray(PALETTE, np.float32).reshape(-1, 3)[pred[lesion]]
    rgb = np.repeat(grey[..., None], 3, axis=-1)
    rgb[lesion] = np.rint((1 - _ALPHA) * rgb[lesion].astype(np.float32) + _ALPHA * colours)
    return Image.fromarray(rgb)


def write_sheet(path: pathlib.Path, pictures: Mapping[str, Image.Image]) -> None:
    """Writes titled pictures on one sheet, complete or not at all."""
    num_rows = -(-len(pictures) // _COLUMNS)
    sheet = Image.new("RGB", (min(len(pictures), _COLUMNS) * _TILE, num_rows * _TILE))
    pen = ImageDraw.Draw(sheet)
    for number, (title, picture) in enumerate(pictures.items()):
        left, top = number % _COLUMNS * _TILE, number // _COLUMNS * _TILE
        tile = picture.copy()
        tile.thumbnail((_TILE, _TILE), Image.Resampling.LANCZOS)
        sheet.paste(tile, (left + (_TILE - tile.width) // 2, top + (_TILE - tile.height) // 2))
        pen.text((left + 6, top + 4), title, fill="white", stroke_width=2, stroke_fill="black", font_size=14)
    with rundir.writing(path) as partial:
        sheet.save(partial, format="PNG")


def chosen(affected: Sequence[int], num_slices: int) -> list[int]:
    """Chooses at most NUM_TILES slices, evenly from the affected ones, or from all if none is affected."""
    among = list(affected) or list(range(num_slices))
    places = np.unique(np.linspace(0, len(among) - 1, min(len(among), NUM_TILES)).round().astype(int))
    return [among[place] for place in places]
