"""Draws a healthy axial chest slice from a patient's build and the level in the thorax.

The view is the radiologist's: up is anterior, the image's left is the patient's right. Lengths are in half
fields of view, x and y in [-1, 1]; the level runs from 0 (apex of the lungs) to 1 (diaphragm). The chest is a
ring around the thoracic cavity: every pixel has a height over the wall (negative inside) and an angle from
the sternum (0) to the spine (pi). Skin, fat, muscle, ribs, sternum and scapulae are bands in these two coordinates.
"""

import dataclasses
import functools
import math

import numpy as np
from PIL import Image, ImageDraw

AIR_HU, FAT_HU, MUSCLE_HU, BLOOD_HU, MARROW_HU, CORTEX_HU = -1000.0, -100.0, 50.0, 45.0, 140.0, 550.0

_OVERSAMPLING = 2  # for edges
_VESSEL_OVERSAMPLING = 4  # thin lines need more


@dataclasses.dataclass(frozen=True)
class Build:
    """What differs between patients; lengths in half fields of view."""

    width: float  # factors on the cavity
    depth: float
    fat: float  # thickness under the skin
    muscle: float
    heart: float  # factor on the size of the heart
    tilt: float  # radians
    breast: float  # thickness added in front
    has_table: bool
    lung_hu: float
    noise_hu: float  # standard deviation
    rib_phase: float
    taper: float  # how much wider the cavity is behind than in front
    skew: float  # how much wider it is on one side

    @classmethod
    def sample(cls, rng: np.random.Generator, gender: int) -> "Build":
        """Samples a build; gender (0 female, 1 male) only changes the shape of the chest."""
        return cls(
            width=rng.uniform(0.92, 1.04),
            depth=rng.uniform(0.90, 1.10),
            fat=rng.uniform(0.02, 0.07),
            muscle=rng.uniform(0.07, 0.085),
            heart=rng.uniform(0.88, 1.08),
            tilt=rng.normal(0, 0.035),
            breast=rng.uniform(0.03, 0.09) if gender == 0 else 0.0,
            has_table=bool(rng.random() < 0.6),
            lung_hu=rng.normal(-870, 12),
            noise_hu=rng.uniform(14, 22),
            rib_phase=rng.uniform(0, 1),
            taper=rng.uniform(0.04, 0.15),
            skew=rng.normal(0, 0.015),
        )


@dataclasses.dataclass(frozen=True)
class Anatomy:
    """A healthy slice in layers, each float32[size, size].

    Attributes:
      tissue_hu: HU of everything that is not lung, times its share of the pixel.
      lung: share of the pixel that is lung, in [0, 1].
      vessel: share of the lung that is vessel, in [0, 1].
      airway: share of the lung that is bronchus, in [0, 1]; visible where consolidation surrounds it.
      parenchyma_hu: HU of the lung between the vessels.
      depth: distance from the chest wall, > 0 inside.
      x, y: coordinates.
    """

    tissue_hu: np.ndarray
    lung: np.ndarray
    vessel: np.ndarray
    airway: np.ndarray
    parenchyma_hu: np.ndarray
    depth: np.ndarray
    x: np.ndarray
    y: np.ndarray


def draw(build: Build, level: float, size: int, rng: np.random.Generator) -> Anatomy:
    """Draws a healthy slice.

    Args:
      build: the patient's build.
      level: in [0, 1].
      size: pixels per side.
      rng: draws what varies between slices of a patient.
    """
    x, y = _grid(size * _OVERSAMPLING, build.tilt)
    cavity_width = build.width * _at(level, [0, 0.15, 0.3, 0.5, 0.8, 1], [0.48, 0.61, 0.71, 0.76, 0.78, 0.78])
    cavity_depth = build.depth * _at(level, [0, 0.3, 0.6, 1], [0.36, 0.48, 0.545, 0.56])
    height, angle = _over_wall(build, x, y, cavity_width, cavity_depth)

    hu, body = _chest_wall(build, level, x, y, height, angle, cavity_depth)
    centre = _centre(size * _OVERSAMPLING)  # holds everything that follows
    x_in, y_in, cavity = x[centre], y[centre], height[centre] < 0
    spine = _ellipse(x_in, y_in, 0, cavity_depth - 0.08, 0.145, 0.125)
    mediastinum, structures = _mediastinum(build, level, x_in, y_in, cavity_depth)
    liver = _diaphragm(level, x_in, y_in)
    solid = np.minimum(spine, liver)
    lung = (height < -0.012) & body
    lung[centre] &= np.minimum(mediastinum, solid) > 0
    filled = np.where(structures | (solid < 0), BLOOD_HU, FAT_HU)
    inner = np.where(cavity & ~lung[centre], filled, hu[centre])
    inner = _spine(inner, x_in, y_in, cavity_depth)
    hu[centre] = _airways(inner, level, x_in, y_in)

    x, y = _grid(size, build.tilt)
    vessel, airway = _vessels(level, size, cavity_width, cavity_depth, rng)
    depth = -_over_wall(build, x, y, cavity_width, cavity_depth)[0]
    return Anatomy(
        tissue_hu=_pool(np.where(lung, np.float32(0), hu)),
        lung=_pool(lung.astype(np.float32)),
        vessel=vessel * np.clip(depth / 0.10, 0.25, 1),  # only thin vessels reach the pleura
        airway=airway,
        parenchyma_hu=build.lung_hu + 45 * y + smooth_noise(rng, size, 10) * 10,
        depth=depth,
        x=x,
        y=y,
    )


