"""What the report page says of the phenotypes: how many of which kind, and how patients were made of slices."""

import collections
from collections.abc import Mapping
from typing import Any

import pandas as pd

from ssinfnet_jax.analysis.phenotypes import columns
from ssinfnet_jax.report.kit import tables

_REGIONS = {"ggo": "GGO", "consolidation": "Consolidation", "lesion": "Lesion"}
_CLASSES = {
    "firstorder": "First order",
    "glcm": "GLCM",
    "gldm": "GLDM",
    "ngtdm": "NGTDM",
    "glrlm": "GLRLM",
    "glszm": "GLSZM",
    "shape2D": "Shape",
}
_AGGREGATIONS = {
    "slice_mean": "each the average over the patient's slices",
    "area_weighted": "each the average over the patient's slices, weighted by the region's area in them (shape: the "
    "plain average)",
    "merged": "each of the regions of all the patient's slices taken together (shape: the average over the slices)",
}


def counts(patients: pd.DataFrame) -> tables.Table | None:
    """How many phenotypes of each feature class there are per region and filtered image, and how many values miss.

    Args:
      patients: phenotypes/patients.csv.
    Returns: None where no column is a phenotype.
    """
    found: dict[tuple[str, str], collections.Counter] = collections.defaultdict(collections.Counter)
    missing: dict[tuple[str, str], list[float]] = collections.defaultdict(list)
    for name in patients:
        origin = columns.origin(name)
        if origin is None:
            continue
        region, image, feature_class = origin
        found[region, image][feature_class] += 1
        missing[region, image].append(float(patients[name].isna().mean()))
    if not found:
        return None
    classes = [name for name in _CLASSES if any(count[name] for count in found.values())]
    filtered = any(image for _, image in found)
    rows = []
    for (region, image), count in found.items():
        share = 100 * sum(missing[region, image]) / len(missing[region, image])
        kind = [tables.text_cell(_REGIONS[region])] + ([tables.text_cell(image or "none")] if filtered else [])
        cells = [tables.number_cell(count[name]) for name in classes]
        rows.append([*kind, *cells, tables.number_cell(count.total()), tables.Cell(f"{share:.1f} %", share)])
    heads = [tables.Column("Region")] + ([tables.Column("Filter")] if filtered else [])
    heads += [tables.Column(title, True) for title in (*map(_CLASSES.get, classes), "All", "Missing values")]
    return tables.Table(f"Phenotypes per region{', filter' * filtered} and feature class.", heads, rows)


def aggregation(about: Mapping[str, Any] | None) -> str:
    """How a patient's value was made of the slices', to follow the number of patients; "" where nothing tells.

    Args:
      about: phenotypes/about.json.
    """
    return _AGGREGATIONS.get((about or {}).get("aggregation", ""), "")
