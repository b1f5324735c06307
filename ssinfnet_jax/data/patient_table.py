"""Reads a table of the patients of a folder's images."""

import os
import pathlib
from collections.abc import Iterable, Mapping, Sequence

from ssinfnet_jax.data import text_table
from ssinfnet_jax.data.clinical import clinical_table
from ssinfnet_jax.data.readers import suffixes

_ENDINGS = (*suffixes.VOLUMES, *suffixes.PICTURES, ".dcm", ".dicom")  # of images
_FILE_NAMES = ("file", "filename", "filepath", "path", "image", "imagefile", "文件", "文件名")
_SHOWN = 5


def read(path: str | os.PathLike) -> Mapping[str, str]:
    """Reads a CSV or XLSX file with the columns `file` and `patient_id`.

    Returns: file without extension -> patient; rows without a patient are left out.
    Raises: FileNotFoundError; ValueError if a column is missing, or a file has several patients.
    """

    def of_files(cells: Iterable[str]) -> list[str]:
        return [cell for cell in cells if clinical_table.plain_name(cell) in _FILE_NAMES]

    def is_header(cells: Sequence[str]) -> bool:
        return bool(of_files(cells) and clinical_table.find("patient_id", cells))

    path = pathlib.Path(path)
    table = text_table.read(path, "The table of patients", is_header)
    found = {"file": of_files(table.columns), "patient_id": clinical_table.find("patient_id", table.columns)}
    lacking = [name for name, columns in found.items() if not columns]
    if lacking:
        raise ValueError(f"{path} has no column {', '.join(lacking)}; it needs file and patient_id.")
    for name, columns in found.items():
        if len(columns) > 1:
            raise ValueError(f"{path}: any of the columns {columns} may be {name}; rename or delete all but one.")
    table = table[[columns[0] for columns in found.values()]].set_axis(list(found), axis=1)
    table = table[table["patient_id"] != ""].assign(file=table["file"].map(without_ending)).drop_duplicates()
    twice = table["file"][table["file"].duplicated()].tolist()
    if twice:
        shown = ", ".join(twice[:_SHOWN]) + (", ..." if len(twice) > _SHOWN else "")
        raise ValueError(f"{path} names several patients for {shown}; a file belongs to one patient.")
    return dict(zip(table["file"], table["patient_id"], strict=True))


def without_ending(name: str) -> str:
    """A path without the extension of a picture, a volume or a DICOM file, ignoring case."""
    ending = next((ending for ending in _ENDINGS if name.lower().endswith(ending)), "")
    return name[: len(name) - len(ending)]