def _at(level: float, levels, values) -> float:
    """Interpolates linearly; returns a Python float, so that arrays stay float32."""
    return float(np.interp(level, levels, values))


def smooth_noise(rng: np.random.Generator, size: int, cells: int) -> np.ndarray:
    """Interpolates standard normal numbers on a grid of cells x cells to float32[size, size]."""
    coarse = Image.fromarray(rng.standard_normal((cells, cells), dtype=np.float32))
    return np.asarray(coarse.resize((size, size), Image.Resampling.BICUBIC))


def _grid(size: int, tilt: float) -> tuple[np.ndarray, np.ndarray]:
    centres = ((np.arange(size, dtype=np.float32) + 0.5) / size) * 2 - 1
    x, y = centres[None, :], centres[:, None] - 0.02
    cos, sin = math.cos(tilt), math.sin(tilt)  # Python floats keep the arrays float32
    return cos * x + sin * y, cos * y - sin * x


def _pool(values: np.ndarray) -> np.ndarray:
    """Averages blocks of _OVERSAMPLING x _OVERSAMPLING pixels."""
    step = range(_OVERSAMPLING)
    return sum(values[i::_OVERSAMPLING, j::_OVERSAMPLING] for i in step for j in step) / np.float32(_OVERSAMPLING**2)


def _centre(size: int) -> tuple[slice, slice]:
    """Returns the rows and columns of a size x size grid that can hold heart, spine, liver and airways."""
    return slice(int(0.12 * size), int(0.96 * size)), slice(int(0.12 * size), int(0.88 * size))


def _over_wall(build, x, y, width, depth):
    """Returns the radial height over the cavity and the angle from anterior (0) to posterior (pi).

    The cavity is a superellipse (power 2.5), narrower in front; its two sides differ slightly.
    """
    across = np.abs(x) / (width * (1 + np.float32(build.taper) * np.clip(y / depth, -1, 1)))
    across = across * np.where(x < 0, np.float32(1 + build.skew), np.float32(1 - build.skew))
    along = np.abs(y) / depth
    ratio = (across * across * np.sqrt(across) + along * along * np.sqrt(along)) ** np.float32(0.4)
    radius = np.sqrt(x * x + y * y)
    return radius * (1 - 1 / np.maximum(ratio, 1e-3)), np.arctan2(np.abs(x), -y)


def _ellipse(x, y, x0, y0, rx, ry, turn=0.0):
    """Approximates the distance to an ellipse; negative inside."""
    dx, dy = x - x0, y - y0
    if turn:
        cos, sin = math.cos(turn), math.sin(turn)
        dx, dy = cos * dx + sin * dy, cos * dy - sin * dx
    return (np.sqrt((dx / rx) ** 2 + (dy / ry) ** 2) - 1) * min(rx, ry)


def _smooth_union(fields, blend=0.05):
    """Unites fields with rounded inner corners."""
    union = fields[0]
    for field in fields[1:]:
        mix = np.maximum(blend - np.abs(union - field), 0) / blend
        union = np.minimum(union, field) - mix * mix * (blend / 4)
    return union


def _bump(angle, centre, spread):
    return np.exp(-(((angle - centre) / spread) ** 2))


