"""Radiomic phenotypes of GGO, consolidation and lesion, of one CT slice or of several together, by PyRadiomics."""

import dataclasses
import math
import warnings
from collections.abc import Iterable

import numpy as np
import SimpleITK
import threadpoolctl
from radiomics import imageoperations

from ssinfnet_jax.analysis.phenotypes import feature_classes, filters
from ssinfnet_jax.analysis.phenotypes.columns import AREA, REGIONS, prefix
from ssinfnet_jax.analysis.phenotypes.settings import EIGHT_BIT, Settings

_MESSAGE_LENGTH = 80
# A matrix of so many levels, four directions: half a GiB. Only a filter's image with an unfit bin width has them.
_MOST_BINS = 4096
# The matrices are small (100 x 100): threads of the linear algebra library would mostly wait.
_THREADS = threadpoolctl.ThreadpoolController()


@dataclasses.dataclass(frozen=True)
class _Piece:
    """One region in one slice, cropped to its bounding box.

    Attributes:
      inside: bool[h, w].
      images: name -> float[h, w]; the image itself is "".
    """

    inside: np.ndarray
    images: dict[str, np.ndarray]


def extract(
    image: np.ndarray,
    classes: np.ndarray,
    *,
    settings: Settings = EIGHT_BIT,
    spacing_mm: tuple[float, float] = (1.0, 1.0),
) -> dict[str, float | str]:
    """Phenotypes of the regions ggo, consolidation and lesion (both) of one slice.

    Per region: area (number of pixels times pixel area) and the features of settings.classes, by default 18
      first-order, 24 GLCM, 14 GLDM and 5 NGTDM phenotypes;
      - `<region>_num_bins`: grey-level bins from the region's lowest to its highest value, 0 if it is empty;
      - `<region>_reason`: "" if all phenotypes were computed, else why some are NaN. These have no texture: "empty",
        "one_pixel", "too_small" (fewer than settings.min_pixels), "line" (one pixel wide), "flat" (all pixels in one
        bin), "too_many_bins" (more than 4096) and "scattered" (no two pixels touch). Others are "undefined: <names>"
        (only these are NaN), and PyRadiomics' message, shortened.
      The same for every filtered image: `<region>_<filter>_num_bins` and so on.
    The area is never NaN: 0 means "no lesion", which is a measurement (`by_patient(empty_area="missing")` drops these
    zeros). With any reason except "" and "undefined", all grey-level phenotypes of the region are NaN.

    Args:
      image: real[H, W], 8-bit grey levels (EIGHT_BIT) or Hounsfield units (HU), within settings.value_range in the
        regions; with filters, which use the surroundings, within it everywhere.
      classes: integer[H, W] of 0 background, 1 GGO, 2 consolidation.
      settings: bins, limits, classes, filters.
      spacing_mm: height and width of a pixel; by default areas are in pixels instead of mm^2.
    Returns: a flat dict, one entry per name of `columns.columns()`.
    Raises: ValueError for invalid shapes, values or spacing.
    Source: the paper, "Generation of image phenotypes"; van Griethuysen et al. 2017,
      doi:10.1158/0008-5472.CAN-17-0339.
    """
    pieces = _pieces(image, classes, settings, spacing_mm)
    row: dict[str, float | str] = {}
    for region, piece in pieces.items():
        features = _of_region([piece] if piece else [], settings, spacing_mm)
        # The area comes first; it is known even if the rest is not.
        shape = {AREA: float(piece.inside.sum() if piece else 0) * spacing_mm[0] * spacing_mm[1]}
        shape.update(_shape(piece, features, settings, spacing_mm))
        row.update({f"{region}_{name}": value for name, value in {**shape, **features}.items()})
    return row


