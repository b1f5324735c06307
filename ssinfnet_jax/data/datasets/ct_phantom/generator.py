"""Renders the image and the labels of a patient's slice."""

import dataclasses

import numpy as np
from scipy import ndimage

from ssinfnet_jax.data import ct
from ssinfnet_jax.data.datasets.ct_phantom import anatomy, lesions, population

_MARGIN = 0.04  # of the frame, on each side of the lungs


@dataclasses.dataclass(frozen=True)
class Rendered:
    """A generated slice, cropped to the lungs: image uint8[H, W], lesion uint8 {0, 1}, classes uint8 {0, 1, 2}."""

    image: np.ndarray
    lesion: np.ndarray
    classes: np.ndarray


@dataclasses.dataclass(frozen=True)
class Frame:
    """A whole frame: hu float32[H, W], classes uint8 {0, 1, 2}, lung float32, the share of a pixel that is lung."""

    hu: np.ndarray
    classes: np.ndarray
    lung: np.ndarray


def render_slice(
    seed: int, patient: population.Patient, index: int, num_slices: int, size: int, *, noise: float = 1.0
) -> Rendered:
    """Draws one slice of a patient, cropped to the lungs; depends only on the arguments.

    Args:
      seed: of the population, as for `population.sample_patient`.
      patient: whose chest to draw.
      index: of the slice, in [0, num_slices), apex to base.
      num_slices: slices of the patient.
      size: pixels per side of the whole frame, before cropping.
      noise: factor on the noise of the population's scanners.
    """
    frame = render_hu(seed, patient, index, num_slices, size, noise=noise)
    view = _field_of_view(frame.lung)
    classes = frame.classes[view]
    return Rendered(image=ct.window_hu(frame.hu[view]), lesion=(classes > 0).astype(np.uint8), classes=classes)


def render_hu(
    seed: int, patient: population.Patient, index: int, num_slices: int, size: int, *, noise: float = 1.0
) -> Frame:
    """Draws the whole frame of `render_slice`, in Hounsfield units."""
    of_patient = np.random.default_rng([seed, patient.number, 1])
    build = anatomy.Build.sample(of_patient, patient.gender)
    foci = lesions.Foci.sample(of_patient)
    rng = np.random.default_rng([seed, patient.number, 2, index])
    level = float(0.2 + 0.7 * (index + rng.uniform(0.2, 0.8)) / num_slices)
    healthy = anatomy.draw(build, level, size, rng)
    hu, classes = lesions.render(healthy, foci, level, dict(patient.properties), rng)
    grain = ndimage.gaussian_filter(rng.standard_normal((size, size), dtype=np.float32), 0.6)
    hu += noise * build.noise_hu * grain / grain.std()
    return Frame(hu, classes, healthy.lung)


def _field_of_view(lung: np.ndarray) -> tuple[slice, slice]:
    """Returns the box around both lungs with a small margin, as the public collections are cropped."""
    margin = round(_MARGIN * len(lung))
    box = []
    for axis in (1, 0):
        inside = np.flatnonzero((lung > 0.5).any(axis=axis))
        box.append(slice(max(inside[0] - margin, 0), min(inside[-1] + 1 + margin, len(lung))))
    return box[0], box[1]