def _wall_thickness(build, level):
    """Returns the heights of muscle and skin over the cavity at 512 angles from 0 to pi, and the shoulders' size."""
    angle = np.linspace(0, np.pi, 512)
    shoulders = _at(level, [0, 0.25, 0.45], [1, 0.35, 0])
    muscle = build.muscle * (
        1
        + (0.8 + 1.6 * shoulders) * _bump(angle, 2.25, 0.5)  # latissimus and the muscles of the scapula
        + (0.2 + 1.0 * shoulders) * _bump(angle, 0.75, 0.35)  # pectorals
        + 1.9 * _bump(angle, np.pi, 0.42)  # beside the spine
        - 0.25 * _bump(angle, 0.0, 0.2)
    )
    muscle += shoulders * 0.16 * _bump(angle, 1.6, 0.5)
    fat = build.fat * (1 + 0.5 * _bump(angle, 1.4, 0.6) - 0.45 * _bump(angle, np.pi, 0.2))
    fat += build.breast * _at(level, [0.3, 0.5, 0.75, 0.95], [0, 1, 1, 0.2]) * _bump(angle, 0.72, 0.3)
    return muscle.astype(np.float32), (muscle + fat).astype(np.float32), shoulders


def _chest_wall(build, level, x, y, height, angle, cavity_depth):
    """Returns the HU of everything outside the cavity, and the body mask."""
    muscle, skin, shoulders = _wall_thickness(build, level)
    nearest = (angle * np.float32(511 / np.pi)).astype(np.intp)
    muscle, skin = muscle[nearest], skin[nearest]
    body = height < skin

    hu = np.where(height < muscle, np.float32(MUSCLE_HU), np.float32(FAT_HU))
    hu = np.where((height > 0.055) & (height < 0.068) & (height < muscle) & (angle < 2.7), -20.0, hu)  # between muscles
    hu = np.where(height > skin - 0.014, 20.0, hu)
    hu = _ribs(build, level, hu, x, height, angle)
    sternum = _ellipse(x, y, 0, -cavity_depth - 0.045, _at(level, [0, 0.3, 0.8], [0.15, 0.10, 0.08]), 0.032)
    hu = _bone(hu, sternum, cortex=0.010)
    if shoulders > 0.15:
        blade = np.maximum(np.abs(height - 0.115) - 0.012, np.abs(angle - 2.2) * 0.6 - 0.17 * (0.5 + shoulders))
        hu = _bone(hu, blade, cortex=0.008)
    hu = np.where(body, hu, AIR_HU)
    if build.has_table:
        table = np.abs(y - 0.86 + 0.10 * x * x)
        hu = np.where(~body & (table < 0.012), -350.0, hu)
    return hu, body


def _ribs(build, level, hu, x, height, angle):
    """Draws ribs. They run down and forward, so a slice cuts several, and they move round the wall with the level."""
    spacing = 0.52
    side = np.where(x < 0, np.float32(0), np.float32(0.37))
    position = angle / spacing + build.rib_phase + side + 7 * level
    number = np.floor(position)
    along = (position - number - 0.5) * np.float32(spacing * 0.62)
    lengths = 0.085 + 0.035 * np.sin(np.arange(int(number.max()) + 1, dtype=np.float32) * np.float32(2.4))
    half_length = lengths[number.astype(np.intp)]
    rib = (np.sqrt((along / half_length) ** 2 + ((height - 0.032) / 0.024) ** 2) - 1) * 0.024
    rib = np.where((angle > 0.32) & (angle < 2.85), rib, 1)
    return _bone(hu, rib, cortex=0.010, costal=angle < 0.75)


def _bone(hu, field, cortex, costal=False):
    inner = np.where(costal, np.float32(90), np.float32(MARROW_HU))
    outer = np.where(costal, np.float32(160), np.float32(CORTEX_HU))
    return np.where(field < -cortex, inner, np.where(field < 0, outer, hu))


def _spine(hu, x, y, cavity_depth):
    """Draws the vertebral body, the arch with its canal, and the transverse and spinous processes."""
    behind = cavity_depth + 0.07
    arch = _smooth_union(
        [
            _ellipse(x, y, 0, behind, 0.095, 0.075),
            _ellipse(x, y, 0, behind + 0.08, 0.022, 0.065),
            _ellipse(np.abs(x), y, 0.13, behind + 0.02, 0.085, 0.028, turn=0.35),
        ],
        blend=0.03,
    )
    hu = _bone(hu, arch, cortex=0.012)
    hu = _bone(hu, _ellipse(x, y, 0, cavity_depth - 0.08, 0.118, 0.098), cortex=0.012)
    return np.where(_ellipse(x, y, 0, behind - 0.005, 0.055, 0.048) < 0, 30.0, hu)


