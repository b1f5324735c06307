"""What columns are called in figures: `ggo_glcm_Imc1` -> `Imc1 (GLCM)`."""

import re
from collections.abc import Sequence

from ssinfnet_jax.analysis.phenotypes import columns, feature_classes
from ssinfnet_jax.report.kit import fonts

_CLASSES = {"firstorder": "first order", "shape2D": "shape"}  # others are abbreviations
_REGIONS = {"ggo": "GGO"}
_FILTERS = {"squareroot": "square root", "lbp-2D": "local binary pattern"}


def of(names: Sequence[str]) -> dict[str, str]:
    """`ggo_glcm_Imc1` -> `Imc1 (GLCM)`; the region in front if there are several, the filter behind the class."""
    common = _common_region(names)
    labels = {name: words(name) for name in names}
    for name in names:
        if origin := columns.origin(name):
            region, image, feature_class = origin
            feature = name.rpartition("_")[2]
            feature = "Area" if feature == "PixelSurface" else feature
            where = [_CLASSES.get(feature_class, feature_class.upper()), *([_filter(image)] if image else [])]
            labels[name] = f"{'' if common else _REGIONS.get(region, region) + ' '}{feature} ({', '.join(where)})"
    return labels


def of_set(name: str, num_mediators: int) -> str:
    """`firstorder` of 7 mediators -> `first order (7)`; sets with names of their own keep them."""
    label = name.upper() if name in feature_classes.CLASSES else name
    return f"{(_CLASSES | _REGIONS).get(name, label)} ({num_mediators})"


def region_title(names: Sequence[str]) -> str:
    """What stands over a figure of phenotypes whose labels leave out their region; else ""."""
    region = _common_region(names)
    return f"Phenotypes of {_REGIONS.get(region, region)}" if region else ""


def words(name: str) -> str:
    """A column's name as it is drawn: blanks for underscores, no formula between two dollars, letters of any script."""
    return fonts.drawable(str(name).replace("_", " ").replace("$", r"\$"))


def _common_region(names: Sequence[str]) -> str:
    """The region that all phenotypes are of, which their labels then leave out; else ""."""
    regions = {origin[0] for origin in map(columns.origin, names) if origin}
    return regions.pop() if len(regions) == 1 else ""


def _filter(image: str) -> str:
    """`log-sigma-1-5-mm-2D` -> `LoG 1.5 mm`, `wavelet-HL` -> `wavelet HL`."""
    if found := re.fullmatch(r"log-sigma-(\d+)-(\d+)-mm.*", image):
        return f"LoG {float(f'{found[1]}.{found[2]}'):g} mm"
    return _FILTERS.get(image, image.replace("-", " "))
