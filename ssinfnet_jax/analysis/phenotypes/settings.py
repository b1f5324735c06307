"""Settings that define phenotypes: PyRadiomics' classes and filters, bins and limits."""

import dataclasses
import functools
import importlib.metadata
import json
import math
import numbers
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from ssinfnet_jax.analysis.phenotypes import feature_classes, filters

_AREA = "PixelSurface"
# Differs from the paper: it has 68 per region, of an unpublished list; these are 61, and the area.
_CLASSES = ("firstorder", "glcm", "gldm", "ngtdm")


def _check_known(kind: str, given: Iterable[str], known: Iterable[str]) -> None:
    unknown = [name for name in given if name not in known]
    if unknown:
        raise ValueError(f"Unknown {kind} {', '.join(map(str, unknown))}; choose from {', '.join(known)}.")


def _is_real(value: Any) -> bool:
    return isinstance(value, numbers.Real) and not isinstance(value, bool) and math.isfinite(value)


def _is_whole(value: Any) -> bool:
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)


def _is_list(value: Any) -> bool:
    return isinstance(value, list | tuple)


def _without_bins(options_of: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    return {
        name: {option: value for option, value in options.items() if option != "bin_width"}
        for name, options in options_of.items()
    }


@functools.cache
def _image_bins(bin_width: float, as_json: str) -> dict[str, float]:
    """Applies the filters to a slice of noise to find out the names of their images."""
    noise = np.random.default_rng(0).uniform(0, 255, (256, 256))
    bins = {"": bin_width}
    for name, options in json.loads(as_json).items():
        images = filters.apply(noise, _without_bins({name: options}), (1.0, 1.0))
        bins.update(dict.fromkeys(images, options.get("bin_width", bin_width)))
    return bins


@dataclasses.dataclass(frozen=True)
class Settings:
    """How PyRadiomics measures an image; all of these change phenotypes, so they are stored with a table.

    Attributes:
      name: of the preset, for messages.
      bin_width: width of a grey-level bin, in units of the image. Bins start from 0, not from the region's minimum,
        so that the same tissue has the same bin in every patient.
      value_range: lowest and highest valid value; others are an error (wrong preset).
      shift: added before Energy, TotalEnergy and RootMeanSquared, so that no value is negative.
      min_pixels: of smaller regions only the area is measured; 9 pixels are one 3x3 neighbourhood, the support of
        GLDM and NGTDM.
      distances: neighbour distances of the texture matrices, in pixels; integers >= 1.
      gldm_alpha: largest difference in bins at which two neighbours are dependent (GLDM); an integer >= 0.
      classes: PyRadiomics' feature class -> names of features; empty: all that are not deprecated. The area
        is always measured; other features of shape2D only in single slices.
      filters: PyRadiomics' filter -> its options and, if it differs from the image's, `bin_width`. All
        classes except shape2D are also computed on each filtered image.
    """

    name: str
    bin_width: float
    value_range: tuple[float, float]
    shift: float = 0.0
    min_pixels: int = 9
    distances: tuple[int, ...] = (1,)
    gldm_alpha: int = 0
    classes: Mapping[str, tuple[str, ...]] = dataclasses.field(default_factory=lambda: dict.fromkeys(_CLASSES, ()))
    filters: Mapping[str, Mapping[str, Any]] = dataclasses.field(default_factory=dict)

    def __post_init__(self):
        self._check_numbers()
        for name, wanted in self.classes.items():
            _check_known("feature class", [name], feature_classes.CLASSES)
            _check_known(f"feature of {name}", wanted, feature_classes.CLASSES[name].getFeatureNames())
        if not set(self.classes) - {feature_classes.SHAPE}:
            raise ValueError(f"classes needs one besides shape2D, such as firstorder; got {list(self.classes)}.")
        _check_known("filter", self.filters, filters.OPTIONS)
        for name, options in self.filters.items():
            _check_known(f"option of filter {name}", options, ("bin_width", *filters.OPTIONS[name]))
            bin_width = options.get("bin_width", 1)
            if not (_is_real(bin_width) and bin_width > 0):
                raise ValueError(f"bin_width of filter {name} must be a number > 0, got {bin_width!r}.")
        self.image_bins()

    def _check_numbers(self) -> None:
        if not (_is_real(self.bin_width) and self.bin_width > 0):
            raise ValueError(f"bin_width must be a number > 0, got {self.bin_width!r}; the preset EIGHT_BIT uses 2.")
        if not (_is_whole(self.min_pixels) and self.min_pixels >= 2):
            raise ValueError(
                f"min_pixels must be a whole number >= 2, got {self.min_pixels!r}; one pixel has no texture."
            )
        ends = self.value_range
        if not (_is_list(ends) and len(ends) == 2 and all(map(_is_real, ends)) and ends[0] < ends[1]):
            raise ValueError(f"value_range must be (low, high) with low < high, got {self.value_range!r}.")
        if not _is_real(self.shift):
            raise ValueError(f"shift must be a number, got {self.shift!r}; the preset HU uses 1024.")
        steps = self.distances
        if not (_is_list(steps) and steps and all(_is_whole(step) and step >= 1 for step in steps)):
            raise ValueError(f"distances must be a list of whole numbers >= 1, got {steps!r}; such as [1] or [1, 2].")
        if len(set(steps)) < len(steps):
            raise ValueError(f"distances must differ, got {steps!r}; name each once.")
        if not (_is_whole(self.gldm_alpha) and self.gldm_alpha >= 0):
            raise ValueError(
                f"gldm_alpha must be a whole number >= 0, got {self.gldm_alpha!r}; 0 counts neighbours in the same bin."
            )

    def image_bins(self) -> dict[str, float]:
        """Name -> bin width of the image, whose name is "", and of every filtered image."""
        return _image_bins(self.bin_width, json.dumps(self.filters))

    def filter_options(self) -> dict[str, dict[str, Any]]:
        """Filter -> its options for PyRadiomics."""
        return _without_bins(self.filters)

    def features(self) -> dict[str, tuple[str, ...]]:
        """Class -> names of its features, without shape2D."""
        return {
            name: tuple(wanted) or feature_classes.features(name)
            for name, wanted in self.classes.items()
            if name != feature_classes.SHAPE
        }

    def shape_features(self) -> tuple[str, ...]:
        """Names of the features of shape2D, the area first."""
        wanted = self.classes.get(feature_classes.SHAPE)
        more = () if wanted is None else tuple(wanted) or feature_classes.features(feature_classes.SHAPE)
        return (_AREA, *(name for name in more if name != _AREA))


# At most 256 / 2 = 128 bins per region, and at least 16 if it spans 32 grey levels (about 190 HU at a window of
# 1500 HU): consolidation spans as much, GGO two to four times.
EIGHT_BIT = Settings(name="eight_bit", bin_width=2.0, value_range=(0.0, 255.0))

# The same resolution in Hounsfield units (2 grey levels of a 1500 HU window are 12 HU): at least 16 bins for a span of
# 192 HU, at most 128 for 1524 HU. Air (-1024 HU) is the zero of Energy.
HU = Settings(name="hu", bin_width=12.0, value_range=(-4096.0, 32767.0), shift=1024.0)

PRESETS = {settings.name: settings for settings in (EIGHT_BIT, HU)}


def make(preset: str, changes: Mapping[str, Any]) -> Settings:
    """Makes the settings of a preset with changes from a config or a JSON file.

    Raises: ValueError for an unknown preset or attribute, or an invalid value.
    """
    _check_known("preset", [preset], PRESETS)
    fields = [field.name for field in dataclasses.fields(Settings) if field.name != "name"]
    _check_known("setting", changes, fields)
    try:
        return dataclasses.replace(PRESETS[preset], **changes)
    except (TypeError, AttributeError, KeyError) as error:
        raise ValueError(
            f"Settings {dict(changes)} do not match the attributes of class Settings ({error})."
        ) from error


def versions() -> dict[str, str]:
    """Versions of packages that can change phenotypes."""
    return {"pyradiomics": importlib.metadata.version("pyradiomics")}