def _mediastinum(build, level, x, y, cavity_depth):
    """Returns the outline (negative inside) and a mask of vessels, heart and oesophagus within its fat."""
    at = functools.partial(_at, level)
    parts = []
    if level < 0.33:  # arch of the aorta and its branches
        grow = at([0, 0.2, 0.33], [0.45, 1, 0.8])
        parts.append(_ellipse(x, y, 0.08, -0.04, 0.085 * grow, 0.17 * grow, turn=0.25))
        parts.append(_ellipse(x, y, -0.13, -0.09, 0.055, 0.06))
    if 0.28 < level < 0.62:  # great vessels
        parts.append(_ellipse(x, y, -0.06, -0.13, 0.095, 0.095))
        parts.append(_ellipse(x, y, 0.10, -0.14, 0.10, 0.085, turn=0.5))
        parts.append(_ellipse(x, y, -0.17, -0.06, 0.05, 0.055))
        parts.append(_ellipse(x, y, 0.0, 0.0, 0.20, 0.05))
        parts.append(_ellipse(np.abs(x), y, 0.19, 0.05, 0.06, 0.05, turn=0.4))
    if level > 0.45:
        grow = build.heart * at([0.45, 0.6, 0.75, 0.95, 1], [0.55, 0.86, 1, 0.95, 0.8])
        parts.append(_ellipse(x, y, 0.15, -0.35 * cavity_depth, 0.35 * grow, 0.24 * grow, turn=0.5))
        parts.append(_ellipse(x, y, -0.09, -0.20 * cavity_depth, 0.16 * grow, 0.21 * grow))
    if level > 0.22:
        parts.append(_ellipse(x, y, 0.145, cavity_depth - 0.20, 0.07, 0.07))  # descending aorta
    parts.append(_ellipse(x, y, 0.03, cavity_depth - 0.26, 0.045, 0.032))  # oesophagus
    structures = np.minimum.reduce(parts) < 0
    envelope = [
        _ellipse(
            x,
            y,
            at([0.4, 0.7], [0, 0.05]),
            -cavity_depth * 0.8,
            at([0, 0.3, 0.6], [0.12, 0.05, 0.11]),
            cavity_depth * 0.4,
        ),
        _ellipse(x, y, 0.01, 0.03, at([0, 0.25, 0.5], [0.17, 0.12, 0.13]), 0.22),
    ]
    outline = _smooth_union([*[part - 0.012 for part in parts], *envelope], blend=0.07)
    return outline, structures


def _diaphragm(level, x, y):
    """Draws the dome of the liver in the right lung and that of the spleen or stomach in the left lung."""
    right = _at(level, [0.78, 1], [0, 1])
    left = _at(level, [0.86, 1], [0, 1])
    dome = np.full(x.shape, 1, np.float32)
    if right > 0.05:
        dome = np.minimum(dome, _ellipse(x, y, -0.38, -0.05, 0.30 * right**0.5, 0.30 * right**0.5))
    if left > 0.05:
        dome = np.minimum(dome, _ellipse(x, y, 0.42, 0.02, 0.24 * left**0.5, 0.22 * left**0.5))
    return dome


def _airways(hu, level, x, y):
    """Draws the trachea above the carina and the main bronchi below it."""
    if level < 0.4:
        tube = _ellipse(x, y, -0.01, 0.06, 0.052, 0.056)
    elif level < 0.62:
        spread = _at(level, [0.4, 0.62], [0.07, 0.17])
        tube = _ellipse(np.abs(x), y, spread, 0.075, 0.043, 0.036, turn=0.4)
    else:
        return hu
    return np.where(tube < 0, AIR_HU + 20, np.where(tube < 0.016, 10.0, hu))


def _vessels(level, size, width, depth, rng):
    """Draws trees that taper from hilum to wall, cross-sections between them, and a fissure; see Anatomy."""
    side_pixels = size * _VESSEL_OVERSAMPLING
    layers = [Image.new("L", (side_pixels, side_pixels)) for _ in range(2)]
    pens = [ImageDraw.Draw(layer) for layer in layers]
    scale = side_pixels / 2
    for side in (-1, 1):
        hilum = (
            side * _at(level, [0, 0.5, 1], [0.15, 0.20, 0.27]),
            _at(level, [0, 0.5, 1], [0.0, 0.06, 0.18]),
        )
        thickness = _at(level, [0.05, 0.45, 1], [0.5, 1.0, 0.7])
        _draw_fissure(pens[0], side, level, width, depth, scale, rng)
        _draw_tree(pens, side, hilum, thickness, width, depth, scale, rng)
        _draw_cross_sections(pens[0], side, hilum, width, depth, scale, rng)
    return tuple(np.asarray(layer.reduce(_VESSEL_OVERSAMPLING), np.float32) / 255 for layer in layers)


