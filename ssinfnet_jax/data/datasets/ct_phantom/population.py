"""Samples patients: who they are, what causes their lesions, and how severe the disease is.

The two tables below are the whole causal structure. Age, gender and the number of underlying
diseases are independent of each other by construction (in people, diseases come with age). Every lesion
property is

    value = mean + sd * (sum_cause effect * z(cause) + sqrt(1 - sum effect^2) * noise),

with z standardised and noise standard normal, so that effects are correlations. Severity depends on

    latent = sum_property effect * z(property) + sum_exposure effect * z(exposure) + noise.
"""

import dataclasses
from collections.abc import Mapping

import numpy as np

from ssinfnet_jax.data.clinical.clinical_table import SEVERITY_LEVELS


@dataclasses.dataclass(frozen=True)
class Property:
    """A property of a patient's lesions.

    Attributes:
      mean, sd: of the population, in the unit of the property.  low, high: range to which values are clipped.
      causes: exposure -> its effect on the standardised property.
      on_severity: effect of the standardised property on the latent severity.
      phenotype: the PyRadiomics phenotype that measures it.
    """

    mean: float
    sd: float
    low: float
    high: float
    causes: Mapping[str, float]
    on_severity: float
    phenotype: str


PROPERTIES: dict[str, Property] = {
    # Area of GGO in a slice, thousandths of the image.
    "ggo_extent": Property(36, 13, 6, 80, {"age": 0.65}, 0.62, "ggo_shape2D_PixelSurface"),
    # Standard deviation of HU within GGO.
    "ggo_heterogeneity_hu": Property(150, 36, 80, 250, {"underlying": 0.7}, 0.66, "ggo_firstorder_Variance"),
    # Mean HU of GGO: caused by diseases, but without an effect on severity.
    "ggo_density_hu": Property(-540, 55, -700, -380, {"underlying": 0.5}, 0.0, "ggo_firstorder_Mean"),
    # Area of consolidation in a slice, thousandths of the image, and its mean HU: no causes and no effects.
    "consolidation_extent": Property(9, 6, 0, 28, {}, 0.0, "consolidation_shape2D_PixelSurface"),
    "consolidation_density_hu": Property(0, 30, -70, 70, {}, 0.0, "consolidation_firstorder_Mean"),
}

# Direct effects of the exposures on the latent severity, not carried by any lesion property. Gender has no effect at
# all.
DIRECT: dict[str, float] = {"age": 0.05, "gender": 0.0, "underlying": 0.05}
SEVERITY_NOISE = 0.2
HEALTHY_FRACTION = 0.10

_AGE_YEARS = (22.0, 84.0)  # uniform
_UNDERLYING = (0.32, 0.30, 0.20, 0.12, 0.06)  # probability of 0, 1, ... diseases
# Upper ends of the levels from community-acquired pneumonia to severe. With the tenth of healthy controls,
# half of all patients are at level "Suspected" or below.
_LEVEL_ENDS = (-0.60, -0.16, 0.10, 0.45, 0.95, 1.55)

TRUTH: list[dict[str, object]] = [
    {
        "exposure": exposure,
        "property": name,
        "phenotype": item.phenotype,
        "mediates": bool(item.causes.get(exposure) and item.on_severity),
    }
    for exposure in DIRECT
    for name, item in PROPERTIES.items()
]


@dataclasses.dataclass(frozen=True)
class Patient:
    """A patient; `properties` is empty for one without lesions."""

    number: int
    age: float  # years
    gender: int  # 0 female, 1 male
    underlying: int  # number of diseases
    severity_level: str
    properties: Mapping[str, float]


def sample_patient(seed: int, number: int) -> Patient:
    """Samples patient `number` of the population `seed`; no patient depends on another."""
    rng = np.random.default_rng([seed, number, 0])
    age = round(float(rng.uniform(*_AGE_YEARS)), 1)
    gender = int(rng.integers(2))
    underlying = int(rng.choice(len(_UNDERLYING), p=_UNDERLYING))
    if rng.random() < HEALTHY_FRACTION:
        level = SEVERITY_LEVELS[int(rng.random() < 0.3)]
        return Patient(number, age, gender, underlying, level, {})
    exposures = _standardised(age, gender, underlying)
    properties, latent = {}, SEVERITY_NOISE * rng.standard_normal()
    for name, item in PROPERTIES.items():
        caused = sum(effect * exposures[cause] for cause, effect in item.causes.items())
        noise = np.sqrt(1 - sum(effect**2 for effect in item.causes.values())) * rng.standard_normal()
        properties[name] = float(np.clip(item.mean + item.sd * (caused + noise), item.low, item.high))
        latent += item.on_severity * (properties[name] - item.mean) / item.sd
    latent += sum(effect * exposures[name] for name, effect in DIRECT.items())
    level = SEVERITY_LEVELS[2 + int(np.searchsorted(_LEVEL_ENDS, latent))]
    return Patient(number, age, gender, underlying, level, properties)


def _standardised(age: float, gender: int, underlying: int) -> dict[str, float]:
    low, high = _AGE_YEARS
    counts = np.arange(len(_UNDERLYING))
    mean = float(counts @ np.array(_UNDERLYING))
    sd = float(np.sqrt(counts**2 @ np.array(_UNDERLYING) - mean**2))
    return {
        "age": (age - (low + high) / 2) / ((high - low) / np.sqrt(12)),
        "gender": 2.0 * gender - 1,
        "underlying": (underlying - mean) / sd,
    }
