"""MedSeg COVID-19 CT, read from NIfTI files in a local folder; see the README beside this file."""

import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import tensorflow_datasets as tfds

from ssinfnet_jax.data import ct, labels
from ssinfnet_jax.data.datasets import slice_builder
from ssinfnet_jax.data.readers import volume

_SUFFIXES = (".nii.gz", ".nii")

# (image, label or None, part) of files that do not identify the patients of their slices.
_SLICE_FILES = (("tr_im", "tr_mask", "labeled"), ("val_im", None, "unlabeled"))
_VOLUME_FOLDERS = ("rp_im", "rp_msk")
_VOXEL_BY_VOXEL = "voxel_by_voxel"
_REMEDY = f'If only its header is wrong, use the dataset ("medseg", "{_VOXEL_BY_VOXEL}"), which pairs voxels as stored.'


class Builder(slice_builder.SliceBuilder):
    """Reads the 100-slice set (tr_im, tr_mask, val_im) and nine Radiopaedia volumes (rp_im, rp_msk), or any subset."""

    VERSION = tfds.core.Version("1.0.0")
    BUILDER_CONFIGS = [  # noqa: RUF012
        tfds.core.BuilderConfig(name="default", description="All axial slices at their own size."),
        tfds.core.BuilderConfig(name=_VOXEL_BY_VOXEL, description="For labels with wrong headers."),
    ]

    @property
    def _voxel_by_voxel(self) -> bool:
        return self.builder_config.name == _VOXEL_BY_VOXEL

    def list_slices(self, source_dir: Path | None) -> Sequence[slice_builder.Slice]:
        """Lists all axial slices; a Radiopaedia volume is one patient, a slice of the 100-slice set is its own."""
        read_image = functools.lru_cache(maxsize=1)(self._read_image)
        read_classes = functools.lru_cache(maxsize=1)(self._read_classes)
        slices = []
        for image_name, label_name, part in _SLICE_FILES:
            image = _find(source_dir, image_name)
            label = _find(source_dir, label_name) if label_name else None
            if label and not image:
                raise ValueError(
                    f"Label {label} has no image {image_name}.nii.gz beside it; add it or remove the label."
                )
            if image and label_name and not label:
                raise ValueError(
                    f"Image {image} has no label {label_name}.nii.gz beside it; add it or remove the image."
                )
            if image:
                stem = image_name.removesuffix("_im")
                slices += self._list_volume(image, label, stem, part, read_image, read_classes, one_patient=False)
        for stem, (image, label) in self._list_volumes(source_dir).items():
            part = "labeled" if label else "unlabeled"
            slices += self._list_volume(image, label, f"rp_{stem}", part, read_image, read_classes, one_patient=True)
        if not slices:
            raise ValueError(
                f"{source_dir} holds none of tr_im.nii.gz with tr_mask.nii.gz, val_im.nii.gz, or "
                "rp_im/*.nii.gz with rp_msk/*.nii.gz; pass the folder that contains them."
            )
        return slices

    def _list_volumes(self, source_dir: Path) -> dict[str, tuple[Path, Path | None]]:
        images, masks = (_files(source_dir / name) for name in _VOLUME_FOLDERS)
        for stem in sorted(set(masks) - set(images)):
            raise ValueError(f"Label {masks[stem]} has no image of the same name in rp_im; add it or remove the label.")
        for stem in sorted(set(images) - set(masks)):
            self.note("without label", f"rp_im/{stem} has no rp_msk/{stem}: used as unlabeled")
        return {stem: (images[stem], masks.get(stem)) for stem in sorted(images, key=lambda s: (len(s), s))}

    def _list_volume(
        self,
        image: Path,
        label: Path | None,
        stem: str,
        part: str,
        read_image: Callable[[Path], np.ndarray],
        read_classes: Callable[[Path, Path], np.ndarray],
        *,
        one_patient: bool,
    ) -> list[slice_builder.Slice]:
        grid, notes = volume.read_grid(image)
        for text in notes:
            self.note("geometry", f"{image.name}: {text}")
        if label:
            volume.check_same_grid(image, label, voxel_by_voxel=self._voxel_by_voxel, remedy=_REMEDY)

        def read(index: int) -> Mapping[str, np.ndarray]:
            arrays = {"image": read_image(image)[index]}
            if label:
                arrays["classes"] = read_classes(label, image)[index]
                arrays["lesion"] = (arrays["classes"] > 0).astype(np.uint8)
            return arrays

        return [
            slice_builder.Slice(
                slice_id=f"{stem}_{index:03d}",
                patient_id=stem if one_patient else f"{stem}_{index:03d}",
                part=part,
                read=functools.partial(read, index),
            )
            for index in range(grid.view_shape[0])
        ]

    def _read_image(self, path: Path) -> np.ndarray:
        grey, rule = ct.to_grey(volume.load(path).voxels, str(path))
        self.note("intensities", f"{path.name}: {rule}")
        return grey

    def _read_classes(self, path: Path, image: Path) -> np.ndarray:
        stored = volume.load(path, like=image if self._voxel_by_voxel else None).voxels
        classes, rule = labels.recognise(stored, labels.CLASS_RULES, str(path))
        self.note("class label rule", f"{path.name}: {rule}")
        return classes


def _find(folder: Path, stem: str) -> Path | None:
    return next((folder / f"{stem}{suffix}" for suffix in _SUFFIXES if (folder / f"{stem}{suffix}").exists()), None)


def _files(folder: Path) -> dict[str, Path]:
    files = folder.iterdir() if folder.is_dir() else ()
    return {file.name.partition(".nii")[0]: file for file in files if file.name.endswith(_SUFFIXES)}