def extract_merged(
    slices: Iterable[tuple[np.ndarray, np.ndarray, tuple[float, float]]], *, settings: Settings = EIGHT_BIT
) -> dict[str, float | str]:
    """Phenotypes of several slices, each region measured as one.

    Histograms use the pixels of all slices. Neighbours are within a slice: the texture matrices (of GLCM and GLRLM per
    direction, of GLDM, NGTDM and GLSZM) are summed over the slices before features are computed, and features are
    averaged over directions. (IBSI: 2.5D, direction-merged for GLCM and GLRLM, 2.5D for the others.) Each slice is
    filtered separately.

    Args:
      slices: (image, classes, spacing_mm) as for `extract()`, of any sizes but equal spacing.
      settings: see `extract()`.
    Returns: as `extract()`, without shape2D, which needs single slices.
    Raises: ValueError as `extract()`, and for slices of different spacing.
    Source: Zwanenburg et al. 2020, doi:10.1148/radiol.2020191145; PyRadiomics with force2D does so in a volume.
    """
    pieces: dict[str, list[_Piece]] = {region: [] for region in REGIONS}
    spacings = []
    for image, classes, spacing_mm in slices:
        spacings.append(tuple(spacing_mm))
        for region, piece in _pieces(image, classes, settings, spacing_mm).items():
            pieces[region] += [piece] if piece else []
    if spacings and not np.allclose(spacings, spacings[0], rtol=1e-3):
        raise ValueError(
            f"Merged slices must have the same pixel size, got {min(spacings)} to {max(spacings)} mm; "
            "resample them, or use slice_mean."
        )
    row: dict[str, float | str] = {}
    for region, found in pieces.items():
        features = _of_region(found, settings, spacings[0] if spacings else (1.0, 1.0))
        row.update({f"{region}_{name}": value for name, value in features.items()})
    return row


def _pieces(image, classes, settings, spacing_mm) -> dict[str, _Piece | None]:
    """Region -> its piece, None if the slice does not have it."""
    image, classes = _checked(np.asarray(image), np.asarray(classes), settings, spacing_mm)
    images = {"": image}
    if settings.filters and classes.any():
        images.update(filters.apply(image, settings.filter_options(), spacing_mm))
    pieces: dict[str, _Piece | None] = dict.fromkeys(REGIONS)
    for region, values in REGIONS.items():
        inside = np.isin(classes, values)
        if inside.any():
            rows, columns = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
            box = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
            # Copies keep only the boxes of many slices in memory; NaN around the region is dropped.
            cut = {name: np.where(inside[box], values[box], 0) for name, values in images.items()}
            pieces[region] = _Piece(inside[box].copy(), cut)
    return pieces


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
    _check_values(image, classes, settings)
    return image, classes


def _check_values(image: np.ndarray, classes: np.ndarray, settings: Settings) -> None:
    """Raises ValueError for relevant values outside the range of the preset."""
    low, high = settings.value_range
    wants = f"Settings {settings.name!r} need values in [{low:g}, {high:g}]"
    finite = image[np.isfinite(image)]
    # Soft tissue in HU looks like grey levels, but the air around it does not.
    if settings.name == EIGHT_BIT.name and finite.size and not (low <= finite.min() and finite.max() <= high):
        raise ValueError(
            f"{wants}, the image spans [{finite.min():g}, {finite.max():g}]; use the preset HU for Hounsfield units."
        )
    inside = classes > 0
    counts = np.ones_like(inside) if settings.filters and inside.any() else inside
    wrong = counts & ~((image >= low) & (image <= high))
    if not wrong.any():
        return
    remedies = []
    if (wrong & inside).any():
        remedies.append("correct the image there, or remove these pixels from the mask")
    if (wrong & ~inside).any():
        remedies.append(
            "set the surroundings of the body to air (-1024 HU), or measure without filters, which use them"
        )
    row, column = (int(place[0]) for place in np.nonzero(wrong))
    raise ValueError(
        f"{wants}, but {wrong.sum()} pixels have others, {(wrong & inside).sum()} of them in lesions, such as "
        f"{image[row, column]:g} at row {row}, column {column}: {'; '.join(remedies)}."
    )


def _of_region(pieces: list[_Piece], settings: Settings, spacing_mm) -> dict[str, float | str]:
    """Features, number of bins and reason of every image, of pieces measured as one region."""
    inside = _stacked([piece.inside for piece in pieces])
    features: dict[str, float | str] = {}
    for name, bin_width in settings.image_bins().items():
        image = _stacked([piece.images[name] for piece in pieces])
        found = _of_image(image, inside, bin_width, settings, spacing_mm)
        features.update({f"{prefix(name)}{feature}": value for feature, value in found.items()})
    return features


