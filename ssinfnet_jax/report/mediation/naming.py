"""Titles of phenotypes for readers: `ggo_glcm_Imc1` -> `Imc1 (GLCM)`."""

import re
from collections.abc import Sequence

from ssinfnet_jax.analysis.phenotypes import columns, feature_classes
from ssinfnet_jax.report.kit import figure_style, fonts

CLASSES = {name: name.upper() for name in feature_classes.CLASSES if name != feature_classes.SHAPE}
CLASSES |= {"firstorder": "first order", feature_classes.SHAPE: "shape"}  # the others are abbreviations
_FILTERS = {"squareroot": "square root", "lbp-2D": "local binary pattern"}


def of(names: Sequence[str]) -> dict[str, str]:
    """Titles of columns: `ggo_glcm_Imc1` -> `Imc1 (GLCM)`, with the region first if they are of several regions."""
    common = _common_region(names)
    labels = {name: words(name) for name in names}
    for name in names:
        if origin := columns.origin(name):
            region, image, feature_class = origin
            feature = name.rpartition("_")[2]
            feature = "Area" if feature == "PixelSurface" else feature
            where = [CLASSES[feature_class], *([_filter(image)] if image else [])]
            labels[name] = f"{'' if common else _region(region) + ' '}{feature} ({', '.join(where)})"
    return labels


def of_set(name: str, num_mediators: int) -> str:
    """Title of a set of mediators: `firstorder` of 7 -> `first order (7)`; a user's names stay as they are."""
    return f"{CLASSES.get(name) or _region(name)} ({num_mediators})"


def region_title(names: Sequence[str]) -> str:
    """Title of a figure of phenotypes that are all of one region, which their labels then omit; else ""."""
    region = _common_region(names)
    return f"Phenotypes of {_region(region)}" if region else ""


def _region(name: str) -> str:
    """`ggo` -> `GGO`; other names stay as they are."""
    title = figure_style.TITLES.get(name, name)
    return title if title.isupper() else name


def words(name: str) -> str:
    """A column's name for drawing: underscores become blanks, dollar signs are escaped, letters are drawable."""
    return fonts.drawable(str(name).replace("_", " ").replace("$", r"\$"))


def _common_region(names: Sequence[str]) -> str:
    """The region of all phenotypes, if they are of one region; else ""."""
    regions = {origin[0] for origin in map(columns.origin, names) if origin}
    return regions.pop() if len(regions) == 1 else ""


def _filter(image: str) -> str:
    """`log-sigma-1-5-mm-2D` -> `LoG 1.5 mm`, `wavelet-HL` -> `wavelet HL`."""
    if found := re.fullmatch(r"log-sigma-(\d+)-(\d+)-mm.*", image):
        return f"LoG {float(f'{found[1]}.{found[2]}'):g} mm"
    return _FILTERS.get(image, image.replace("-", " "))