def _draw_tree(pens, side, hilum, thickness, width, depth, scale, rng):
    """Draws branches as bent lines, thick to thin; a bronchus runs beside the thick ones (second pen)."""
    normal, uniform = (iter(values.tolist()) for values in (rng.standard_normal(3000), rng.random(3000)))
    num_trunks = int(rng.integers(4, 7))
    branches = []
    for k in range(num_trunks):
        heading = -1.25 + 2.6 * (k + 0.15 + 0.7 * next(uniform)) / num_trunks
        direction = math.atan2(math.sin(heading), side * math.cos(heading))
        trunk = thickness * (0.026 if k % 3 == 1 else 0.016) * (0.7 + 0.5 * next(uniform))
        branches.append((*hilum, direction, trunk, 0.17 + 0.08 * next(uniform), 1.0))
    while branches:
        x, y, direction, wide, length, shade = branches.pop()
        line, bronchus = [(x + 1) * scale, (y + 1) * scale], []
        for _ in range(3):
            direction += 0.13 * next(normal)
            x += math.cos(direction) * length / 3
            y += math.sin(direction) * length / 3
            line += [(x + 1) * scale, (y + 1) * scale]
            bronchus += [
                (x + 1 - wide * math.sin(direction)) * scale,
                (y + 1 + wide * math.cos(direction)) * scale,
            ]
        pens[0].line(line, fill=int(255 * shade), width=max(1, round(wide * scale)))
        if wide > 0.010:
            pens[1].line(bronchus, fill=255, width=max(2, round(0.8 * wide * scale)))
        if wide < 0.0062 or (x / width) ** 2 + (y / depth) ** 2 > 0.95:
            continue
        turn = math.copysign(0.25 + 0.4 * next(uniform), next(normal))
        # A branch that leaves the slice fades or ends.
        if next(uniform) < 0.92:
            dim = shade if next(uniform) < 0.7 else 0.7 * shade
            branches.append((x, y, direction - 0.4 * turn, wide * (0.66 + 0.16 * next(uniform)), length * 0.8, dim))
        if next(uniform) < 0.6:
            dim = shade * (0.6 + 0.4 * next(uniform))
            branches.append((x, y, direction + turn, wide * (0.45 + 0.2 * next(uniform)), length * 0.7, dim))


def _draw_cross_sections(pen, side, hilum, width, depth, scale, rng):
    num = 22
    reach = np.sqrt(rng.random(num))
    heading = rng.uniform(-np.pi / 2, np.pi / 2, num)
    x = side * (0.14 + (width - 0.14) * reach * np.cos(heading))
    y = depth * reach * np.sin(heading) + 0.03
    distance = np.hypot(x - hilum[0], y - hilum[1])
    radius = np.clip(0.019 - 0.026 * distance, 0.0045, 0.014) * rng.uniform(0.7, 1.3, num)
    stretch = rng.uniform(0.8, 1.6, num)
    shade = rng.uniform(120, 255, num).astype(int)
    for k in range(num):
        rx, ry = radius[k] * stretch[k] * scale, radius[k] * scale
        cx, cy = (x[k] + 1) * scale, (y[k] + 1) * scale
        pen.ellipse([cx - rx, cy - ry, cx + rx, cy + ry], fill=int(shade[k]))


def _draw_fissure(pen, side, level, width, depth, scale, rng):
    """Draws the oblique fissure: a faint curve from mediastinum to side wall, further forward at lower levels."""
    y_wall = _at(level, [0.1, 1], [0.75, -0.65]) * depth + rng.normal(0, 0.02)
    t = np.linspace(0, 1, 12)
    x = side * (0.16 + (width - 0.16) * t)
    y = y_wall * (0.55 + 0.45 * t) + 0.05 * np.sin(np.pi * t) * rng.uniform(-1, 1)
    pen.line(
        [value for pair in zip((x + 1) * scale, (y + 1) * scale, strict=True) for value in pair],
        fill=50,
        width=2,
    )
