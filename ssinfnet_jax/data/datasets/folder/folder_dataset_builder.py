"""The dataset `folder`, and the public datasets that the package describes: builders that follow a description."""

import functools
from collections.abc import Sequence
from pathlib import Path

import tensorflow_datasets as tfds

from ssinfnet_jax.data.datasets import slice_builder
from ssinfnet_jax.data.datasets.folder import description as descriptions
from ssinfnet_jax.data.datasets.folder import inspection, reading

VOXEL_BY_VOXEL = "voxel_by_voxel"
_SHOWN = 10  # errors in one message


class Builder(slice_builder.SliceBuilder):
    """Reads images and masks as `dataset.yaml` in their folder says, or the `dataset.json` of nnU-Net."""

    VERSION = tfds.core.Version("1.0.0")
    BUILDER_CONFIGS = [  # noqa: RUF012
        tfds.core.BuilderConfig(name="default", description="All slices at their own size."),
        tfds.core.BuilderConfig(name=VOXEL_BY_VOXEL, description="For masks with wrong headers."),
    ]
    DESCRIPTION: descriptions.Description | None = None  # None: that of the folder

    def list_slices(self, source_dir: Path | None) -> Sequence[slice_builder.Slice]:
        """Lists the slices of all images, which it reads and checks first.

        Raises: ValueError with all errors of the dataset.
        """
        found = self.DESCRIPTION or descriptions.find(source_dir)
        self.view = found.view
        is_stored = self.builder_config.name == VOXEL_BY_VOXEL
        inspected = inspection.inspect(found, source_dir, voxel_by_voxel=is_stored)
        check_errors(inspected)
        for finding in inspected.findings:
            self.note(finding.kind, finding.sentence.removeprefix(f"{source_dir}/"))
        reader = reading.Reader(voxel_by_voxel=inspected.voxel_by_voxel, view=found.view)
        return [
            slice_builder.Slice(
                slice_id=seen.slice_id(index),
                patient_id=seen.patient_id(index),
                part=seen.item.part,
                read=functools.partial(reader.read, seen, index),
                clinical=seen.clinical,
                volume=seen.volume,
            )
            for seen in inspected.images
            for index in range(seen.num_slices)
        ]


def check_errors(inspected: inspection.Inspection) -> None:
    """Raises ValueError with the errors of a dataset that was inspected, if it has any."""
    errors = inspected.findings.of("error")
    if errors:
        lines = "\n  ".join(finding.sentence for finding in errors[:_SHOWN])
        more = f"\n  and {len(errors) - _SHOWN} more" if len(errors) > _SHOWN else ""
        raise ValueError(
            f"{inspected.root} has {len(errors)} errors, which `python -m launch.check_data` lists with their "
            f"remedies:\n  {lines}{more}"
        )


@functools.cache
def public(name: str) -> type[Builder]:
    """The builder of a public dataset, one of `description.public_names`."""
    found = descriptions.public(name)
    settings = {
        "__doc__": found.title,
        "__module__": __name__,
        "name": name,
        "DESCRIPTION": found,
        "VERSION": tfds.core.Version(found.version),
        "VIEW": found.view,
        "ORIGIN": found.origin,
        "PUBLISHED": found.published,
    }
    return type("".join(part.title() for part in name.split("_")), (Builder,), settings)
