"""COVID-SemiSeg, read from a local folder in its public layout; see the README beside this file."""

import dataclasses
import functools
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import tensorflow_datasets as tfds

from ssinfnet_jax.data import ct, labels
from ssinfnet_jax.data.datasets import slice_builder

_IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png")


@dataclasses.dataclass(frozen=True)
class _LabeledFolders:
    """Two folders that label the same slices, joined by file name."""

    part: str
    lesion: str
    classes: str


_LABELED = (
    _LabeledFolders(
        part="labeled",
        lesion="TrainingSet/LungInfection-Train/Doctor-label",
        classes="TrainingSet/MultiClassInfection-Train",
    ),
    _LabeledFolders(part="test", lesion="TestingSet/LungInfection-Test", classes="TestingSet/MultiClassInfection-Test"),
)
_UNLABELED = "TrainingSet/LungInfection-Train/Pseudo-label"

# Dice per slice at 0.5, recomputed from the published maps of the 48 test slices. All start from ImageNet weights.
_PUBLISHED_DICE = {
    "lesion": {"U-Net": 0.541, "U-Net++": 0.706, "Inf-Net": 0.738, "Semi-Inf-Net": 0.770},
    "ggo": {"Semi-Inf-Net + FCN8s": 0.648, "FCN8s": 0.472, "DeepLabV3+": 0.444},
    "consolidation": {"Semi-Inf-Net + FCN8s": 0.286, "FCN8s": 0.280, "DeepLabV3+": 0.238},
}
_PUBLISHED_SLICES = {"lesion": 48, "ggo": 48, "consolidation": 38}
_PUBLISHED_SOURCE = "Fan et al. 2020, doi:10.1109/TMI.2020.2996645, published maps"

# Above this mean difference in grey levels, two images of the same name are not the same slice saved twice.
_MAX_GREY_DIFFERENCE = 8.0


class Builder(slice_builder.SliceBuilder):
    """Reads the public COVID-SemiSeg layout, or any subset of its folders."""

    VERSION = tfds.core.Version("1.1.0")  # 1.1: slices in the radiologist's view
    VIEW = "lungs"
    PUBLISHED = tuple(
        {"method": method, "class": name, "metric": "dice", "mean": mean, "n": _PUBLISHED_SLICES[name],
         "source": _PUBLISHED_SOURCE}
        for name, means in _PUBLISHED_DICE.items()
        for method, mean in means.items()
    )  # fmt: skip
    BUILDER_CONFIGS = [tfds.core.BuilderConfig(name="default", description="Slices at their own size.")]  # noqa: RUF012

    def list_slices(self, source_dir: Path | None) -> Sequence[slice_builder.Slice]:
        """Lists labeled and test slices, each its own patient, and unlabeled slices, whose names tell the patient."""
        slices = [item for folders in _LABELED for item in self._list_labeled(source_dir, folders)]
        slices += self._list_unlabeled(source_dir)
        if not slices:
            expected = [f"{name}/Imgs" for f in _LABELED for name in (f.lesion, f.classes)] + [f"{_UNLABELED}/Imgs"]
            raise ValueError(
                f"{source_dir} holds no images of the COVID-SemiSeg layout; expected at least one of "
                f"{', '.join(expected)}. Pass the folder that contains TrainingSet or TestingSet."
            )
        return slices

    def _list_labeled(self, source_dir: Path, folders: _LabeledFolders) -> list[slice_builder.Slice]:
        lesion_files = self._list_pairs(source_dir / folders.lesion)
        classes_files = self._list_pairs(source_dir / folders.classes)
        for stem in sorted(set(lesion_files) ^ set(classes_files)):
            if lesion_files and classes_files:
                there, missing = ("lesion", "classes") if stem in lesion_files else ("classes", "lesion")
                self.note("one label only", f"{folders.part} slice {stem} has {there}, no {missing} label file")
        return [
            slice_builder.Slice(
                slice_id=f"{folders.part}_{stem}",
                patient_id=f"{folders.part}_{stem}",  # the names of labeled slices do not tell the patient
                part=folders.part,
                read=functools.partial(self._read_labeled, lesion_files.get(stem), classes_files.get(stem)),
            )
            for stem in sorted(set(lesion_files) | set(classes_files), key=_natural)
        ]

    def _list_pairs(self, folder: Path) -> dict[str, tuple[Path, Path]]:
        """Maps names without suffix to (image, label) for a folder with Imgs and GT; {} if it does not exist."""
        if not folder.exists():
            return {}
        for ignored in ("Edge", "Prior"):
            if (folder / ignored).exists():
                self.note("not used", f"{folder.name}/{ignored}: computed from labels or predicted when needed")
        images = _list_images(folder / "Imgs", "images of the layout")
        label_files = _list_images(folder / "GT", "the labels of Imgs")
        for stem in sorted(set(label_files) - set(images)):
            raise ValueError(
                f"Label {label_files[stem]} has no image of the same name in {folder / 'Imgs'}; "
                "add it or remove the label."
            )
        for stem in sorted(set(images) - set(label_files)):
            raise ValueError(
                f"Image {images[stem]} has no label of the same name in {folder / 'GT'}; add it, or "
                f"move the image to {_UNLABELED}/Imgs."
            )
        return {stem: (images[stem], label_files[stem]) for stem in images}

    def _list_unlabeled(self, source_dir: Path) -> list[slice_builder.Slice]:
        folder = source_dir / _UNLABELED
        if not folder.exists():
            return []
        for ignored in ("GT", "Edge"):
            if (folder / ignored).exists():
                self.note("not used", f"Pseudo-label/{ignored}: a network's guesses are not taken as labels")
        return [
            slice_builder.Slice(
                slice_id=stem,
                patient_id=patient_of(stem),
                part="unlabeled",
                read=functools.partial(_read_image, file),
            )
            for stem, file in sorted(
                _list_images(folder / "Imgs", "unlabeled images").items(), key=lambda item: _natural(item[0])
            )
        ]

    def _read_labeled(self, lesion_files, classes_files) -> Mapping[str, np.ndarray]:
        arrays = {}
        if classes_files:
            image_file, label_file = classes_files
            arrays["image"] = ct.read_image(image_file)
            arrays["classes"], rule = labels.read_classes(label_file)
            labels.check_same_size(arrays["image"], arrays["classes"], image_file, label_file)
            self.note("class label rule", rule)
            arrays["lesion"] = (arrays["classes"] > 0).astype(np.uint8)
        if lesion_files:
            image_file, label_file = lesion_files
            image = ct.read_image(image_file)
            lesion, rule = labels.read_lesion(label_file)
            labels.check_same_size(image, lesion, image_file, label_file)
            self.note("lesion label rule", rule)
            if classes_files:
                _check_same_slice(image, arrays["image"], image_file, classes_files[0])
                different = int((lesion != arrays["lesion"]).sum())
                if different:
                    self.note(
                        "labels disagree",
                        f"{label_file.name}: lesion and classes > 0 differ in {different} pixels",
                    )
            arrays |= {"image": image, "lesion": lesion}
        return {name: upright(array) for name, array in arrays.items()}


