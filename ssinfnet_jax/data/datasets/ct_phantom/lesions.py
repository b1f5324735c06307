"""Draws ground glass and consolidation into a healthy slice.

Before noise, every slice has exactly the properties of the causal table: the area by
taking as many pixels as asked for, the mean and the standard deviation of HU within the GGO by solving for the
offset and the gain of its texture. So area, density and texture cannot confound each other, whatever the shape of a
lesion's border. This holds for the lesion without its vessels; the labels include the vessels, as a
reader outlines a lesion and not the gaps in it.
"""

import dataclasses
import math

import numpy as np
from scipy import ndimage

from ssinfnet_jax.data.datasets.ct_phantom import anatomy

_BLUR_PIXELS = 0.55  # of the reconstruction, in final pixels
_MIN_CONSOLIDATION_PIXELS = 6


@dataclasses.dataclass(frozen=True)
class Foci:
    """A patient's lesions: centre, level, radius, turn and stretch of the ellipse, strength; float[num]."""

    x: np.ndarray
    y: np.ndarray
    level: np.ndarray
    radius: np.ndarray
    turn: np.ndarray
    stretch: np.ndarray
    strength: np.ndarray

    @classmethod
    def sample(cls, rng: np.random.Generator) -> "Foci":
        """Samples foci, mostly peripheral, posterior and bilateral, as in COVID-19."""
        num = int(rng.integers(5, 10))
        side = np.where(np.arange(num) % 2 == int(rng.integers(2)), -1, 1)
        heading = np.where(rng.random(num) < 0.75, rng.uniform(0.0, 1.2, num), rng.uniform(-1.1, 0.3, num))
        reach = rng.uniform(0.62, 0.95, num)
        return cls(
            x=side * (0.16 + 0.54 * reach * np.cos(heading)),
            y=0.50 * reach * np.sin(heading) + 0.02,
            level=rng.uniform(0.1, 1.0, num),
            radius=rng.uniform(0.10, 0.26, num),
            turn=rng.uniform(0, np.pi, num),
            stretch=rng.uniform(1.0, 2.2, num),
            strength=rng.uniform(0.6, 1.2, num),
        )


