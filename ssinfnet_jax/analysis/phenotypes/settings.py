"""What a phenotype is: the regions, the PyRadiomics classes, and the numbers that define the bins."""

import dataclasses
import importlib.metadata

from ssinfnet_jax.analysis.phenotypes import feature_classes

# Values of `classes` that make up each region.
REGIONS = {"ggo": (1,), "consolidation": (2,), "lesion": (1, 2)}
AREA = "shape2D_PixelSurface"
# Fewer or more bins than this make texture phenotypes hard to compare (PyRadiomics' own advice is 16-128).
NUM_BINS_RANGE = (16, 200)


@dataclasses.dataclass(frozen=True)
class Settings:
    """How PyRadiomics sees an image; each number changes phenotypes, so a table stores them beside itself.

    Attributes:
      name: of the preset, for messages.
      bin_width: width of a grey-level bin, in units of the image. Bins are counted from 0, not from the
        region's minimum, so that the same tissue falls into the same bin in every patient.
      value_range: lowest and highest value an image may hold; others are an error (wrong preset).
      shift: added before Energy, TotalEnergy and RootMeanSquared, so that no value is negative.
      min_pixels: smaller regions give no phenotypes but their area; 9 pixels are one 3x3 neighbourhood, the
        support of GLDM and NGTDM.
      distances: neighbour distances of the texture matrices, in pixels.
      gldm_alpha: largest difference in bins at which two neighbours are dependent (GLDM).
    """

    name: str
    bin_width: float
    value_range: tuple[float, float]
    shift: float = 0.0
    min_pixels: int = 9
    distances: tuple[int, ...] = (1,)
    gldm_alpha: int = 0

    def __post_init__(self):
        if not self.bin_width > 0:
            raise ValueError(f"bin_width must be > 0, got {self.bin_width}; the preset EIGHT_BIT uses 2.")
        if self.min_pixels < 2:
            raise ValueError(f"min_pixels must be >= 2, got {self.min_pixels}; one pixel has no texture.")
        if not self.value_range[0] < self.value_range[1]:
            raise ValueError(f"value_range must be (low, high) with low < high, got {self.value_range}.")


# 256 / 2 = 128: no region can have more than 128 bins, and one that spans 32 grey levels (about 190 HU at a
# window of 1500 HU: consolidation does, GGO spans two to four times that) has at least 16.
EIGHT_BIT = Settings(name="eight_bit", bin_width=2.0, value_range=(0.0, 255.0))

# The same resolution in Hounsfield units (2 grey levels of a 1500 HU window are 12 HU): at least 16 bins from
# 192 HU on, at most 128 up to 1524 HU. Air (-1024 HU) is the zero of Energy.
HU = Settings(name="hu", bin_width=12.0, value_range=(-4096.0, 32767.0), shift=1024.0)


def names(regions=tuple(REGIONS)) -> list[str]:
    """Column names of all phenotypes, 62 per region: `<region>_<class>_<feature>`, as `ggo_glcm_Imc1`.

    Raises: ValueError for an unknown region.
    """
    unknown = [region for region in regions if region not in REGIONS]
    if unknown:
        raise ValueError(f"Unknown region {unknown}; choose from {', '.join(REGIONS)}.")
    return [f"{region}_{feature}" for region in regions for feature in (AREA, *feature_classes.FEATURES)]


def versions() -> dict[str, str]:
    """Versions that can change the value of a phenotype."""
    return {"pyradiomics": importlib.metadata.version("pyradiomics")}
