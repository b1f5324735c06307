"""Generated chest CT; see the README beside this file."""

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import tensorflow_datasets as tfds

from ssinfnet_jax.data.datasets import slice_builder
from ssinfnet_jax.data.datasets.ct_phantom import generator, population

# Cohort patients are numbered from here, so that neither part changes when the other grows.
_FIRST_OF_COHORT = 100_000


@dataclasses.dataclass(kw_only=True)
class PhantomConfig(tfds.core.BuilderConfig):
    """size: pixels per side of the frame; num_labeled, num_cohort: patients per part; noise: factor on the noise."""

    size: int
    num_labeled: int
    num_cohort: int
    slices_per_patient: int
    seed: int = 0
    noise: float = 1.0
    prefix: str = "phantom"  # of ids


# Test sets for networks trained on the configs of the same size: other patients, a scanner with twice the noise.
_OTHER_SCANNER = {"num_cohort": 0, "seed": 1, "noise": 2.0, "prefix": "other"}


class Builder(slice_builder.SliceBuilder):
    """Labeled patients for the networks, and a cohort with clinical columns for the mediation analysis."""

    VERSION = tfds.core.Version("1.0.0")
    VIEW = "lungs"
    NEEDS_SOURCE = False
    TRUTH = population.TRUTH
    BUILDER_CONFIGS = [  # noqa: RUF012
        PhantomConfig(
            name="demo",
            description="276 patients, cropped from frames of 160x160.",
            size=160,
            num_labeled=96,
            num_cohort=180,
            slices_per_patient=3,
        ),
        PhantomConfig(
            name="tiny",
            description="16 patients, cropped from frames of 64x64, for tests.",
            size=64,
            num_labeled=6,
            num_cohort=10,
            slices_per_patient=2,
        ),
        PhantomConfig(
            name="demo_other_scanner",
            description="24 patients in noisier frames of 160x160.",
            size=160,
            num_labeled=24,
            slices_per_patient=3,
            **_OTHER_SCANNER,
        ),
        PhantomConfig(
            name="tiny_other_scanner",
            description="4 patients in noisier frames of 64x64, for tests.",
            size=64,
            num_labeled=4,
            slices_per_patient=2,
            **_OTHER_SCANNER,
        ),
    ]

    def list_slices(self, source_dir: Path | None) -> Sequence[slice_builder.Slice]:
        """Lists the slices of both parts, whose patients are sampled one by one from the population."""
        config = self.builder_config
        numbers = {
            "labeled": range(config.num_labeled),
            "cohort": range(_FIRST_OF_COHORT, _FIRST_OF_COHORT + config.num_cohort),
        }
        return [
            self._slice(part, population.sample_patient(config.seed, number), index)
            for part, of_part in numbers.items()
            for number in of_part
            for index in range(config.slices_per_patient)
        ]

    def _slice(self, part: str, patient: population.Patient, index: int) -> slice_builder.Slice:
        clinical = {name: getattr(patient, name) for name in ("age", "gender", "underlying", "severity_level")}
        patient_id = f"{self.builder_config.prefix}_{patient.number:06d}"
        return slice_builder.Slice(
            slice_id=f"{patient_id}_{index}",
            patient_id=patient_id,
            part=part,
            read=functools.partial(_read, self.builder_config, patient, index, with_labels=part == "labeled"),
            clinical=clinical if part == "cohort" else {},
        )


def _read(
    config: PhantomConfig, patient: population.Patient, index: int, *, with_labels: bool
) -> Mapping[str, np.ndarray]:
    rendered = generator.render_slice(
        config.seed, patient, index, config.slices_per_patient, config.size, noise=config.noise
    )
    if not with_labels:
        return {"image": rendered.image}
    return {"image": rendered.image, "lesion": rendered.lesion, "classes": rendered.classes}
