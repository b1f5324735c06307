"""Column names of phenotypes: `<region>_<class>_<feature>`, of filtered images `<region>_<filter>_...`."""

import re
from collections.abc import Iterable

from ssinfnet_jax.analysis.phenotypes import feature_classes
from ssinfnet_jax.analysis.phenotypes.settings import EIGHT_BIT, Settings

# Values of `classes` that make up each region.
REGIONS = {"ggo": (1,), "consolidation": (2,), "lesion": (1, 2)}
AREA = "shape2D_PixelSurface"
_PHENOTYPE = re.compile(rf"({'|'.join(REGIONS)})_(?:([^_]+)_)?({'|'.join(feature_classes.CLASSES)})_[A-Za-z0-9]+")


def names(regions: Iterable[str] = tuple(REGIONS), settings: Settings = EIGHT_BIT) -> list[str]:
    """Column names of all phenotypes, by default 62 per region, such as `ggo_glcm_Imc1`.

    Those of filtered images are `<region>_<filter>_<class>_<feature>`, such as `ggo_wavelet-HL_glcm_Imc1`.

    Raises: ValueError for an unknown region.
    """
    regions = list(regions)
    unknown = [region for region in regions if region not in REGIONS]
    if unknown:
        raise ValueError(f"Unknown region {unknown}; choose from {', '.join(REGIONS)}.")
    shape = [f"{feature_classes.SHAPE}_{name}" for name in settings.shape_features()]
    others = [f"{name}_{feature}" for name, features in settings.features().items() for feature in features]
    of_region = shape + [prefix(image) + name for image in settings.image_bins() for name in others]
    return [f"{region}_{name}" for region in regions for name in of_region]


def columns(settings: Settings = EIGHT_BIT) -> list[str]:
    """`names()`; each region's are followed by the number of bins and the reason of each image."""
    found = []
    for region in REGIONS:
        found += names([region], settings)
        found += [
            f"{region}_{prefix(image)}{name}" for image in settings.image_bins() for name in ("num_bins", "reason")
        ]
    return found


def prefix(image: str) -> str:
    """The part of a phenotype's name before its class: `<filter>_`, or ""."""
    return image and f"{image}_"


def origin(name: str) -> tuple[str, str, str] | None:
    """Region, filtered image ("": unfiltered) and feature class of a phenotype; None for other columns."""
    match = _PHENOTYPE.fullmatch(name)
    return match and (match[1], match[2] or "", match[3])


def phenotypes_of(region: str, table_columns: Iterable[str]) -> list[str]:
    """The columns of a table that are phenotypes of a region, of any settings."""
    origins = [(origin(name), name) for name in table_columns]
    return [name for found, name in origins if found and found[0] == region]