def patient_of(stem: str) -> str:
    """Reads the patient from the name of an unlabeled slice.

    `Data-1_coronacases_org_001_100` -> `coronacases_001`;
    `Data-1_radiopaedia_org_covid-19-pneumonia-10_85902_1-dcm_7` -> `radiopaedia_covid-19-pneumonia-10`: a
    Radiopaedia case is one patient, possibly with several studies and series. In any other name the patient is
    everything before a trailing slice number.
    """
    if match := re.match(r"(?:.*?_)?coronacases_org_(\d+)_\d+$", stem):
        return f"coronacases_{match[1]}"
    if match := re.match(r"(?:.*?_)?radiopaedia_org_(.+)_\d+_\d+-dcm_\d+$", stem):
        return f"radiopaedia_{match[1]}"
    return re.sub(r"[_-]\d+$", "", stem)


def _list_images(folder: Path, role: str) -> dict[str, Path]:
    if not folder.is_dir():
        raise FileNotFoundError(f"Folder {folder} with {role} does not exist; see the layout in the dataset's README.")
    files = [file for file in folder.iterdir() if file.suffix.lower() in _IMAGE_SUFFIXES]
    if not files:
        raise ValueError(
            f"Folder {folder} with {role} holds no {', '.join(_IMAGE_SUFFIXES)} files; add them or remove the folder."
        )
    by_stem: dict[str, Path] = {}
    for file in sorted(files):
        if file.stem in by_stem:
            raise ValueError(f"{by_stem[file.stem]} and {file.name} have the same name; keep one of them.")
        by_stem[file.stem] = file
    return by_stem


def _read_image(file: Path) -> Mapping[str, np.ndarray]:
    return {"image": upright(ct.read_image(file), spine_left="coronacases" in file.stem)}


def upright(array: np.ndarray, *, spine_left: bool = False) -> np.ndarray:
    """Turns a slice of the public files into the radiologist's view: row 0 anterior, column 0 the patient's right.

    The files show slices on their side: the patient's right on top and the spine on the right (in slices of
    coronacases.org, on the left). Liver, heart and descending aorta show that no slice is mirrored.
    """
    return np.ascontiguousarray(array.T[::-1] if spine_left else array.T)


def _check_same_slice(image: np.ndarray, other: np.ndarray, file: Path, other_file: Path) -> None:
    difference = np.abs(image.astype(float) - other).mean() if image.shape == other.shape else np.inf
    if difference > _MAX_GREY_DIFFERENCE:
        raise ValueError(
            f"{file} and {other_file} have the same name but are different slices (mean difference "
            f"{difference:.0f} grey levels, shapes {image.shape} and {other.shape}); lesion and class labels "
            "are joined by name. Rename one."
        )


def _natural(stem: str) -> list:
    """Sorts slice_2 before slice_10."""
    return [(0, int(piece), "") if piece.isdigit() else (1, 0, piece) for piece in re.split(r"(\d+)", stem)]
