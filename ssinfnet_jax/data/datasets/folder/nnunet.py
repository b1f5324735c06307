"""Reads the layout of nnU-Net 1 and 2: `imagesTr`, `labelsTr`, `imagesTs`, `labelsTs` and `dataset.json`."""

import json
import pathlib
import re
from collections.abc import Mapping
from typing import Any

FILE = "dataset.json"
_CHANNEL = "_0000"  # ends the name of an image's first channel
# Words of labels, without case, blanks and punctuation, and what they mean here.
_WORDS = {
    "background": ("background", "bg"),
    "ggo": ("ggo", "groundglass", "groundglassopacity", "groundglassopacities"),
    "consolidation": ("consolidation", "consolidations"),
    "lesion": (
        *("lesion", "lesions", "infection", "infections", "covid", "covid19", "covidlesion", "covid19lesion"),
        *("covidinfection", "covid19infection", "pneumonia"),
    ),
    "ignore": ("ignore",),
}
MEANING = {word: meaning for meaning, words in _WORDS.items() for word in words}


def read(root: pathlib.Path, *, needs_labels: bool = True) -> dict[str, Any]:
    """The description of a folder of nnU-Net, as a table for `description.read`.

    Images of `imagesTs` are the test part where `labelsTs` holds labels, else unlabeled.

    Args:
      root: the folder with `dataset.json`.
      needs_labels: whether the labels' names must say what they mean; False if the user says it.
    Raises: ValueError, naming the file, for what is not of this layout, or a label whose name is not known.
    """
    path = root / FILE
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        stored = found["labels"]
        channels = found.get("channel_names", found.get("modality", {}))
        is_known = isinstance(stored, Mapping) and isinstance(channels, Mapping)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{path} is not that of nnU-Net ({type(error).__name__}: {error}); write a dataset.yaml."
        ) from error
    if not is_known:
        raise ValueError(f"{path} is not that of nnU-Net: its labels or channels are no tables; write a dataset.yaml.")
    if len(channels) > 1:
        raise ValueError(f"{path} names the channels {', '.join(map(str, channels.values()))}; expected one, CT.")
    ending = str(found.get("file_ending", ".nii.gz"))
    table: dict[str, Any] = {"title": str(found.get("name", root.name))}
    table |= {key: str(found[old]) for key, old in (("source", "reference"), ("licence", "licence")) if found.get(old)}
    if needs_labels:
        table["labels"] = _labels(stored, path)
    channel = _CHANNEL if any((root / "imagesTr").glob(f"*{_CHANNEL}{ending}")) else ""
    table |= {"images": f"imagesTr/{{id}}{channel}{ending}", "masks": f"labelsTr/{{id}}{ending}"}
    if (root / "imagesTs").is_dir():
        images = {"images": f"imagesTs/{{id}}{channel}{ending}"}
        labeled = any((root / "labelsTs").glob(f"*{ending}"))
        table |= {"test": {**images, "masks": f"labelsTs/{{id}}{ending}"}} if labeled else {"unlabeled": images}
    return table


def _labels(stored: Mapping[str, Any], path: pathlib.Path) -> dict[int, str]:
    """Meaning by value: version 1 stores {"1": "name"}, version 2 {"name": 1}."""
    found = {}
    for key, value in stored.items():
        name, number = (value, key) if str(key).isdecimal() else (key, value)
        if isinstance(number, list):
            raise ValueError(f"{path} has the region {name!r} of several values; {_remedy(path)}")
        if not str(number).isdecimal() or not isinstance(name, str):
            raise ValueError(f"{path} has the label {key!r}: {value!r}, which is no name and value; {_remedy(path)}")
        meaning = MEANING.get(re.sub(r"[^a-z0-9]", "", name.lower()))
        if meaning is None:
            raise ValueError(f"{path} calls the value {number} {name!r}, which is not known here; {_remedy(path)}")
        found[int(number)] = meaning
    return found


def _remedy(path: pathlib.Path) -> str:
    return (
        f"write {path.with_name('dataset.yaml')} with the key labels, which says what each value means, such as "
        "labels: {1: ggo, 2: consolidation, 3: ignore}."
    )
