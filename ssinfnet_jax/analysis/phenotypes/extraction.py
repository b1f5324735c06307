"""Radiomic phenotypes of one CT slice and its GGO, consolidation and lesion regions, by PyRadiomics."""

import math
import warnings

import numpy as np
import SimpleITK
import threadpoolctl
from radiomics import imageoperations

from ssinfnet_jax.analysis.phenotypes import feature_classes
from ssinfnet_jax.analysis.phenotypes.settings import AREA, EIGHT_BIT, REGIONS, Settings

_MESSAGE_LENGTH = 80
# The matrices are small (100 x 100): threads of the linear algebra library would only wait for one another.
_THREADS = threadpoolctl.ThreadpoolController()


def extract(
    image: np.ndarray,
    classes: np.ndarray,
    *,
    settings: Settings = EIGHT_BIT,
    spacing_mm: tuple[float, float] = (1.0, 1.0),
) -> dict[str, float | str]:
    """Phenotypes of the regions ggo, consolidation and lesion (both) of one slice.

    Per region: area (number of pixels times pixel area), 18 first-order, 24 GLCM, 14 GLDM, 5 NGTDM
      phenotypes;
      - `<region>_num_bins`: grey-level bins from the region's lowest to its highest value, 0 if it is empty;
      - `<region>_reason`: "" if all phenotypes were computed, else why some are NaN: "empty", "too_small"
        (fewer than settings.min_pixels), "line" (one pixel wide), "flat" (all pixels in one bin) and
        "scattered" (no two pixels touch), which have no texture, "undefined: <names>" (only these are NaN),
        or PyRadiomics' message, shortened.
    The area is known whenever the masks are, so it is never NaN: 0 says "no lesion", a measurement and not a
    missing value (`by_patient(empty_area="missing")` drops these zeros again). With any reason but "" and
    "undefined", all other phenotypes of the region are NaN.

    Args:
      image: real[H, W], within settings.value_range: 8-bit grey levels (EIGHT_BIT) or Hounsfield units (HU).
      classes: integer[H, W] of 0 background, 1 GGO, 2 consolidation.
      settings: bins and limits.
      spacing_mm: height and width of a pixel; the default gives areas in pixels instead of mm^2.
    Returns: a flat dict, one entry per name of `names()` plus the two bookkeeping entries per region.
    Raises: ValueError for shapes, values or spacing that do not fit.
    Source: the paper, "Generation of image phenotypes"; van Griethuysen et al. 2017,
      doi:10.1158/0008-5472.CAN-17-0339.
    """
    image, classes = _checked(np.asarray(image), np.asarray(classes), settings, spacing_mm)
    row: dict[str, float | str] = {}
    # A mean over directions without neighbours warns; what is undefined is told by `<region>_reason`.
    with _THREADS.limit(limits=1), warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore", RuntimeWarning)
        for region, values in REGIONS.items():
            features = _region(image, np.isin(classes, values), settings, spacing_mm)
            row.update({f"{region}_{name}": value for name, value in features.items()})
    return row


def _checked(image, classes, settings, spacing_mm):
    if image.ndim != 2 or image.shape != classes.shape:
        raise ValueError(
            f"image and classes must be [H, W] of one shape, got {image.shape} and {classes.shape}; "
            "pass one slice and one channel at a time."
        )
    unknown = np.setdiff1d(classes, (0, 1, 2))
    if unknown.size:
        raise ValueError(
            f"classes must be 0 (background), 1 (GGO) or 2 (consolidation), found {unknown[:5].tolist()}; "
            "map other codes first."
        )
    if len(spacing_mm) != 2 or not all(math.isfinite(side) and side > 0 for side in spacing_mm):
        raise ValueError(f"spacing_mm must be two positive lengths (row, column), got {spacing_mm}.")
    # Unsigned 8-bit arithmetic would overflow inside PyRadiomics' binning (maximum + 2 widths), silently.
    image = image.astype(np.float64)
    low, high = settings.value_range
    if not np.all((image >= low) & (image <= high)):
        raise ValueError(
            f"Settings {settings.name!r} want values in [{low:g}, {high:g}], the image spans "
            f"[{image.min():g}, {image.max():g}]; use the preset HU for Hounsfield units, "
            "EIGHT_BIT for grey levels."
        )
    return image, classes


def _region(image, region, settings, spacing_mm) -> dict[str, float | str]:
    num_pixels = int(region.sum())
    features: dict[str, float | str] = dict.fromkeys((AREA, *feature_classes.FEATURES), math.nan)
    features[AREA] = num_pixels * spacing_mm[0] * spacing_mm[1]
    features["num_bins"], features["reason"] = 0, ""
    if not num_pixels:
        features["reason"] = "empty"
        return features
    rows, columns = np.flatnonzero(region.any(1)), np.flatnonzero(region.any(0))
    box = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    inside = region[box][None]
    bins, _ = imageoperations.binImage(image[box][None], inside, binWidth=settings.bin_width)
    features["num_bins"] = int(bins.max())
    features["reason"] = _reason_against(num_pixels, inside, features["num_bins"], settings)
    if features["reason"]:
        return features
    try:
        found = _compute(image[box][None], inside, bins, settings, spacing_mm)
    except Exception as error:  # one bad region must not lose the slice, nor one slice the cohort
        features["reason"] = f"{type(error).__name__}: {error}"[:_MESSAGE_LENGTH]
        return features
    undefined = [name for name, value in found.items() if not math.isfinite(value)]
    if undefined:
        features["reason"] = f"undefined: {', '.join(undefined)}"[:_MESSAGE_LENGTH]
    features.update({name: value if math.isfinite(value) else math.nan for name, value in found.items()})
    return features


def _reason_against(num_pixels, inside, num_bins, settings) -> str:
    if num_pixels < settings.min_pixels:
        return "too_small"
    if min(inside.shape[1:]) == 1:
        return "line"
    if num_bins == 1:
        return "flat"
    return "" if _has_neighbours(inside[0]) else "scattered"


def _has_neighbours(inside) -> bool:
    """Whether any two pixels touch, by side or corner."""
    beside, below = inside[:, 1:] & inside[:, :-1], inside[1:] & inside[:-1]
    down, up = inside[1:, 1:] & inside[:-1, :-1], inside[1:, :-1] & inside[:-1, 1:]
    return any(pairs.any() for pairs in (beside, below, down, up))


def _compute(box, inside, bins, settings, spacing_mm) -> dict[str, float]:
    """Runs the four PyRadiomics classes on one cropped region: `<class>_<feature>` -> value."""
    image, region = SimpleITK.GetImageFromArray(box), SimpleITK.GetImageFromArray(inside.astype(np.uint8))
    for volume in (image, region):
        volume.SetSpacing((float(spacing_mm[1]), float(spacing_mm[0]), 1.0))
    options = {
        "label": 1,
        "force2D": True,
        "force2Ddimension": 0,
        "bins": bins,
        "distances": list(settings.distances),
        "gldm_a": settings.gldm_alpha,
        "voxelArrayShift": settings.shift,
    }
    found = {}
    for name, feature_class in feature_classes.CLASSES.items():
        for feature, value in feature_class(image, region, **options).execute().items():
            found[f"{name}_{feature}"] = float(value)
    return found