def _stacked(arrays: list[np.ndarray]) -> np.ndarray:
    """Stacks arrays [h, w] of any sizes to [S, h, w], padded with zeros, which are outside of every region."""
    height, width = (max((array.shape[axis] for array in arrays), default=0) for axis in (0, 1))
    stack = np.zeros((len(arrays), height, width), arrays[0].dtype if arrays else bool)
    for place, array in zip(stack, arrays, strict=True):
        place[: array.shape[0], : array.shape[1]] = array
    return stack


def _of_image(image, inside, bin_width, settings, spacing_mm) -> dict[str, float | str]:
    names = [f"{name}_{feature}" for name, features in settings.features().items() for feature in features]
    features: dict[str, float | str] = dict.fromkeys(names, math.nan)
    bins = np.zeros(inside.shape, int)
    if inside.any():
        bins, _ = imageoperations.binImage(image, inside, binWidth=bin_width)
    features["num_bins"] = int(bins.max(initial=0))
    features["reason"] = _reason_against(inside, features["num_bins"], settings)
    if features["reason"]:
        return features
    try:
        found = _compute(image, inside, settings.features(), spacing_mm, settings, bins)
    except Exception as error:  # PyRadiomics raises many kinds; one bad region must not fail the slice
        features["reason"] = f"{type(error).__name__}: {error}"[:_MESSAGE_LENGTH]
        return features
    undefined = [name for name, value in found.items() if not math.isfinite(value)]
    if undefined:
        features["reason"] = f"undefined: {', '.join(undefined)}"[:_MESSAGE_LENGTH]
    features.update({name: value if math.isfinite(value) else math.nan for name, value in found.items()})
    return features


def _reason_against(inside, num_bins, settings) -> str:
    num_pixels = int(inside.sum())
    if num_pixels < settings.min_pixels:
        return {0: "empty", 1: "one_pixel"}.get(num_pixels, "too_small")
    if min(inside.shape[1:]) == 1:
        return "line"
    if num_bins == 1:
        return "flat"
    if num_bins > _MOST_BINS:
        return "too_many_bins"
    return "" if _has_neighbours(inside) else "scattered"


def _has_neighbours(inside) -> bool:
    """Whether any two pixels of a slice touch at a side or corner."""
    beside, below = inside[:, :, 1:] & inside[:, :, :-1], inside[:, 1:] & inside[:, :-1]
    down, up = inside[:, 1:, 1:] & inside[:, :-1, :-1], inside[:, 1:, :-1] & inside[:, :-1, 1:]
    return any(pairs.any() for pairs in (beside, below, down, up))


def _shape(piece, features, settings, spacing_mm) -> dict[str, float]:
    """Features of shape2D except the area; NaN if the region is too small."""
    wanted = settings.shape_features()[1:]
    names = [f"{feature_classes.SHAPE}_{name}" for name in wanted]
    if not wanted or not piece or features["reason"] in ("one_pixel", "too_small"):
        return dict.fromkeys(names, math.nan)
    found = _compute(piece.images[""][None], piece.inside[None], {feature_classes.SHAPE: wanted}, spacing_mm, settings)
    return {name: found[name] for name in names}


def _compute(image, inside, classes, spacing_mm, settings, bins=None) -> dict[str, float]:
    """Runs PyRadiomics classes on one region [S, h, w], in the plane: `<class>_<feature>` -> value."""
    volumes = SimpleITK.GetImageFromArray(image), SimpleITK.GetImageFromArray(inside.astype(np.uint8))
    for volume in volumes:
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
    # A mean over directions without neighbours warns; `<region>_reason` reports undefined features.
    with _THREADS.limit(limits=1), warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore", RuntimeWarning)
        for name, features in classes.items():
            feature_class = feature_classes.CLASSES[name](*volumes, **options)
            for feature in features:
                feature_class.enableFeatureByName(feature)
            found.update({f"{name}_{feature}": float(value) for feature, value in feature_class.execute().items()})
    return {f"{name}_{feature}": found[f"{name}_{feature}"] for name in classes for feature in classes[name]}