def render(
    healthy: anatomy.Anatomy,
    foci: Foci,
    level: float,
    properties: dict[str, float],
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """Draws lesions into a slice and blurs it; the caller adds noise.

    Args:
      healthy: the slice without lesions.
      foci: the patient's foci.
      level: of the slice, in [0, 1].
      properties: of the patient's lesions, see population.PROPERTIES; empty for none.
      rng: draws texture and borders.

    Returns: (HU float32[size, size], classes uint8[size, size]).
    """
    classes = np.zeros(healthy.lung.shape, np.uint8)
    if not properties:
        return _compose(healthy, healthy.parenchyma_hu), classes
    size = len(classes)
    score = _score(healthy, foci, level, rng)
    allowed = (healthy.lung > 0.9) & (ndimage.gaussian_filter(healthy.vessel, size / 160) < 0.30)
    budget = int(0.7 * allowed.sum())

    solid_score = score + sum(
        w * anatomy.smooth_noise(rng, size, cells) for w, cells in ((0.5, 7), (0.3, 14), (0.08, 40))
    )
    num_solid = min(_pixels(properties["consolidation_extent"], size), budget // 3)
    solid = np.zeros(classes.shape, np.float32)
    if num_solid >= _MIN_CONSOLIDATION_PIXELS:
        classes[_highest(solid_score, allowed, num_solid)] = 2
        solid = _soften(solid_score, classes == 2, allowed, 0.12)
    free = allowed & (classes == 0)
    num_ggo = max(min(_pixels(properties["ggo_extent"], size), budget), 1)
    classes[_highest(score, free, num_ggo)] = 1
    hazy = _soften(score, classes == 1, free, 0.18) * (1 - solid)

    solid_hu = properties["consolidation_density_hu"] + 30 * anatomy.smooth_noise(rng, size, size // 5)
    solid_hu = np.where(healthy.airway > 0.6, -700, solid_hu)
    lung_hu = (1 - hazy - solid) * healthy.parenchyma_hu + solid * solid_hu
    texture = _texture(rng, size)
    base = _compose(healthy, lung_hu)
    share = healthy.lung * (1 - healthy.vessel) * hazy
    offset_map, gain_map = _blur(share), _blur(share * texture)
    offset, gain = _calibrate(
        base,
        offset_map,
        gain_map,
        classes == 1,
        properties["ggo_density_hu"],
        properties["ggo_heterogeneity_hu"],
    )
    return base + offset * offset_map + gain * gain_map, _outlined(classes, score, healthy.lung > 0.5)


def _pixels(permille: float, size: int) -> int:
    return round(permille / 1000 * size * size)


def _score(healthy, foci, level, rng) -> np.ndarray:
    """Returns a map that is high where lesions are likely; its contours are the lesions' irregular borders."""
    size = len(healthy.lung)
    strength = foci.strength * np.exp(-(((foci.level - level) / 0.35) ** 2))
    blobs = np.zeros((size, size), np.float32)
    for k in range(len(strength)):
        cos, sin, stretch = math.cos(foci.turn[k]), math.sin(foci.turn[k]), float(foci.stretch[k])
        dx, dy = healthy.x - float(foci.x[k]), healthy.y - float(foci.y[k])
        squared = (cos * dx + sin * dy) ** 2 / stretch + (cos * dy - sin * dx) ** 2 * stretch
        blobs = np.maximum(blobs, float(strength[k]) * np.exp(-squared / float(foci.radius[k] ** 2)))
    rough = sum(w * anatomy.smooth_noise(rng, size, cells) for w, cells in ((0.24, 6), (0.12, 13), (0.04, 28)))
    periphery = 0.35 * np.exp(-np.maximum(healthy.depth, 0) / 0.12)
    return 1.2 * blobs + rough + periphery + 0.25 * np.clip(healthy.y, -0.3, 0.5)


def _highest(score: np.ndarray, allowed: np.ndarray, number: int) -> tuple[np.ndarray, ...]:
    """Returns the indices of the `number` highest allowed pixels."""
    flat = np.flatnonzero(allowed)
    chosen = flat[np.argpartition(-score.ravel()[flat], min(number, len(flat)) - 1)[:number]]
    return np.unravel_index(chosen, score.shape)


def _outlined(classes: np.ndarray, score: np.ndarray, lung: np.ndarray) -> np.ndarray:
    """Adds the vessels that run through lesions, as a reader would; each gets the nearest class."""
    inside = lung & (classes == 0) & (score >= score[classes == 1].min())
    nearest = ndimage.distance_transform_edt(classes == 0, return_distances=False, return_indices=True)
    return np.where(inside, classes[tuple(nearest)], classes).astype(np.uint8)


def _soften(score: np.ndarray, region: np.ndarray, allowed: np.ndarray, width: float) -> np.ndarray:
    """Returns the share of lesion in [0, 1], 1/2 at the region's border; `width`: in SDs of the score."""
    spread = width * float(score[allowed | region].std())
    return (1 / (1 + np.exp(-np.clip((score - score[region].min()) / spread, -30, 30)))).astype(np.float32)


def _texture(rng: np.random.Generator, size: int) -> np.ndarray:
    """Draws patches and fine strands, like thickened septa; the gain is set later."""
    fine = ndimage.gaussian_filter(rng.standard_normal((size, size), dtype=np.float32), size / 150)
    strands = -np.abs(ndimage.gaussian_filter(rng.standard_normal((size, size), dtype=np.float32), size / 75))
    return fine / fine.std() + strands / strands.std()


def _compose(healthy: anatomy.Anatomy, lung_hu: np.ndarray) -> np.ndarray:
    lung = healthy.vessel * anatomy.BLOOD_HU + (1 - healthy.vessel) * lung_hu
    return _blur(healthy.tissue_hu + healthy.lung * lung)


def _blur(values: np.ndarray) -> np.ndarray:
    return ndimage.gaussian_filter(values, _BLUR_PIXELS, truncate=3)


def _calibrate(base, offset_map, gain_map, region, mean, sd) -> tuple[float, float]:
    """Solves for (c, k) such that base + c offset_map + k gain_map has this mean and standard deviation in the region.

    For a given k the mean fixes c, so the variance is a quadratic in k. If vessels and borders alone
    exceed the requested variance, k minimises it.
    """
    b, o, g = (values[region].astype(np.float64) for values in (base, offset_map, gain_map))
    # base + c o + k g with c = (mean - mean(b) - k mean(g)) / mean(o)
    fixed = b + (mean - b.mean()) / o.mean() * o
    moving = g - g.mean() / o.mean() * o
    fixed, moving = fixed - fixed.mean(), moving - moving.mean()
    square, mixed, rest = (moving**2).mean(), (fixed * moving).mean(), (fixed**2).mean() - sd**2
    root = mixed**2 - square * rest
    gain = (-mixed + np.sqrt(max(root, 0.0))) / max(square, 1e-12)
    return float((mean - b.mean() - gain * g.mean()) / o.mean()), float(gain)
