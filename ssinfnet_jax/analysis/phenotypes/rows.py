"""Computes one row of a table of phenotypes: of a slice, or of all slices of a patient.

Every worker imports this module, so neither it nor its imports load pandas.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from ssinfnet_jax.analysis.phenotypes.extraction import extract, extract_merged
from ssinfnet_jax.analysis.phenotypes.settings import Settings, versions
from ssinfnet_jax.data import input_files

# image, classes and, if known, (height, width) of a pixel in mm.
Arrays = tuple[np.ndarray, np.ndarray] | tuple[np.ndarray, np.ndarray, tuple[float, float]]
Row = dict[str, Any]


class Item(NamedTuple):
    """One slice.

    Attributes:
      slice_id: unique over all patients.
      patient_id: its patient.
      source: its arrays, or a function without arguments that loads them in the worker.
      version: of the source; stored rows of another version are computed again.
    """

    slice_id: str
    patient_id: str
    source: Arrays | Callable[[], Arrays]
    version: str = ""


class Patient(NamedTuple):
    """The slices of one patient to merge; see Item for the attributes."""

    patient_id: str
    items: tuple[Item, ...]
    version: str


def slice_row(item: Item, *, settings: Settings, made_with: Mapping[str, str]) -> Row:
    """slice_id, patient_id, version, error ("", or why there are no phenotypes), and the phenotypes of a slice."""
    row = {"slice_id": item.slice_id, "patient_id": item.patient_id, "version": item.version}

    def compute() -> Row:
        image, classes, spacing_mm = _load(item)
        return extract(image, classes, settings=settings, spacing_mm=spacing_mm)

    return row | _or_error(compute, made_with)


def patient_row(patient: Patient, *, settings: Settings, made_with: Mapping[str, str]) -> Row:
    """patient_id, version, error, and the merged phenotypes of a patient's slices."""
    row = {"patient_id": patient.patient_id, "version": patient.version}
    return row | _or_error(lambda: extract_merged(map(_load, patient.items), settings=settings), made_with)


def compute_all(compute: Callable[[Any], Row], tasks: Sequence[Any]) -> list[Row]:
    """Computes the rows of several tasks that were sent to a worker together."""
    return [compute(task) for task in tasks]


def _or_error(compute: Callable[[], Row], made_with: Mapping[str, str]) -> Row:
    """Computes a row, or reports its error in it: one bad slice must not fail the others."""
    try:
        if versions() != made_with:
            raise RuntimeError(f"the worker has {versions()}, the program {dict(made_with)}; install the same versions")
        return {"error": "", **compute()}
    except Exception as error:
        return {"error": input_files.readable(f"{type(error).__name__}: {error}")}


def _load(item: Item) -> tuple[np.ndarray, np.ndarray, tuple[float, float]]:
    image, classes, *spacing_mm = item.source() if callable(item.source) else item.source
    return image, classes, tuple(spacing_mm[0]) if spacing_mm else (1.0, 1.0)
