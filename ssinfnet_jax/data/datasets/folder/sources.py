"""Opens an image with its masks, and reads them slice by slice in the radiologist's view."""

import contextlib
import dataclasses
import pathlib
import tempfile
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

import numpy as np

from ssinfnet_jax.data import ct, input_files, labels
from ssinfnet_jax.data.datasets.folder import nnunet
from ssinfnet_jax.data.datasets.folder.label_maps import Mask
from ssinfnet_jax.data.datasets.folder.pairing import Item
from ssinfnet_jax.data.readers import find, opening, segments, volume
from ssinfnet_jax.data.readers.dicom import header as dicom_header
from ssinfnet_jax.data.readers.scan import Scan

_REMEDY = "If only its header is wrong, write `geometry: voxel_by_voxel`, which pairs voxels as stored."
_NUMBERS = {"ggo": 1, "consolidation": 2, "lesion": 3, "ignore": 4}  # of the classes of segments
# Two copies of an image saved as JPG differ less than this in the mean, in grey levels.
_MAX_GREY_DIFFERENCE = 8.0


class GeometryError(ValueError):
    """A mask does not lie on the pixels of its image."""


class Opened(NamedTuple):
    """An open image with its masks.

    Attributes:
      scan: the image; its slices are in the radiologist's view.
      masks: by kind.
    """

    scan: Scan
    masks: Mapping[str, Mask]

    def read_masks(self, index: int, shape: tuple[int, int]) -> dict[str, np.ndarray]:
        """The values of every mask in a slice of this shape; raises ValueError for a mask of another shape."""
        found = {kind: mask.read(index) for kind, mask in self.masks.items()}
        for kind, values in found.items():
            try:
                labels.check_same_size(np.empty(shape, bool), values, self.scan.source, self.masks[kind].path)
            except ValueError as error:
                raise GeometryError(str(error)) from error
        return found


@contextlib.contextmanager
def opened(item: Item, *, voxel_by_voxel: bool) -> Iterator[Opened]:
    """Opens an image and its masks; gzipped volumes are unpacked while they are open.

    Args:
      item: the image with its masks.
      voxel_by_voxel: pairs the voxels of NIfTI as they are stored, wherever a mask's header says that they lie.
    Raises: ValueError or OSError, naming the file, if one cannot be read, or a mask does not lie on its image.
    """
    with tempfile.TemporaryDirectory() as scratch:
        image = open_image(item, pathlib.Path(scratch, "image"))
        masks = {}
        for kind, path in item.masks.items():
            read, meanings = _open_mask(kind, path, item, image, pathlib.Path(scratch, kind), voxel_by_voxel)
            masks[kind] = Mask(path, read, meanings if kind == "classes" else None)
        yield Opened(image, masks)


def open_image(item: Item, scratch_dir: pathlib.Path) -> Scan:
    """Opens the image of an item: a NIfTI volume, a DICOM series in its folder, or one picture, which is turned.

    Raises: ValueError or OSError, naming the file.
    """
    path = item.image
    if path.is_dir():
        return find.open_series(path, strays=False)  # a slice that is missing would shift the others
    _check_readable(path)
    scratch_dir.mkdir()
    image = opening.open_scan(path, scratch_dir)
    if image.grid is None:
        image = dataclasses.replace(image, read=lambda index: _read_picture(item), notes=())
    return image


def upright(picture: np.ndarray, orientation: str) -> np.ndarray:
    """Turns a picture into the radiologist's view: rows run to posterior, columns to the patient's left.

    Args:
      picture: [H, W].
      orientation: to where its rows and columns run, see `description.Orientation`.
    """
    turned = picture if orientation[0] in "PA" else picture.T
    rows, columns = orientation if orientation[0] in "PA" else orientation[::-1]
    return np.ascontiguousarray(turned[:: 1 if rows == "P" else -1, :: 1 if columns == "L" else -1])


def _check_readable(path: pathlib.Path) -> None:
    if kind := input_files.fault(path):
        raise ValueError(f"{path} cannot be read ({kind}); copy or download it again.")


def _read_picture(item: Item) -> np.ndarray:
    picture = ct.read_image(item.image)
    for path in item.same:
        other = ct.read_image(path)
        difference = np.abs(picture.astype(float) - other).mean() if picture.shape == other.shape else np.inf
        if difference > _MAX_GREY_DIFFERENCE:
            raise ValueError(
                f"{item.image} and {path} have the same name but are different slices (mean difference "
                f"{difference:.0f} grey levels, shapes {picture.shape} and {other.shape}); masks are joined by name. "
                "Rename one."
            )
    return upright(picture, item.group.orientation)


def _open_mask(
    kind: str, path: pathlib.Path, item: Item, image: Scan, scratch_dir: pathlib.Path, voxel_by_voxel: bool
) -> tuple[Callable[[int], np.ndarray], Mapping[int, str]]:
    """Returns function (index of a slice) -> values, and the meaning of these."""
    _check_readable(path)
    if image.grid is None:
        return lambda index: upright(labels.read_values(path), item.group.orientation), item.group.labels
    if path.is_dir() or segments.holds_segments(path):
        return _open_segments(kind, _only_file(path), item, image)
    scratch_dir.mkdir()
    mask = opening.open_scan(path, scratch_dir, image.grid.affine if voxel_by_voxel else None)
    if mask.grid is None:
        raise ValueError(f"{path} is a picture, but its image {item.image} a volume; give both in one format.")
    try:
        volume.check_same_place(image.grid, mask.grid, item.image, path, voxel_by_voxel=voxel_by_voxel, remedy=_REMEDY)
    except ValueError as error:
        raise GeometryError(str(error)) from error
    return mask.read, item.group.labels


def _open_segments(
    kind: str, path: pathlib.Path, item: Item, image: Scan
) -> tuple[Callable[[int], np.ndarray], Mapping[int, str]]:
    """Reads the named segments of DICOM-SEG or 3D Slicer."""
    if kind == "classes":
        wanted = {**nnunet.MEANING, **item.group.labels}
        numbers = {key: _NUMBERS.get(meaning, 0) for key, meaning in wanted.items()}
        found, _ = segments.load_classes(path, image.grid, numbers)
    else:
        found = segments.load_mask(path, image.grid)
    numbers = {*np.unique(found).tolist()}
    return found.__getitem__, {number: meaning for meaning, number in _NUMBERS.items() if number in numbers}


def _only_file(path: pathlib.Path) -> pathlib.Path:
    """The file itself, or the only DICOM file of a folder."""
    if not path.is_dir():
        return path
    files = [file for file in sorted(path.iterdir()) if file.is_file() and dicom_header.is_dicom(file)]
    if len(files) != 1:
        raise ValueError(f"{path} holds {len(files)} DICOM files; expected one DICOM-SEG object.")
    return files[0]
